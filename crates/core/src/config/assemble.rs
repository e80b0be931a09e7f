//! From sections to a configuration: every part is read, every problem noted, and then it is decided whether what is
//! sound is enough to start with.

use std::path::Path;

use super::env::Environment;
use super::ini::{Entry, Ini};
use super::nearest::suggestion;
use super::options::{CIRCUS_OPTIONS, SOCKET_OPTIONS, find, regular_file};
use super::section::Source;
use super::watcher::{self, Watcher};
use super::{Config, Host, Problem, Severity, SocketConfig, circus, named_sockets, plugin, socket, stats};

/// What the sections mean. Without a configuration, a problem says why. The disk is asked one thing only, through
/// `is_directory`: whether the directory of a stream's file is there.
pub(super) fn assemble(ini: &Ini, host: &Host, is_directory: &dyn Fn(&Path) -> bool) -> (Option<Config>, Vec<Problem>) {
    let environment = Environment::new(ini, host);
    let mut source = Source { ini, environment: &environment, host, problems: Vec::new() };
    check_names(&mut source);
    let circus = circus::read(&mut source);
    let sockets = socket::read(&mut source);
    let mut watchers = watcher::read(&mut source);
    watchers.sound.extend(plugin::read(&mut source, &circus));
    watchers.sound.retain(|watcher| {
        source.problems.extend(demand_warning(watcher, &sockets));
        let problems: Vec<_> = socket_problems(watcher, &sockets)
            .chain(stream_problems(watcher, host, is_directory))
            .chain(virtualenv_problem(watcher, host, is_directory))
            .collect();
        let sound = problems.is_empty();
        if let Some(problem) = problems.first() {
            let place = super::Place { file: problem.file.clone(), line: problem.line };
            watchers.skipped.get_or_insert(place);
        }
        source.problems.extend(problems);
        sound
    });
    let mut problems = source.problems;
    if let (true, Some(place)) = (watchers.sound.is_empty(), &watchers.skipped) {
        problems.push(Problem::fatal(place, "no watcher without an error is left, so circusd does not start"));
    }
    let watchers = watchers.sound.into_iter().map(|watcher| watcher.config);
    let watchers = watchers.chain(stats::watcher(&circus, host)).collect();
    let sound = problems.iter().all(|problem| problem.severity < Severity::Fatal);
    (sound.then_some(Config { circus, watchers, sockets }), problems)
}

/// Whether `strict` forbids to start with these problems.
pub(super) fn forbids(ini: &Ini, config: &Config, problems: &[Problem]) -> Option<Problem> {
    let count = problems.iter().filter(|problem| problem.severity == Severity::Skipped).count();
    let section = ini.section("circus").filter(|_| config.circus.strict && count > 0)?;
    let place = section.get("strict").map_or(&section.place, |entry| &entry.place);
    let text = format!("[circus] strict: there are errors ({count}), so circusd does not start");
    Some(Problem::fatal(place, text))
}

/// Notes sections that nobody reads, and keys of `[DEFAULT]` that mean nothing anywhere.
fn check_names(source: &mut Source<'_>) {
    const PREFIXES: [&str; 4] = ["env:", "watcher:", "socket:", "plugin:"];
    for section in source.ini.sections() {
        let name = section.name.as_str();
        if ["circus", "env"].contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let hint = match name.split_once(':') {
            Some((kind, _)) => suggestion(&format!("{kind}:"), PREFIXES),
            None => suggestion(name, ["circus", "env"]),
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
        watcher.problem(key, &format!("there is no sound [socket:{name}]{hint}"))
    })
}

/// Without a socket that listens while no worker runs, no connection can start an on_demand watcher.
fn demand_warning(watcher: &Watcher<'_>, sockets: &[SocketConfig]) -> Option<Problem> {
    let config = &watcher.config;
    let named = named_sockets(config);
    let is_own = |socket: &&SocketConfig| named.contains(&socket.name) || named.is_empty() && config.use_sockets;
    let own: Vec<&SocketConfig> = sockets.iter().filter(is_own).collect();
    if !config.on_demand || own.iter().any(|socket| !socket.so_reuseport) {
        return None;
    }
    let why = if own.is_empty() {
        "the watcher names no managed socket"
    } else {
        "with so_reuseport nobody listens while no worker runs"
    };
    Some(watcher.warning("on_demand", &format!("{why}, so only start with its name starts it")))
}

fn virtualenv_problem(watcher: &Watcher<'_>, host: &Host, is_directory: &dyn Fn(&Path) -> bool) -> Option<Problem> {
    let lib = Path::new(&host.cwd).join(watcher.config.virtualenv.as_ref()?).join("lib");
    let text = || format!("there is no virtual environment: the directory {} does not exist", lib.display());
    (!is_directory(&lib)).then(|| watcher.problem("virtualenv", &text()))
}

fn stream_problems<'w>(
    watcher: &'w Watcher<'_>,
    host: &'w Host,
    is_directory: &'w dyn Fn(&Path) -> bool,
) -> impl Iterator<Item = Problem> + 'w {
    let config = &watcher.config;
    let streams =
        [("stdout_stream.filename", &config.stdout_stream), ("stderr_stream.filename", &config.stderr_stream)];
    streams.into_iter().filter_map(move |(key, stream)| {
        let file = Path::new(&host.cwd).join(regular_file(stream.as_ref()?)?);
        let directory = file.parent().filter(|directory| !is_directory(directory))?;
        Some(watcher.problem(key, &format!("the directory {} does not exist", directory.display())))
    })
}

#[cfg(test)]
mod tests;
