//! How Python reads numbers and booleans and prints values: files and clients were written against that.

use serde_json::Value;

/// Whitespace as `str.strip` knows it: Unicode's, and the four ASCII separators that Unicode leaves out.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `str.strip`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotANumber {
    /// It is not written as one.
    Shape,
    /// It is one that does not fit.
    Range,
}

/// `int(text)`: blanks around it, a sign, single underscores between digits.
pub(super) fn int(text: &str) -> Result<i64, NotANumber> {
    let digits = without_underscores(trim(text)).ok_or(NotANumber::Shape)?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotANumber::Shape);
    }
    digits.parse().map_err(|_| NotANumber::Range)
}

/// `int(text, 8)` for a mode: `022`, `22`, `0o22`.
pub(super) fn octal(text: &str) -> Result<u32, NotANumber> {
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
pub(super) fn float(text: &str) -> Result<f64, NotANumber> {
    let digits = without_underscores(trim(text)).ok_or(NotANumber::Shape)?;
    digits.parse().map_err(|_| NotANumber::Shape)
}

/// A boolean of the dialect.
pub(super) fn boolean(text: &str) -> Option<bool> {
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

/// `repr(value)`, as error texts of the protocol contain it.
pub(super) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let items: Vec<_> = map.iter().map(|(key, value)| format!("{}: {}", quoted(key), repr(value))).collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

/// `str(value)`, as `$(circus.OPTION)` inserts it.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => repr(value),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
    fn values_as_python_prints_them() {
        for (value, text) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(30.0), "30.0"),
            (json!("it's"), "\"it's\""),
            (json!("a\n\u{1}'\""), "'a\\n\\x01\\'\"'"),
            (json!({"a": ["b", 1]}), "{'a': ['b', 1]}"),
        ] {
            assert_eq!(repr(&value), text);
        }
        assert_eq!(display(&json!("plain")), "plain");
    }
}
