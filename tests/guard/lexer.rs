//! Rust source as tokens and comments: enough to tell code from text, and no more.
//!
//! Rejected: `syn`. It gives up on a file that it cannot parse, forgets comments, and would be the largest dependency of
//! the tests, for rules that look at words.

/// A word, a `::`, a sign, or a literal (whose text is `"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) line: usize,
    pub(crate) text: &'t str,
}

/// A comment of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment<'t> {
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
    pub(crate) text: &'t str,
}

/// A file, read.
#[derive(Debug, Default)]
pub(crate) struct Lexed<'t> {
    pub(crate) tokens: Vec<Token<'t>>,
    pub(crate) comments: Vec<Comment<'t>>,
}

/// Reads a file.
pub(crate) fn lex(text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { text, at: 0, line: 1, lexed: Lexed::default() };
    while lexer.step() {}
    lexer.lexed
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    lexed: Lexed<'t>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Moves on by so many bytes and returns them.
    fn take(&mut self, bytes: usize) -> &'t str {
        let taken = &self.rest()[..bytes];
        self.at += bytes;
        self.line += taken.matches('\n').count();
        taken
    }

    fn token(&mut self, text: &'t str) {
        self.lexed.tokens.push(Token { line: self.line, text });
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if rest.starts_with("//") {
            self.comment(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.comment(block_comment(rest));
        } else if first == '"' {
            self.literal(quoted(rest, '"'));
        } else if first == '\'' {
            self.quote(rest);
        } else if first == '_' || first.is_alphanumeric() {
            self.word(rest);
        } else {
            let sign = &rest[..if rest.starts_with("::") { 2 } else { first.len_utf8() }];
            self.token(sign);
            self.take(sign.len());
        }
        true
    }

    fn comment(&mut self, bytes: usize) {
        let first_line = self.line;
        let text = self.take(bytes);
        self.lexed.comments.push(Comment { first_line, last_line: self.line, text });
    }

    fn literal(&mut self, bytes: usize) {
        self.token("\"");
        self.take(bytes);
    }

    /// A character or a lifetime.
    fn quote(&mut self, rest: &str) {
        let mut after = rest.chars().skip(1);
        match (after.next(), after.next()) {
            (Some('\\'), _) => self.literal(quoted(rest, '\'')),
            (Some(inner), Some('\'')) => self.literal(2 + inner.len_utf8()),
            _ => {
                self.take(1);
            }
        }
    }

    /// A word, or a literal that begins as one does.
    fn word(&mut self, rest: &'t str) {
        let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let hashes = after.len() - after.trim_start_matches('#').len();
        let opens = after[hashes..].starts_with('"');
        match word {
            "r" | "br" | "cr" if opens => {
                let close = format!("\"{}", "#".repeat(hashes));
                let body = &after[hashes + 1..];
                let length = body.find(&close).map_or(body.len(), |at| at + close.len());
                self.literal(end + hashes + 1 + length);
            }
            "b" | "c" if after.starts_with('"') => self.literal(end + quoted(after, '"')),
            "b" if after.starts_with('\'') => self.literal(end + quoted(after, '\'')),
            _ => {
                self.token(word);
                self.take(end);
            }
        }
    }
}

/// The length of a literal that begins and ends with this quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = true; // the opening quote does not end it
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        lex(text).tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn code_is_told_from_text() {
        assert_eq!(words("let a = b::c(\"unsafe {\"); // unsafe"), "let a = b :: c ( \" ) ;");
        assert_eq!(words(r##"r#"unsafe "x" "# br"\" b'\'' c"é" 'x' '\'' '"' f"##), "\" \" \" \" \" \" \" f");
        assert_eq!(words("fn f<'a>(x: &'a str) -> r#type"), "fn f < a > ( x : & a str ) - > r # type");
        assert_eq!(words("/* a /* b */ unsafe */ c /// d\n e"), "c e");
        assert_eq!(words("\"a \\\" b\" c \"never closed"), "\" c \"");
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let lexed = lex("a\n/* x\n y */ b \"\n\n\" c // d\n// e");
        let lines: Vec<_> = lexed.tokens.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("\"", 3), ("c", 5)]);
        let comments: Vec<_> = lexed.comments.iter().map(|c| (c.text, c.first_line, c.last_line)).collect();
        assert_eq!(comments, [("/* x\n y */", 2, 3), ("// d", 5, 5), ("// e", 6, 6)]);
    }
}
