//! The plugins that the program `circus-plugin` has, declared once: from here come what `use` may name, the warnings
//! about their keys, `circus-plugin --list` and circus-plugin(1).

use crate::config::nearest::suggestion;

/// A plugin of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Builtin {
    /// What `use` may call it.
    pub name: &'static str,
    /// Its dotted name: the class of the original that it stands for, where there is one.
    pub class: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
    /// Its keys, beside those of [`SHARED`].
    pub keys: &'static [PluginKey],
}

/// A key of a section `[plugin:NAME]`.
#[derive(Debug, PartialEq, Eq)]
pub struct PluginKey {
    /// As it is written.
    pub name: &'static str,
    /// What holds without it; empty for nothing.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> PluginKey {
    PluginKey { name, default, doc }
}

/// Keys of every plugin, built in or not.
pub static SHARED: &[PluginKey] = &[
    key("use", "", "A built-in plugin, or a Python class."),
    key("cmd", "", "Instead of use: the command that is the plugin."),
    key("args", "", "Arguments of cmd."),
    key("active", "yes", "Start the plugin when circusd starts."),
    key("python", "python3", "The interpreter that runs a Python class."),
    key("python_runner", "no", "Run the class in Python even if there is a built-in plugin for it."),
];

const HOST: PluginKey = key("host", "localhost", "The host of statsd.");
const PORT: PluginKey = key("port", "8125", "The UDP port of statsd.");
const SAMPLE_RATE: PluginKey = key("sample_rate", "1", "The sample rate sent to statsd with each figure.");
const APP: PluginKey = key("application_name", "app", "The second word of each name: circus.APP.watcher.NAME.");
const RATE: PluginKey = key("loop_rate", "60", "Seconds between two checks.");

/// Every plugin of ours.
pub static BUILTINS: &[Builtin] = &[
    Builtin {
        name: "flapping",
        class: Some("circus.plugins.flapping.Flapping"),
        about: "Stops a watcher whose processes exit too often, starts it again after a while, and finally leaves it \
                stopped.",
        keys: &[
            key("attempts", "2", "The number of exits that are too many."),
            key(
                "window",
                "1",
                "The time in which these exits happen, in seconds; check_delay is added for each pause between them, \
                 since circusd's back-off makes a pause that long.",
            ),
            key("retry_in", "7", "Seconds until the watcher is started again."),
            key(
                "max_retry",
                "5",
                "How many times the watcher is restarted before it stays stopped; -1 means no limit.",
            ),
        ],
    },
    Builtin {
        name: "resource_watcher",
        class: Some("circus.plugins.resource_watcher.ResourceWatcher"),
        about: "Restarts a watcher whose processes use too much, or too little, of the processor or the memory.",
        keys: &[
            key("watcher", "", "The watcher; required."),
            key("service", "", "An older name of watcher."),
            key(
                "max_cpu",
                "90",
                "The maximum share of a processor that a process may use, in percent; 0 means no \
                                  limit.",
            ),
            key("min_cpu", "", "The share of a processor that a process has to exceed, in percent."),
            key(
                "max_mem",
                "90",
                "The maximum memory of a process: percent of the machine's memory, or bytes with a unit (200M).",
            ),
            key("min_mem", "", "The minimum memory of a process, written in the same way."),
            key(
                "health_threshold",
                "75",
                "The maximum of the mean of the highest cpu and memory, in percent; 0 means no limit.",
            ),
            key("max_count", "3", "How many checks in a row may find a limit exceeded."),
            key("process_children", "no", "Check the children of the processes too, each by itself."),
            key("child_signal", "TERM", "The signal sent to such a child; its process and its watcher run on."),
            RATE,
            APP,
            HOST,
            PORT,
            SAMPLE_RATE,
        ],
    },
    Builtin {
        name: "command_reloader",
        class: Some("circus.plugins.command_reloader.CommandReloader"),
        about: "Restarts a watcher when its program, or a file that it depends on, has changed.",
        keys: &[
            key("loop_rate", "1", "Seconds between two checks."),
            key("inotify", "no", "Check when the kernel reports a change, not at intervals."),
            key("paths", "", "More files and directories; a change in them restarts all watchers of watchers_regex."),
            key(
                "watchers_regex",
                ".*",
                "The watchers that it applies to: a regular expression, matched from the \
                                         beginning of their names.",
            ),
        ],
    },
    Builtin {
        name: "statsd",
        class: Some("circus.plugins.statsd.StatsdEmitter"),
        about: "Counts every event at statsd: circus.APP.watcher.WATCHER.EVENT.",
        keys: &[APP, HOST, PORT, SAMPLE_RATE],
    },
    Builtin {
        name: "full_stats",
        class: Some("circus.plugins.statsd.FullStats"),
        about: "Sends statsd the number of processes of each watcher, and their share of processor and memory.",
        keys: &[RATE, APP, HOST, PORT, SAMPLE_RATE],
    },
    Builtin {
        name: "redis_observer",
        class: Some("circus.plugins.redis_observer.RedisObserver"),
        about: "Sends statsd the figures of a Redis server, and restarts a watcher when the server does not answer.",
        keys: &[
            key("redis_url", "redis://localhost:6379/0", "The URL of the server."),
            key("timeout", "5", "Seconds to wait for an answer."),
            key("restart_on_timeout", "", "The watcher to restart."),
            RATE,
            key("application_name", "redis_observer", APP.doc),
            HOST,
            PORT,
            SAMPLE_RATE,
        ],
    },
    Builtin {
        name: "http_observer",
        class: Some("circus.plugins.http_observer.HttpObserver"),
        about: "Requests a page, sends statsd the time that it took, and restarts a watcher when the request fails.",
        keys: &[
            key("check_url", "http://localhost/", "The URL of the page."),
            key("timeout", "10", "Seconds to wait for the whole answer."),
            key("restart_on_error", "", "The watcher to restart."),
            RATE,
            key("application_name", "http_observer", APP.doc),
            HOST,
            PORT,
            SAMPLE_RATE,
        ],
    },
    Builtin {
        name: "watchdog",
        class: Some("circus.plugins.watchdog.WatchDog"),
        about: "Kills processes that no longer send heartbeats by UDP.",
        keys: &[
            RATE,
            key(
                "watchers_regex",
                ".*",
                "The watchers that it applies to: a regular expression, matched from the beginning of their names; \
                 never plugins.",
            ),
            key(
                "msg_regex",
                "^(?P<pid>.*);(?P<timestamp>.*)$",
                "A regular expression for heartbeats; its group pid names the process.",
            ),
            key("max_count", "3", "The number of intervals of loop_rate for which a process may send no heartbeat."),
            key("ip", "127.0.0.1", "The address to listen on."),
            key("port", "1664", "The UDP port to listen on."),
            key("watchers_stop_signal", "", "The stop signal; by default the watcher's own."),
            key("watchers_graceful_timeout", "", "The graceful_timeout; by default the watcher's own."),
        ],
    },
    Builtin {
        name: "logger",
        class: None,
        about: "Writes every event to a file, a line each.",
        keys: &[
            key("filename", "", "The file; by default circusd's log. It is opened again after it has been moved."),
            key("events", "", "The kinds of events that it applies to, separated by commas; by default all."),
        ],
    },
    Builtin {
        name: "webhook",
        class: None,
        about: "Sends events to a web server, a POST with a JSON object each.",
        keys: &[
            key("url", "", "The URL to send to; required."),
            key("events", "", "The kinds of events that it applies to, separated by commas; by default all."),
            key(
                "watchers_regex",
                ".*",
                "The watchers that it applies to: a regular expression, matched from the \
                                         beginning of their names.",
            ),
            key(
                "lines",
                "yes",
                "Tell a failed exit (reap) with text, what happened in words, signal, the signal that ended the \
                 worker (if one did), lived, the seconds that it had run, and lines, its last lines.",
            ),
            key("timeout", "10", "Seconds to wait for an answer."),
            key("max_retry", "5", "How many times a failed delivery is retried, after 1, 2, 4 ... seconds."),
            key("queue", "1000", "How many events may wait to be sent; further events are dropped and counted."),
        ],
    },
    Builtin {
        name: "notify",
        class: None,
        about: "Tells a person that a watcher fails, that it still does, and that it is back to normal, by a command or \
                a web server.",
        keys: &[
            key(
                "command",
                "",
                "A command that reads the message from its standard input, such as mail -s circus root; either this \
                 or url is required.",
            ),
            key("url", "", "The URL that the message is sent to in a POST."),
            key(
                "content_type",
                "application/json",
                "The type of the POST. With json in it, values are escaped as in JSON.",
            ),
            key(
                "template",
                "",
                "The message, with $(watcher), $(state) (failed, still fails or is back to normal), $(text) (what \
                 happened, in words), $(count) (of failures), $(lines) (the last lines of the worker), $(signal), \
                 $(lived) (seconds) and $(host) replaced. By default $(host): $(watcher) $(state): $(text) and the \
                 lines; for a POST of JSON, an object with this as text.",
            ),
            key(
                "events",
                "reap, stop, unhealthy, reload_failed, hook_failure",
                "The kinds of events that it applies to, separated by commas: failed exits that were not asked for, \
                 stops for a reason, failed checks, reloads and hooks.",
            ),
            key(
                "watchers_regex",
                ".*",
                "The watchers that it applies to: a regular expression, matched from the beginning of their names. \
                 Never plugins.",
            ),
            key("repeat", "900", "Seconds after which a watcher that still fails is told again."),
            key("calm", "60", "Seconds without a failure after which an active watcher is back to normal."),
            key("max_messages", "20", "How many messages are sent within window; others are left out and counted."),
            key("window", "3600", "Seconds that max_messages applies to."),
            key("history", "", "A file with the last messages, a JSON object in each line; none by default."),
            key("history_size", "100", "How many messages the file has at most."),
            key("timeout", "10", "Seconds that the command or the server may take."),
            key("queue", "100", "How many messages may wait to be sent; further ones are dropped and counted."),
        ],
    },
    Builtin {
        name: "prometheus",
        class: Some("circus.plugins.prometheus"),
        about: "Serves the figures of watchers, their processes, sockets and circusd as OpenMetrics text: GET /metrics.",
        keys: &[
            key(
                "listen",
                "127.0.0.1:5558",
                "The address and port of the HTTP server. A port alone means 127.0.0.1; other machines can read the \
                 figures if another address is given, so it has to be written out (0.0.0.0:5558).",
            ),
            key(
                "socket",
                "",
                "In place of listen: the name of a managed socket, which becomes the plugin's stdin_socket.",
            ),
        ],
    },
];

impl Builtin {
    /// The plugin of ours that a `use` means.
    pub fn find(name: &str) -> Option<&'static Self> {
        BUILTINS.iter().find(|builtin| builtin.name == name || builtin.class == Some(name))
    }

    /// The one that was probably meant, as a message goes on about it.
    pub fn nearest(name: &str) -> String {
        suggestion(name, BUILTINS.iter().map(|builtin| builtin.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_two_names_at_most_and_no_key_twice() {
        for (at, builtin) in BUILTINS.iter().enumerate() {
            assert_eq!(Builtin::find(builtin.name), Some(builtin));
            assert!(builtin.class.is_none_or(|class| Builtin::find(class) == Some(builtin)));
            assert!(BUILTINS.iter().skip(at + 1).all(|other| other.name != builtin.name));
            let mut keys: Vec<_> = builtin.keys.iter().chain(SHARED).map(|key| key.name).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        }
    }
}
