//! The table is whole and agrees with the defaults of the model.

use super::*;
use crate::config::WatcherConfig;

#[test]
fn rows_are_in_order_and_described() {
    let keys: Vec<_> = WATCHER_OPTIONS.iter().map(|spec| spec.key).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(keys, sorted);
    for spec in WATCHER_OPTIONS {
        assert!(spec.doc.ends_with('.') && !spec.example.is_empty(), "{}", spec.key);
    }
}

#[test]
fn a_watcher_without_options_has_the_defaults_of_the_table() {
    let plain = WatcherConfig::new("w", "", "/");
    for spec in WATCHER_OPTIONS.iter().filter(|spec| !spec.default.is_empty()) {
        let mut watcher = plain.clone();
        (spec.put)(&mut watcher, "", &spec.kind.read(spec.default).unwrap()).unwrap();
        assert_eq!(watcher, plain, "{}", spec.key);
    }
}

#[test]
fn every_example_of_a_file_is_of_its_kind() {
    for spec in WATCHER_OPTIONS {
        match spec.kind {
            Kind::Env | Kind::Stream | Kind::Hooks => {}
            Kind::Text
            | Kind::Bool
            | Kind::Respawn
            | Kind::Orphans
            | Kind::Reload
            | Kind::Propagate
            | Kind::OneOf(_)
            | Kind::Codes
            | Kind::Int
            | Kind::Within(..)
            | Kind::Octal
            | Kind::Seconds
            | Kind::WholeSeconds
            | Kind::Signal
            | Kind::Account
            | Kind::Args
            | Kind::Names
            | Kind::Limit
            | Kind::StreamKey
            | Kind::Hook => {
                let value = spec.kind.read(spec.example).unwrap();
                let mut watcher = WatcherConfig::new("w", "", "/");
                let suffix = if spec.kind == Kind::Hook { "before_start" } else { "core" };
                assert_eq!((spec.put)(&mut watcher, suffix, &value), Ok(()), "{}", spec.key);
            }
        }
    }
}
