//! The manual pages have every option, and no other.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

/// The long options that a page describes: a line after `.TP` that begins with an option.
fn described(page: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man").join(page);
    let text = fs::read_to_string(path).unwrap().replace("\\-", "-");
    let terms = text.lines().filter(|line| line.starts_with("\\fB-"));
    let long = terms.filter_map(|line| line.split("--").nth(1)?.split("\\fR").next());
    long.map(str::to_owned).collect()
}

fn offered(command: &clap::Command) -> BTreeSet<String> {
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_branch() {
    assert_eq!(described("cyme-branch.1"), offered(&circus_cyme::program::Args::command()));
}

#[test]
fn the_page_of_the_command() {
    assert_eq!(described("cyme.1"), offered(&circus_cyme::command::Args::command()));
}
