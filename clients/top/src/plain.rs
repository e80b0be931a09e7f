//! Text that a terminal shows as it is: what workers print may be meant to do more.

/// Between two stops of a tabulator.
const TAB: usize = 8;

/// A line without orders to a terminal, of at most so many characters.
pub(super) fn plain(line: &str, most: usize) -> String {
    let mut text = String::new();
    let mut count = 0;
    let mut rest = line.chars();
    while count < most {
        let Some(character) = rest.next() else { break };
        match character {
            '\u{1b}' => skip_order(&mut rest),
            '\t' => {
                let blanks = (TAB - count % TAB).min(most - count);
                text.extend(std::iter::repeat_n(' ', blanks));
                count += blanks;
            }
            character if character.is_control() => {}
            character => {
                text.push(character);
                count += 1;
            }
        }
    }
    text
}

/// Passes what follows an escape: a colour, a title, or one character.
fn skip_order(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => drop(rest.find(|character| ('@'..='~').contains(character))),
        // It ends with a bell, or with an escape and a backslash, of which the latter is passed here.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            if rest.find(|character| matches!(character, '\u{7}' | '\u{1b}')) == Some('\u{1b}') {
                rest.next();
            }
        }
        Some('(' | ')' | '#' | '%' | ' ') => drop(rest.next()),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_titles_and_bells_are_left_out() {
        for (line, shown) in [
            ("\u{1b}[1;31merror\u{1b}[0m: no", "error: no"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}(Bbox\u{1b}7\r\u{8}\u{7}", "box"),
            ("a\tb\t\tc", "a       b               c"),
            ("täglich 日本", "täglich 日本"),
            ("cut\u{1b}[3", "cut"),
            ("cut\u{1b}", "cut"),
        ] {
            assert_eq!(plain(line, 100), shown, "{line:?}");
        }
        assert_eq!(plain("abcdef", 3), "abc");
        assert_eq!(plain("a\tb", 5), "a    ");
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_a_terminal_obeys(line in any::<String>(), most in 0usize..50) {
            let text = plain(&line, most);
            prop_assert!(text.chars().count() <= most && !text.chars().any(char::is_control));
        }
    }
}
