//! Words that need a licence: unsafe code, forbidden calls, silenced lints.

use std::collections::BTreeSet;

use crate::lexer::{Comment, Token, lex};
use crate::tree::File;

/// The files with unsafe code. The list may only shrink.
pub(crate) const UNSAFE: &[&str] = &[
    "crates/zmq-sys/build.rs",
    "crates/zmq-sys/src/accept.rs",
    "crates/zmq-sys/src/functions.rs",
    "crates/zmq-sys/tests/capabilities.rs",
    "crates/zmq-sys/tests/descriptors.rs",
    "examples/knobs.rs",
    "examples/worker.rs",
    "src/net/option.rs",
    "src/sys/child.rs",
    "src/sys/daemonize.rs",
    "src/sys/kill.rs",
    "src/sys/memory.rs",
    "src/sys/reap.rs",
    "src/sys/spawn.rs",
    "src/sys/spawn/tests.rs",
];

/// The licensed homes of calls that clippy.toml disallows: clocks, the environment, waiting, starting processes. The
/// list may only shrink.
pub(crate) const DISALLOWED_CALLS: &[&str] = &[
    "benches/side_by_side/clock.rs",
    "benches/side_by_side/lab.rs",
    "benches/side_by_side/peers/find.rs",
    "examples/knobs.rs",
    "examples/worker.rs",
    "src/bin/circusctl.rs",
    "src/net/deadline.rs",
    "src/output/alarms.rs",
    "src/output/file.rs",
    "src/output/outlet.rs",
    "src/output/pace.rs",
    "src/output/stdout.rs",
    "src/output/tests.rs",
    "src/output/thread.rs",
    "src/output/told.rs",
    "src/plugin/real.rs",
    "src/sys/host.rs",
    "src/sys/spawn/tests.rs",
    "src/sys/testing.rs",
    "tests/check/main.rs",
    "tests/guard/main.rs",
    "tests/it/rig/python.rs",
    "tests/it/rig/site.rs",
    "tests/it/rig/wait.rs",
    "tests/man/main.rs",
    "tests/man/render.rs",
    "tests/planted.rs",
    "tests/sim/main.rs",
];

/// What differs between a list of licences and the files in which this word stands.
pub(crate) fn unlicensed(files: &[File], word: &str, licensed: &[&str]) -> Vec<String> {
    let has = |file: &&File| lex(&file.text).tokens.iter().any(|token| token.text == word);
    let found: BTreeSet<&str> = files.iter().filter(has).map(|file| file.path.as_str()).collect();
    let licensed: BTreeSet<&str> = licensed.iter().copied().collect();
    let new = found.difference(&licensed).map(|path| format!("{path}: {word} needs a licence in tests/guard/marks.rs"));
    let old = licensed.difference(&found).map(|path| format!("{path}: has no {word} any more: take it off the list"));
    new.chain(old).collect()
}

/// Blocks and implementations that are unsafe without saying why they are sound.
pub(crate) fn unjustified(file: &File) -> Vec<String> {
    let lexed = lex(&file.text);
    let is_block = |at: usize| matches!(lexed.tokens.get(at + 1).map(|next| next.text), Some("{" | "impl"));
    let unsafe_at = (0..lexed.tokens.len()).filter(|at| lexed.tokens[*at].text == "unsafe" && is_block(*at));
    let bare = unsafe_at.filter(|at| !is_justified(&lexed.tokens, &lexed.comments, *at));
    bare.map(|at| file.complaint(lexed.tokens[at].line, "unsafe without a // SAFETY: above it")).collect()
}

/// Whether a comment that says SAFETY ends directly above the statement, or inside it.
fn is_justified(tokens: &[Token<'_>], comments: &[Comment<'_>], at: usize) -> bool {
    let before = tokens[..at].iter().rposition(|token| matches!(token.text, ";" | "{" | "}"));
    let statement = tokens[before.map_or(0, |before| before + 1)].line;
    let lines = statement.saturating_sub(1)..=tokens[at].line;
    blocks(comments).iter().any(|block| lines.contains(&block.last_line) && block.safety)
}

/// Comments on consecutive lines, as one.
struct Block {
    last_line: usize,
    safety: bool,
}

fn blocks(comments: &[Comment<'_>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for comment in comments {
        let safety = comment.text.contains("SAFETY:");
        match blocks.last_mut() {
            Some(block) if block.last_line + 1 == comment.first_line => {
                *block = Block { last_line: comment.last_line, safety: block.safety || safety };
            }
            _ => blocks.push(Block { last_line: comment.last_line, safety }),
        }
    }
    blocks
}

/// Attributes that silence a lint for good: `#[expect]` complains when it is no longer needed, `#[allow]` never does.
pub(crate) fn silenced(file: &File) -> Vec<String> {
    let tokens = lex(&file.text).tokens;
    let mut found = Vec::new();
    for (at, window) in tokens.windows(2).enumerate() {
        if window[0].text == "allow" && window[1].text == "(" && in_attribute(&tokens[..at]) {
            found.push(file.complaint(window[0].line, "#[allow]; use #[expect(.., reason = \"..\")]"));
        }
    }
    found
}

/// Whether the token behind these stands in an attribute.
fn in_attribute(before: &[Token<'_>]) -> bool {
    let mut depth = 0_usize;
    for (at, token) in before.iter().enumerate().rev() {
        match token.text {
            "]" => depth += 1,
            "[" if depth > 0 => depth -= 1,
            "[" => return before[..at].last().is_some_and(|sign| matches!(sign.text, "#" | "!")),
            _ => {}
        }
    }
    false
}

/// Lints that a manifest silences.
pub(crate) fn silenced_in_manifest(file: &File) -> Vec<String> {
    let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains("\"allow\""));
    lines.map(|(at, _)| file.complaint(at + 1, "a lint is allowed for the whole crate")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_fit_exactly() {
        let files = [File::new("a.rs", "unsafe { f() }"), File::new("b.rs", "// unsafe\n#![expect(unsafe_code)]")];
        assert!(unlicensed(&files, "unsafe", &["a.rs"]).is_empty());
        assert_eq!(unlicensed(&files, "unsafe", &[]), ["a.rs: unsafe needs a licence in tests/guard/marks.rs"]);
        let stale = unlicensed(&files, "unsafe", &["a.rs", "b.rs"]);
        assert_eq!(stale, ["b.rs: has no unsafe any more: take it off the list"]);
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(UNSAFE.is_sorted());
        assert!(DISALLOWED_CALLS.is_sorted());
    }

    #[test]
    fn unsafe_code_says_why() {
        for text in [
            "// SAFETY: x\nunsafe { f() }",
            "// SAFETY: x\n// and y\nlet a =\n    unsafe { f() };",
            "let a =\n    // SAFETY: x\n    unsafe { f() };",
            "// SAFETY: x\nunsafe impl Send for A {}",
            "unsafe extern \"C\" {}",
            "unsafe fn f() {}",
        ] {
            assert_eq!(unjustified(&File::new("a.rs", text)), Vec::<String>::new(), "{text}");
        }
        for text in [
            "unsafe { f() }",
            "// SAFETY: x\n\nunsafe { f() }",
            "// SAFETY: x\nlet a = 1;\nunsafe { f() }",
            "// sound\nunsafe { f() }",
            "unsafe impl Send for A {}",
        ] {
            assert_eq!(unjustified(&File::new("a.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn silenced_lints_are_found() {
        for text in ["#[allow(x)]", "#![allow(x, y)]", "#[cfg_attr(test, allow(x))]", "#[cfg_attr(a[0], allow(x))]"] {
            assert_eq!(silenced(&File::new("a.rs", text)).len(), 1, "{text}");
        }
        for text in
            ["#[expect(x, reason = \"allow(y)\")]", "fn allow(x: u8) {}", "let a = [allow(x)];", "// #[allow(x)]"]
        {
            assert_eq!(silenced(&File::new("a.rs", text)), Vec::<String>::new(), "{text}");
        }
        assert_eq!(silenced_in_manifest(&File::new("Cargo.toml", "[lints.rust]\nx = \"allow\"\n")).len(), 1);
    }
}
