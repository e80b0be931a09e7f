//! `shell = yes`: where a shell does more with a script than split it into words.
//!
//! Circus split the text into words, quoted each again, and gave that to a shell. Where the text says nothing but words,
//! the shell makes the same of both.

use std::borrow::Cow;

use crate::config::expand::expand;

/// The first character of a script that a shell acts on, where splitting it into words would not.
pub(super) fn active(script: &str) -> Option<char> {
    // Whatever circusd puts in is a plain word as far as is known here.
    let script = expand(script, |_| Some(Cow::Borrowed("x")));
    let mut chars = script.chars().peekable();
    let mut begins_word = true;
    let mut quote = None;
    while let Some(c) = chars.next() {
        let special = match quote {
            Some('\'') => false,
            Some(_) => match c {
                '$' | '`' => true,
                '\\' => matches!(chars.next(), Some('$' | '`' | '\n')),
                _ => false,
            },
            None => match c {
                '\\' => matches!(chars.next(), Some('\n')),
                '#' | '~' | '{' | '}' | '!' => begins_word,
                c => "|&;<>()$`*?[\n".contains(c),
            },
        };
        if special {
            return Some(c);
        }
        begins_word = quote.is_none() && matches!(c, ' ' | '\t');
        quote = match (quote, c) {
            (None, '\'' | '"') => Some(c),
            (Some(open), c) if open == c => None,
            (quote, _) => quote,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words_for_both() {
        for script in [
            "",
            "sleep 60",
            "python -m http.server --bind=127.0.0.1",
            "echo 'a | b' \"c; d\" e\\ f \\$HOME '$HOME'",
            "'echo a | cat'",
            "A=1 env",
            "x#y a~b a!b a{b}",
            "echo \"it's\" 'a \"b\"'",
            "web --fd $(circus.sockets.web) ((circus.wid)) ${socket:web}",
        ] {
            assert_eq!(active(script), None, "{script}");
        }
    }

    #[test]
    fn a_shell_does_more_with_these() {
        for (script, first) in [
            ("echo one | cat > f", '|'),
            ("cd /x && y", '&'),
            ("x; y", ';'),
            ("x > f", '>'),
            ("echo $HOME", '$'),
            ("echo \"$HOME\"", '$'),
            ("echo \"\\$HOME\"", '\\'),
            ("echo `date`", '`'),
            ("ls *.ini", '*'),
            ("ls ~", '~'),
            ("x # y", '#'),
            ("{ x", '{'),
            ("x\ny", '\n'),
            ("x \\\n y", '\\'),
            ("echo 'a' $(date)", '$'),
        ] {
            assert_eq!(active(script), Some(first), "{script}");
        }
    }
}
