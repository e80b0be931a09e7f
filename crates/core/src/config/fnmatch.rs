//! Shell patterns as Python's fnmatch reads them.

/// A piece of a pattern.
enum Piece {
    /// `*`
    Any,
    /// `?`
    One,
    Char(char),
    /// `[a-z_]`, `[!a-z_]`
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Piece {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

/// Whether the whole text matches the pattern: `*` is any text, `?` any character, `[a-z]` and `[!a-z]` one of a set
/// or not of it. Case matters. There is no way to escape but a set: `[*]`.
pub fn fnmatch(pattern: &str, text: &str) -> bool {
    let pieces = pieces(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut piece, mut at) = (0, 0);
    // Where to go on when a match fails: after the last star, which then takes one character more. Earlier stars need
    // no second try, so this is never worse than length times length.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() || piece < pieces.len() {
        match (pieces.get(piece), text.get(at)) {
            (Some(Piece::Any), _) => {
                retry = Some((piece + 1, at));
                piece += 1;
            }
            (Some(one), Some(c)) if one.matches(*c) => {
                piece += 1;
                at += 1;
            }
            (Some(_) | None, _) => match retry {
                Some((after_star, from)) if from < text.len() => {
                    retry = Some((after_star, from + 1));
                    piece = after_star;
                    at = from + 1;
                }
                Some(_) | None => return false,
            },
        }
    }
    true
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut pieces = Vec::with_capacity(chars.len());
    let mut rest = chars.as_slice();
    while let [first, tail @ ..] = rest {
        rest = tail;
        pieces.push(match first {
            '*' => Piece::Any,
            '?' => Piece::One,
            '[' => match set(tail) {
                Some((piece, after)) => {
                    rest = after;
                    piece
                }
                // A bracket that is not closed is itself.
                None => Piece::Char('['),
            },
            c => Piece::Char(*c),
        });
    }
    pieces
}

/// Reads what follows a `[`. A `]` right at the beginning of the set is a member of it.
fn set(chars: &[char]) -> Option<(Piece, &[char])> {
    let (negated, members) = match chars {
        ['!', members @ ..] => (true, members),
        members => (false, members),
    };
    let end = 1 + members.get(1..)?.iter().position(|c| *c == ']')?;
    let (members, after) = members.split_at_checked(end)?;
    Some((Piece::Set { negated, ranges: ranges(members) }, after.get(1..)?))
}

fn ranges(mut members: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    loop {
        match members {
            [from, '-', to, rest @ ..] => {
                ranges.push((*from, *to));
                members = rest;
            }
            [one, rest @ ..] => {
                ranges.push((*one, *one));
                members = rest;
            }
            [] => return ranges,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text) in [
            ("", ""),
            ("web", "web"),
            ("*", ""),
            ("*", "anything\nat all"),
            ("web*", "web1"),
            ("*2", "web2"),
            ("w?b", "wéb"),
            ("a*b*c", "aXbXbXc"),
            ("**a", "a"),
            ("[ab]x", "bx"),
            ("[a-c]", "b"),
            ("[!a-c]", "d"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[a-]", "-"),
            ("[-a]", "-"),
            ("[--a]", "0"),
            ("[*]", "*"),
            ("[^a]", "^"),
            ("[", "["),
            ("[a", "[a"),
            ("[]", "[]"),
            ("[!]", "[!]"),
            ("[!z-a]", "q"),
            ("a\\*", "a\\b"),
            ("[\\]x", "\\x"),
        ] {
            assert!(fnmatch(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_match() {
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("A", "a"),
            ("web*", "aweb"),
            ("*2", "web21"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("[z-a]", "m"),
            ("a*b", "acbc"),
            ("[]", "]"),
            ("[!a]", ""),
        ] {
            assert!(!fnmatch(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_one() {
        assert!(!fnmatch(&"a*".repeat(60), &"a".repeat(59)));
        assert!(!fnmatch(&format!("{}b", "*a".repeat(200)), &"a".repeat(2000)));
    }

    proptest! {
        #[test]
        fn a_text_without_wildcards_matches_itself_alone(text in "[^*?\\[]{0,20}", other in "[^*?\\[]{0,20}") {
            prop_assert!(fnmatch(&text, &text));
            prop_assert_eq!(fnmatch(&text, &other), text == other);
            prop_assert!(fnmatch(&["*", &text].concat(), &[other.as_str(), &text].concat()));
            prop_assert!(fnmatch(&[&text, "*"].concat(), &[text.as_str(), &other].concat()));
        }

        #[test]
        fn any_pattern_can_be_read(pattern in "[\\[\\]!*?a-c-]{0,12}", text in "[\\[\\]!a-c-]{0,12}") {
            fnmatch(&pattern, &text);
        }
    }
}
