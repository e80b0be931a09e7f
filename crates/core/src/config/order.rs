//! Which watchers come after which (`after`), and why an order is impossible.

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
}

impl<'a> Needs<'a> {
    /// What a watcher of this configuration comes after.
    pub fn of(config: &'a WatcherConfig) -> Self {
        Self { name: &config.name, after: &config.after }
    }

    /// Whether it comes after the watcher of this name.
    pub fn comes_after(self, other: &str) -> bool {
        self.after.iter().any(|entry| means(self.name, entry, other))
    }
}

/// Whether an `after` entry is a pattern, and no name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether this `after` entry means the watcher of that name. A pattern never means the watcher that has it.
fn means(own: &str, entry: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    if is_pattern(entry) { fnmatch(entry, &name) && name != own.to_lowercase() } else { entry == name }
}

/// Why this watcher could never start: it names a watcher that is not there, or it comes after itself. `all` are the
/// watchers that there are, this one among them.
pub fn fault(watcher: Needs<'_>, all: &[Needs<'_>]) -> Option<String> {
    let unknown =
        |entry: &&String| !is_pattern(entry) && !all.iter().any(|other| means(watcher.name, entry, other.name));
    if let Some(entry) = watcher.after.iter().find(unknown) {
        let hint = suggestion(entry, all.iter().map(|other| other.name));
        return Some(format!("there is no watcher '{entry}'{hint}"));
    }
    let mut seen = BTreeSet::new();
    let mut path = vec![watcher.name];
    returns_to(watcher, watcher, all, &mut seen, &mut path)
        .then(|| format!("comes after itself: {}", path.join(" -> ")))
}

/// Follows `after` from `at`; where a way leads back to `start`, `path` is that way.
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
        let all: Vec<Needs<'_>> = watchers.iter().zip(&after).map(|((name, _), after)| Needs { name, after }).collect();
        all.iter().map(|watcher| fault(*watcher, &all)).collect()
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
