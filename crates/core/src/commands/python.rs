//! Values as Python writes them: what circusctl prints, and how reasons quote names.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// `str(value)`: a string is itself, all else is as in [`py_repr`].
pub fn py_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => py_repr(other),
    }
}

/// `repr(value)`: `None`, `True`, `30.0`, `'text'`, `{'key': [1, 2]}`.
pub fn py_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => repr_number(number),
        Value::String(text) => repr_text(text),
        Value::Array(list) => format!("[{}]", list.iter().map(py_repr).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", repr_text(key), py_repr(value));
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
pub(super) fn repr_text(text: &str) -> String {
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
            assert_eq!(py_str(&value), text);
        }
    }

    #[test]
    fn texts_are_quoted_as_python_quotes_them() {
        for (text, quoted) in [
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
            assert_eq!(repr_text(text), quoted);
        }
    }
}
