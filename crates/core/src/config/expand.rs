//! Substitution of `$(circus.NAME)`, `((circus.NAME))` and `${socket:NAME}`.
//!
//! One pass from left to right: what was put in is not looked at again, so it always ends. An unknown name
//! stays as it is written.

use std::borrow::Cow;

/// The text with every reference replaced that `look_up` knows. It is asked in lower case and without `circus.`;
/// `${socket:web}` asks for `sockets.web`.
pub(super) fn expand<'a, 'v>(text: &'a str, look_up: impl Fn(&str) -> Option<Cow<'v, str>>) -> Cow<'a, str> {
    let mut out = String::new();
    let mut rest = text;
    let mut copied_to = 0;
    while let Some(offset) = rest.find(['$', '(']) {
        let tail = rest.get(offset..).unwrap_or_default();
        let start = text.len() - tail.len();
        let (name, after) = match reference(tail) {
            Some(found) => found,
            None => {
                rest = tail.get(1..).unwrap_or_default();
                continue;
            }
        };
        rest = after;
        if let Some(value) = look_up(&name) {
            out.push_str(text.get(copied_to..start).unwrap_or_default());
            out.push_str(&value);
            copied_to = text.len() - rest.len();
        }
    }
    if copied_to == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied_to..).unwrap_or_default());
    Cow::Owned(out)
}

/// The reference that the text begins with, by its name, and what follows it.
fn reference(text: &str) -> Option<(String, &str)> {
    const FORMS: [(&str, &str, &str); 3] =
        [("$(circus.", ")", ""), ("((circus.", "))", ""), ("${socket:", "}", "sockets.")];
    FORMS.iter().find_map(|(open, close, namespace)| {
        let head = text.get(..open.len())?;
        let tail = text.get(open.len()..)?;
        if !head.eq_ignore_ascii_case(open) {
            return None;
        }
        let end = tail.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))).unwrap_or(tail.len());
        let (name, after) = tail.split_at_checked(end)?;
        let after = after.strip_prefix(close)?;
        (!name.is_empty()).then(|| (format!("{namespace}{}", name.to_lowercase()), after))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seven(text: &str) -> String {
        let known = |name: &str| match name {
            "wid" => Some(Cow::from("7")),
            "env.a" => Some(Cow::from("$(circus.wid)")),
            "sockets.web" => Some(Cow::from("3")),
            _ => None,
        };
        expand(text, known).into_owned()
    }

    #[test]
    fn both_spellings_in_any_case() {
        for text in ["$(circus.wid)", "((circus.wid))", "$(CIRCUS.Wid)", "((Circus.WID))"] {
            assert_eq!(seven(text), "7", "{text}");
        }
        assert_eq!(seven("a$(circus.wid)b((circus.wid))c"), "a7b7c");
        assert_eq!(seven("${socket:web} ${SOCKET:Web}"), "3 3");
    }

    #[test]
    fn parentheses_around_a_reference() {
        for (text, expected) in [
            ("$((circus.wid))", "$7"),
            ("((circus.wid)))", "7)"),
            ("$(circus.wid))x", "7)x"),
            ("((circus.wid)", "((circus.wid)"),
            ("$((circus.wid)", "$((circus.wid)"),
            ("(circus.wid)", "(circus.wid)"),
            ("((((circus.wid))", "((7"),
        ] {
            assert_eq!(seven(text), expected);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "$(circus.nope)",
            "$(circus.)",
            "$(circus.a b)",
            "$(circus.wid",
            "$(circus.wid.)",
            "${circus.wid}",
            "$(wid)",
            "%(wid)s",
            "$WID",
            "$(env.x)",
            "${socket:nope}",
            "${socket:}",
            "$",
            "(",
            "",
            "é$(circus.é)",
        ] {
            assert_eq!(seven(text), text);
        }
    }

    #[test]
    fn inserted_text_is_not_expanded_again() {
        assert_eq!(seven("$(circus.env.a)"), "$(circus.wid)");
    }

    proptest! {
        #[test]
        fn any_text_comes_through(text in "([$(){}c]|\\$\\(circus\\.(wid|x)\\)|circus\\.|\\PC){0,40}") {
            seven(&text);
            prop_assert_eq!(expand(&text, |_| None), text.as_str());
        }
    }
}
