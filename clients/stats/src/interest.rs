//! What is listened to: which topics are worth a look at a process, and in which form.

/// Begins the topics of messages in MessagePack.
pub(super) const PACKED: &[u8] = b"msgpack:";

/// Begins every topic, or comes after [`PACKED`].
const ALL: &[u8] = b"stat.";

/// The prefixes that somebody subscribed to, those of each form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    json: Vec<Vec<u8>>,
    packed: Vec<Vec<u8>>,
}

/// The forms in which somebody wants a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) json: bool,
    pub(super) packed: bool,
}

impl Interest {
    /// What these subscriptions come to. Who subscribes to everything means what every client of the original
    /// understands: MessagePack is only made for those who say so.
    pub(super) fn of<'a>(subscriptions: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut interest = Self::default();
        for prefix in subscriptions {
            let (prefix, list) = match prefix.strip_prefix(PACKED) {
                Some(rest) => (rest, &mut interest.packed),
                None => (prefix, &mut interest.json),
            };
            if meet(prefix, ALL) {
                list.push(prefix.to_vec());
            }
        }
        interest
    }

    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.json.is_empty() && self.packed.is_empty()
    }

    /// Whether some topic that begins so may be listened to.
    pub(super) fn reaches(&self, beginning: &[u8]) -> bool {
        self.json.iter().chain(&self.packed).any(|prefix| meet(prefix, beginning))
    }

    /// In which forms this topic is listened to.
    pub(super) fn forms(&self, topic: &[u8]) -> Forms {
        let wanted = |prefixes: &[Vec<u8>]| prefixes.iter().any(|prefix| topic.starts_with(prefix));
        Forms { json: wanted(&self.json), packed: wanted(&self.packed) }
    }
}

/// Whether there is a text that begins with both.
fn meet(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(prefixes: &[&str]) -> Interest {
        Interest::of(prefixes.iter().map(|prefix| prefix.as_bytes()))
    }

    fn forms(prefixes: &[&str], topic: &str) -> (bool, bool) {
        let Forms { json, packed } = interest(prefixes).forms(topic.as_bytes());
        (json, packed)
    }

    #[test]
    fn what_concerns_nobody_wakes_nobody() {
        for prefixes in [&[][..], &["watcher."], &["stats"], &["msgpack:watcher."], &["x", "status."]] {
            assert!(interest(prefixes).is_empty(), "{prefixes:?}");
        }
        for prefix in ["", "s", "stat.", "stat.w.12", "msgpack:", "msgpack:stat.w"] {
            assert!(!interest(&[prefix]).is_empty(), "{prefix}");
        }
    }

    #[test]
    fn a_watcher_is_looked_at_where_any_of_its_topics_is_wanted() {
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
            assert_eq!(interest(&[prefix]).reaches(b"stat.web"), reached, "{prefix}");
        }
    }

    #[test]
    fn messages_are_made_in_the_forms_that_are_wanted() {
        assert_eq!(forms(&[""], "stat.w"), (true, false), "everything is in JSON");
        assert_eq!(forms(&["stat.w.1"], "stat.w"), (false, false));
        assert_eq!(forms(&["stat.w", "msgpack:stat."], "stat.w.1"), (true, true));
        assert_eq!(forms(&["msgpack:"], "stat.w.1"), (false, true));
    }
}
