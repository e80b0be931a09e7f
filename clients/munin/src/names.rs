//! Names of fields, by munin's rules.

use std::collections::BTreeSet;

/// Names that munin, or we, use for something else.
const RESERVED: [&str; 2] = ["root", TOTAL];

/// The field that is always there, so that there is something to be unknown.
pub(super) const TOTAL: &str = "total";

/// A field for each of these, in their order, none twice.
pub(super) fn fields<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    names
        .map(|name| {
            let clean = cleaned(name);
            let numbered = (2_u64..).map(|number| format!("{clean}_{number}"));
            let free = std::iter::once(clean.clone()).chain(numbered).find(|name| !taken.contains(name));
            let field = free.unwrap_or(clean);
            taken.insert(field.clone());
            field
        })
        .collect()
}

/// Letters, digits and underscores, and no digit first.
fn cleaned(name: &str) -> String {
    let fits = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    let clean: String = name.chars().enumerate().map(|(at, c)| if fits((at, c)) { c } else { '_' }).collect();
    match clean.as_str() {
        "" => "_".into(),
        clean if RESERVED.contains(&clean) => format!("__{clean}"),
        _ => clean,
    }
}

/// A label: munin ends it at the end of the line, and misreads a bar or a backslash.
pub(super) fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || matches!(c, '\\' | '|' | '#') { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cleaned_as_munin_does_it() {
        let names = ["web", "my app", "my.app", "9lives", "root", "total", "plugin:x", "café", ""];
        let clean = ["web", "my_app", "my_app_2", "_lives", "__root", "__total", "plugin_x", "caf_", "_"];
        assert_eq!(fields(names.into_iter()), clean);
        assert_eq!(label("a\nb|c"), "a_b_c");
    }

    proptest! {
        #[test]
        fn whatever_they_are(names in proptest::collection::vec("\\PC{0,3}|a|a_2", 0..20)) {
            let fields = fields(names.iter().map(String::as_str));
            let distinct: BTreeSet<&String> = fields.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
            for field in &fields {
                prop_assert!(field.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()), "{}", field);
                prop_assert!(!field.starts_with(|c: char| c.is_ascii_digit()) && !field.is_empty(), "{}", field);
            }
        }
    }
}
