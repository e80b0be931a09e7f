//! circushttpd as a watcher like any other, on a socket that circusd owns: the original's, with our program.

use std::path::Path;

use super::facts::{Facts, FileKind};
use super::plan::in_force;
use super::section::Source;
use super::words::quote;
use super::{Args, CircusConfig, Config, Family, Host, Problem, SocketConfig, WatcherConfig, WatcherOrigin};

/// What `list` and `listsockets` call it.
pub const HTTPD_WATCHER: &str = "circushttpd";

/// Where the program is.
fn program(host: &Host) -> String {
    match host.programs.as_str() {
        "" => HTTPD_WATCHER.to_owned(),
        directory => format!("{directory}/{HTTPD_WATCHER}"),
    }
}

/// Leaves the console out where its program is not installed, and says which package has it.
pub(super) fn leave_out_missing(source: &mut Source<'_>, circus: &mut CircusConfig, facts: &dyn Facts) {
    if !circus.httpd || source.host.programs.is_empty() {
        return;
    }
    let program = program(source.host);
    if facts.file(Path::new(&program)).is_ok_and(|file| file.kind == FileKind::Regular) {
        return;
    }
    circus.httpd = false;
    let Some(section) = source.ini.section("circus") else { return };
    let place = section.get("httpd").map_or(&section.place, |entry| &entry.place);
    let text = format!(
        "[circus] httpd: there is no {program}, so there is no console; install the package circus-console \
         (cargo install --locked --path services/console)"
    );
    source.problems.push(Problem::skipped(place, text));
}

/// Its socket, where `[circus]` wants it and the file has none of this name.
pub(super) fn add_socket(circus: &CircusConfig, sockets: &mut Vec<SocketConfig>) {
    if !circus.httpd || sockets.iter().any(|socket| socket.name == HTTPD_WATCHER) {
        return;
    }
    let mut socket = SocketConfig { port: circus.httpd_port, ..SocketConfig::new(HTTPD_WATCHER) };
    let host = circus.httpd_host.as_str();
    match host.strip_prefix("unix:").or_else(|| host.starts_with('/').then_some(host)) {
        Some(path) => {
            socket.path = Some(path.to_owned());
            socket.family = Family::Unix;
            // Only circusd's user may connect, and a leftover is in nobody's way.
            socket.umask = 0o177;
            socket.replace = true;
        }
        None => {
            socket.host = host.to_owned();
            if host.contains(':') {
                socket.family = Family::Inet6;
            }
        }
    }
    let at = sockets.partition_point(|other| other.name < socket.name);
    sockets.insert(at, socket);
}

/// The watcher, where `[circus]` wants it.
pub(super) fn watcher(circus: &CircusConfig, host: &Host) -> Option<WatcherConfig> {
    if !circus.httpd {
        return None;
    }
    let mut words: Vec<String> = vec![program(host)];
    let mut put = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    put("--endpoint", &circus.endpoint);
    put("--pubsub", &circus.pubsub_endpoint);
    if circus.statsd {
        put("--stats", &circus.stats_endpoint);
    }
    words.push("--end-with-parent".to_owned());
    let command = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    let command = format!("{command} --fd $(circus.sockets.{HTTPD_WATCHER})");
    Some(WatcherConfig {
        args: Some(Args::Text(String::new())),
        env: Some(host.env.clone()),
        copy_env: true,
        copy_path: true,
        singleton: true,
        use_sockets: true,
        close_child_stdout: circus.httpd_close_outputs,
        close_child_stderr: circus.httpd_close_outputs,
        dynamic: false,
        origin: WatcherOrigin::Internal,
        ..WatcherConfig::new(HTTPD_WATCHER, &command, &host.cwd)
    })
}

/// As for circusd-stats: lets the console of a configuration that replaces another reach the circusd that runs.
pub(super) fn follow_what_runs(new: &mut Config, running: &CircusConfig, host: &Host) {
    let Some(meant) = watcher(&new.circus, host) else { return };
    let Some(reaching) = watcher(&in_force(running, &new.circus), host) else { return };
    if let Some(watcher) = new.watchers.iter_mut().rev().find(|watcher| **watcher == meant) {
        *watcher = reaching;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circus(host: &str) -> CircusConfig {
        CircusConfig { httpd: true, httpd_host: host.into(), httpd_port: 81, ..CircusConfig::default() }
    }

    #[test]
    fn only_where_it_is_wanted() {
        let host = Host { programs: "/opt/a b".into(), cwd: "/".into(), ..Host::default() };
        assert_eq!(watcher(&CircusConfig::default(), &host), None);
        let mut sockets = Vec::new();
        add_socket(&CircusConfig::default(), &mut sockets);
        assert_eq!(sockets, []);
        let watcher = watcher(&CircusConfig { statsd: true, ..circus("localhost") }, &host).unwrap();
        assert_eq!(
            watcher.cmd,
            "'/opt/a b/circushttpd' --endpoint tcp://127.0.0.1:5555 --pubsub tcp://127.0.0.1:5556 --stats \
             tcp://127.0.0.1:5557 --end-with-parent --fd $(circus.sockets.circushttpd)"
        );
        assert!(watcher.origin == WatcherOrigin::Internal && watcher.singleton && watcher.use_sockets);
    }

    #[test]
    fn its_socket_is_tcp_or_a_file() {
        let of = |host: &str| {
            let mut sockets = vec![SocketConfig::new("a"), SocketConfig::new("web")];
            add_socket(&circus(host), &mut sockets);
            assert_eq!(sockets[1].name, HTTPD_WATCHER);
            sockets.remove(1)
        };
        let socket = of("127.0.0.1");
        assert_eq!((socket.host.as_str(), socket.port, socket.family), ("127.0.0.1", 81, Family::Inet));
        assert_eq!(of("::1").family, Family::Inet6);
        for host in ["/run/web", "unix:/run/web"] {
            let socket = of(host);
            assert_eq!((socket.path.as_deref(), socket.umask, socket.family), (Some("/run/web"), 0o177, Family::Unix));
        }
        let mut own = vec![SocketConfig { port: 99, ..SocketConfig::new(HTTPD_WATCHER) }];
        add_socket(&circus("127.0.0.1"), &mut own);
        assert_eq!((own.len(), own[0].port), (1, 99));
    }

    #[test]
    fn it_follows_the_circusd_that_runs() {
        let host = Host { cwd: "/".into(), ..Host::default() };
        let circus = CircusConfig { endpoint: "ipc:///new".into(), ..circus("localhost") };
        let watchers = vec![watcher(&circus, &host).unwrap()];
        let mut new = Config { circus, watchers, sockets: Vec::new(), include_dirs: Vec::new() };
        super::super::follow_what_runs(&mut new, &CircusConfig::default(), &host);
        assert!(new.watchers[0].cmd.contains("--endpoint tcp://127.0.0.1:5555"), "{}", new.watchers[0].cmd);
    }
}
