//! `docs/compatibility.md`: everything that Circus 0.19 has, and what became of it here.
//!
//! What 0.19 has is a list of facts; what became of it follows from the tables of the library and from the manual pages.
//! The names beside a thing are those of the rows of "Differences from Circus" that say what has changed.

use std::collections::BTreeSet;

use circus::commands::COMMANDS;
use circus::config::options::{CIRCUS_OPTIONS, SOCKET_OPTIONS, Support, WATCHER_OPTIONS};

use crate::tree;

/// A thing of 0.19, and the differences that concern it, with spaces between them.
type Thing = (&'static str, &'static str);

/// A kind of things, where to look whether they are here, and the things.
struct Kind {
    title: &'static str,
    found: Found,
    things: &'static [Thing],
}

/// Where to look whether a thing is here.
enum Found {
    Commands,
    WatcherOptions,
    CircusOptions,
    SocketOptions,
    /// The manual page says it.
    Page(&'static str),
}

/// What became of a thing.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Same,
    Changed(&'static str),
    /// It is not here, for this reason.
    Refused(String),
    /// It is accepted and does nothing, for this reason.
    Idle(&'static str),
    Missing,
}

const KINDS: &[Kind] = &[
    Kind {
        title: "Commands",
        found: Found::Commands,
        things: &[
            ("add", "set-everything checked-at-once"),
            ("decr", "queueing one-reap"),
            ("dstats", "dstats-cpu"),
            ("get", "set-freeform"),
            ("globaloptions", ""),
            ("incr", "queueing empty-incr"),
            ("ipython", "no-ipython"),
            ("kill", "one-reap always-answered"),
            ("list", ""),
            ("listen", "ctl-options"),
            ("listsockets", ""),
            ("numprocesses", ""),
            ("numwatchers", ""),
            ("options", ""),
            ("quit", "second-term"),
            ("reload", "queueing one-reap reload-proof reload-sequential"),
            ("reloadconfig", "reloadconfig-live reloadconfig-added"),
            ("restart", "queueing"),
            ("rm", "queueing"),
            ("set", "set-everything set-takes-effect checked-types"),
            ("signal", ""),
            ("start", "start-tops-up queueing"),
            ("stats", "child-cpu ctime"),
            ("status", "status-reason outcomes"),
            ("stop", "deadlines queueing"),
        ],
    },
    Kind {
        title: "Options of watchers",
        found: Found::WatcherOptions,
        things: &[
            ("args", ""),
            ("autostart", "reload-stopped"),
            ("close_child_stderr", ""),
            ("close_child_stdin", ""),
            ("close_child_stdout", ""),
            ("cmd", ""),
            ("copy_env", "env-dollar"),
            ("copy_path", ""),
            ("env", "env-dollar env-sections"),
            ("executable", "refused-options"),
            ("gid", ""),
            ("graceful_timeout", "deadlines"),
            ("hooks.*", "hook-none hook-deadline hook-signal"),
            ("max_age", "max-age"),
            ("max_age_variance", "max-age"),
            ("max_retry", "max-retry"),
            ("numprocesses", "empty-incr"),
            ("on_demand", "on-demand"),
            ("priority", "stop-order"),
            ("respawn", "respawn slow-crashes"),
            ("rlimit_*", "one-watcher-fails"),
            ("send_hup", "reload-options"),
            ("shell", "shell-script"),
            ("shell_args", "shell-script"),
            ("singleton", "singleton-reload"),
            ("stderr_stream.*", "set-stream-class stream-keys"),
            ("stdin_socket", ""),
            ("stdout_stream.*", "set-stream-class stream-keys"),
            ("stop_children", "whole-tree"),
            ("stop_signal", ""),
            ("uid", ""),
            ("use_sockets", ""),
            ("virtualenv", "virtualenv"),
            ("virtualenv_py_ver", ""),
            ("warmup_delay", ""),
            ("working_dir", ""),
        ],
    },
    Kind {
        title: "Options of [circus]",
        found: Found::CircusOptions,
        things: &[
            ("check_delay", "respawn"),
            ("debug", ""),
            ("debug_gc", ""),
            ("endpoint", "no-strangers"),
            ("endpoint_owner", "endpoint-owner"),
            ("fqdn_prefix", "fqdn-prefix"),
            ("httpd", "web-console"),
            ("httpd_close_outputs", ""),
            ("httpd_host", "web-console"),
            ("httpd_port", ""),
            ("include", "all-errors"),
            ("include_dir", "all-errors"),
            ("loggerconfig", ""),
            ("loglevel", ""),
            ("logoutput", "syslog"),
            ("multicast_endpoint", "no-discovery"),
            ("pidfile", "reused-pid"),
            ("prereload_fn", ""),
            ("proc_name", ""),
            ("pubsub_endpoint", "no-strangers"),
            ("ssh_server", ""),
            ("statsd", ""),
            ("statsd_close_outputs", ""),
            ("stats_endpoint", "no-strangers"),
            ("stream_backend", ""),
            ("umask", ""),
            ("warmup_delay", ""),
        ],
    },
    Kind {
        title: "Options of sockets",
        found: Found::SocketOptions,
        things: &[
            ("backlog", ""),
            ("blocking", ""),
            ("family", "inet6"),
            ("host", ""),
            ("interface", "interface"),
            ("path", "stale-socket"),
            ("port", ""),
            ("proto", ""),
            ("replace", "stale-socket"),
            ("so_reuseport", "reuseport-queue"),
            ("type", ""),
            ("umask", "socket-umask"),
        ],
    },
    Kind {
        title: "Events",
        found: Found::Page("man/circus-protocol.7"),
        things: &[
            ("add", ""),
            ("hook_failure", ""),
            ("hook_success", ""),
            ("kill", ""),
            ("reap", "one-reap"),
            ("reload", ""),
            ("remove", ""),
            ("spawn", ""),
            ("start", ""),
            ("stop", "outcomes"),
            ("updated", ""),
        ],
    },
    Kind {
        title: "Streams",
        found: Found::Page("man/circus.ini.5"),
        things: &[
            ("FancyStdoutStream", "whole-lines"),
            ("FileStream", "whole-lines rotation-without-backups"),
            ("QueueStream", "no-queue"),
            ("StdoutStream", "whole-lines"),
            ("TimedRotatingFileStream", "whole-lines rotate-when rotate-names rotate-bare-name utc-false"),
            ("WatchedFileStream", "whole-lines"),
        ],
    },
    Kind {
        title: "Topics of the statistics",
        found: Found::Page("man/circus-protocol.7"),
        things: &[
            ("stat.WATCHER", "stats-names stats-fields"),
            ("stat.WATCHER.PID", "stats-names stats-fields child-cpu ctime"),
            ("stat.circus", ""),
            ("stat.circus.PID", ""),
            ("stat.sockets", "stats-hits"),
            ("stat.sockets.FD", "stats-hits"),
        ],
    },
    Kind {
        title: "Flags of circusd-stats",
        found: Found::Page("man/circusd-stats.1"),
        things: &[
            ("--endpoint", ""),
            ("--log-level", ""),
            ("--log-output", ""),
            ("--pubsub", ""),
            ("--ssh", "no-stats-ssh"),
            ("--statspoint", ""),
            ("--version", ""),
        ],
    },
    Kind {
        title: "Flags of circus-top",
        found: Found::Page("man/circus-top.1"),
        things: &[("--endpoint", ""), ("--process-timeout", ""), ("--ssh", ""), ("--version", "")],
    },
    Kind {
        title: "Flags of circusd",
        found: Found::Page("man/circusd.1"),
        things: &[
            ("--daemon", "bind-failure"),
            ("--help", ""),
            ("--log-level", ""),
            ("--log-output", "syslog"),
            ("--logger-config", "no-loggerconfig"),
            ("--pidfile", "reused-pid"),
            ("--version", ""),
        ],
    },
    Kind {
        title: "Flags of circusctl",
        found: Found::Page("man/circusctl.1"),
        things: &[
            ("--endpoint", ""),
            ("--help", ""),
            ("--json", "json-exit"),
            ("--prettify", ""),
            ("--ssh", ""),
            ("--ssh_keyfile", ""),
            ("--timeout", ""),
            ("--version", ""),
            ("--children", ""),
            ("--extended", ""),
            ("--graceful_timeout", "ctl-options"),
            ("--match", ""),
            ("--nostop", "ctl-options"),
            ("--recursive", ""),
            ("--sequential", "reload-sequential"),
            ("--signum", ""),
            ("--start", ""),
            ("--terminate", ""),
            ("--waiting", "ctl-options"),
        ],
    },
];

/// The difference of an option that only embedding programs read.
const EMBEDDING: &str = "fqdn-prefix";

/// Differences that explain why something is not here.
const ABSENT: &[&str] = &["no-ipython", "no-queue", "no-loggerconfig", "no-stats-ssh"];

impl Kind {
    fn fate(&self, (name, changes): Thing) -> Fate {
        let (here, support) = self.look(name);
        match support {
            Support::Refused(reason) => Fate::Refused(reason.to_owned()),
            Support::Ignored(reason) => Fate::Idle(reason),
            Support::Works if ABSENT.contains(&changes) => Fate::Refused(format!("`{changes}`")),
            Support::Works if changes == EMBEDDING => Fate::Idle("has no effect: see `fqdn-prefix`"),
            Support::Works if !here => Fate::Missing,
            Support::Works if changes.is_empty() => Fate::Same,
            Support::Works => Fate::Changed(changes),
        }
    }

    fn look(&self, name: &str) -> (bool, Support) {
        let setting = |found: Option<Support>| (found.is_some(), found.unwrap_or(Support::Works));
        match self.found {
            Found::Commands => (COMMANDS.iter().any(|spec| spec.name == name), Support::Works),
            Found::WatcherOptions => setting(WATCHER_OPTIONS.iter().find(|o| o.key == name).map(|o| o.support)),
            Found::CircusOptions => setting(CIRCUS_OPTIONS.iter().find(|o| o.key == name).map(|o| o.support)),
            Found::SocketOptions => setting(SOCKET_OPTIONS.iter().find(|o| o.key == name).map(|o| o.support)),
            Found::Page(page) => (says(&tree::read(page).text, name), Support::Works),
        }
    }

    /// What we have and 0.19 has not.
    fn new_things(&self) -> Vec<&'static str> {
        let ours: Vec<&str> = match self.found {
            Found::Commands => COMMANDS.iter().map(|spec| spec.name).collect(),
            Found::WatcherOptions => WATCHER_OPTIONS.iter().map(|option| option.key).collect(),
            Found::CircusOptions => CIRCUS_OPTIONS.iter().map(|option| option.key).collect(),
            Found::SocketOptions => SOCKET_OPTIONS.iter().map(|option| option.key).collect(),
            Found::Page(_) => Vec::new(),
        };
        let theirs: BTreeSet<&str> = self.things.iter().map(|(name, _)| *name).collect();
        // `hooks` and the streams as wholes are how `set` and `add` name what files name key by key.
        let is_whole = |name: &str| theirs.contains(format!("{name}.*").as_str());
        ours.into_iter().filter(|name| !theirs.contains(name) && !is_whole(name)).collect()
    }

    fn section(&self) -> String {
        let fates: Vec<(&str, Fate)> = self.things.iter().map(|thing| (thing.0, self.fate(*thing))).collect();
        let named = |wanted: fn(&Fate) -> bool| -> String {
            let names = fates.iter().filter(|(_, fate)| wanted(fate)).map(|(name, _)| format!("`{name}`"));
            names.collect::<Vec<_>>().join(", ")
        };
        let mut text = format!("**{}**\n\n", self.title);
        for (word, names) in [
            ("Same", named(|fate| *fate == Fate::Same)),
            ("Not built yet", named(|fate| *fate == Fate::Missing)),
            ("New here", self.new_things().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        ] {
            if !names.is_empty() {
                text += &format!("{word}: {names}.\n\n");
            }
        }
        let changed: Vec<String> = fates
            .iter()
            .filter_map(|(name, fate)| match fate {
                Fate::Changed(by) => {
                    let by: Vec<String> = by.split(' ').map(|id| format!("`{id}`")).collect();
                    Some(format!("| `{name}` | changed | {} |\n", by.join(", ")))
                }
                Fate::Refused(reason) => Some(format!("| `{name}` | refused | {reason} |\n")),
                Fate::Idle(reason) => Some(format!("| `{name}` | accepted without effect | {reason} |\n")),
                Fate::Same | Fate::Missing => None,
            })
            .collect();
        if !changed.is_empty() {
            text += &format!("| name | here | see |\n| --- | --- | --- |\n{}\n", changed.concat());
        }
        text
    }
}

/// Whether a manual page speaks of something, under whatever marks of roff.
fn says(page: &str, name: &str) -> bool {
    let mut plain = page.replace("\\-", "-");
    for mark in ["\\fB", "\\fI", "\\fR", ".BI ", ".B ", "\""] {
        plain = plain.replace(mark, "");
    }
    // The parts of a topic stand apart: "stat. WATCHER . PID".
    let topic = |line: &str| name.starts_with("stat.") && line.replace(' ', "") == name;
    plain.lines().any(|line| topic(line) || line.split([' ', ',']).any(|word| word == name))
}

/// The section's text.
pub(crate) fn block() -> String {
    let text: String = KINDS.iter().map(Kind::section).collect();
    format!("{}\n", text.trim_end())
}

/// Names of differences that no row of `docs/differences.md` explains.
pub(crate) fn unexplained(section: &str) -> Vec<String> {
    let ids = KINDS.iter().flat_map(|kind| kind.things).flat_map(|(_, changes)| changes.split_whitespace());
    let missing: BTreeSet<&str> = ids.filter(|id| !section.contains(&format!("| `{id}` |"))).collect();
    missing.into_iter().map(|id| format!("docs/differences.md has no row `{id}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_what_the_tables_say() {
        let kind = |found| Kind { title: "", found, things: &[] };
        assert_eq!(kind(Found::Commands).fate(("list", "")), Fate::Same);
        assert_eq!(kind(Found::Commands).fate(("list", "queueing")), Fate::Changed("queueing"));
        assert_eq!(kind(Found::Commands).fate(("nonsense", "")), Fate::Missing);
        assert_eq!(kind(Found::Commands).fate(("nonsense", "no-queue")), Fate::Refused("`no-queue`".into()));
        assert!(matches!(kind(Found::CircusOptions).fate(("debug_gc", "")), Fate::Idle(_)));
        assert_eq!(kind(Found::Page("man/circusd.1")).fate(("--pidfile", "")), Fate::Same);
        assert_eq!(kind(Found::Page("man/circusd.1")).fate(("--nonsense", "")), Fate::Missing);
    }

    #[test]
    fn new_things_are_listed() {
        let kind = Kind { title: "", found: Found::SocketOptions, things: &[("host", "")] };
        assert!(kind.new_things().contains(&"port") && !kind.new_things().contains(&"host"));
    }

    #[test]
    fn unexplained_difference_is_found() {
        assert!(unexplained("").iter().any(|complaint| complaint.contains("`one-reap`")));
    }
}
