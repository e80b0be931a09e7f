//! Deadlines by key. Nothing else wakes the thread by time.

use std::collections::{BTreeMap, BTreeSet};

use crate::arbiter::Mono;

/// At most one deadline for each key.
#[derive(Debug)]
pub(crate) struct TimerQueue<K> {
    order: BTreeSet<(Mono, K)>,
    due: BTreeMap<K, Mono>,
}

impl<K: Copy + Ord> TimerQueue<K> {
    pub(crate) fn new() -> Self {
        Self { order: BTreeSet::new(), due: BTreeMap::new() }
    }

    /// Sets, moves or removes the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Mono>) {
        if self.due.get(&key).copied() == at {
            return;
        }
        let old = match at {
            Some(at) => {
                self.order.insert((at, key));
                self.due.insert(key, at)
            }
            None => self.due.remove(&key),
        };
        if let Some(old) = old {
            self.order.remove(&(old, key));
        }
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline has come.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<K> {
        let (at, key) = *self.order.first()?;
        (at <= now).then(|| {
            self.set(key, None);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_come_in_order_and_can_be_moved_and_removed() {
        let start = Mono(0);
        let at = |ms| start.after(Duration::from_millis(ms));
        let mut timers = TimerQueue::new();
        for (key, ms) in [("late", 30), ("early", 10), ("never", 5), ("moved", 1)] {
            timers.set(key, Some(at(ms)));
        }
        timers.set("never", None);
        timers.set("moved", Some(at(20)));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        let all: Vec<_> = std::iter::from_fn(|| timers.pop(at(30))).collect();
        assert_eq!(all, ["early", "moved", "late"]);
        assert_eq!(timers.next(), None);
    }
}
