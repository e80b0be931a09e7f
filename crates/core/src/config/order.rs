//! Which watchers come after which (`after`, `requires`), and why an order is impossible.

use std::collections::BTreeSet;

use super::nearest::suggestion;
use super::{WatcherConfig, fnmatch};

/// A watcher's name, and what it comes after.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// Its name, in any case.
    pub name: &'a str,
    /// Names and patterns, in lower case.
    pub after: &'a [String],
    /// The same, of watchers without which it is of no use.
    pub requires: &'a [String],
}

impl<'a> Needs<'a> {
    /// What a watcher of this configuration comes after.
    pub fn of(config: &'a WatcherConfig) -> Self {
        Self { name: &config.name, after: &config.after, requires: &config.requires }
    }

    /// Whether it needs no other watcher.
    pub fn is_empty(self) -> bool {
        self.after.is_empty() && self.requires.is_empty()
    }

    /// What it names, with the option that does.
    pub fn entries(self) -> impl Iterator<Item = (&'static str, &'a String)> {
        let after = self.after.iter().map(|entry| ("after", entry));
        after.chain(self.requires.iter().map(|entry| ("requires", entry)))
    }

    /// Whether it comes after the watcher of this name.
    pub fn comes_after(self, other: &str) -> bool {
        self.entries().any(|(_, entry)| means(self.name, entry, other))
    }

    /// Whether it is of no use without the watcher of this name.
    pub fn requires(self, other: &str) -> bool {
        self.requires.iter().any(|entry| means(self.name, entry, other))
    }
}

/// Whether an entry is a pattern, and no name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether this entry means the watcher of that name. A pattern never means the watcher that has it.
fn means(own: &str, entry: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    if is_pattern(entry) { fnmatch(entry, &name) && name != own.to_lowercase() } else { entry == name }
}

/// Why this watcher could never start: it names a watcher that is not there, or it comes after itself. With the option
/// that says so. `all` are the watchers that there are, this one among them.
pub fn fault(watcher: Needs<'_>, all: &[Needs<'_>]) -> Option<(&'static str, String)> {
    let is_known = |entry: &str| is_pattern(entry) || all.iter().any(|other| means(watcher.name, entry, other.name));
    if let Some((option, entry)) = watcher.entries().find(|(_, entry)| !is_known(entry)) {
        let hint = suggestion(entry, all.iter().map(|other| other.name));
        return Some((option, format!("there is no watcher '{entry}'{hint}")));
    }
    let mut seen = BTreeSet::new();
    let mut path = vec![watcher.name];
    if !returns_to(watcher, watcher, all, &mut seen, &mut path) {
        return None;
    }
    let first = path.get(1).copied().unwrap_or_default();
    let option = watcher.entries().find(|(_, entry)| means(watcher.name, entry, first)).map_or("after", |(o, _)| o);
    Some((option, format!("comes after itself: {}", path.join(" -> "))))
}

/// Follows `after` and `requires` from `at`; where a way leads back to `start`, `path` is that way.
fn returns_to<'a>(
    start: Needs<'a>,
    at: Needs<'a>,
    all: &[Needs<'a>],
    seen: &mut BTreeSet<&'a str>,
    path: &mut Vec<&'a str>,
) -> bool {
    for other in all.iter().filter(|other| at.comes_after(other.name)) {
        path.push(other.name);
        if other.name.eq_ignore_ascii_case(start.name)
            || seen.insert(other.name) && returns_to(start, *other, all, seen, path)
        {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(watchers: &[(&str, &[&str])]) -> Vec<Option<String>> {
        let after: Vec<Vec<String>> =
            watchers.iter().map(|(_, after)| after.iter().map(|&entry| entry.to_owned()).collect()).collect();
        let named = watchers.iter().zip(&after);
        let all: Vec<Needs<'_>> = named.map(|((name, _), after)| Needs { name, after, requires: &[] }).collect();
        all.iter().map(|watcher| fault(*watcher, &all).map(|(_, fault)| fault)).collect()
    }

    #[test]
    fn a_fault_names_the_option() {
        let [a, b, none] = ["a", "b", "none"].map(|name| vec![name.to_owned()]);
        let of = |name, after, requires| Needs { name, after, requires };
        let all = [of("a", &[], &b), of("b", &a, &[]), of("c", &a, &none)];
        let faults = all.map(|watcher| fault(watcher, &all));
        assert_eq!(faults[0], Some(("requires", "comes after itself: a -> b -> a".into())));
        assert_eq!(faults[1], Some(("after", "comes after itself: b -> a -> b".into())));
        assert_eq!(faults[2], Some(("requires", "there is no watcher 'none'".into())));
    }

    #[test]
    fn a_circle_is_named_with_its_path() {
        let found = faults(&[("A", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"]), ("e", &["e"])]);
        let texts = ["A -> b -> c -> A", "b -> c -> A -> b", "c -> A -> b -> c"]
            .map(|path| Some(format!("comes after itself: {path}")));
        assert_eq!(found[..3], texts);
        assert_eq!(found[3], None, "it leads to a circle, and is in none");
        assert_eq!(found[4].as_deref(), Some("comes after itself: e -> e"));
    }

    #[test]
    fn names_must_be_known_and_patterns_need_not_match() {
        let found =
            faults(&[("broker", &[]), ("worker", &["brokr"]), ("web", &["x-*", "Broker".to_lowercase().as_str()])]);
        assert_eq!(found, [None, Some("there is no watcher 'brokr'; did you mean 'broker'?".into()), None]);
    }

    #[test]
    fn a_pattern_does_not_mean_its_own_watcher() {
        assert_eq!(faults(&[("db-1", &[]), ("db-2", &["db-*"])]), [None, None]);
        assert!(faults(&[("db-1", &["db-*"]), ("db-2", &["db-*"])]).iter().all(Option::is_some));
    }
}
