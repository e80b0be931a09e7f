//! The subscriptions: which topics are wanted, and in which form.

/// Begins the topics of messages in MessagePack.
pub(super) const PACKED: &[u8] = b"msgpack:";

/// Begins every topic, or comes after [`PACKED`].
const ALL: &[u8] = b"stat.";

/// The prefixes of all subscriptions, by form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    json: Vec<Vec<u8>>,
    packed: Vec<Vec<u8>>,
}

/// The forms in which a message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) json: bool,
    pub(super) packed: bool,
}

impl Subscriptions {
    /// What these subscriptions come to. A subscription to everything means JSON, which every client of the original
    /// understands: MessagePack has to be asked for.
    pub(super) fn of<'a>(prefixes: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut subscriptions = Self::default();
        for prefix in prefixes {
            let (prefix, list) = match prefix.strip_prefix(PACKED) {
                Some(rest) => (rest, &mut subscriptions.packed),
                None => (prefix, &mut subscriptions.json),
            };
            if overlap(prefix, ALL) {
                list.push(prefix.to_vec());
            }
        }
        subscriptions
    }

    /// Whether there is no subscription.
    pub(super) fn is_empty(&self) -> bool {
        self.json.is_empty() && self.packed.is_empty()
    }

    /// Whether some topic that begins so may be listened to.
    pub(super) fn reaches(&self, beginning: &[u8]) -> bool {
        self.json.iter().chain(&self.packed).any(|prefix| overlap(prefix, beginning))
    }

    /// In which forms this topic is listened to.
    pub(super) fn forms(&self, topic: &[u8]) -> Forms {
        let wanted = |prefixes: &[Vec<u8>]| prefixes.iter().any(|prefix| topic.starts_with(prefix));
        Forms { json: wanted(&self.json), packed: wanted(&self.packed) }
    }
}

/// Whether there is a text that begins with both.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriptions(prefixes: &[&str]) -> Subscriptions {
        Subscriptions::of(prefixes.iter().map(|prefix| prefix.as_bytes()))
    }

    fn forms(prefixes: &[&str], topic: &str) -> (bool, bool) {
        let Forms { json, packed } = subscriptions(prefixes).forms(topic.as_bytes());
        (json, packed)
    }

    #[test]
    fn other_topics_do_not_count() {
        for prefixes in [&[][..], &["watcher."], &["stats"], &["msgpack:watcher."], &["x", "status."]] {
            assert!(subscriptions(prefixes).is_empty(), "{prefixes:?}");
        }
        for prefix in ["", "s", "stat.", "stat.w.12", "msgpack:", "msgpack:stat.w"] {
            assert!(!subscriptions(&[prefix]).is_empty(), "{prefix}");
        }
    }

    #[test]
    fn watcher_is_sampled_for_any_of_its_topics() {
        for (prefix, reached) in [
            ("", true),
            ("stat.", true),
            ("stat.we", true),
            ("stat.web.", true),
            ("stat.web.12", true),
            ("stat.worker", false),
            ("msgpack:stat.web.12", true),
            ("msgpack:stat.x", false),
        ] {
            assert_eq!(subscriptions(&[prefix]).reaches(b"stat.web"), reached, "{prefix}");
        }
    }

    #[test]
    fn messages_are_made_in_wanted_forms_only() {
        assert_eq!(forms(&[""], "stat.w"), (true, false), "everything is in JSON");
        assert_eq!(forms(&["stat.w.1"], "stat.w"), (false, false));
        assert_eq!(forms(&["stat.w", "msgpack:stat."], "stat.w.1"), (true, true));
        assert_eq!(forms(&["msgpack:"], "stat.w.1"), (false, true));
    }
}
