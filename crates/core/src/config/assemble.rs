//! From sections to a configuration: every part is read, every problem noted, and then it is decided whether what is
//! valid is enough to start with.

use std::path::Path;

use super::env::Environment;
use super::facts::{Facts, is_directory};
use super::ini::{Entry, Ini};
use super::nearest::suggestion;
use super::options::{CIRCUS_OPTIONS, SOCKET_OPTIONS, find, regular_file};
use super::section::Source;
use super::watcher::{self, Watcher, Watchers};
use super::{
    CircusConfig, Config, Host, Needs, Problem, Severity, SocketConfig, SocketType, WatcherConfig, argv, circus,
    foreign, httpd, named_sockets, order_fault, plugin, slots, socket, stats,
};
use crate::base::CollectOrdered as _;

/// What the sections mean, before it is decided whether that is enough to start with.
pub(super) struct Assembled<'a> {
    pub(super) circus: CircusConfig,
    pub(super) sockets: Vec<SocketConfig>,
    /// The valid watchers, sorted by name, and the plugins after them.
    pub(super) watchers: Vec<Watcher<'a>>,
    /// Those that are left out, as far as they could be read.
    pub(super) unsound: Vec<Watcher<'a>>,
    pub(super) problems: Vec<Problem>,
}

/// Reads every section. The machine is asked one thing only: whether the directories of streams' files and of virtual
/// environments exist.
pub(super) fn assemble<'a>(
    ini: &'a Ini,
    environment: &'a Environment<'a>,
    host: &'a Host,
    facts: &dyn Facts,
) -> Assembled<'a> {
    let mut source = Source { ini, environment, host, problems: Vec::new() };
    check_names(&mut source);
    let mut circus = circus::read(&mut source);
    httpd::leave_out_missing(&mut source, &mut circus, facts);
    let mut sockets = socket::read(&mut source);
    httpd::add_socket(&circus, &mut sockets);
    let Watchers { mut sound, mut unsound } = watcher::read(&mut source);
    let plugins = plugin::read(&mut source, &circus);
    sound.extend(plugins.sound);
    unsound.extend(plugins.unsound);
    let mut watchers = Vec::with_capacity(sound.len());
    for watcher in sound {
        source.problems.extend(demand_warning(&watcher, &sockets));
        source.problems.extend(memory_warning(&watcher, &circus));
        let problems: Vec<_> = socket_problems(&watcher, &sockets)
            .chain(stream_problems(&watcher, host, facts))
            .chain(virtualenv_problem(&watcher, host, facts))
            .chain(time_zone_problem(&watcher, facts))
            .chain(command_problem(&watcher, &sockets))
            .collect();
        if problems.is_empty() { &mut watchers } else { &mut unsound }.push(watcher);
        source.problems.extend(problems);
    }
    source.problems.extend(leave_out_disordered(&mut watchers, &mut unsound));
    slots::warnings(&mut source, &watchers);
    let mut problems = source.problems;
    problems.extend(nothing_to_start(ini, &watchers, &unsound));
    Assembled { circus, sockets, watchers, unsound, problems }
}

impl Assembled<'_> {
    /// The configuration, and the problems; without a configuration, a problem says why.
    pub(super) fn into_config(self, host: &Host) -> (Option<Config>, Vec<Problem>) {
        let watchers = self.watchers.into_iter().map(|watcher| watcher.config);
        let own = [stats::watcher(&self.circus, host), httpd::watcher(&self.circus, host)];
        let watchers = watchers.chain(own.into_iter().flatten()).collect();
        let sound = self.problems.iter().all(|problem| problem.severity < Severity::Fatal);
        let config = Config { circus: self.circus, watchers, sockets: self.sockets, include_dirs: Vec::new() };
        (sound.then_some(config), self.problems)
    }
}

/// A file that was meant to run something, and of which nothing is left.
fn nothing_to_start(ini: &Ini, watchers: &[Watcher<'_>], unsound: &[Watcher<'_>]) -> Option<Problem> {
    if !watchers.is_empty() {
        return None;
    }
    if let Some(watcher) = unsound.last() {
        let text = "no valid watcher remains; circusd will not start";
        return Some(Problem::fatal(&watcher.section.place, text));
    }
    let misnamed = ini.sections().find(|section| foreign::is_misnamed_watcher(&section.name))?;
    let instead = foreign::section(&misnamed.name)?;
    let text = format!(
        "no watcher is defined: [{}] is not a watcher section; write {instead}; circusd will not start",
        misnamed.name
    );
    Some(Problem::fatal(&misnamed.place, text))
}

/// Leaves out the watchers that could never start, since one of those that they come after is unknown, or comes after them.
fn leave_out_disordered<'a>(watchers: &mut Vec<Watcher<'a>>, unsound: &mut Vec<Watcher<'a>>) -> Vec<Problem> {
    if watchers.iter().all(|watcher| Needs::of(&watcher.config).is_empty()) {
        return Vec::new();
    }
    let all: Vec<&WatcherConfig> = watchers.iter().chain(unsound.iter()).map(|watcher| &watcher.config).collect();
    let needs: Vec<Needs<'_>> = all.iter().map(|config| Needs::of(config)).collect();
    let faults: Vec<_> = watchers.iter().map(|w| order_fault(Needs::of(&w.config), &needs)).collect();
    let mut problems = Vec::new();
    let mut kept = Vec::with_capacity(watchers.len());
    for (watcher, fault) in std::mem::take(watchers).into_iter().zip(faults) {
        problems.extend(fault.as_ref().map(|(option, fault)| watcher.problem(option, fault)));
        if fault.is_none() { &mut kept } else { &mut *unsound }.push(watcher);
    }
    *watchers = kept;
    problems
}

/// A command of which no words can be made could never be started.
fn command_problem(watcher: &Watcher<'_>, sockets: &[SocketConfig]) -> Option<Problem> {
    let config = &watcher.config;
    let numbers = sockets.iter().map(|socket| (socket.name.clone(), 3)).collect_map();
    let error = argv(config, 1, &numbers).err()?;
    let key = ["args", "shell_args"].into_iter().find(|key| error.starts_with(&format!("{key}: "))).unwrap_or("cmd");
    let entry = watcher.section.get(key);
    if key == "cmd" && entry.is_none() {
        return Some(watcher.problem(key, "is missing; write cmd = COMMAND"));
    }
    let error = error.strip_prefix(&format!("{key}: ")).unwrap_or(&error);
    let cut = entry.and_then(|entry| entry.comment.as_ref()).map_or_else(String::new, |comment| {
        format!(" (a ';' after a blank begins a comment, so '{comment}' is not part of the value)")
    });
    Some(watcher.problem(key, &format!("{error}{cut}")))
}

/// Whether `strict` forbids to start with these problems.
pub(super) fn forbids(ini: &Ini, config: &Config, problems: &[Problem]) -> Option<Problem> {
    let count = problems.iter().filter(|problem| problem.severity == Severity::Skipped).count();
    let section = ini.section("circus").filter(|_| config.circus.strict && count > 0)?;
    let place = section.get("strict").map_or(&section.place, |entry| &entry.place);
    let text = format!("[circus] strict: there are errors ({count}), so circusd does not start");
    Some(Problem::fatal(place, text))
}

/// Notes sections that are not read, and keys of `[DEFAULT]` that mean nothing anywhere.
fn check_names(source: &mut Source<'_>) {
    const PREFIXES: [&str; 5] = ["env:", "watcher:", "slots:", "socket:", "plugin:"];
    for section in source.ini.sections() {
        let name = section.name.as_str();
        if ["circus", "env"].contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let hint = match (foreign::section(name), name.split_once(':')) {
            (Some(instead), _) => format!("; here it is {instead}"),
            (None, Some((kind, _))) => suggestion(&format!("{kind}:"), PREFIXES),
            (None, None) => suggestion(name, ["circus", "env"]),
        };
        let text = format!("unknown section [{name}], which is ignored{hint}");
        source.problems.push(Problem::warning(&section.place, text));
    }
    let known = |entry: &&Entry| {
        find(&entry.key).is_some()
            || CIRCUS_OPTIONS.iter().any(|setting| setting.key == entry.key)
            || SOCKET_OPTIONS.iter().any(|setting| setting.key == entry.key)
            || entry.key.contains('.')
    };
    for entry in source.ini.defaults().iter().filter(|entry| !known(entry)) {
        let text = format!("unknown key '{}' in [DEFAULT]", entry.key);
        source.problems.push(Problem::warning(&entry.place, text));
    }
}

/// A watcher whose sockets are missing could never start.
fn socket_problems<'w>(watcher: &'w Watcher<'_>, sockets: &'w [SocketConfig]) -> impl Iterator<Item = Problem> + 'w {
    let config = &watcher.config;
    let wanted = config.stdin_socket.iter().map(|name| ("stdin_socket", name));
    let wanted = wanted.chain(config.sockets.iter().map(|name| ("sockets", name)));
    wanted.filter(|(_, name)| sockets.iter().all(|socket| socket.name != **name)).map(|(key, name)| {
        let hint = suggestion(name, sockets.iter().map(|socket| socket.name.as_str()));
        watcher.problem(key, &format!("no valid [socket:{name}] section was found{hint}"))
    })
}

/// What is to outlive circusd has to be written down.
fn memory_warning(watcher: &Watcher<'_>, circus: &CircusConfig) -> Option<Problem> {
    let lasts = circus.state_file.as_ref().is_some_and(|path| !path.is_empty());
    let lost = watcher.config.remember && !lasts;
    lost.then(|| watcher.warning("remember", "has no effect, as [circus] has no state_file"))
}

/// Without a socket that listens while no worker runs, no connection can start an on_demand watcher.
fn demand_warning(watcher: &Watcher<'_>, sockets: &[SocketConfig]) -> Option<Problem> {
    let config = &watcher.config;
    let named = named_sockets(config);
    let is_own = |socket: &&SocketConfig| named.contains(&socket.name) || named.is_empty() && config.use_sockets;
    let own: Vec<&SocketConfig> = sockets.iter().filter(is_own).collect();
    if config.idle_timeout > 0.0 && !config.on_demand {
        return Some(watcher.warning("idle_timeout", "has no effect without on_demand"));
    }
    if config.idle_timeout > 0.0 && own.iter().any(|socket| socket.kind != SocketType::Stream) {
        let text = "has no effect, as a datagram socket has no connections that could be counted";
        return Some(watcher.warning("idle_timeout", text));
    }
    if !config.on_demand || own.iter().any(|socket| !socket.so_reuseport) {
        return None;
    }
    let why = if own.is_empty() {
        "the watcher names no managed socket"
    } else {
        "with so_reuseport no socket listens while no worker runs"
    };
    Some(watcher.warning("on_demand", &format!("{why}; no socket activates it, so start it explicitly")))
}

fn time_zone_problem(watcher: &Watcher<'_>, facts: &dyn Facts) -> Option<Problem> {
    let name = watcher.config.cron.timezone.as_ref().filter(|name| !facts.has_time_zone(name))?;
    Some(watcher.problem("timezone", &format!("there is no time zone '{name}' on this machine")))
}

fn virtualenv_problem(watcher: &Watcher<'_>, host: &Host, facts: &dyn Facts) -> Option<Problem> {
    let lib = Path::new(&host.cwd).join(watcher.config.virtualenv.as_ref()?).join("lib");
    let text = || format!("there is no virtual environment: the directory {} does not exist", lib.display());
    (!is_directory(facts, &lib)).then(|| watcher.problem("virtualenv", &text()))
}

fn stream_problems<'w>(
    watcher: &'w Watcher<'_>,
    host: &'w Host,
    facts: &'w dyn Facts,
) -> impl Iterator<Item = Problem> + 'w {
    let config = &watcher.config;
    let streams =
        [("stdout_stream.filename", &config.stdout_stream), ("stderr_stream.filename", &config.stderr_stream)];
    streams.into_iter().filter_map(move |(key, stream)| {
        let file = Path::new(&host.cwd).join(regular_file(stream.as_ref()?)?);
        let directory = file.parent().filter(|directory| !is_directory(facts, directory))?;
        Some(watcher.problem(key, &format!("the directory {} does not exist", directory.display())))
    })
}

#[cfg(test)]
mod tests;
