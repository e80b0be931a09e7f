//! The manual pages have every option, and no other.

use circus_test_support::{described, offered};
use clap::CommandFactory as _;

#[test]
fn the_page_of_the_branch() {
    assert_eq!(described("cyme-branch.1"), offered(&circus_cyme::program::Args::command()));
}

#[test]
fn the_page_of_the_command() {
    assert_eq!(described("cyme.1"), offered(&circus_cyme::command::Args::command()));
}
