//! Workers of an earlier circusd that was killed: they live on, and this circusd would start each a second time.
//!
//! They are recognized by their command line. A worker leads a session, and its parent is no circusd any more. One that
//! has given itself another title is not recognized.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use circus_core::base::CollectOrdered as _;
use nix::poll::{PollTimeout, poll};
use nix::unistd::Pid;

use super::log::Log;
use super::state_file::{self, Document, KnownWorker};
use crate::arbiter::{Level, Now};
use crate::config::{CircusConfig, Config, KillMode, OnOrphans, SocketConfig, WatcherOrigin, argv, stop_schedule};
use crate::proto::Signal;
use crate::sys::{Cgroup, Extent, ManagedSocket, Proc, Survivor, has_our_program, kill_trees, since_boot, take_back};

/// An interpreter of the `#!` line and its option may stand before a script.
const INTERPRETER_WORDS: usize = 2;
/// How long a worker of a watcher that is not in the configuration any more may take to end.
const DEFAULT_TIMEOUT: f64 = 30.0;
/// No worker holds up the start for longer.
const LONGEST_TIMEOUT: f64 = 60.0;
/// Workers of a watcher that are looked for: a start is not to wait for a hundred thousand.
const MAX_WORKERS: u32 = 1000;

/// Whether a circusd with these files may have been killed. Without any file, that is not known. It saves most
/// starts a look at every process.
pub(super) fn may_exist(pidfile: Option<&str>, circus: &CircusConfig) -> bool {
    let pidfile = pidfile.filter(|path| !path.is_empty());
    let endpoints = [&circus.endpoint, &circus.pubsub_endpoint].map(|endpoint| endpoint.strip_prefix("ipc://"));
    let mut files = endpoints.into_iter().flatten().chain(pidfile).peekable();
    files.peek().is_none() || files.any(|file| Path::new(file).exists())
}

/// What is left of a circusd that was killed and goes on.
#[derive(Default)]
pub(super) struct Survivors {
    /// Its workers.
    pub(super) adopted: Vec<KnownWorker>,
    /// Its managed sockets, as far as workers have them.
    pub(super) taken: Vec<ManagedSocket>,
}

/// Whether a circusd that follows this one after a crash goes on with its workers.
pub(super) fn are_adopted(circus: &CircusConfig) -> bool {
    let has_file = circus.state_file.as_deref().is_some_and(|path| !path.is_empty());
    has_file && circus.on_orphans == OnOrphans::Adopt && !circus.workers_end_with_circusd
}

/// Ends the workers that `state_file` lists, or adopts them. `stored`: the managed sockets that are here already.
pub(super) fn deal_with(
    config: &Config,
    stored: Vec<ManagedSocket>,
    log: &mut Log,
    now: Now,
) -> Result<Survivors, String> {
    let none = |stored| Survivors { adopted: Vec::new(), taken: stored };
    let Some(path) = config.circus.state_file.as_deref().filter(|path| !path.is_empty()) else {
        return Ok(none(stored));
    };
    let Some(document) = state_file::survivors(path)? else { return Ok(none(stored)) };
    if document.workers.is_empty() {
        return Ok(none(stored));
    }
    let pids: Vec<String> = document.workers.iter().map(|worker| worker.identity.pid.to_string()).collect();
    let pids = pids.join(",");
    match config.circus.on_orphans {
        OnOrphans::End => {
            log.line(Level::Warning, now, format!("ending workers that a killed circusd has left behind pids={pids}"));
            end(config, &document.workers);
            Ok(none(stored))
        }
        OnOrphans::Adopt => {
            log.line(
                Level::Warning,
                now,
                format!("adopting workers that a killed circusd has left behind pids={pids}"),
            );
            let taken = take_sockets(config, &document, stored);
            Ok(Survivors { adopted: document.workers, taken })
        }
    }
}

/// Stops processes as their watchers say, and kills each that has not ended in the time that it has.
fn end(config: &Config, workers: &[KnownWorker]) {
    let proc = Proc::default();
    let mut left = Vec::new();
    for worker in workers {
        let watcher = config.watchers.iter().find(|watcher| watcher.name == worker.watcher);
        let signals = watcher.map_or_else(|| vec![(0.0, Signal::TERM), (DEFAULT_TIMEOUT, Signal::KILL)], stop_schedule);
        let mode = watcher.map_or(KillMode::Mixed, |watcher| watcher.kill_mode);
        let due = |seconds: f64| since_boot() + Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_TIMEOUT));
        let signals: VecDeque<_> = signals.into_iter().map(|(at, signal)| (due(at), signal)).collect();
        let group = watcher.filter(|watcher| watcher.cgroup).and_then(|_| Cgroup::of(worker.identity.pid));
        left.push((worker.identity, (mode, group), signals));
    }
    loop {
        left.retain(|(identity, ..)| identity.is_alive(&proc));
        if left.is_empty() {
            return;
        }
        let mut overdue = Vec::new();
        for (identity, (mode, group), signals) in &mut left {
            let extent = match mode {
                KillMode::Mixed | KillMode::Process => Extent::Process,
                KillMode::Group => Extent::Group,
                KillMode::Tree | KillMode::Cgroup => Extent::Tree,
            };
            let reaches_all = !matches!(mode, KillMode::Process | KillMode::Group);
            match signals.front().filter(|(due, _)| *due <= since_boot()) {
                // It is killed again and again until it is gone.
                Some((_, Signal::KILL)) if reaches_all => {
                    if let Some(group) = group {
                        group.kill(&proc);
                    }
                    overdue.push((identity.pid, Some(identity.started)));
                }
                Some((_, Signal::KILL)) => identity.send_to(&proc, Signal::KILL, extent),
                Some((_, signal)) => {
                    match group {
                        Some(group) if *mode == KillMode::Cgroup => group.send(&proc, *signal),
                        _ => identity.send_to(&proc, *signal, extent),
                    }
                    signals.pop_front();
                }
                None => {}
            }
        }
        if !overdue.is_empty() {
            kill_trees(&proc, &overdue);
        }
        // A signal to circusd meanwhile is taken up by the first turn.
        let _interrupted = poll(&mut [], PollTimeout::from(10_u8));
    }
}

/// The managed sockets that are here already, and those that workers of before still have.
fn take_sockets(config: &Config, document: &Document, stored: Vec<ManagedSocket>) -> Vec<ManagedSocket> {
    let survivors = document.workers.iter().filter_map(|worker| Survivor::open(worker.identity).ok());
    let mut listeners: Vec<_> = survivors.flat_map(|survivor| survivor.listeners()).collect();
    let is_here = |config: &&SocketConfig| stored.iter().any(|socket| socket.name == config.name);
    let own = config.sockets.iter().filter(|socket| !socket.so_reuseport && !is_here(socket));
    let taken = own.filter_map(|socket| take_back(socket, document.sockets.get(&socket.name)?, &mut listeners));
    let taken: Vec<ManagedSocket> = taken.collect();
    stored.into_iter().chain(taken).collect()
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
            "{watcher}: its command already runs in a process that a killed circusd has probably left behind, so it \
            now runs twice; end that process, or set workers_end_with_circusd = yes in [circus] pids={}",
            pids.join(",")
        )
    };
    found.into_iter().map(line).collect()
}

/// The command lines that workers will have, and their watchers' names.
struct Commands<'a>(BTreeMap<Vec<String>, &'a str>);

impl<'a> Commands<'a> {
    fn of(config: &'a Config, sockets: &[ManagedSocket]) -> Self {
        let numbers = sockets.iter().map(|socket| (socket.name.clone(), socket.number)).collect_map();
        let user = config.watchers.iter().filter(|watcher| watcher.origin == WatcherOrigin::User);
        let commands = user.flat_map(|watcher| {
            let wids = 1..=watcher.numprocesses.min(MAX_WORKERS);
            let commands: Vec<_> = wids.filter_map(|wid| argv(watcher, wid, &numbers).ok()).collect();
            commands.into_iter().map(|words| (comparable(&words), watcher.name.as_str()))
        });
        Self(commands.collect_map())
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
        let config =
            Config { circus: CircusConfig::default(), watchers, sockets: Vec::new(), include_dirs: Vec::new() };
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
