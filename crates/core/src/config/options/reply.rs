//! What `get` and `options` answer.

use serde_json::Value;

use super::{Listed, OptionSpec, WATCHER_OPTIONS, find};
use crate::config::WatcherConfig;
use crate::proto::Object;

/// The answer to `options`: what Circus shows, what was set of the options that it does not have, and every freeform
/// option, in the order of their names. With `all` also what was not set, and what Circus never shows.
pub fn shown(watcher: &WatcherConfig, all: bool) -> Object {
    let listed = WATCHER_OPTIONS.iter().filter_map(|spec| {
        let name = spec.shown_as().or(all.then_some(spec.key))?;
        let value = (spec.get)(watcher, "")?;
        let hidden = !all && spec.listed == Listed::WhenSet && is_default(spec, watcher, &value);
        (!hidden).then(|| (name.to_owned(), value))
    });
    let limits = watcher.rlimits.keys().map(|name| format!("rlimit_{name}"));
    let classes = ["stdout_stream.class", "stderr_stream.class"].map(str::to_owned);
    let parts = limits.chain(classes).filter(|_| all);
    let listed = listed.chain(parts.filter_map(|key| Some((key.clone(), get(watcher, &key)?))));
    let freeform = watcher.freeform.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    let mut all: Vec<(String, Value)> = listed.chain(freeform).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().collect()
}

/// The value of any option, freeform ones included.
pub fn get(watcher: &WatcherConfig, key: &str) -> Option<Value> {
    if let Some(text) = watcher.freeform.get(key) {
        return Some(text.as_str().into());
    }
    match find(key) {
        Some((spec, suffix)) => (spec.get)(watcher, suffix),
        None => {
            WATCHER_OPTIONS.iter().find(|spec| spec.shown_as() == Some(key)).and_then(|spec| (spec.get)(watcher, ""))
        }
    }
}

/// The value of an option as `$(circus.KEY)` names it: of those that `options` always shows.
pub(in crate::config) fn named(watcher: &WatcherConfig, key: &str) -> Option<Value> {
    let spec = WATCHER_OPTIONS.iter().find(|spec| match spec.listed {
        Listed::Always => spec.key == key,
        Listed::As(name) => name == key,
        Listed::WhenSet | Listed::Never => false,
    })?;
    (spec.get)(watcher, "")
}

fn is_default(spec: &OptionSpec, watcher: &WatcherConfig, value: &Value) -> bool {
    let plain = WatcherConfig::new(&watcher.name, "", &watcher.working_dir);
    (spec.get)(&plain, "").as_ref() == Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CIRCUS: &str = "args close_child_stderr close_child_stdin close_child_stdout cmd copy_env env executable gid \
        graceful_timeout max_age max_age_variance max_retry numprocesses on_demand priority respawn send_hup shell \
        shell_args singleton stderr_stream_conf stdout_stream_conf stop_children stop_signal uid use_sockets \
        warmup_delay working_dir";

    fn keys(watcher: &WatcherConfig) -> String {
        shown(watcher, false).keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plain_watcher_shows_what_circus_shows() {
        let watcher = WatcherConfig::new("w", "x", "/");
        assert_eq!(keys(&watcher), CIRCUS);
        let shown = shown(&watcher, false);
        for key in ["args", "env", "executable", "gid", "uid", "shell_args", "stdout_stream_conf", "stderr_stream_conf"]
        {
            assert_eq!(shown.get(key), Some(&json!(null)), "{key}");
        }
        assert_eq!(shown.get("warmup_delay"), Some(&json!(0.0)));
        assert_eq!(shown.get("graceful_timeout"), Some(&json!(30.0)));
        assert_eq!(shown.get("stop_signal"), Some(&json!(15)));
    }

    #[test]
    fn a_watcher_of_a_file_shows_empty_objects_and_whole_delays() {
        let watcher = WatcherConfig { dynamic: false, ..WatcherConfig::new("w", "x", "/") };
        let shown = shown(&watcher, false);
        assert_eq!(shown.get("stdout_stream_conf"), Some(&json!({})));
        assert_eq!(shown.get("warmup_delay"), Some(&json!(0)));
    }

    #[test]
    fn new_options_are_shown_when_set() {
        let mut watcher = WatcherConfig::new("w", "x", "/");
        watcher.min_uptime = 2.0;
        watcher.sockets = vec!["web".into()];
        watcher.autostart = false;
        watcher.freeform.insert("colour".into(), "blue".into());
        watcher.freeform.insert("CMD".into(), "x".into());
        let expected = CIRCUS
            .replace("args", "CMD args")
            .replacen("copy_env", "colour copy_env", 1)
            .replace("numprocesses", "min_uptime numprocesses")
            .replace("stderr_stream_conf", "sockets stderr_stream_conf");
        assert_eq!(keys(&watcher), expected.replacen("shell_CMD args", "shell_args", 1));
    }

    #[test]
    fn all_includes_defaults_limits_and_streams() {
        let mut watcher = WatcherConfig::new("w", "x", "/");
        watcher.rlimits.insert("nofile".into(), Some(5));
        streams_of(&mut watcher);
        let shown = shown(&watcher, true);
        for (key, value) in [
            ("min_uptime", json!(1.0)),
            ("sockets", json!([])),
            ("autostart", json!(true)),
            ("rlimit_nofile", json!(5)),
            ("stdout_stream.class", json!("FileStream")),
            ("stdout_stream_conf", json!({"filename": "f"})),
        ] {
            assert_eq!(shown.get(key), Some(&value), "{key}");
        }
        assert!(shown.keys().all(|key| !key.contains('*')), "{shown:?}");
    }

    #[test]
    fn get_knows_every_option() {
        let mut watcher = WatcherConfig::new("w", "x", "/");
        watcher.freeform.insert("flapping.max_retry".into(), "3".into());
        watcher.rlimits.insert("nofile".into(), Some(5));
        streams_of(&mut watcher);
        for (key, value) in [
            ("cmd", json!("x")),
            ("autostart", json!(true)),
            ("flapping.max_retry", json!("3")),
            ("rlimit_NOFILE", json!(5)),
            ("stdout_stream.class", json!("FileStream")),
            ("stdout_stream_conf", json!({"filename": "f"})),
            ("stdout_stream", json!({"filename": "f"})),
            ("stderr_stream_conf", json!(null)),
        ] {
            assert_eq!(get(&watcher, key), Some(value), "{key}");
        }
        for key in ["nope", "rlimit_core", "stderr_stream.class", "name", "hooks.before_start"] {
            assert_eq!(get(&watcher, key), None, "{key}");
        }
    }

    fn streams_of(watcher: &mut WatcherConfig) {
        watcher.stdout_stream = super::super::streams::from_object(&json!({"class": "FileStream", "filename": "f"}));
    }
}
