//! The options in which two configurations of a watcher differ.

use std::collections::BTreeSet;

use super::{Kind, WATCHER_OPTIONS};
use crate::base::CollectOrdered as _;
use crate::config::WatcherConfig;

/// The options that differ, as one would write them: `cmd`, `rlimit_nofile`, `stdout_stream.filename`, and `env.NAME`
/// for a variable. How the watcher was made is no option.
pub(in crate::config) fn differences(old: &WatcherConfig, new: &WatcherConfig) -> Vec<String> {
    if old == new {
        return Vec::new();
    }
    let alike = |watcher: &WatcherConfig| WatcherConfig { dynamic: false, ..watcher.clone() };
    let (old, new) = (&alike(old), &alike(new));
    let mut keys = Vec::new();
    let suffixes: BTreeSet<&str> = suffixes(old).chain(suffixes(new)).collect_set();
    for spec in WATCHER_OPTIONS {
        let differs = |suffix: &str| (spec.get)(old, suffix) != (spec.get)(new, suffix);
        match (spec.kind, spec.key.strip_suffix('*')) {
            (Kind::Env, _) => keys.extend(variables(old, new)),
            // Its keys are options of their own.
            (Kind::Stream | Kind::Hooks, _) => {}
            // The values of its section count, too.
            (_, Some(prefix @ "slot.")) => keys.extend(slots(old, new).map(|name| format!("{prefix}{name}"))),
            (_, Some(prefix)) => {
                keys.extend(suffixes.iter().filter(|suffix| differs(suffix)).map(|suffix| format!("{prefix}{suffix}")));
            }
            (_, None) if differs("") => keys.push(spec.key.to_owned()),
            (_, None) => {}
        }
    }
    for name in old.freeform.keys().chain(new.freeform.keys()) {
        if old.freeform.get(name) != new.freeform.get(name) && !keys.contains(name) {
            keys.push(name.clone());
        }
    }
    keys
}

/// What can follow the fixed part of an option whose name has a free part.
fn suffixes(watcher: &WatcherConfig) -> impl Iterator<Item = &str> {
    let streams = watcher.stdout_stream.iter().chain(&watcher.stderr_stream);
    let keys = streams.flat_map(|stream| stream.options.keys());
    let points = watcher.hooks.keys().map(|point| point.name());
    watcher.rlimits.keys().chain(keys).map(String::as_str).chain(["class"]).chain(points)
}

fn slots<'w>(old: &'w WatcherConfig, new: &'w WatcherConfig) -> impl Iterator<Item = &'w String> {
    let names: BTreeSet<&String> = old.slots.keys().chain(new.slots.keys()).collect_set();
    names.into_iter().filter(|name| old.slots.get(*name) != new.slots.get(*name))
}

fn variables(old: &WatcherConfig, new: &WatcherConfig) -> Vec<String> {
    let value = |watcher: &WatcherConfig, name: &String| watcher.env.as_ref().and_then(|env| env.get(name)).cloned();
    let names: BTreeSet<&String> =
        [old, new].into_iter().flat_map(|watcher| &watcher.env).flatten().map(|(n, _)| n).collect_set();
    names.into_iter().filter(|name| value(old, name) != value(new, name)).map(|name| format!("env.{name}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::StreamConfig;

    fn watcher(change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
        let mut watcher = WatcherConfig { dynamic: false, env: Some([].into()), ..WatcherConfig::new("w", "x", "/") };
        change(&mut watcher);
        watcher
    }

    fn stream(filename: &str) -> Option<StreamConfig> {
        super::super::streams::from_object(&json!({"class": "FileStream", "filename": filename, "max_bytes": 5}))
    }

    #[test]
    fn keys_are_named_as_they_are_written() {
        let old = watcher(|w| {
            w.env = Some([("A".into(), "1".into()), ("B".into(), "2".into())].into());
            w.stdout_stream = stream("/a");
            w.rlimits.insert("core".into(), None);
            w.freeform.insert("flapping.window".into(), "5".into());
        });
        let new = watcher(|w| {
            w.cmd = "y".into();
            w.env = Some([("A".into(), "1".into()), ("B".into(), "3".into()), ("C".into(), String::new())].into());
            w.stdout_stream = stream("/b");
            w.rlimits.insert("nofile".into(), Some(5));
            w.freeform.insert("retry_in".into(), "7".into());
        });
        let expected = "cmd env.B env.C retry_in rlimit_core rlimit_nofile stdout_stream.filename flapping.window";
        assert_eq!(differences(&old, &new).join(" "), expected);
        assert_eq!(differences(&old, &old), Vec::<String>::new());
    }

    #[test]
    fn a_stream_that_comes_or_goes_differs_in_each_key() {
        let (old, new) = (watcher(|_| {}), watcher(|w| w.stderr_stream = stream("/a")));
        let expected = ["stderr_stream.class", "stderr_stream.filename", "stderr_stream.max_bytes"];
        assert_eq!(differences(&old, &new), expected);
        assert_eq!(differences(&new, &old), expected);
    }

    #[test]
    fn how_it_was_made_is_no_difference() {
        let delayed = |dynamic| watcher(|w| (w.dynamic, w.warmup_delay) = (dynamic, 1.0));
        assert_eq!(differences(&delayed(true), &delayed(false)), Vec::<String>::new());
        assert_eq!(differences(&WatcherConfig { env: None, ..delayed(true) }, &delayed(false)), Vec::<String>::new());
    }

    /// A field that no row knows would be changed in a file, and the change would go unnoticed.
    #[test]
    fn every_field_of_the_model_has_a_row() {
        let fields = serde_json::to_value(watcher(|_| {})).unwrap();
        for field in fields.as_object().unwrap().keys() {
            let known = ["name", "declared", "dynamic", "origin", "plugin", "rlimits", "slots", "freeform"]
                .contains(&field.as_str());
            assert!(known || WATCHER_OPTIONS.iter().any(|spec| spec.key == field), "{field}");
        }
    }

    /// Each row's example, put into a plain watcher, is found again under the name of the row.
    #[test]
    fn every_option_that_has_an_effect_is_noticed() {
        let plain = watcher(|_| {});
        for spec in WATCHER_OPTIONS {
            let Ok(value) = spec.kind.read(spec.example) else { continue };
            let mut other = plain.clone();
            let suffix = match spec.key {
                "rlimit_*" => "core",
                "hooks.*" => "before_start",
                _ => "filename",
            };
            if (spec.put)(&mut other, suffix, &value).is_err() || other == plain {
                continue;
            }
            let found = differences(&plain, &other);
            let key = spec.key.trim_end_matches('*');
            assert!(found.iter().any(|found| found.starts_with(key)), "{}: {found:?}", spec.key);
        }
    }
}
