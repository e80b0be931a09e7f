//! The options of `[circus]`.

use super::field::{Field, store};
use super::setting::{field, live, unused};
use super::{Change, Kind, Setting, Support};
use crate::access::local_roles;
use crate::config::CircusConfig;

const DEAD: Support = Support::Ignored("has no effect, as in Circus 0.19");

/// Every option of `[circus]`.
pub static CIRCUS_OPTIONS: &[Setting<CircusConfig>] = &[
    field!(
        allow_anyone_on_the_network_to_control_this_machine,
        Bool,
        "no",
        "yes",
        "Allow endpoints that other machines can reach. Every client that reaches them controls circusd, without a \
        password."
    ),
    live!(
        audit_format,
        Text,
        "text",
        "json",
        "The format of the audit log. text: key=value. json: one object in each line."
    ),
    live!(
        audit_log,
        Text,
        "",
        "/var/log/circusd-audit.log",
        "The file to which circusd writes a line for each request that changes something, and for each that it refuses: \
         the time, the client, the command, the watcher, the names of options that are set, and the result. Values are never \
         part of it. circusd creates the file with mode 0600, refuses one that others may read or write, and opens it again \
         when it was moved."
    ),
    live!(check_delay, Seconds, "5", "2", "The longest pause before the next start of a worker in a crash loop."),
    field!(
        curve_authorized_keys,
        Text,
        "",
        "/etc/circus/keys",
        "The clients that curve_server_key lets in: a directory with a file NAME.key for each, as circusctl keygen writes \
         them, or a file with a line NAME ROLE KEY [WATCHER ...] for each. A role is read, operate or admin; the watchers \
         are patterns such as web*, and without any all. reloadconfig reads them again."
    ),
    field!(
        curve_server_key,
        Text,
        "",
        "/etc/circus/server.key_secret",
        "The file of the secret key, as circusctl keygen writes it. With it the endpoints that are tcp:// speak only with \
         clients whose key is in curve_authorized_keys, encrypted, and may be reached from other machines. Endpoints that \
         are ipc:// stay as they are."
    ),
    live!(debug, Bool, "no", "yes", "Make plugins log everything."),
    unused!(debug_gc, Bool, "no", "yes", "A switch of Python's garbage collector.", DEAD),
    field!(
        endpoint,
        Text,
        "tcp://127.0.0.1:5555",
        "ipc:///run/circus/control",
        "The address at which circusd answers \
                                                                                requests."
    ),
    field!(endpoint_mode, Octal, "0600", "0660", "The mode of the socket file of an ipc endpoint."),
    field!(
        endpoint_owner,
        Text,
        "",
        "deploy",
        "The user that owns the socket file of an ipc endpoint: a name or a number. Requests at that endpoint act for \
        this user. They can add only watchers that have this user as uid, and can change, start, stop, signal and \
        read only watchers that run as this user. Options that take effect with the rights of circusd are refused."
    ),
    live!(
        exit_on,
        Text,
        "end",
        "failure",
        "When a watcher with essential = yes ends circusd. end: when its last worker has exited, whatever the exit \
        status. failure: only if a signal ended that worker or its exit status is not in success_codes. circusd stops \
        the other watchers in order and then exits with the exit status of that worker, with 128 plus the number of \
        the signal, or with 1 if no worker could be started."
    ),
    live!(
        fqdn_prefix,
        Text,
        "",
        "web",
        "Stored for programs that embed Circus, which put it before the name of the \
                                        machine. circusd does not use it."
    ),
    live!(
        httpd,
        Bool,
        "no",
        "yes",
        "Start the console, circushttpd(1), which shows and steers circusd in a browser, on a socket of circusd. It is a \
        package of its own, and has to be in the directory of circusd's program."
    ),
    live!(httpd_close_outputs, Bool, "no", "yes", "Discard the log of the console."),
    live!(
        httpd_host,
        Text,
        "localhost",
        "127.0.0.1",
        "The address that the console listens at: a host, or the path of a unix socket, which only circusd's user may use."
    ),
    live!(httpd_port, Int, "8080", "8081", "The port of the console."),
    unused!(
        include,
        Text,
        "",
        "conf.d/*.ini more.ini",
        "Files, or patterns of files, to read after this file. A relative path starts at the directory of this file.",
        Support::Works
    ),
    unused!(
        include_dir,
        Text,
        "",
        "conf.d",
        "Directories whose *.ini files to read after this file. A relative path starts at the directory of this file.",
        Support::Works
    ),
    Setting {
        // An endpoint asks for users from its opening on, or never.
        change: Change::LiveWhere(|from, to| from.ipc_roles.is_some() == to.ipc_roles.is_some()),
        put: |circus, value| {
            let text = Option::<String>::read(value)?;
            text.as_deref().map(local_roles).transpose()?;
            circus.ipc_roles = text;
            Ok(())
        },
        ..field!(
            ipc_roles,
            Text,
            "",
            "alice:operate, @ops:read",
            "The roles of local users at endpoints that are ipc://, separated by commas: USER:ROLE, or @GROUP:ROLE for the \
             members of a group. A role is read, operate or admin. Patterns of watchers may follow behind another colon, \
             as in alice:operate:web* db. The entry of a user counts before those of groups, and of those the first. \
             circusd refuses every other user, except root and its own, which have the role admin. Without ipc_roles, every \
             user that the mode of the socket file lets connect has the role admin. With it, endpoint_mode is 0666 unless \
             the file sets another. reloadconfig looks up users and groups again; to add or remove the option takes a \
             restart."
        )
    },
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
        "The format of the log. text: lines as in Circus. json: one object in each line with time, level, process and \
        message, and with a key for each key=value of the text."
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
        ..live!(
            loglevel,
            Text,
            "",
            "debug",
            "The lowest level that is logged: critical, error, warning, info or \
                                             debug; by default info."
        )
    },
    live!(
        logoutput,
        Text,
        "",
        "/var/log/circusd.log",
        "The destination of the log: - for standard error; a file, which is opened again when it was moved; \
        syslog://HOST:PORT?FACILITY; syslog:///dev/log?FACILITY."
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
        "What happens to workers that a killed circusd has left behind, if state_file lists them. end: they are \
        stopped before anything is started. adopt: they become workers of the new circusd and keep the sockets that \
        they listen on. With adopt, what a worker prints while no circusd runs waits in its pipe, and a worker whose pipe \
        is full waits too."
    ),
    field!(pidfile, Text, "", "/run/circusd.pid", "The file to which circusd writes its process id."),
    unused!(prereload_fn, Text, "", "module.function", "A Python function.", DEAD),
    unused!(proc_name, Text, "", "circusd", "The name of circusd in process listings.", DEAD),
    field!(
        pubsub_endpoint,
        Text,
        "tcp://127.0.0.1:5556",
        "ipc:///run/circus/events",
        "The address at which circusd \
                                                                                      publishes events."
    ),
    live!(
        python,
        Text,
        "",
        "/opt/venv/bin/python",
        "The Python that runs hooks that are Python functions; by default the python3 in circusd's own PATH."
    ),
    unused!(ssh_server, Text, "", "me@example.org", "A host to tunnel through.", DEAD),
    field!(
        state_file,
        Text,
        "",
        "/run/circusd.state",
        "The file in which circusd records its running workers. If circusd is killed, the next circusd finds them \
        there. Without it, the next circusd only warns of workers that it recognizes."
    ),
    live!(stats_always, Bool, "no", "yes", "Let circusd-stats sample processes even if no client subscribes."),
    live!(
        stats_endpoint,
        Text,
        "tcp://127.0.0.1:5557",
        "ipc:///run/circus/stats",
        "The address at which circusd-stats publishes. If it is set, circusd-stats is started even with statsd = no."
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
            "The time between two samples of a process by circusd-stats, and between two messages about it; at least \
            0.1."
        )
    },
    live!(
        statsd,
        Bool,
        "no",
        "yes",
        "Start circusd-stats, which publishes how much processor time and memory \
                                     processes use."
    ),
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
        "Refuse to start if a watcher, socket or included file has an error. Otherwise circusd skips only what has \
        the error."
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
            "The umask of circusd and its workers; by default the umask with which circusd was started."
        )
    },
    live!(warmup_delay, WholeSeconds, "0", "1", "The pause between the starts of two watchers."),
    live!(
        watch,
        Bool,
        "no",
        "yes",
        "Read the configuration again, as reloadconfig does, when an *.ini file in a directory of include_dir has \
        appeared, changed or disappeared. A file that a program has open and writes to is waited for. If a file has an \
        error, the configuration stays as it is."
    ),
    live!(
        workers_end_with_circusd,
        Bool,
        "no",
        "yes",
        "Let the kernel send SIGTERM to the workers when circusd ends without having stopped them, for example after \
        SIGKILL. A change applies to workers that start later. Processes that workers have started get no signal."
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
