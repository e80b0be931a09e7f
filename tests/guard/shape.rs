//! The shape of the house: what stands at the top, and what a `mod.rs` holds.

use crate::lexer::{Token, lex};
use crate::tree::File;

/// What stands at the top of the checkout, beside what begins with a dot.
pub(crate) const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "build.rs",
    "crates",
    "examples",
    "layout",
    "man",
    "plugins",
    "src",
    "tests",
];

/// Names that do not belong there.
pub(crate) fn strangers(names: &[String]) -> Vec<String> {
    let strangers = names.iter().filter(|name| !TOP.contains(&name.as_str()));
    strangers.map(|name| format!("{name}: does not belong at the top of the project")).collect()
}

/// What a `mod.rs` holds beside documentation, `mod` and `pub use`; in `lib.rs`, beside documentation and `mod`.
pub(crate) fn strange_items(file: &File) -> Vec<String> {
    let lib = file.path.ends_with("lib.rs");
    let lexed = lex(&file.text);
    let mut found = Vec::new();
    for item in items(&lexed.tokens) {
        let words: Vec<&str> = item.iter().map(|token| token.text).collect();
        let allowed = match without_visibility(&words) {
            ["mod", _, ";"] => true,
            ["use", ..] => !lib && words.first() == Some(&"pub"),
            _ => false,
        };
        if let Some(first) = item.first().filter(|_| !allowed) {
            found.push(file.complaint(first.line, "holds more than documentation, mod and pub use"));
        }
    }
    found
}

/// Modules of a binary: it parses arguments, calls the library, and has no rooms of its own.
pub(crate) fn own_modules(file: &File) -> Vec<String> {
    let tokens = lex(&file.text).tokens;
    let modules = tokens.iter().filter(|token| token.text == "mod");
    modules.map(|token| file.complaint(token.line, "a binary has no modules; the library has")).collect()
}

/// The items of a file without their attributes: each ends with a `;` or a block.
fn items<'a, 't>(tokens: &'a [Token<'t>]) -> Vec<&'a [Token<'t>]> {
    let mut items = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        let end = if first.text == "#" { matching(rest, "[", "]") } else { end_of_item(rest) };
        let (item, after) = rest.split_at(end);
        if first.text != "#" {
            items.push(item);
        }
        rest = after;
    }
    items
}

fn end_of_item(tokens: &[Token<'_>]) -> usize {
    let words: Vec<&str> = tokens.iter().map(|token| token.text).take(16).collect();
    let is_use = without_visibility(&words).first() == Some(&"use");
    let end = tokens.iter().position(|token| token.text == ";" || (token.text == "{" && !is_use));
    match end {
        Some(at) if tokens[at].text == "{" => at + matching(&tokens[at..], "{", "}"),
        Some(at) => at + 1,
        None => tokens.len(),
    }
}

/// The number of tokens until the bracket that closes the first one.
fn matching(tokens: &[Token<'_>], open: &str, close: &str) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

fn without_visibility<'a, 't>(words: &'a [&'t str]) -> &'a [&'t str] {
    match words {
        ["pub", "(", rest @ ..] => match rest.iter().position(|word| *word == ")") {
            Some(at) => &rest[at + 1..],
            None => rest,
        },
        ["pub", rest @ ..] => rest,
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_given() {
        assert!(TOP.is_sorted());
        assert_eq!(
            strangers(&["src".into(), "scripts".into()]),
            ["scripts: does not belong at the top of the project"]
        );
    }

    #[test]
    fn what_a_mod_rs_may_hold() {
        let text = "//! Docs.\n#![deny(x)]\nmod a;\npub mod b;\n#[cfg(test)]\nmod tests;\npub use a::{B, C};\n\
                    pub(super) use b::d;\npub(in crate::x) use b::e;";
        assert_eq!(strange_items(&File::new("src/x/mod.rs", text)), Vec::<String>::new());
        for text in [
            "use a::b;",
            "pub type A = B;",
            "pub fn f() { g(); }",
            "mod tests { use super::*; }",
            "const A: u8 = 1;",
            "#[derive(Debug)]\nstruct A { b: u8 }",
            "fn f() { mod a; pub use b; }",
        ] {
            let text = format!("mod before;\n{text}\nmod after;\n");
            assert_eq!(strange_items(&File::new("src/x/mod.rs", &text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn binaries_have_no_modules() {
        assert!(own_modules(&File::new("src/bin/a.rs", "use circus::ctl; fn main() {} // mod x")).is_empty());
        assert_eq!(own_modules(&File::new("src/bin/a.rs", "mod x;\nfn main() {}")).len(), 1);
    }

    #[test]
    fn lib_rs_lists_modules_and_nothing_else() {
        assert!(strange_items(&File::new("src/lib.rs", "//! The house.\npub mod a;\nmod b;\n")).is_empty());
        assert_eq!(strange_items(&File::new("src/lib.rs", "pub mod a;\npub use a::main;\n")).len(), 1);
    }
}
