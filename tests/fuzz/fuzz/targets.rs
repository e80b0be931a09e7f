//! What reads bytes of others.

use std::path::{Path, PathBuf};

use circus_core::arbiter::{Arbiter, STATE_VERSION};
use circus_core::commands;
use circus_core::config::{Facts, File, FileKind, Host, Origin};
use circus_core::proto::decode;
use circus_net::Candidate;
use serde::Serialize;

/// A reader, and words that it knows.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static str],
    /// Says what came of an input.
    pub(crate) run: fn(&[u8]) -> String,
}

pub(crate) const ALL: &[Target] = &[
    Target {
        name: "request",
        words: &[
            "\"id\"",
            "\"command\"",
            "\"properties\"",
            "\"name\"",
            "\"options\"",
            "\"waiting\": true",
            "\"set\"",
            "\"add\"",
            "\"tail\"",
            "{}",
            "[]",
            "null",
            "\\ud800",
        ],
        run: request,
    },
    Target {
        name: "ini",
        words: &[
            "[watcher:",
            "[socket:",
            "[env:",
            "[circus]",
            "[slots:",
            "cmd = ",
            "numprocesses = ",
            "include = ",
            "stdout_stream.class = ",
            "hooks.after_start = ",
            "ready = ",
            "schedule = ",
            "kind = cron",
            "env_file = ",
            "respawn = ",
            "rlimit_",
            "\n  ",
            "$(circus.env.",
            "%",
            ";",
            "#",
            "rem",
        ],
        run: ini,
    },
    Target {
        name: "expansion",
        words: &[
            "$(circus.wid)",
            "$(circus.sockets.",
            "$(circus.env.HOME)",
            "$(",
            "((",
            "))",
            "$HOME",
            "${HOME}",
            "$$",
            "%(",
            "'",
            "\"",
            "\\",
            "`",
            "$(circus.slot.",
        ],
        run: expansion,
    },
    Target {
        name: "notify",
        words: &[
            "READY=1\n",
            "STATUS=",
            "WATCHDOG=1\n",
            "WATCHDOG_USEC=",
            "FDSTORE=1\n",
            "FDNAME=",
            "FDSTOREREMOVE=1\n",
            "MAINPID=",
            "STOPPING=1\n",
            "ERRNO=",
            "BARRIER=1\n",
        ],
        run: notify,
    },
    Target { name: "state", words: &[], run: state },
    Target {
        name: "plugin",
        words: &[
            "use = ",
            "cmd = ",
            "flapping",
            "webhook",
            "notify",
            "circus.plugins.statsd.FullStats",
            "python_runner = yes",
            "url = http://",
            "events = ",
            "loop_rate = ",
            "active = ",
        ],
        run: plugin,
    },
    Target { name: "zap", words: &["1.0", "CURVE", "NULL", "PLAIN"], run: zap },
];

fn request(input: &[u8]) -> String {
    let (format, decoded) = decode(input);
    match decoded {
        Err(undecodable) => format!("{format:?} {:?}", undecodable.fault),
        Ok(envelope) => match commands::decode(&envelope) {
            Err(fault) => format!("{fault:?}"),
            // What it is, not what is in it.
            Ok(request) => format!("{request:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
        },
    }
}

/// A machine with nothing on it.
struct Empty;

impl Facts for Empty {
    fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
        Err("no such file".into())
    }

    fn names(&self, _: &Path) -> Vec<String> {
        vec!["a.ini".into(), "b.ini".into()]
    }

    fn file(&self, path: &Path) -> Result<File, String> {
        let kind = if path.extension().is_some() { FileKind::Regular } else { FileKind::Directory };
        Ok(File { kind, executable: true, writable: true })
    }

    fn exists(&self, _: &Path) -> bool {
        true
    }

    fn user(&self, name: &str) -> Option<u32> {
        (name == "nobody").then_some(65534)
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.user(name)
    }

    fn has_time_zone(&self, name: &str) -> bool {
        name == "UTC"
    }

    fn own_uid(&self) -> u32 {
        0
    }

    fn own_gid(&self) -> u32 {
        0
    }

    fn python_path(&self, _: &str) -> Option<Vec<PathBuf>> {
        None
    }
}

/// The first words of each problem: the rest quotes the input.
fn read(text: String) -> String {
    let host = Host {
        env: [("HOME".into(), "/root".into())].into(),
        cwd: "/work".into(),
        programs: "/bin".into(),
        ..Host::default()
    };
    let origin = Origin::Text { name: "fuzz.ini".into(), text };
    let report = origin.check(&host, &Empty);
    let loaded = origin.load(&host, &Empty);
    let head = |problem: String| problem.split(' ').skip(1).take(4).collect::<Vec<_>>().join(" ");
    let mut told: Vec<String> = report.problems.iter().map(|problem| head(problem.to_string())).collect();
    told.sort_unstable();
    told.dedup();
    format!("{} {}", loaded.config.is_some(), told.join("; "))
}

fn ini(input: &[u8]) -> String {
    read(String::from_utf8_lossy(input).into_owned())
}

fn expansion(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input).replace('\n', " ");
    read(format!("[watcher:w]\ncmd = {text}\nargs = {text}\n[env:w]\nX = {text}\n[socket:s]\nport = 0\n"))
}

fn plugin(input: &[u8]) -> String {
    read(format!("[plugin:p]\n{}", String::from_utf8_lossy(input)))
}

fn notify(input: &[u8]) -> String {
    format!("{:?}", circus_sys::parse_datagram(input))
}

/// The header of a state, so that it is not the checksum that refuses every input.
#[derive(Serialize)]
struct Header {
    magic: &'static str,
    version: u32,
    length: u64,
    checksum: u64,
}

/// An input is what comes behind the header.
fn state(input: &[u8]) -> String {
    let checksum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let header = Header { magic: "circus-state", version: STATE_VERSION, length: input.len() as u64, checksum };
    let mut bytes = rmp_serde::to_vec_named(&header).unwrap();
    bytes.extend(input);
    // And as it came: its header may be what is damaged.
    let raw = Arbiter::restore(input).err().map(|error| error.to_string()).unwrap_or_default();
    match Arbiter::restore(&bytes) {
        Ok(_) => format!("read; {raw}"),
        Err(error) => format!("{}; {raw}", error.to_string().chars().take(80).collect::<String>()),
    }
}

/// Frames of a question of ZAP: each behind a byte with its length.
fn zap(input: &[u8]) -> String {
    let mut frames = Vec::new();
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first() {
        let (frame, others) = behind.split_at(usize::from(*length).min(behind.len()));
        frames.push(frame.to_vec());
        rest = others;
    }
    match Candidate::from_frames(&frames) {
        None => format!("refused {}", frames.len().min(9)),
        Some(candidate) => format!("{}", candidate.key().is_some()),
    }
}
