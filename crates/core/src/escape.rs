//! Text of others on its way to a terminal or a log.
//!
//! Names, output and reasons come from clients, files and workers. A newline among them forges a line of the log, an
//! escape sequence drives the terminal that shows it, and a mark of direction makes a line read as another. So every
//! such text passes here before it is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// The text with every character that a terminal or a log could obey written out: `\n`, `\u001b`, `\u202e`. Tabs stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly every line of the log is such a text, and two are written for every death.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if is_plain || !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut out, c));
    Cow::Owned(out)
}

/// The same of bytes: what is not UTF-8 is written out as `\x9b`, since old terminals obey single bytes too.
pub fn escaped_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_unsafe)) {
        return Cow::Borrowed(bytes);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut out, c));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _written = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out.into_bytes())
}

/// The same of a text of several lines, whose newlines stay.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_unsafe(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(escaped).collect::<Vec<_>>().join("\n"))
}

/// A JSON value whose strings, keys included, are [`escaped`].
pub fn escaped_value(value: Value) -> Value {
    match value {
        Value::String(text) => escaped(&text).into_owned().into(),
        Value::Array(list) => list.into_iter().map(escaped_value).collect(),
        Value::Object(object) => {
            object.into_iter().map(|(key, value)| (escaped(&key).into_owned(), escaped_value(value))).collect()
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}

/// The first character of a name that names cannot have: a tab as well as what [`escaped`] writes out.
pub fn unfit_for_a_name(name: &str) -> Option<char> {
    name.chars().find(|c| *c == '\t' || is_unsafe(*c))
}

/// Control characters (C0, DEL, C1), line separators, and what changes the direction of writing.
fn is_unsafe(c: char) -> bool {
    c != '\t'
        && (c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

fn push(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _written = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        c if !is_unsafe(c) => out.write_char(c),
        // As JSON writes it: JSON that is escaped means what it meant.
        c => write!(out, "\\u{:04x}", u32::from(c)),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, shown) in [
            ("plain", "plain"),
            ("é 日本\ttab", "é 日本\ttab"),
            ("a\nb\r", "a\\nb\\r"),
            ("\x1b[31m\0\x07\x7f", "\\u001b[31m\\u0000\\u0007\\u007f"),
            ("\u{9b}2J", "\\u009b2J"),
            ("a\u{202e}b\u{2066}\u{200f}\u{2028}", "a\\u202eb\\u2066\\u200f\\u2028"),
        ] {
            assert_eq!(escaped(text), shown);
            assert_eq!(escaped_bytes(text.as_bytes()), shown.as_bytes());
        }
        assert_eq!(escaped_bytes(b"\x9b2J\xff ok").as_ref(), b"\\x9b2J\\xff ok");
        assert_eq!(escaped_lines("a\n\x1bb\n"), "a\n\\u001bb\n");
    }

    #[test]
    fn strings_and_keys_of_a_value_are_written_out() {
        let value = serde_json::json!({"a\n": ["\u{1b}", 1, null, {"b": "c\r"}]});
        assert_eq!(escaped_value(value), serde_json::json!({"a\\n": ["\\u001b", 1, null, {"b": "c\\r"}]}));
    }

    #[test]
    fn names_have_no_tab_either() {
        assert_eq!(unfit_for_a_name("web-1 ä"), None);
        assert_eq!(unfit_for_a_name("a\tb"), Some('\t'));
        assert_eq!(unfit_for_a_name("a\u{85}"), Some('\u{85}'));
        assert_eq!(unfit_for_a_name("x\u{202e}"), Some('\u{202e}'));
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,9}.{0,20}") {
            let shown = String::from_utf8(escaped_bytes(&bytes).into_owned()).unwrap();
            prop_assert!(!shown.contains(is_unsafe));
            prop_assert!(!escaped(&text).contains(is_unsafe));
        }
    }
}
