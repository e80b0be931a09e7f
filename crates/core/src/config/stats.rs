//! circusd-stats as a watcher like any other: the original's, with our program.

use super::plan::in_force;
use super::words::quote;
use super::{Args, CircusConfig, Config, Host, WatcherConfig, WatcherOrigin};

/// What `list` calls it.
pub const STATS_WATCHER: &str = "circusd-stats";

/// The watcher of circusd-stats, where `[circus]` wants it.
pub(super) fn watcher(circus: &CircusConfig, host: &Host) -> Option<WatcherConfig> {
    if !circus.statsd {
        return None;
    }
    let program = match host.programs.as_str() {
        "" => STATS_WATCHER.to_owned(),
        directory => format!("{directory}/{STATS_WATCHER}"),
    };
    let words = std::iter::once(program).chain(arguments(circus));
    let command = words.map(|word| quote(&word)).collect::<Vec<_>>().join(" ");
    Some(WatcherConfig {
        args: Some(Args::Text(String::new())),
        env: Some(host.env.clone()),
        copy_env: true,
        copy_path: true,
        singleton: true,
        use_sockets: true,
        close_child_stdout: circus.statsd_close_outputs,
        close_child_stderr: circus.statsd_close_outputs,
        dynamic: false,
        origin: WatcherOrigin::Internal,
        ..WatcherConfig::new(STATS_WATCHER, &command, &host.cwd)
    })
}

/// Words of the original's command line; those that it lacks only where they say something.
fn arguments(circus: &CircusConfig) -> Vec<String> {
    let mut words = Vec::new();
    let mut put = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    put("--endpoint", &circus.endpoint);
    put("--pubsub", &circus.pubsub_endpoint);
    put("--statspoint", &circus.stats_endpoint);
    let plain = CircusConfig::default();
    if circus.endpoint_mode != plain.endpoint_mode {
        put("--endpoint-mode", &format!("{:o}", circus.endpoint_mode));
    }
    // On one line, which a command line of the log is too.
    if let Some(roles) = &circus.ipc_roles {
        put("--ipc-roles", &roles.replace('\n', ", "));
    }
    if let Some(owner) = &circus.endpoint_owner {
        put("--endpoint-owner", owner);
    }
    if circus.stats_interval != plain.stats_interval {
        put("--interval", &circus.stats_interval.to_string());
    }
    match (circus.debug, &circus.loglevel) {
        (true, _) => put("--log-level", "debug"),
        (false, Some(level)) => put("--log-level", level),
        (false, None) => {}
    }
    if let Some(output) = &circus.logoutput {
        put("--log-output", output);
    }
    if circus.stats_always {
        words.push("--always".to_owned());
    }
    if circus.allow_anyone_on_the_network_to_control_this_machine {
        words.push("--allow-anyone-on-the-network".to_owned());
    }
    words
}

/// Lets circusd-stats and the console of a configuration that replaces another reach the circusd that runs: some options
/// of `[circus]` count only when that is started again.
pub fn follow_what_runs(new: &mut Config, running: &CircusConfig, host: &Host) {
    super::httpd::follow_what_runs(new, running, host);
    let Some(meant) = watcher(&new.circus, host) else { return };
    let Some(reaching) = watcher(&in_force(running, &new.circus), host) else { return };
    if let Some(watcher) = new.watchers.iter_mut().rev().find(|watcher| **watcher == meant) {
        *watcher = reaching;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { programs: "/opt/a b".into(), cwd: "/".into(), ..Host::default() }
    }

    #[test]
    fn only_where_it_is_wanted() {
        assert_eq!(watcher(&CircusConfig::default(), &host()), None);
        let circus = CircusConfig { statsd: true, ..CircusConfig::default() };
        let watcher = watcher(&circus, &host()).unwrap();
        assert_eq!(
            watcher.cmd,
            "'/opt/a b/circusd-stats' --endpoint tcp://127.0.0.1:5555 --pubsub tcp://127.0.0.1:5556 --statspoint \
             tcp://127.0.0.1:5557"
        );
        assert!(
            watcher.origin == WatcherOrigin::Internal
                && watcher.singleton
                && watcher.use_sockets
                && watcher.copy_env
                && !watcher.close_child_stderr
        );
    }

    #[test]
    fn what_differs_is_passed_on() {
        let circus = CircusConfig {
            statsd: true,
            statsd_close_outputs: true,
            stats_interval: 0.25,
            stats_always: true,
            allow_anyone_on_the_network_to_control_this_machine: true,
            endpoint_mode: 0o660,
            endpoint_owner: Some("me".into()),
            loglevel: Some("warning".into()),
            logoutput: Some("/l".into()),
            ..CircusConfig::default()
        };
        let watcher = watcher(&circus, &Host::default()).unwrap();
        assert!(watcher.cmd.ends_with(
            "--endpoint-mode 660 --endpoint-owner me --interval 0.25 --log-level warning --log-output /l --always \
             --allow-anyone-on-the-network"
        ));
        assert!(
            watcher.cmd.starts_with("circusd-stats --") && watcher.close_child_stdout && watcher.close_child_stderr
        );
    }

    #[test]
    fn it_follows_the_circusd_that_runs() {
        let running = CircusConfig::default();
        let circus = CircusConfig { statsd: true, endpoint: "ipc:///new".into(), ..CircusConfig::default() };
        let watchers = vec![watcher(&circus, &host()).unwrap()];
        let mut new = Config { circus, watchers, sockets: Vec::new(), include_dirs: Vec::new() };
        follow_what_runs(&mut new, &running, &host());
        assert!(new.watchers[0].cmd.contains("--endpoint tcp://127.0.0.1:5555"));
        assert_eq!(new.circus.endpoint, "ipc:///new");
    }
}
