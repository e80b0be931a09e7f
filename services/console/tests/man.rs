//! The manual page has every option, and no other.
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

#[test]
fn the_page_of_the_console() {
    let command = circus_console::program::Args::command();
    let offered: BTreeSet<String> =
        command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
    assert_eq!(described("circushttpd.1"), offered);
}
