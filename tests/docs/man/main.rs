//! The manual pages: what can be generated is in step with the tables, and what they show works.
//!
//! `BLESS=1 cargo test -p circus-docs` rewrites the generated blocks, each between two comments in a page:
//! `.\" begin NAME` and `.\" end NAME`.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod blocks;
mod examples;
mod protocol;
mod render;
mod roff;

use std::fs;
use std::path::PathBuf;

use circus::daemon::Args;
use clap::CommandFactory as _;

/// The pages, each with its generated blocks.
fn pages() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    vec![
        ("circusd.1", vec![("options", blocks::arguments(Args::command()))]),
        ("circus-munin.1", vec![]),
        ("circus-top.1", vec![("options", blocks::arguments(circus_top::Args::command()))]),
        ("circusd-stats.1", vec![("options", blocks::arguments(circus_stats::Args::command()))]),
        // These have their options checked beside the programs, in services.
        ("circus-celery.1", vec![]),
        ("circushttpd.1", vec![]),
        ("cyme-branch.1", vec![]),
        ("cyme.1", vec![]),
        ("circusctl.1", vec![("options", blocks::console_options()), ("commands", blocks::console_commands())]),
        (
            "circus.ini.5",
            vec![
                ("circus options", blocks::circus_options()),
                ("watcher options", blocks::watcher_options()),
                ("socket options", blocks::socket_options()),
            ],
        ),
        (
            "circus-plugin.1",
            vec![
                ("options", blocks::arguments(circus_plugin_sdk::Args::command())),
                ("keys", blocks::plugin_keys()),
                ("plugins", blocks::plugins()),
            ],
        ),
        ("circus-protocol.7", vec![("commands", protocol::commands()), ("events", protocol::events())]),
    ]
}

fn path(page: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../man")).join(page)
}

/// Whether the pages are to be rewritten.
#[expect(clippy::disallowed_methods, reason = "the test's own switch")]
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

#[test]
fn the_generated_parts_are_in_step() {
    for (page, blocks) in pages() {
        let text = fs::read_to_string(path(page)).unwrap();
        let wanted = blocks.iter().fold(text.clone(), |text, (name, body)| {
            roff::with_block(&text, name, body).unwrap_or_else(|| panic!("{page} has no block '{name}'"))
        });
        if blessing() {
            fs::write(path(page), wanted).unwrap();
        } else {
            assert!(text == wanted, "man/{page} is not in step with the tables: BLESS=1 cargo test -p circus-docs");
        }
    }
}

#[test]
fn there_is_no_other_page() {
    let mut found: Vec<String> =
        fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut known: Vec<&str> = pages().into_iter().map(|(page, _)| page).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn pages_render_without_a_warning() {
    for (page, _) in pages() {
        let Some(rendered) = render::render(&path(page)) else { return };
        assert_eq!(rendered.warnings, "", "{page}");
        assert!(rendered.text.contains("NAME") && rendered.text.lines().count() > 40, "{page}:\n{}", rendered.text);
    }
}
