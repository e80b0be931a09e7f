//! The manual page has every option and command, and no other.
use std::collections::BTreeSet;
use std::fs;

use clap::CommandFactory as _;

#[test]
fn the_page_is_in_step() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/circus-celery.1");
    let text = fs::read_to_string(path).unwrap().replace("\\-", "-");
    let terms = || text.lines().filter(|line| line.starts_with("\\fB-"));
    let described: BTreeSet<String> =
        terms().filter_map(|line| line.split("--").nth(1)?.split("\\fR").next().map(str::to_owned)).collect();
    let command = circus_celery::program::Args::command();
    let mut offered: BTreeSet<String> =
        command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
    for sub in command.get_subcommands() {
        offered.extend(sub.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
        let name = sub.get_name();
        let is_term =
            |line: &str| line.starts_with(&format!(".B {name}")) || line.starts_with(&format!("\\fB{name}\\fR"));
        assert!(text.lines().any(is_term), "the page has no command {name}");
    }
    assert_eq!(described, offered);
}
