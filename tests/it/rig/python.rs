//! The interpreter with the programs of the original.

use std::path::PathBuf;

/// The interpreter, or nothing and a word about it: CI counts those.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    let named = std::env::var_os("CIRCUS_TEST_PYTHON");
    if named.is_none() {
        use std::io::Write as _;
        // Not by eprintln, which the test harness keeps to itself where a test passes.
        let line = format!("SKIPPED {test}: CIRCUS_TEST_PYTHON names no interpreter with circus==0.19.0\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
    named.map(PathBuf::from)
}
