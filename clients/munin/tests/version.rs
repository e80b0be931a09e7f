//! The program itself, which cargo builds for this test, and so for those of the whole family that look for it.
#![expect(clippy::disallowed_methods, reason = "a test that runs the program as users do")]

#[test]
fn prints_its_version() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_circus-munin")).arg("--version").output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.trim().ends_with(env!("CARGO_PKG_VERSION")), "{printed}");
}
