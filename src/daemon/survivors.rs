//! Workers of an earlier circusd that was killed: they live on, and this circusd would start each a second time.
//!
//! They are recognized by their command line. A worker leads a session, and its parent is no circusd any more. One that
//! has given itself another title is not recognized.

use std::collections::BTreeMap;
use std::path::Path;

use nix::unistd::Pid;

use crate::config::{CircusConfig, Config, WatcherOrigin, argv};
use crate::sys::{ManagedSocket, Proc, has_our_program};

/// An interpreter of the `#!` line and its option may stand before a script.
const INTERPRETER_WORDS: usize = 2;
/// Workers of a watcher that are looked for: a start is not to wait for a hundred thousand.
const MAX_WORKERS: u32 = 1000;

/// Whether a circusd with these files may have been killed. Where it had none at all, that cannot be told. It saves most
/// starts a look at every process.
pub(super) fn may_exist(pidfile: Option<&str>, circus: &CircusConfig) -> bool {
    let pidfile = pidfile.filter(|path| !path.is_empty());
    let endpoints = [&circus.endpoint, &circus.pubsub_endpoint].map(|endpoint| endpoint.strip_prefix("ipc://"));
    let mut files = endpoints.into_iter().flatten().chain(pidfile).peekable();
    files.peek().is_none() || files.any(|file| Path::new(file).exists())
}

/// What the log should say, a line for each watcher.
pub(super) fn warnings(config: &Config, sockets: &[ManagedSocket]) -> Vec<String> {
    let commands = Commands::of(config, sockets);
    let mut found: BTreeMap<&str, Vec<Pid>> = BTreeMap::new();
    for pid in orphaned_leaders() {
        if let Some(watcher) = commands.watcher_of(&command_line(pid)) {
            found.entry(watcher).or_default().push(pid);
        }
    }
    let line = |(watcher, pids): (&str, Vec<Pid>)| {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        format!(
            "{watcher}: its command runs already, and no circusd is its parent: it is probably left from a circusd that \
             was killed, and runs twice from now on; end it, or set workers_end_with_circusd = yes in [circus] pids={}",
            pids.join(",")
        )
    };
    found.into_iter().map(line).collect()
}

/// The command lines that workers will have, and their watchers' names.
struct Commands<'a>(BTreeMap<Vec<String>, &'a str>);

impl<'a> Commands<'a> {
    fn of(config: &'a Config, sockets: &[ManagedSocket]) -> Self {
        let numbers = sockets.iter().map(|socket| (socket.name.clone(), socket.number)).collect();
        let user = config.watchers.iter().filter(|watcher| watcher.origin == WatcherOrigin::User);
        let commands = user.flat_map(|watcher| {
            let wids = 1..=watcher.numprocesses.min(MAX_WORKERS);
            let commands: Vec<_> = wids.filter_map(|wid| argv(watcher, wid, &numbers).ok()).collect();
            commands.into_iter().map(|words| (comparable(&words), watcher.name.as_str()))
        });
        Self(commands.collect())
    }

    fn watcher_of(&self, words: &[String]) -> Option<&'a str> {
        let tails = (0..=INTERPRETER_WORDS).filter_map(|skipped| words.get(skipped..)).filter(|tail| !tail.is_empty());
        tails.map(comparable).find_map(|tail| self.0.get(&tail).copied())
    }
}

/// A command line with the program's file name only: a script's interpreter gets its whole path.
fn comparable(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    if let Some(program) = words.first_mut()
        && let Some(file) = Path::new(program.as_str()).file_name()
    {
        *program = file.to_string_lossy().into_owned();
    }
    words
}

/// Session leaders whose parent is no circusd.
fn orphaned_leaders() -> Vec<Pid> {
    let leaders = Proc::default().all().into_iter().filter(|stat| stat.session == stat.pid && !stat.zombie);
    leaders.filter(|stat| !has_our_program(stat.parent)).map(|stat| stat.pid).collect()
}

fn command_line(pid: Pid) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WatcherConfig;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn command_line_names_its_watcher() {
        let watcher = |name, cmd, count| WatcherConfig { numprocesses: count, ..WatcherConfig::new(name, cmd, "/") };
        let watchers = vec![watcher("web", "serve --port 80$(circus.wid)", 2), watcher("job", "/opt/job.py run", 1)];
        let config = Config { circus: CircusConfig::default(), watchers, sockets: Vec::new() };
        let commands = Commands::of(&config, &[]);
        for (line, expected) in [
            ("/usr/bin/serve --port 802", Some("web")),
            ("serve --port 803", None),
            ("serve", None),
            ("/usr/bin/python3 /opt/job.py run", Some("job")),
            ("/bin/sh -e /opt/job.py run", Some("job")),
            ("/opt/job.py run twice", None),
            ("", None),
        ] {
            assert_eq!(commands.watcher_of(&words(line)), expected, "{line}");
        }
    }
}
