//! The words of a line that is still being typed.

/// A line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// The words that are complete.
    pub(super) words: Vec<String>,
    /// What has been typed of the next word, without its quotes.
    pub(super) word: String,
    /// Where that word begins, in bytes.
    pub(super) start: usize,
}

/// Splits as the shell will, but for the last word, which may be empty or have an open quote.
pub(super) fn typed(line: &str) -> Typed {
    let mut typed = Typed { words: Vec::new(), word: String::new(), start: line.len() };
    let mut quote = None;
    let mut within = false;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_ascii_whitespace() {
            if std::mem::take(&mut within) {
                typed.words.push(std::mem::take(&mut typed.word));
            }
            continue;
        }
        if !std::mem::replace(&mut within, true) {
            typed.start = at;
        }
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => typed.word.extend(chars.next().map(|(_, escaped)| escaped)),
            (_, c) => typed.word.push(c),
        }
    }
    if !within {
        typed.start = line.len();
    }
    typed
}

/// A word as it has to be typed.
pub(super) fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_the_one_that_is_typed() {
        for (line, words, word, start) in [
            ("", &[][..], "", 0),
            ("st", &[], "st", 0),
            ("stop ", &["stop"], "", 5),
            ("stop w", &["stop"], "w", 5),
            ("  stop  w", &["stop"], "w", 8),
            ("stop 'Two W", &["stop"], "Two W", 5),
            ("stop \"Two W\"", &["stop"], "Two W", 5),
            ("stop Two\\ W", &["stop"], "Two W", 5),
            ("stop 'Two W' --m", &["stop", "Two W"], "--m", 13),
            ("stop ''", &["stop"], "", 5),
            ("stop '' ", &["stop", ""], "", 8),
            ("stop \\", &["stop"], "", 5),
        ] {
            let expected = Typed { words: words.iter().map(ToString::to_string).collect(), word: word.into(), start };
            assert_eq!(typed(line), expected, "{line}");
        }
    }

    #[test]
    fn quoted_text_is_one_word() {
        for word in ["plain", "Two Words", "it's", "a\"b", "$x", ""] {
            assert_eq!(shlex::split(&quoted(word)), Some(vec![word.to_owned()]));
        }
    }
}
