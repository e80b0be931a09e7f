//! Words of a command that only a shell acts on.

/// What a shell would do with a word, where circusd passes it on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellWord {
    pub(super) word: String,
    pub(super) meaning: &'static str,
}

/// The first word of a command without `shell = yes` that was probably written for a shell. References such as
/// `$(circus.wid)` must have been replaced before.
pub(super) fn shell_word(command: &str) -> Option<ShellWord> {
    words(command).find_map(|word| {
        let meaning = meaning(&word)?;
        Some(ShellWord { word: word.text, meaning })
    })
}

/// A word as it is written, quotes included.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// The text outside of quotes.
    bare: String,
    /// The text in which a shell replaces `$NAME`: all but what stands in single quotes.
    expanded: String,
    quoted: bool,
}

fn words(command: &str) -> impl Iterator<Item = Word> {
    let mut chars = command.chars();
    std::iter::from_fn(move || {
        let mut word = Word::default();
        let mut quote = None;
        for c in chars.by_ref() {
            match (quote, c) {
                (None, ' ' | '\t' | '\r' | '\n') if word.text.is_empty() => continue,
                (None, ' ' | '\t' | '\r' | '\n') => return Some(word),
                (None, '\'' | '"') => (quote, word.quoted) = (Some(c), true),
                (Some(open), c) if open == c => quote = None,
                (None, '\\') => word.quoted = true,
                (None, c) => {
                    word.bare.push(c);
                    word.expanded.push(c);
                }
                (Some('"'), c) => word.expanded.push(c),
                (Some(_), _) => {}
            }
            word.text.push(c);
        }
        (!word.text.is_empty()).then_some(word)
    })
}

fn meaning(word: &Word) -> Option<&'static str> {
    let bare = word.bare.as_str();
    let redirection = bare.trim_start_matches(|c: char| c.is_ascii_digit());
    match bare {
        "|" | "||" | "&&" | "&" | ";" if !word.quoted => Some("joins commands"),
        _ if !word.quoted && (redirection.starts_with('>') || redirection.starts_with('<')) => Some("redirects"),
        _ if bare == "~" || bare.starts_with("~/") => Some("stands for the home directory"),
        _ if has_variable(&word.expanded) => Some("stands for a variable"),
        _ if word.expanded.contains("$(") || word.expanded.contains('`') => Some("stands for what a command prints"),
        _ => None,
    }
}

/// `$NAME` or `${NAME}`.
fn has_variable(text: &str) -> bool {
    text.split('$').skip(1).any(|after| {
        let name = after.strip_prefix('{').unwrap_or(after);
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !name.starts_with("socket:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_acts_on() {
        for (command, word) in [
            ("a | b", "|"),
            ("a && b", "&&"),
            ("a > /dev/null", ">"),
            ("a 2>&1", "2>&1"),
            ("a <in", "<in"),
            ("~/bin/a", "~/bin/a"),
            ("a --port $PORT", "$PORT"),
            ("a \"${HOME}/x\"", "\"${HOME}/x\""),
            ("a `date`", "`date`"),
            ("a $(date) b", "$(date)"),
            ("a &", "&"),
        ] {
            assert_eq!(shell_word(command).map(|found| found.word).as_deref(), Some(word), "{command}");
        }
    }

    #[test]
    fn what_is_quoted_or_plain_is_nothing_for_a_shell() {
        for command in [
            "sh -c 'a | b > c; echo $HOME'",
            "sh -c \"a | b\"",
            "a '|' \\| \"&&\"",
            "a --url=http://x/?a=1&b=2",
            "a -Q 'x*' y* {z} [1]",
            "a b~c 5$ $1 100%",
            "",
        ] {
            assert_eq!(shell_word(command), None, "{command}");
        }
    }
}
