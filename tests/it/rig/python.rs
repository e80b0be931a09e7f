//! What the environment gives the tests: the interpreter with the programs of the original, and numbers.

use std::path::PathBuf;

use circus_test_support::{Kind, skipped};

/// The interpreter, or nothing and a word about it: CI counts those.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    let named = std::env::var_os("CIRCUS_TEST_PYTHON");
    if named.is_none() {
        skipped(test, "CIRCUS_TEST_PYTHON names no interpreter with circus==0.19.0");
    }
    named.map(PathBuf::from)
}

/// The program celery, in whose environment are gevent and the client of Redis, or nothing and a word about what is missing.
pub(crate) fn celery(test: &str) -> Option<PathBuf> {
    circus_test_support::celery(test, Kind::Redis, &[])
}

/// A number that the environment may give a test.
pub(crate) fn knob(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// The folder of Node's packages in which zeromq is, or nothing and a word about it.
pub(crate) fn node_modules(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    let named = std::env::var_os("CIRCUS_TEST_NODE_MODULES");
    if named.is_none() {
        skipped(test, "CIRCUS_TEST_NODE_MODULES names no folder with zeromq");
    }
    named.map(PathBuf::from)
}

/// A circusd to take the costs of: not the one that cargo built for the tests.
pub(crate) fn optimized_circusd() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    let named = std::env::var_os("CIRCUS_COST_OF").expect("CIRCUS_COST_OF names a circusd");
    PathBuf::from(named).canonicalize().unwrap()
}
