//! The manual page has every option and command, and no other.
use std::fs;

use circus_test_support::{described, offered};
use clap::CommandFactory as _;

#[test]
fn the_page_is_in_step() {
    let command = circus_celery::program::Args::command();
    assert_eq!(described("circus-celery.1"), offered(&command));
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/circus-celery.1")).unwrap();
    let text = text.replace("\\-", "-");
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        let is_term =
            |line: &str| line.starts_with(&format!(".B {name}")) || line.starts_with(&format!("\\fB{name}\\fR"));
        assert!(text.lines().any(is_term), "the page has no command {name}");
    }
}
