//! What the compiler and its lints cannot check: that README and the tables agree, and what stands at the top.
//!
//! Each rule is a pure function over the text of files, in a module of its own, with tests that it finds what it is for.
//! Here the rules meet the checkout. `BLESS=1 cargo test -p circus-docs` rewrites README's generated tables.

mod block;
mod compatibility;
mod readme;
mod shape;
mod tables;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use circus::config::{Host, load};

/// Fails with every violation, a line each.
fn expect_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Whether README's tables are to be rewritten.
#[expect(clippy::disallowed_methods, reason = "the test's own switch")]
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

#[test]
fn the_top_of_the_project_is_as_planned() {
    expect_none(shape::strangers(&tree::names(Path::new(""))));
}

#[test]
fn every_command_and_option_is_documented() {
    expect_none(tables::undocumented(tables::documented()));
}

#[test]
fn generated_tables_are_in_step() {
    for block in tables::blocks() {
        let text = tree::read(block.page).text;
        if blessing() {
            let blessed = block::with_block(&text, block.name, &block.body);
            fs::write(tree::top().join(block.page), blessed.expect("the page has the block")).unwrap();
        } else {
            expect_none(readme::out_of_step(&text, &block));
        }
    }
}

#[test]
fn schema_is_in_step() {
    let page = "docs/circus.schema.json";
    let schema = format!("{:#}\n", circus::config::schema());
    if blessing() {
        fs::write(tree::top().join(page), &schema).unwrap();
    }
    assert!(fs::read_to_string(tree::top().join(page)).is_ok_and(|text| text == schema), "BLESS=1 writes {page} anew");
}

#[test]
fn every_deliberate_difference_is_told() {
    let text = tree::read("docs/differences.md").text;
    expect_none(compatibility::unexplained(&text));
    expect_none(readme::untold(&tree::read("tests/conformance/divergences.toml").text, &text));
}

/// A first page that is too long is not read.
#[test]
fn the_readme_is_short() {
    let bytes = tree::read("README.md").text.len();
    assert!(bytes <= 10 * 1024, "README.md has {bytes} bytes");
}

#[test]
fn links_lead_somewhere() {
    let pages = tree::files(&["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs"], ".md");
    expect_none(pages.iter().flat_map(|page| readme::dead_links(page, &|path| tree::top().join(path).exists())));
}

/// A recipe that does not load is worse than none. The folders that they name are made.
#[test]
fn every_ini_in_the_pages_loads() {
    let folder = tempfile::tempdir().unwrap();
    for page in tree::files(&["README.md", "docs"], ".md") {
        for (line, text) in readme::ini_blocks(&page.text) {
            let path = folder.path().join("recipe.ini");
            let here = folder.path().to_string_lossy();
            let text = ["/var/log/site", "/run/circus"].iter().fold(text, |text, name| text.replace(name, &here));
            fs::write(&path, text).unwrap();
            let host = Host { env: BTreeMap::new(), cwd: "/".into(), ..Host::default() };
            let loaded = load(path.to_str().unwrap(), &host, &circus::sys::Machine);
            let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            assert!(problems.is_empty(), "{}:{line}: {problems:?}", page.path);
        }
    }
}

#[test]
fn the_readme_has_its_two_commands() {
    let text = tree::read("README.md").text;
    for name in ["example", "tests"] {
        let command = readme::command(&text, name);
        assert!(command.is_some_and(|command| command.starts_with("cargo ")), "{name}: {command:?}");
    }
}

#[test]
fn every_example_loads_without_a_problem() {
    // Paths in examples are relative to the top. Streams write to `target`, which is there once anything was built
    // without a CARGO_TARGET_DIR.
    std::env::set_current_dir(tree::top()).unwrap();
    fs::create_dir_all(tree::top().join("target")).unwrap();
    let examples = tree::files(&["examples"], ".ini");
    assert!(!examples.is_empty());
    for example in examples {
        let cwd = tree::top().to_string_lossy().into_owned();
        let host = Host { env: BTreeMap::new(), cwd, ..Host::default() };
        let loaded = load(&example.path, &host, &circus::sys::Machine);
        expect_none(loaded.problems.iter().map(ToString::to_string));
        assert!(loaded.config.is_some(), "{}", example.path);
    }
}
