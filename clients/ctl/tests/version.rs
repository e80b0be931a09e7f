//! The program itself, which cargo builds for this test, and so for those of the whole family that look for it.

#[test]
fn prints_its_version() {
    circus_test_support::prints_its_version(env!("CARGO_BIN_EXE_circusctl"));
}
