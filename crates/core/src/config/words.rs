//! Splitting text into words as Python's `shlex.split` does, which is a POSIX shell's way with three exceptions:
//! `#` begins no comment, a backslash before a line end is kept as that line end, and between double quotes a
//! backslash escapes only itself and the quote.

/// Splits a text into words; an error says what is wrong with it.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars();
    // `None` between words; a pair of quotes begins a word even if nothing is in it.
    let mut word: Option<String> = None;
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let escaped = chars.next().ok_or("a backslash at the end escapes nothing")?;
                word.get_or_insert_default().push(escaped);
            }
            '\'' => quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next().ok_or("a single quote (') is never closed")? {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    const UNCLOSED: &str = "a double quote (\") is never closed";
    loop {
        match chars.next().ok_or(UNCLOSED)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(UNCLOSED)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// A word written so that a shell, and `split`, give it back.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_quotes() {
        let split = |text| split(text).unwrap();
        assert_eq!(split(" a  b\tc\nd\r\n"), ["a", "b", "c", "d"]);
        assert_eq!(
            split("'single quoted' \"double \\\"quoted\\\"\" back\\ slash"),
            ["single quoted", "double \"quoted\"", "back slash"]
        );
        assert_eq!(
            split("plain \"\" 'a''b' \"tab\tinside\" pre\"mid\"post"),
            ["plain", "", "ab", "tab\tinside", "premidpost"]
        );
        assert_eq!(split("* ~ $HOME | ; && > < # x"), ["*", "~", "$HOME", "|", ";", "&&", ">", "<", "#", "x"]);
        assert_eq!(split(r#""c\$\"\`\n""#), [r#"c\$"\`\n"#]);
        assert_eq!(split("'\\' \\\n x\\\ny"), ["\\", "\n", "x\ny"]);
        assert_eq!(split("\u{b} \u{a0}"), ["\u{b}", "\u{a0}"]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn quotes_that_do_not_close() {
        for text in ["'", "a \"b", "\"\\", "\"\\\"", "\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("([ '\"\\\\$#\n]|\\PC){0,8}", 0..5)) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), Ok(words));
        }
    }
}
