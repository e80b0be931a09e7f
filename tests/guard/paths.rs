//! Every path that a file names, from the root of a crate on.

use crate::lexer::Token;

/// A path, absolute: `crate::net::Router`, `std::fs::read`. A glob ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

/// The paths of a file whose module has this path below the crate's root.
pub(crate) fn paths(tokens: &[Token<'_>], module: &[String]) -> Vec<Named> {
    let mut reader = Reader { tokens, at: 0, depth: 0, module: module.to_vec(), inline: Vec::new(), found: Vec::new() };
    while reader.step() {}
    reader.found
}

struct Reader<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    depth: usize,
    module: Vec<String>,
    /// The depths of the braces of the modules that are open here.
    inline: Vec<usize>,
    found: Vec<Named>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn step(&mut self) -> bool {
        if self.at >= self.tokens.len() {
            return false;
        }
        match (self.peek(0), self.peek(1), self.peek(2)) {
            ("mod", name, "{") => {
                self.module.push(name.to_owned());
                self.inline.push(self.depth);
                (self.depth, self.at) = (self.depth + 1, self.at + 3);
            }
            ("{", ..) => (self.depth, self.at) = (self.depth + 1, self.at + 1),
            ("}", ..) => self.close(),
            // A visibility is no import.
            ("pub", "(", _) => self.skip_past(")"),
            ("use", ..) => {
                self.at += 1;
                self.tree(&[]);
            }
            ("extern", "crate", name) => {
                let path = vec![name.to_owned()];
                self.name(path);
                self.at += 3;
            }
            (word, "::", _) if is_word(word) => self.tree(&[]),
            _ => self.at += 1,
        }
        true
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
        self.at += 1;
    }

    fn skip_past(&mut self, text: &str) {
        while self.at < self.tokens.len() && self.peek(0) != text {
            self.at += 1;
        }
        self.at += 1;
    }

    /// A path or a tree of them, behind `prefix`.
    fn tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "*" => {
                    path.push("*".into());
                    self.at += 1;
                    break;
                }
                "{" => return self.branches(&path),
                word if is_word(word) => {
                    path.push(word.to_owned());
                    self.at += 1;
                    if self.peek(0) != "::" {
                        break;
                    }
                }
                // The `<` of a turbofish: what is inside is met later.
                _ => break,
            }
        }
        self.name(path);
        if self.peek(0) == "as" {
            self.at += 2;
        }
    }

    fn branches(&mut self, prefix: &[String]) {
        self.at += 1;
        loop {
            match self.peek(0) {
                "" => return,
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                _ => {
                    let before = self.at;
                    self.tree(prefix);
                    // What is no path must not hold us up.
                    self.at = self.at.max(before + 1);
                }
            }
        }
    }

    fn name(&mut self, path: Vec<String>) {
        let line = self.tokens.get(self.at.saturating_sub(1)).map_or(0, |token| token.line);
        let path = self.absolute(path);
        self.found.push(Named { line, path });
    }

    fn absolute(&self, mut path: Vec<String>) -> Vec<String> {
        let up = path.iter().take_while(|word| *word == "super").count();
        let relative = up > 0 || path.first().is_some_and(|word| word == "self");
        path.retain(|word| word != "self");
        if !relative {
            return path;
        }
        let here = self.module.iter().take(self.module.len().saturating_sub(up)).cloned();
        let rest = path.split_off(up);
        std::iter::once("crate".to_owned()).chain(here).chain(rest).collect()
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::lex;

    fn named(text: &str) -> Vec<String> {
        let module = ["arbiter".to_owned(), "core".to_owned()];
        paths(&lex(text).tokens, &module).into_iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn imports() {
        assert_eq!(named("use std::fs;"), ["std::fs"]);
        assert_eq!(
            named("pub use crate::{net::Router as R, sys::{self, spawn}};"),
            ["crate::net::Router", "crate::sys", "crate::sys::spawn"]
        );
        assert_eq!(named("use super::super::{net, sys::*};"), ["crate::net", "crate::sys::*"]);
        assert_eq!(named("use zmq; extern crate libc;"), ["zmq", "libc"]);
        assert_eq!(named("use self::a::b;"), ["crate::arbiter::core::a::b"]);
    }

    #[test]
    fn paths_in_code() {
        assert_eq!(named("let a: Vec<std::fs::File> = ::libc::open(b.c);"), ["std::fs::File", "libc::open"]);
        assert_eq!(named("collect::<std::io::Result<u8>>()"), ["collect", "std::io::Result"]);
        assert_eq!(named("pub(in crate::arbiter) fn f() { super::g() }"), ["crate::arbiter::g"]);
        assert_eq!(named("\"std::fs\" // std::fs"), Vec::<String>::new());
    }

    #[test]
    fn super_counts_the_modules_inside_a_file() {
        let text = "mod tests { use super::*; mod deep { use super::super::a; } } use super::b;";
        assert_eq!(named(text), ["crate::arbiter::core::*", "crate::arbiter::core::a", "crate::arbiter::b"]);
    }
}
