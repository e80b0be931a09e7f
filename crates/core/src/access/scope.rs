//! The watchers that a client may touch.

use crate::config::fnmatch;
use crate::proto::{OUTPUT_TOPICS, resource_name};

/// Topics that carry what belongs to one watcher. Its name follows.
const TOPICS: [&str; 4] = ["watcher.", OUTPUT_TOPICS, "stat.", "msgpack:stat."];

/// All watchers, or those whose names match one of these patterns. As in topics, case does not count and blanks are
/// underscores. A dot parts a name: who may touch `web` may touch `web.1`, since a subscription to the events of `web`
/// cannot be told from one to the events of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Option<Vec<String>>);

impl Scope {
    /// Every watcher.
    pub const ALL: Self = Self(None);

    /// The watchers that match one of these patterns; without a pattern, or with `*`, all.
    pub fn of<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let patterns: Vec<String> = patterns.into_iter().map(resource_name).collect();
        Self(Some(patterns).filter(|patterns| !patterns.is_empty() && !patterns.iter().any(|pattern| pattern == "*")))
    }

    /// Whether it is every watcher.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a watcher is among them.
    pub fn contains(&self, watcher: &str) -> bool {
        let Self(Some(patterns)) = self else { return true };
        let name = resource_name(watcher);
        let ancestors = name.match_indices('.').map(|(at, _)| &name[..at]);
        ancestors.chain([name.as_str()]).any(|name| patterns.iter().any(|pattern| fnmatch(pattern, name)))
    }

    /// Whether everything whose topic begins with `prefix` concerns only these watchers.
    pub fn covers(&self, prefix: &[u8]) -> bool {
        let Self(Some(patterns)) = self else { return true };
        let Ok(prefix) = std::str::from_utf8(prefix) else { return false };
        let Some(rest) = TOPICS.iter().find_map(|topics| prefix.strip_prefix(topics)) else { return false };
        let matches = |name: &str| patterns.iter().any(|pattern| fnmatch(pattern, name));
        let mut names = rest.match_indices('.').map(|(at, _)| &rest[..at]);
        match names.next() {
            // The text behind a name is no name. So the longest name counts if it is in the scope, or else a shorter
            // one.
            Some(first) => matches(first) || names.any(matches),
            // Whatever follows, a star at the end matches it.
            None => patterns.iter().any(|pattern| pattern.ends_with('*') && fnmatch(pattern, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_matched_by_name() {
        let scope = Scope::of(["web*", "db", "Job ?"]);
        for name in ["web", "web1", "WEB", "db", "db.1", "DB", "job 1", "job_1"] {
            assert!(scope.contains(name), "{name}");
        }
        for name in ["", "we", "dbx", "xdb", "job", "job 12", "plugin:web", "circusd-stats", "x.web"] {
            assert!(!scope.contains(name), "{name}");
        }
        for all in [Scope::ALL, Scope::of([]), Scope::of(["*"]), Scope::of(["a", "*"])] {
            assert!(all.is_all() && all.contains("x") && all.covers(b""), "{all:?}");
        }
    }

    #[test]
    fn subscription_is_covered_only_where_each_topic_is() {
        let scope = Scope::of(["web*", "db", "j?b"]);
        for prefix in [
            "watcher.web",
            "watcher.web.",
            "watcher.web1.spawn",
            "watcher.website",
            "watcher.db.",
            "watcher.db.reap",
            "watcher.db.1.reap",
            "output.db.stdout",
            "output.db.stdout?7",
            "stat.db.",
            "msgpack:stat.web",
            "watcher.job.",
        ] {
            assert!(scope.covers(prefix.as_bytes()), "{prefix}");
        }
        for prefix in [
            "",
            "w",
            "watcher",
            "watcher.",
            "watcher.we",
            "watcher.d",
            "watcher.db",
            "watcher.dbx.",
            "output.",
            "stat.",
            "stat.circus.",
            "stat.db",
            "stat.sockets.",
            "watcher.j",
            "watcher.job",
            "watcher.xb.",
            "msgpack:",
            "socket.db.",
            "watcher.x.db.",
        ] {
            assert!(!scope.covers(prefix.as_bytes()), "{prefix}");
        }
        assert!(!scope.covers(b"watcher.web\xff"));
    }

    /// Brute force: no topic of another watcher begins with a prefix that is covered.
    #[test]
    fn no_other_watcher_is_heard() {
        let names = ["a", "ab", "a.b", "b", "b.a", "ba", "aa", "abb", "a.bb", "ab.a"];
        let topics = |name: &str| TOPICS.map(|topics| format!("{topics}{name}.x"));
        for pattern in ["a", "a*", "?", "a?", "[ab]", "ab", "a.b", "*b", "a.*"] {
            let scope = Scope::of([pattern]);
            for topic in names.iter().flat_map(|name| topics(name)) {
                for end in 0..=topic.len() {
                    let prefix = &topic[..end];
                    if scope.covers(prefix.as_bytes()) {
                        let heard = names.iter().filter(|name| topics(name).iter().any(|t| t.starts_with(prefix)));
                        heard.for_each(|name| assert!(scope.contains(name), "{pattern}: {prefix} hears {name}"));
                    }
                }
            }
        }
    }
}
