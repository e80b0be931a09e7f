//! Which worker has which value of the pools that watchers name with `slot.NAME`.
//!
//! A value belongs to a living worker. A place of a watcher (`wid`) gets the value that its last worker had, unless it was
//! given to another meanwhile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arbiter::ids::{Wid, WorkerId};
use crate::config::SlotPool;

/// The last worker that each value was given to, by pool and value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Pools(BTreeMap<String, BTreeMap<String, Holder>>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    worker: WorkerId,
    wid: Wid,
}

impl Pools {
    pub(in crate::arbiter) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A value for a worker that is about to be launched; `None` if living workers have all of them.
    pub(in crate::arbiter) fn take(
        &mut self,
        slots: &SlotPool,
        (worker, wid): (WorkerId, Wid),
        lives: impl Fn(WorkerId) -> bool,
    ) -> Option<String> {
        let holders = self.0.entry(slots.pool.clone()).or_default();
        holders.retain(|value, holder| slots.values.contains(value) || lives(holder.worker));
        let is_its = |holder: &Holder| (holder.worker.watcher, holder.wid) == (worker.watcher, wid);
        let is_free =
            |value: &&String| holders.get(*value).is_none_or(|holder| holder.worker == worker || !lives(holder.worker));
        // First the one that it had, then one that nobody may come back for.
        let rank = |value: &&String| match holders.get(*value) {
            Some(holder) if is_its(holder) => 0,
            None => 1,
            Some(_) => 2,
        };
        let value = slots.values.iter().filter(is_free).min_by_key(rank)?.clone();
        holders.insert(value.clone(), Holder { worker, wid });
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::ids::WatcherKey;

    fn worker(watcher: u32, serial: u64) -> WorkerId {
        WorkerId { watcher: WatcherKey(watcher), serial }
    }

    #[test]
    fn each_worker_has_a_value_of_its_own_and_its_successor_gets_it() {
        let slots = SlotPool { pool: "gpu".into(), values: ["0", "1", "2"].map(String::from).to_vec() };
        let mut pools = Pools::default();
        let mut living = vec![worker(1, 0), worker(1, 1), worker(2, 0)];
        let mut take = |watcher, serial, wid, living: &[WorkerId]| {
            pools.take(&slots, (worker(watcher, serial), Wid(wid)), |id| living.contains(&id))
        };
        assert_eq!(take(1, 0, 1, &living).as_deref(), Some("0"));
        assert_eq!(take(1, 1, 2, &living).as_deref(), Some("1"));
        assert_eq!(take(2, 0, 1, &living).as_deref(), Some("2"));
        assert_eq!(take(2, 1, 2, &living), None);
        // Both workers of the first watcher die: each successor has the value of its place, whichever comes first.
        living = vec![worker(2, 0)];
        assert_eq!(take(1, 3, 2, &living).as_deref(), Some("1"));
        assert_eq!(take(1, 2, 1, &living).as_deref(), Some("0"));
        // The value of a place that nobody is in goes to another watcher.
        living = vec![worker(1, 3), worker(2, 0)];
        assert_eq!(take(2, 1, 2, &living).as_deref(), Some("0"));
        living.push(worker(2, 1));
        assert_eq!(take(1, 4, 1, &living), None);
    }

    #[test]
    fn launch_that_is_tried_again_keeps_its_value() {
        let slots = SlotPool { pool: "gpu".into(), values: vec!["a".into()] };
        let mut pools = Pools::default();
        for _ in 0..2 {
            assert_eq!(pools.take(&slots, (worker(1, 0), Wid(1)), |_| true).as_deref(), Some("a"));
        }
    }
}
