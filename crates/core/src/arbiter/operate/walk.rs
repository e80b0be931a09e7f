//! Walks: watchers that start, or stop, in order. `operate::schedule` says how they go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{JobId, WalkId, WatcherKey};
use crate::arbiter::operate::operation::{OperationKind, Reason};
use crate::arbiter::time::Mono;
use crate::base::CollectOrdered as _;

/// Which watchers of a walk start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Which {
    /// All: they were named.
    All,
    /// As when circusd starts: those with on_demand wait for a connection.
    AsAtBoot,
}

/// Watchers, and which of them each one comes after on the way up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Order {
    /// In order of start.
    pub(in crate::arbiter) keys: Vec<WatcherKey>,
    /// The watchers that must be up before this one starts, and that stop only when this one has stopped.
    pub(in crate::arbiter) after: BTreeMap<WatcherKey, BTreeSet<WatcherKey>>,
}

impl Order {
    /// The order by `after`, and then by priority, the greatest first; among equals in the order given. Edges of `after`
    /// that would close a circle do not count.
    pub(in crate::arbiter) fn new(members: Vec<(WatcherKey, i64)>, after: &Edges) -> Self {
        if after.is_empty() {
            return Self::by_priority(members);
        }
        let own = members.iter().copied().collect_map();
        let mut sorter = Sorter { own, after, seen: BTreeSet::new(), sorted: Vec::with_capacity(members.len()) };
        let mut by_own = members;
        by_own.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        by_own.iter().for_each(|(key, priority)| sorter.visit(*key, *priority));
        let mut order = Self::by_priority(sorter.sorted);
        let place: BTreeMap<WatcherKey, usize> =
            order.keys.iter().enumerate().map(|(at, key)| (*key, at)).collect_map();
        for (key, needed) in after.iter().filter(|(key, _)| place.contains_key(key)) {
            let earlier = |needed: &&WatcherKey| place.get(needed).is_some_and(|at| *at < place[key]);
            order.after.entry(*key).or_default().extend(needed.iter().filter(earlier).copied());
        }
        order
    }

    /// The order by priority alone, the greatest first; among equals in the order given.
    pub(in crate::arbiter) fn by_priority(mut members: Vec<(WatcherKey, i64)>) -> Self {
        members.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        let mut order = Self::default();
        let mut above: BTreeSet<WatcherKey> = BTreeSet::new();
        // It is enough to name the next higher priority: that one comes after those above it.
        for tier in members.chunk_by(|(_, a), (_, b)| a == b) {
            let tier: BTreeSet<WatcherKey> = tier.iter().map(|(key, _)| *key).collect_set();
            for key in &tier {
                order.after.insert(*key, above.clone());
            }
            above = tier;
        }
        order.keys = members.into_iter().map(|(key, _)| key).collect();
        order
    }

    /// The next watcher that may start while these are not up yet. Those that wait for others come in order.
    pub(in crate::arbiter) fn next_up(&self, not_up: &BTreeSet<WatcherKey>) -> Option<WatcherKey> {
        let first = *self.keys.first()?;
        let is_up = |key: &WatcherKey| self.after.get(key).is_none_or(|before| before.is_disjoint(not_up));
        if is_up(&first) {
            return Some(first);
        }
        let to_come: BTreeSet<WatcherKey> = self.keys.iter().copied().collect_set();
        let is_next = |key: &&WatcherKey| self.after.get(key).is_none_or(|before| before.is_disjoint(&to_come));
        self.keys.iter().filter(is_next).find(|key| is_up(key)).copied()
    }

    /// The watchers that may stop while these have not stopped yet: no other comes after them.
    pub(in crate::arbiter) fn next_down(&self, not_stopped: &BTreeSet<WatcherKey>) -> Vec<WatcherKey> {
        let dependants = self.keys.iter().chain(not_stopped);
        let needed: BTreeSet<WatcherKey> =
            dependants.filter_map(|key| self.after.get(key)).flatten().copied().collect_set();
        let free = |key: &&WatcherKey| !needed.contains(key) && !not_stopped.contains(key);
        let mut free: Vec<WatcherKey> = self.keys.iter().filter(free).copied().collect();
        free.sort_unstable();
        free
    }

    /// This watcher is under way: it is not to come any more.
    pub(in crate::arbiter) fn take(&mut self, key: WatcherKey) {
        self.keys.retain(|other| *other != key);
    }
}

/// For each watcher with `after`, the watchers that it comes after.
pub(in crate::arbiter) type Edges = BTreeMap<WatcherKey, BTreeSet<WatcherKey>>;

/// Sorts watchers so that each one stands behind those that it comes after, with the greatest priority among those
/// that come after it.
pub(in crate::arbiter) struct Sorter<'a> {
    pub(in crate::arbiter) own: BTreeMap<WatcherKey, i64>,
    pub(in crate::arbiter) after: &'a Edges,
    pub(in crate::arbiter) seen: BTreeSet<WatcherKey>,
    pub(in crate::arbiter) sorted: Vec<(WatcherKey, i64)>,
}

impl Sorter<'_> {
    /// The watchers are visited in order of their priority, so the first visit brings the greatest.
    pub(in crate::arbiter) fn visit(&mut self, key: WatcherKey, priority: i64) {
        if !self.own.contains_key(&key) || !self.seen.insert(key) {
            return;
        }
        let mut needed: Vec<WatcherKey> = self.after.get(&key).into_iter().flatten().copied().collect();
        needed.sort_by_key(|key| std::cmp::Reverse(self.own.get(key).copied()));
        for needed in needed {
            self.visit(needed, priority);
        }
        self.sorted.push((key, priority));
    }
}

/// What is done with the watchers of a walk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Course {
    /// They start or reload, one after the other.
    Up {
        kind: OperationKind,
        which: Which,
        not_before: Option<Mono>,
        #[serde(default, skip_serializing_if = "Reason::is_request")]
        reason: Reason,
    },
    /// They stop: those in `removed` for good, those in `along` because they require another, and those in `restarted`
    /// start again at once.
    Down {
        removed: BTreeSet<WatcherKey>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        along: BTreeSet<WatcherKey>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        restarted: BTreeSet<WatcherKey>,
    },
}

/// Watchers that are to stop in order.
#[derive(Debug, Default)]
pub(in crate::arbiter) struct Stops {
    /// These stop.
    pub(in crate::arbiter) keys: Vec<WatcherKey>,
    /// Those of them that are forgotten then.
    pub(in crate::arbiter) removed: BTreeSet<WatcherKey>,
    /// Those of them that restart.
    pub(in crate::arbiter) restarted: BTreeSet<WatcherKey>,
    /// These stop too, as they require one of them.
    pub(in crate::arbiter) along: BTreeSet<WatcherKey>,
}

/// Watchers that start, or stop, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Walk {
    pub(in crate::arbiter) order: Order,
    pub(in crate::arbiter) course: Course,
    /// Those whose turn has come and that are not done.
    pub(in crate::arbiter) under_way: BTreeSet<WatcherKey>,
    /// It has one part: the walk.
    pub(in crate::arbiter) job: Option<JobId>,
}

impl Walk {
    pub(in crate::arbiter) fn up(order: Order, kind: OperationKind, which: Which, job: Option<JobId>) -> Self {
        let course = Course::Up { kind, which, not_before: None, reason: Reason::Requested };
        Self { order, course, under_way: BTreeSet::new(), job }
    }

    /// What a walk down does with a watcher, whose turn has come.
    pub(in crate::arbiter) fn step_down(&self, key: WatcherKey) -> Option<(OperationKind, Reason)> {
        let Course::Down { removed, along, restarted } = &self.course else { return None };
        Some(if removed.contains(&key) {
            (OperationKind::Remove, Reason::Requested)
        } else if restarted.contains(&key) {
            (OperationKind::Restart, Reason::Requested)
        } else {
            (OperationKind::Stop, if along.contains(&key) { Reason::Along } else { Reason::Requested })
        })
    }

    pub(in crate::arbiter) fn is_up(&self) -> bool {
        matches!(self.course, Course::Up { .. })
    }

    pub(in crate::arbiter) fn is_to_come(&self, key: WatcherKey) -> bool {
        self.order.keys.contains(&key)
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn job(&self) -> Option<JobId> {
        self.job
    }
}

/// Every walk that is not done.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Schedule {
    pub(in crate::arbiter) walks: BTreeMap<WalkId, Walk>,
    /// Walks that may go on.
    pub(in crate::arbiter) due: VecDeque<WalkId>,
    pub(in crate::arbiter) next: u64,
}

impl Schedule {
    pub(in crate::arbiter) fn open(&mut self, walk: Walk) -> WalkId {
        let id = WalkId(self.next);
        self.next += 1;
        self.walks.insert(id, walk);
        self.due.push_back(id);
        id
    }

    /// Whether watchers are being started in order.
    pub(in crate::arbiter) fn is_starting(&self) -> bool {
        self.walks.values().any(Walk::is_up)
    }

    /// Whether this watcher is still to start, or to reload, in some walk.
    pub(in crate::arbiter) fn is_to_come_up(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| walk.is_up() && walk.is_to_come(key))
    }

    /// Whether this watcher is still to stop in some walk.
    pub(in crate::arbiter) fn is_to_stop(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| !walk.is_up() && walk.is_to_come(key))
    }

    /// The watchers that start just now.
    pub(in crate::arbiter) fn under_way(&self) -> impl Iterator<Item = WatcherKey> {
        self.walks.values().filter(|walk| walk.is_up()).flat_map(|walk| &walk.under_way).copied()
    }

    /// Whether this watcher is still to come in some walk.
    pub(in crate::arbiter) fn is_to_come(&self, key: WatcherKey) -> bool {
        self.walks.values().any(|walk| walk.is_to_come(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[u32]) -> Vec<WatcherKey> {
        numbers.iter().map(|number| WatcherKey(*number)).collect()
    }

    /// 0 and 3 have priority 1, 1 has 5, 2 has none.
    fn order() -> Order {
        let members = [(0, 1), (1, 5), (2, 0), (3, 1)];
        Order::new(members.into_iter().map(|(key, priority)| (WatcherKey(key), priority)).collect(), &Edges::new())
    }

    #[test]
    fn the_way_up_is_one_by_one() {
        let mut order = order();
        let mut seen = Vec::new();
        while let Some(key) = order.next_up(&BTreeSet::new()) {
            seen.push(key);
            order.take(key);
        }
        assert_eq!(seen, keys(&[1, 0, 3, 2]));
    }

    #[test]
    fn equals_pass_one_that_is_held_up() {
        let mut order = order();
        order.take(WatcherKey(1));
        order.take(WatcherKey(0));
        let held = BTreeSet::from([WatcherKey(0)]);
        assert_eq!(order.next_up(&held), Some(WatcherKey(3)));
        order.take(WatcherKey(3));
        assert_eq!(order.next_up(&held), None, "a lower priority does not pass");
    }

    #[test]
    fn the_way_down_is_tier_by_tier() {
        let mut order = order();
        let mut tiers = Vec::new();
        loop {
            let tier = order.next_down(&BTreeSet::new());
            if tier.is_empty() {
                break;
            }
            assert_eq!(order.next_down(&tier.iter().copied().collect()), [], "the next tier waits for this one");
            tier.iter().for_each(|key| order.take(*key));
            tiers.push(tier);
        }
        assert_eq!(tiers, [keys(&[2]), keys(&[0, 3]), keys(&[1])]);
    }

    #[test]
    fn what_comes_after_overrules_priority() {
        // 1 has the greatest priority and comes after 0, which comes after 2; 3 stands between them.
        let members = [(0, 1), (1, 5), (2, 0), (3, 3)].map(|(key, priority)| (WatcherKey(key), priority));
        let edges = Edges::from([
            (WatcherKey(1), BTreeSet::from([WatcherKey(0)])),
            (WatcherKey(0), BTreeSet::from([WatcherKey(2)])),
        ]);
        let mut order = Order::new(members.to_vec(), &edges);
        assert_eq!(order.keys, keys(&[2, 0, 1, 3]));
        assert_eq!(order.next_down(&BTreeSet::new()), keys(&[3]));
        order.take(WatcherKey(3));
        assert_eq!(order.next_down(&BTreeSet::new()), keys(&[1]));
        assert_eq!(order.next_down(&BTreeSet::from([WatcherKey(1)])), []);
    }

    #[test]
    fn circle_does_not_hang() {
        let members = vec![(WatcherKey(0), 0), (WatcherKey(1), 0)];
        let edges = Edges::from([
            (WatcherKey(0), BTreeSet::from([WatcherKey(1)])),
            (WatcherKey(1), BTreeSet::from([WatcherKey(0)])),
        ]);
        let order = Order::new(members, &edges);
        assert_eq!(order.keys.len(), 2);
        assert_eq!(order.next_down(&BTreeSet::new()).len(), 1);
    }
}
