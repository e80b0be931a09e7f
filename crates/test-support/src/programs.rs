use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::{Kind, has_broker};

/// Says that a test is left out, and why.
pub fn skipped(test: &str, reason: &str) {
    // Not by eprintln, which the test harness keeps to itself where a test passes.
    drop(std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes()));
}

/// Where cargo puts the program of this name, of any package of the workspace: above the folder of the test that runs.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join(name)
}

/// Whether these programs of the workspace are built. Otherwise says that the test is left out.
pub fn has_programs(test: &str, names: &[&str]) -> bool {
    let missing = names.iter().find(|name| !program(name).is_file());
    if let Some(name) = missing {
        skipped(test, &format!("there is no {name} beside the tests: cargo build --workspace --bins"));
    }
    missing.is_none()
}

/// The program celery that `CIRCUS_TEST_CELERY` names, if there are also this broker and these programs of the workspace.
/// Otherwise says that the test is left out.
pub fn celery(test: &str, broker: Kind, programs: &[&str]) -> Option<PathBuf> {
    let Some(celery) = env::var_os("CIRCUS_TEST_CELERY").map(PathBuf::from).filter(|path| path.is_file()) else {
        skipped(test, "CIRCUS_TEST_CELERY names no program celery");
        return None;
    };
    (has_programs(test, programs) && has_broker(test, broker)).then_some(celery)
}

/// Fails unless the program says the version of the workspace. The one test of a package that needs its program, so that
/// cargo builds it for the tests of other packages too.
#[track_caller]
pub fn prints_its_version(program: &str) {
    let output = Command::new(program).arg("--version").output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.trim().ends_with(env!("CARGO_PKG_VERSION")), "{printed}");
}
