//! The manual page has every option, and no other.

use circus_test_support::{described, offered};
use clap::CommandFactory as _;

#[test]
fn the_page_of_the_console() {
    assert_eq!(described("circushttpd.1"), offered(&circus_console::program::Args::command()));
}
