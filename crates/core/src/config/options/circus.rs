//! The options of `[circus]`.

use super::field::{Field, store};
use super::setting::{field, live, unused};
use super::{Kind, Setting, Support};
use crate::config::CircusConfig;

const DEAD: Support = Support::Ignored("has no effect, as in Circus 0.19");
const NO_HTTPD: Support = Support::Ignored("has no effect: the web console is not part of circusd");

/// Every option of `[circus]`.
pub static CIRCUS_OPTIONS: &[Setting<CircusConfig>] = &[
    field!(
        allow_anyone_on_the_network_to_control_this_machine,
        Bool,
        "no",
        "yes",
        "Let other machines reach the endpoints: anyone can then control circusd, without a password."
    ),
    live!(check_delay, Seconds, "5", "2", "Seconds; the longest pause of the back-off that crash loops get."),
    live!(debug, Bool, "no", "yes", "Let plugins log everything."),
    unused!(debug_gc, Bool, "no", "yes", "A switch of Python's garbage collector.", DEAD),
    field!(endpoint, Text, "tcp://127.0.0.1:5555", "ipc:///run/circus/control", "Where requests are answered."),
    field!(endpoint_mode, Octal, "0600", "0660", "The mode of the socket file of an ipc endpoint."),
    field!(
        endpoint_owner,
        Text,
        "",
        "deploy",
        "The user that owns the socket file of an ipc endpoint, by name or number. Requests that arrive there act for \
         this user: add has to name it as uid, and only watchers that run as this user can be changed, started, \
         stopped, signalled and read, by options that take no effect with circusd's own rights."
    ),
    live!(
        exit_on,
        Text,
        "end",
        "failure",
        "Which end of a watcher with essential = yes ends circusd: end, whatever its last worker's exit status, or \
         failure, an end by a signal or with an exit status that is not in success_codes. circusd stops the other \
         watchers in order, and exits with that status; 128 and the number of a signal; 1 if no worker could be started."
    ),
    live!(fqdn_prefix, Text, "", "web", "A name that is put before that of the machine."),
    unused!(httpd, Bool, "no", "yes", "Start the web console.", NO_HTTPD),
    unused!(httpd_close_outputs, Bool, "no", "yes", "Discard the output of the web console.", DEAD),
    unused!(httpd_host, Text, "localhost", "127.0.0.1", "Where the web console listens.", Support::Works),
    unused!(httpd_port, Int, "8080", "8081", "Where the web console listens.", Support::Works),
    unused!(
        include,
        Text,
        "",
        "conf.d/*.ini more.ini",
        "Files or patterns of files to read after this one, relative to it.",
        Support::Works
    ),
    unused!(
        include_dir,
        Text,
        "",
        "conf.d",
        "Directories whose *.ini to read after this one, relative to it.",
        Support::Works
    ),
    unused!(
        loggerconfig,
        Text,
        "",
        "logging.yaml",
        "A file of Python's logging module.",
        Support::Ignored(
            "has no effect: circusd reads no files of Python's logging module; use loglevel and logoutput"
        )
    ),
    live!(
        log_format,
        Text,
        "text",
        "json",
        "How the log is written: text, as Circus has it, or json, an object in each line with time, level, process, \
         message, and a key for each key=value of the text."
    ),
    Setting {
        put: |circus, value| {
            let level = Option::<String>::read(value)?.map(|level| level.to_lowercase());
            if let Some(level) = &level
                && !["critical", "error", "warning", "info", "debug"].contains(&level.as_str())
            {
                // As in the original; the warning comes from where the file is read.
                circus.loglevel = Some("info".into());
                return Ok(());
            }
            circus.loglevel = level;
            Ok(())
        },
        ..live!(loglevel, Text, "", "debug", "critical, error, warning, info or debug; without, info.")
    },
    live!(
        logoutput,
        Text,
        "",
        "/var/log/circusd.log",
        "Where to log: - is standard error; a file, opened again when it was moved; syslog://HOST:PORT?FACILITY; \
         syslog:///dev/log?FACILITY."
    ),
    Setting {
        support: Support::Ignored("is not supported yet: no client will discover this circusd"),
        ..field!(
            multicast_endpoint,
            Text,
            "",
            "udp://237.219.251.97:12027",
            "The UDP address at which clients discover this circusd; empty means none."
        )
    },
    field!(
        on_orphans,
        Text,
        "end",
        "adopt",
        "What is done with workers that a killed circusd has left, where state_file tells of them: end, they are stopped \
         before anything is started; adopt, they go on as workers of the new circusd, with the sockets that they listen at."
    ),
    field!(pidfile, Text, "", "/run/circusd.pid", "The file for circusd's process id."),
    unused!(prereload_fn, Text, "", "module.function", "A Python function.", DEAD),
    unused!(proc_name, Text, "", "circusd", "The name of circusd in process listings.", DEAD),
    field!(pubsub_endpoint, Text, "tcp://127.0.0.1:5556", "ipc:///run/circus/events", "Where events are published."),
    live!(
        python,
        Text,
        "",
        "/opt/venv/bin/python",
        "The Python that runs hooks that are Python functions; without, python3 as circusd's own PATH finds it."
    ),
    unused!(ssh_server, Text, "", "me@example.org", "A host to tunnel through.", DEAD),
    field!(
        state_file,
        Text,
        "",
        "/run/circusd.state",
        "The file in which circusd writes down which workers live, for the circusd after one that was killed; without, it \
         only warns of those that it recognizes."
    ),
    live!(
        stats_always,
        Bool,
        "no",
        "yes",
        "Let circusd-stats sample processes even without a subscriber to its figures."
    ),
    live!(
        stats_endpoint,
        Text,
        "tcp://127.0.0.1:5557",
        "ipc:///run/circus/stats",
        "Where circusd-stats publishes. Setting this also enables circusd-stats, regardless of statsd."
    ),
    Setting {
        put: |circus, value| {
            let interval = f64::read(value)?;
            if !(0.1..=3600.0).contains(&interval) {
                return Err(format!("{interval} is not between 0.1 and 3600"));
            }
            circus.stats_interval = interval;
            Ok(())
        },
        ..live!(
            stats_interval,
            Seconds,
            "1",
            "0.5",
            "Seconds between two looks of circusd-stats at a process, and two messages about it; 0.1 at least."
        )
    },
    live!(statsd, Bool, "no", "yes", "Start circusd-stats, which publishes what processes use."),
    live!(
        statsd_close_outputs,
        Bool,
        "no",
        "yes",
        "Discard the log of circusd-stats, unless logoutput names a destination."
    ),
    unused!(stream_backend, Text, "", "gevent", "thread or gevent.", DEAD),
    live!(
        strict,
        Bool,
        "no",
        "yes",
        "Refuse to start if a watcher, socket or included file has an error; otherwise only the watcher or socket is \
         skipped."
    ),
    Setting {
        put: |circus, value| {
            let mask = u32::read(value)?;
            if mask > 0o777 {
                return Err(format!("{mask:o} is out of range"));
            }
            circus.umask = Some(mask);
            Ok(())
        },
        ..live!(
            umask,
            Octal,
            "",
            "027",
            "The umask of circusd and its workers; without, the one circusd was started with."
        )
    },
    live!(warmup_delay, WholeSeconds, "0", "1", "Seconds between the starts of two watchers."),
    live!(
        workers_end_with_circusd,
        Bool,
        "no",
        "yes",
        "Let the kernel send SIGTERM to workers when circusd ends without having stopped them, as after a SIGKILL. It \
         applies to workers that start later, and not to processes that workers have started."
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn rows_are_described_and_their_defaults_are_the_defaults() {
        let plain = CircusConfig::default();
        for setting in CIRCUS_OPTIONS {
            assert!(setting.doc.ends_with('.'), "{}", setting.key);
            let Ok(value) = setting.kind.read(setting.default) else { continue };
            let mut circus = plain.clone();
            (setting.put)(&mut circus, &value).unwrap();
            assert_eq!(circus, plain, "{}", setting.key);
            assert_eq!(setting.objection(&value), Support::Works);
        }
    }

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = CIRCUS_OPTIONS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), CIRCUS_OPTIONS.len());
    }

    #[test]
    fn an_unknown_level_means_info() {
        let mut circus = CircusConfig::default();
        let level = CIRCUS_OPTIONS.iter().find(|setting| setting.key == "loglevel").unwrap();
        (level.put)(&mut circus, &Value::from("Loud")).unwrap();
        assert_eq!(circus.loglevel.as_deref(), Some("info"));
        (level.put)(&mut circus, &Value::from("DEBUG")).unwrap();
        assert_eq!(circus.loglevel.as_deref(), Some("debug"));
    }
}
