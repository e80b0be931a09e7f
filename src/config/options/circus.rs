//! The options of `[circus]`.

use super::field::{Field, store};
use super::setting::{field, unused};
use super::{Change, Kind, Setting, Support};
use crate::config::CircusConfig;

const DEAD: Support = Support::Ignored("has no effect, as in Circus 0.19");
const NO_HTTPD: Support = Support::Refused("the web console is not part of circusd");

/// Every option of `[circus]`.
pub static CIRCUS_OPTIONS: &[Setting<CircusConfig>] = &[
    field!(
        allow_anyone_on_the_network_to_control_this_machine,
        Bool,
        "no",
        "Whether endpoints may be reached from other machines, by anyone and without a password."
    ),
    Setting {
        change: Change::Live,
        ..field!(check_delay, Seconds, "5", "Seconds; the longest pause of the back-off that crash loops get.")
    },
    field!(debug, Bool, "no", "Whether plugins write to circusd's standard output and log everything."),
    unused!(debug_gc, Bool, "no", "A switch of Python's garbage collector.", DEAD),
    field!(endpoint, Text, "tcp://127.0.0.1:5555", "Where requests are answered."),
    field!(endpoint_mode, Octal, "0600", "The mode of the socket file of an ipc endpoint."),
    field!(endpoint_owner, Text, "", "The user who owns the socket file of an ipc endpoint, by name or number."),
    Setting { change: Change::Live, ..field!(fqdn_prefix, Text, "", "A name that is put before that of the machine.") },
    unused!(httpd, Bool, "no", "Whether the web console is started.", NO_HTTPD),
    unused!(httpd_close_outputs, Bool, "no", "Whether the web console is silent.", DEAD),
    unused!(httpd_host, Text, "localhost", "Where the web console listens.", Support::Works),
    unused!(httpd_port, Int, "8080", "Where the web console listens.", Support::Works),
    unused!(include, Text, "", "Files or patterns of files to read after this one, relative to it.", Support::Works),
    unused!(include_dir, Text, "", "Directories whose *.ini to read after this one, relative to it.", Support::Works),
    unused!(
        loggerconfig,
        Text,
        "",
        "A file of Python's logging module.",
        Support::Refused("files of Python's logging module cannot be read; use loglevel and logoutput")
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
        change: Change::Live,
        ..field!(loglevel, Text, "", "critical, error, warning, info or debug; without, info.")
    },
    Setting {
        change: Change::Live,
        ..field!(logoutput, Text, "", "Where to log: - is standard error; a file; syslog://HOST:PORT?FACILITY.")
    },
    Setting {
        support: Support::Ignored("is not supported yet: no client will discover this circusd"),
        ..field!(multicast_endpoint, Text, "", "The UDP address at which clients discover this circusd; empty is none.")
    },
    field!(pidfile, Text, "", "The file for circusd's process id."),
    unused!(prereload_fn, Text, "", "A Python function.", DEAD),
    unused!(proc_name, Text, "", "The name of circusd in process listings.", DEAD),
    field!(pubsub_endpoint, Text, "tcp://127.0.0.1:5556", "Where events are published."),
    unused!(ssh_server, Text, "", "A host to tunnel through.", DEAD),
    unused!(
        statsd,
        Bool,
        "no",
        "Whether circusd-stats is started.",
        Support::Refused("circusd-stats is not supported yet")
    ),
    unused!(statsd_close_outputs, Bool, "no", "Whether circusd-stats is silent.", DEAD),
    Setting {
        support: Support::Ignored("does not start circusd-stats, which is not supported yet"),
        ..field!(stats_endpoint, Text, "tcp://127.0.0.1:5557", "Where circusd-stats publishes.")
    },
    unused!(stream_backend, Text, "", "thread or gevent.", DEAD),
    Setting {
        change: Change::Live,
        ..field!(
            strict,
            Bool,
            "no",
            "Whether any error in a watcher, socket or included file keeps circusd from starting."
        )
    },
    Setting {
        put: |circus, value| {
            let mask = u32::read(value)?;
            if mask > 0o777 {
                return Err(format!("{mask:o} is out of range"));
            }
            circus.umask = Some(mask);
            Ok(())
        },
        change: Change::Live,
        ..field!(umask, Octal, "", "The umask of circusd and its workers; without, the one circusd was started with.")
    },
    Setting {
        change: Change::Live,
        ..field!(warmup_delay, WholeSeconds, "0", "Seconds between the starts of two watchers.")
    },
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
