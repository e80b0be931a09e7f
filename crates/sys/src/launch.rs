//! What to start: plain data, and its translation into the child's script.

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::child::{Details, Limit, ListenPid, Move, Script};
use super::limits::{OpenFileLimit, nofile, resource};
use super::raw_text::to_bytes;
use circus_core::config::DEFAULT_PATH;
use circus_core::proto::{SpawnError, Stage};

/// The first number of a socket that is passed with LISTEN_FDS.
const LISTEN_FIRST: RawFd = 3;

/// A process to start: exactly what it gets.
#[derive(Clone, Debug)]
pub struct Launch<'fd> {
    /// The words of the command line, the first of which is looked for in the child's own PATH.
    pub argv: Vec<String>,
    /// The program to run instead of the first word, which stays its name.
    pub executable: Option<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// The umask, where it is not circusd's own.
    pub umask: Option<u32>,
    /// The user and groups to become.
    pub credentials: Option<Credentials>,
    /// The control group that it starts in: its folder, and what that is called.
    pub cgroup: Option<(BorrowedFd<'fd>, String)>,
    /// The nice value, from -20 to 19.
    pub nice: Option<i32>,
    /// The priority at disks, as ioprio_set(2) takes it.
    pub ionice: Option<u16>,
    /// The processors that it may run on, a bit for each; empty: those of circusd.
    pub cpu_affinity: Vec<u64>,
    /// `oom_score_adj` of proc(5), from -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Soft and hard limits by name; `None` is unlimited.
    pub rlimits: Vec<(String, Option<u64>)>,
    /// Descriptor 0.
    pub stdin: Stdio<'fd>,
    /// Descriptor 1.
    pub stdout: Stdio<'fd>,
    /// Descriptor 2.
    pub stderr: Stdio<'fd>,
    /// The managed sockets it inherits.
    pub sockets: SocketPassing<'fd>,
    /// The limits on open files that circusd was started with, before it raised its own; `rlimits` overrides them.
    pub nofile: Option<OpenFileLimit>,
    /// Whether the kernel sends it SIGTERM when the thread that started it ends, however it ends.
    pub ends_with_us: bool,
    /// Whether no program that it executes gains rights, by a set-user-id bit or capabilities of its file.
    pub no_new_privs: bool,
}

/// The identity of a child. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The supplementary groups.
    pub groups: Option<Vec<u32>>,
}

/// One of descriptors 0, 1 and 2.
#[derive(Clone, Copy, Debug)]
pub enum Stdio<'fd> {
    /// circusd's own.
    Inherit,
    /// `/dev/null`.
    Null,
    /// A pipe, or a socket in the manner of inetd.
    Fd(BorrowedFd<'fd>),
}

/// The managed sockets that a child inherits.
#[derive(Clone, Debug)]
pub enum SocketPassing<'fd> {
    /// None.
    None,
    /// These, at these numbers, which are circusd's own, and not one environment variable: `use_sockets`.
    SameNumbers(Vec<(RawFd, BorrowedFd<'fd>)>),
    /// These, by name, at 3, 4, ... with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.
    Listen(Vec<(String, BorrowedFd<'fd>)>),
}

impl<'fd> Launch<'fd> {
    /// A process with this command line, nothing in its environment, standard streams on `/dev/null`, in `/`.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            executable: None,
            env: Vec::new(),
            cwd: "/".into(),
            umask: None,
            credentials: None,
            cgroup: None,
            nice: None,
            ionice: None,
            cpu_affinity: Vec::new(),
            oom_score_adj: None,
            rlimits: Vec::new(),
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            sockets: SocketPassing::None,
            nofile: None,
            ends_with_us: false,
            no_new_privs: false,
        }
    }

    /// The child's script. `null` is an open `/dev/null`; `groups_optional`: see [`Script`].
    pub(super) fn script(&self, null: BorrowedFd<'_>, groups_optional: bool) -> Result<Script, SpawnError> {
        let program = match (&self.executable, self.argv.first()) {
            (_, None) => return Err(command(libc::ENOENT, "the command is empty")),
            (None, Some(name)) | (Some(name), Some(_)) if name.is_empty() => {
                return Err(command(libc::ENOENT, "the program's name is empty"));
            }
            (Some(name), Some(_)) | (None, Some(name)) => name,
        };
        let moves = self.moves(null)?;
        let credentials = self.credentials.clone().unwrap_or(Credentials { uid: None, gid: None, groups: None });
        let argv_text = c_strings(&self.argv, "an argument")?;
        let (env_text, listen) = self.environment()?;
        let mut envp = pointers(&env_text);
        let listen_pid = listen.then(|| {
            // The place of its own is the one that ends the list so far; a new end follows.
            let place = env_text.len();
            envp.push(std::ptr::null());
            (ListenPid::new(), place)
        });
        Ok(Script {
            kept: kept(&moves)?,
            moves,
            open_max: open_max(),
            cwd: c_string(&[&self.cwd], || "the working directory".into())?,
            cgroup: None,
            nice: self.nice,
            ionice: self.ionice,
            cpu_affinity: self.cpu_affinity.clone(),
            oom_score_adj: self.oom_score_adj.map(|score| score.to_string().into_bytes()),
            limits: self.limits()?,
            groups: credentials.groups,
            groups_optional,
            gid: credentials.gid,
            uid: credentials.uid,
            umask: self.umask,
            ends_with_us: self.ends_with_us,
            no_new_privs: self.no_new_privs,
            programs: self.candidates(program)?,
            argv: pointers(&argv_text),
            envp,
            listen_pid,
            details: Details {
                program: program.clone(),
                cgroup: self.cgroup.as_ref().map(|(_, name)| name.clone()).unwrap_or_default(),
                nice: self.nice.map_or_else(String::new, |nice| nice.to_string()),
                ionice: self
                    .ionice
                    .map_or_else(String::new, |number| format!("class {} level {}", number >> 13, number & 7)),
                cpu_affinity: describe_cpus(&self.cpu_affinity),
                oom_score_adj: self.oom_score_adj.map_or_else(String::new, |score| score.to_string()),
                gid: credentials.gid.map_or_else(String::new, |gid| format!("gid {gid}")),
                uid: credentials.uid.map_or_else(String::new, |uid| format!("uid {uid}")),
            },
            _text: (argv_text, env_text),
        })
    }

    fn moves(&self, null: BorrowedFd<'_>) -> Result<Vec<Move>, SpawnError> {
        let stdio = [(&self.stdin, "stdin"), (&self.stdout, "stdout"), (&self.stderr, "stderr")];
        let mut moves: Vec<Move> = (0..)
            .zip(stdio)
            .map(|(target, (stdio, what))| {
                let source = match stdio {
                    Stdio::Inherit => target,
                    Stdio::Null => null.as_raw_fd(),
                    Stdio::Fd(fd) => fd.as_raw_fd(),
                };
                Move { source, target, what }
            })
            .collect();
        let socket = |source: RawFd, target| Move { source, target, what: "socket" };
        match &self.sockets {
            SocketPassing::None => {}
            SocketPassing::SameNumbers(fds) => {
                if let Some((target, _)) = fds.iter().find(|(target, _)| *target < LISTEN_FIRST) {
                    let detail = format!("socket at {target}, where a standard stream belongs");
                    return Err(SpawnError { stage: Stage::Descriptors, errno: libc::EINVAL, detail });
                }
                moves.extend(fds.iter().map(|(target, fd)| socket(fd.as_raw_fd(), *target)));
            }
            SocketPassing::Listen(named) => {
                moves.extend((LISTEN_FIRST..).zip(named).map(|(target, (_, fd))| socket(fd.as_raw_fd(), target)));
            }
        }
        Ok(moves)
    }

    /// `NAME=value` for each variable, and whether LISTEN_PID is still to come.
    fn environment(&self) -> Result<(Vec<CString>, bool), SpawnError> {
        let listen = match &self.sockets {
            SocketPassing::Listen(named) if !named.is_empty() => Some(named),
            SocketPassing::None | SocketPassing::SameNumbers(_) | SocketPassing::Listen(_) => None,
        };
        let overridden =
            |name: &str| listen.is_some() && matches!(name, "LISTEN_FDS" | "LISTEN_PID" | "LISTEN_FDNAMES");
        let mut texts = Vec::with_capacity(self.env.len().saturating_add(2));
        for (name, value) in self.env.iter().filter(|(name, _)| !overridden(name)) {
            if name.is_empty() || name.contains('=') {
                return Err(command(libc::EINVAL, &format!("{name:?} cannot be the name of an environment variable")));
            }
            texts.push(c_string(&[name, "=", value], || format!("the environment variable {name:?}"))?);
        }
        if let Some(named) = listen {
            texts.push(c_string(&["LISTEN_FDS=", &named.len().to_string()], || "LISTEN_FDS".into())?);
            // A colon ends a name in this list.
            let names: Vec<String> = named.iter().map(|(name, _)| name.replace(':', "_")).collect();
            texts.push(c_string(&["LISTEN_FDNAMES=", &names.join(":")], || "the name of a socket".into())?);
        }
        Ok((texts, listen.is_some()))
    }

    /// The paths under which the program may be found: a name with a slash is one already.
    fn candidates(&self, program: &str) -> Result<Vec<CString>, SpawnError> {
        let what = || "the program's name".into();
        if program.contains('/') {
            return Ok(vec![c_string(&[program], what)?]);
        }
        let path = self.env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
        path.split(':')
            .map(|directory| match directory {
                // An empty entry is the working directory.
                "" => c_string(&[program], what),
                _ if directory.ends_with('/') => c_string(&[directory, program], what),
                _ => c_string(&[directory, "/", program], what),
            })
            .collect()
    }

    fn limits(&self) -> Result<Vec<Limit>, SpawnError> {
        let mut limits = Vec::with_capacity(self.rlimits.len().saturating_add(1));
        let open_files = resource("nofile");
        for (name, value) in &self.rlimits {
            let Some(number) = resource(name) else {
                let detail = format!("{name}: no such limit");
                return Err(SpawnError { stage: Stage::Rlimit, errno: libc::EINVAL, detail });
            };
            // The kernel has no unlimited number of open files; as much as there may be is what is meant.
            let hard = (open_files == Some(number) && value.is_none()).then(|| nofile().ok().map(|now| now.hard));
            let instead = hard.flatten().map(|hard| [hard; 2]);
            limits.push(Limit { name: name.clone(), resource: number, value: [value.unwrap_or(u64::MAX); 2], instead });
        }
        if let (Some(given), Some(number)) = (self.nofile, open_files)
            && limits.iter().all(|limit| limit.resource != number)
        {
            limits.push(Limit {
                name: "nofile".into(),
                resource: number,
                value: [given.soft, given.hard],
                instead: None,
            });
        }
        Ok(limits)
    }
}

/// The processors of a mask.
fn describe_cpus(mask: &[u64]) -> String {
    let bits = (0_u32..).zip(mask).flat_map(|(word, bits)| {
        (0..64_u32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (word * 64 + bit).to_string())
    });
    bits.collect::<Vec<_>>().join(",")
}

fn command(errno: i32, detail: &str) -> SpawnError {
    SpawnError { stage: Stage::Command, errno, detail: detail.into() }
}

/// The parts as one text, in memory that is asked for once: every start does this for each word and variable.
fn c_string(parts: &[&str], what: impl Fn() -> String) -> Result<CString, SpawnError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut text = Vec::with_capacity(length.saturating_add(1));
    parts.iter().for_each(|part| text.extend_from_slice(&to_bytes(part)));
    CString::new(text).map_err(|_| command(libc::EINVAL, &format!("{} contains a NUL character", what())))
}

fn c_strings(texts: &[String], what: &str) -> Result<Vec<CString>, SpawnError> {
    let mut strings = Vec::with_capacity(texts.len());
    for text in texts {
        strings.push(c_string(&[text], || what.to_owned())?);
    }
    Ok(strings)
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The numbers the child keeps. Two descriptors cannot have the same.
fn kept(moves: &[Move]) -> Result<Vec<RawFd>, SpawnError> {
    let mut kept: Vec<RawFd> = moves.iter().map(|m| m.target).collect();
    kept.sort_unstable();
    match kept.windows(2).find(|pair| pair.first() == pair.last()) {
        None => Ok(kept),
        Some(_) => Err(SpawnError {
            stage: Stage::Descriptors,
            errno: libc::EINVAL,
            detail: "two sockets with the same number".into(),
        }),
    }
}

fn open_max() -> RawFd {
    let most = nofile().map_or(65_536, |limit| limit.soft);
    RawFd::try_from(most).unwrap_or(RawFd::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn candidates(program: &str, env: &[(&str, &str)]) -> Vec<String> {
        let mut launch = Launch::new(vec![program.into()]);
        launch.env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        launch.candidates(program).unwrap().into_iter().map(|path| path.into_string().unwrap()).collect()
    }

    fn refusal(launch: &Launch<'_>) -> (Stage, i32) {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = launch.script(null.as_fd(), false).err().unwrap();
        assert!(!error.detail.is_empty());
        (error.stage, error.errno)
    }

    #[test]
    fn the_search_is_in_the_childs_own_path() {
        assert_eq!(candidates("sh", &[]), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(candidates("sh", &[("PATH", "/a:/b/:")]), ["/a/sh", "/b/sh", "sh"]);
        assert_eq!(candidates("sh", &[("PATH", "")]), ["sh"]);
        assert_eq!(candidates("./sh", &[("PATH", "/a")]), ["./sh"]);
    }

    #[test]
    fn what_no_kernel_need_be_asked_about() {
        assert_eq!(refusal(&Launch::new(vec![])), (Stage::Command, libc::ENOENT));
        assert_eq!(refusal(&Launch::new(vec!["".into()])), (Stage::Command, libc::ENOENT));
        assert_eq!(refusal(&Launch::new(vec!["a".into(), "b\0c".into()])), (Stage::Command, libc::EINVAL));
        for name in ["", "A=B", "A\0"] {
            let launch = Launch { env: vec![(name.into(), "x".into())], ..Launch::new(vec!["a".into()]) };
            assert_eq!(refusal(&launch), (Stage::Command, libc::EINVAL), "{name:?}");
        }
        let launch = Launch { rlimits: vec![("wings".into(), Some(2))], ..Launch::new(vec!["a".into()]) };
        assert_eq!(refusal(&launch), (Stage::Rlimit, libc::EINVAL));
    }

    #[test]
    fn a_number_cannot_be_given_twice() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let sockets = SocketPassing::SameNumbers(vec![(9, file.as_fd()), (9, file.as_fd())]);
        let launch = Launch { sockets, ..Launch::new(vec!["a".into()]) };
        assert_eq!(refusal(&launch), (Stage::Descriptors, libc::EINVAL));
        let stderr = std::io::stderr();
        let launch =
            Launch { sockets: SocketPassing::SameNumbers(vec![(2, stderr.as_fd())]), ..Launch::new(vec!["a".into()]) };
        assert_eq!(refusal(&launch), (Stage::Descriptors, libc::EINVAL));
    }
}
