//! How Python reads numbers and booleans and writes values: files and clients were written against that.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Whitespace as `str.strip` knows it: Unicode's, and the four ASCII separators that Unicode leaves out.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `str.strip`.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotANumber {
    /// It is not written as one.
    Shape,
    /// It is one that does not fit.
    Range,
}

/// `int(text)`: blanks around it, a sign, single underscores between digits.
pub(crate) fn int(text: &str) -> Result<i64, NotANumber> {
    let digits = without_underscores(trim(text)).ok_or(NotANumber::Shape)?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotANumber::Shape);
    }
    digits.parse().map_err(|_| NotANumber::Range)
}

/// `int(text, 8)` for a mode: `022`, `22`, `0o22`.
pub(crate) fn octal(text: &str) -> Result<u32, NotANumber> {
    let digits = without_underscores(trim(text)).ok_or(NotANumber::Shape)?;
    let digits = digits.strip_prefix("0o").or_else(|| digits.strip_prefix("0O")).unwrap_or(&digits);
    if digits.is_empty() || !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(NotANumber::Shape);
    }
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        Ok(_) | Err(_) => Err(NotANumber::Range),
    }
}

/// `float(text)`: also `1_000`, `1e3`, `.5`, `inf`, `nan`.
pub(crate) fn float(text: &str) -> Result<f64, NotANumber> {
    let digits = without_underscores(trim(text)).ok_or(NotANumber::Shape)?;
    digits.parse().map_err(|_| NotANumber::Shape)
}

/// A boolean, in the words of the original.
pub fn boolean(text: &str) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The text without the underscores that may stand between two digits; `None` where one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let misplaced = bytes.iter().enumerate().any(|(i, b)| *b == b'_' && !(i > 0 && digit(i - 1) && digit(i + 1)));
    (!misplaced).then(|| text.replace('_', ""))
}

/// `str(value)`: a string is itself, all else is as in [`repr`]; `$(circus.OPTION)` inserts it.
pub fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `repr(value)`: `None`, `True`, `30.0`, `'text'`, `{'key': [1, 2]}`.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => repr_number(number),
        Value::String(text) => quoted(text),
        Value::Array(list) => format!("[{}]", list.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", quoted(key), repr(value));
            format!("{{{}}}", object.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn repr_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => repr_float(float),
        _ => number.to_string(),
    }
}

/// The shortest digits that read back as the same number, with an exponent where Python has one.
fn repr_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{number:?}"),
    }
}

/// `repr(text)`: in single quotes, or in double quotes where that saves escaping.
pub(crate) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => push_escape(&mut out, c),
        }
    }
    out.push(quote);
    out
}

fn push_escape(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing into a string cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Python prints everything but control characters, unassigned ones and spaces other than the plain one.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_control() || c.is_whitespace() => false,
        // The standard library knows what is printable only within `escape_debug`. The letter before it is for
        // combining marks, which it escapes at the start of a text and nowhere else.
        c => !format!("a{c}").escape_debug().any(|escaped| escaped == '\\'),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers() {
        for (text, number) in [("5", 5), (" 5 ", 5), ("+5", 5), ("-5", -5), ("1_000", 1000), ("007", 7), ("\t0\n", 0)] {
            assert_eq!(int(text), Ok(number), "{text:?}");
        }
        for text in ["", " ", "+", "5.0", "0.5", "1e3", "_1", "1_", "1__0", "- 5", "five", "0x10", "+-1"] {
            assert_eq!(int(text), Err(NotANumber::Shape), "{text:?}");
        }
        assert_eq!(int("99999999999999999999"), Err(NotANumber::Range));
    }

    #[test]
    fn floats() {
        for (text, number) in [("5", 5.0), (" .5 ", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1_0.5", 10.5), ("-1", -1.0)] {
            assert_eq!(float(text), Ok(number), "{text:?}");
        }
        assert_eq!(float("inf"), Ok(f64::INFINITY));
        assert_eq!(float("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(float("NaN").is_ok_and(f64::is_nan));
        for text in ["", "fast", "1_", "0x1", "1,5", "1 2", "."] {
            assert_eq!(float(text), Err(NotANumber::Shape), "{text:?}");
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [("022", 0o22), ("22", 0o22), ("0o22", 0o22), (" 0 ", 0), ("0600", 0o600)] {
            assert_eq!(octal(text), Ok(mode), "{text:?}");
        }
        for text in ["", "9", "0x1", "-1", "u=rw"] {
            assert_eq!(octal(text), Err(NotANumber::Shape), "{text:?}");
        }
        assert_eq!(octal("10000"), Err(NotANumber::Range));
        assert_eq!(octal("77777777777777"), Err(NotANumber::Range));
    }

    #[test]
    fn booleans() {
        for text in ["yes", "TRUE", " On ", "1"] {
            assert_eq!(boolean(text), Some(true), "{text:?}");
        }
        for text in ["no", "False", "off", "0"] {
            assert_eq!(boolean(text), Some(false), "{text:?}");
        }
        for text in ["", "perhaps", "2", "y"] {
            assert_eq!(boolean(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_as_python_writes_them() {
        for (value, text) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(false), "False"),
            (json!(15), "15"),
            (json!(-1), "-1"),
            (json!(30.0), "30.0"),
            (json!(2.5), "2.5"),
            (json!(0.1), "0.1"),
            (json!(0.0001), "0.0001"),
            (json!(0.00001), "1e-05"),
            (json!(1.5e-7), "1.5e-07"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e16), "1e+16"),
            (json!(1e300), "1e+300"),
            (json!(1795313851.1253371), "1795313851.1253371"),
            (json!("text"), "text"),
            (json!({}), "{}"),
            (json!([]), "[]"),
            (json!({"filename": "/tmp/x", "n": [1, null]}), "{'filename': '/tmp/x', 'n': [1, None]}"),
        ] {
            assert_eq!(display(&value), text);
        }
    }

    #[test]
    fn texts_are_quoted_as_python_quotes_them() {
        for (text, expected) in [
            ("", "''"),
            ("It's", "\"It's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("'\"", "'\\'\"'"),
            ("a\\b", r"'a\\b'"),
            ("\t\r\n", r"'\t\r\n'"),
            ("\0\x1b\x7f", r"'\x00\x1b\x7f'"),
            ("café ☃ 🦀", "'café ☃ 🦀'"),
            ("e\u{301}", "'e\u{301}'"),
            ("\u{a0}", r"'\xa0'"),
            ("\u{2028}", r"'\u2028'"),
            ("\u{10ffff}", r"'\U0010ffff'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
