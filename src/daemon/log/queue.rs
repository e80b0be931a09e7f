//! The bounded queue between the daemon's thread and the log's.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::arbiter::Level;

/// Text that waits for a target which takes no more: some ten thousand lines.
pub(super) const QUEUE_LIMIT: usize = 1024 * 1024;

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) level: Level,
    /// Seconds since the epoch.
    pub(super) unix: f64,
    pub(super) text: String,
}

impl Entry {
    /// The level as the log names it.
    pub(super) fn level_name(&self) -> &'static str {
        match self.level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// What the writer takes at once.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) entries: VecDeque<Entry>,
    /// How many lines came after these and found the queue full.
    pub(super) dropped: u64,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    bytes: usize,
    /// The writer has a batch that is not written yet.
    writing: bool,
    closing: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// An entry came, or the queue closes.
    pushed: Condvar,
    /// Everything is written.
    drained: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry, or counts it as dropped. It never waits for the target.
    pub(super) fn push(&self, entry: Entry) {
        let mut state = self.lock();
        let bytes = state.bytes + cost(&entry);
        // Once an entry is dropped, so are all that follow until the writer comes: the count then stands in their place.
        if bytes > QUEUE_LIMIT || state.batch.dropped > 0 {
            state.batch.dropped += 1;
        } else {
            state.bytes = bytes;
            state.batch.entries.push_back(entry);
        }
        // A writer that is at work, or was woken already, looks again by itself.
        let waits = !state.writing && state.batch.entries.len() as u64 + state.batch.dropped == 1;
        drop(state);
        if waits {
            self.pushed.notify_one();
        }
    }

    /// Everything that has come, for the writer; `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.writing = false;
        loop {
            if !state.batch.entries.is_empty() || state.batch.dropped > 0 {
                state.writing = true;
                state.bytes = 0;
                return Some(std::mem::take(&mut state.batch));
            }
            self.drained.notify_all();
            if state.closing {
                return None;
            }
            state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits before a target that failed is tried again. False when the queue closes: there is no later any more.
    pub(super) fn pause(&self, delay: Duration) -> bool {
        let state = self.lock();
        let waited = self.pushed.wait_timeout_while(state, delay, |state| !state.closing);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.closing
    }

    /// Nothing more comes: lets the writer end when it has written what there is, and waits for that at most `limit`.
    /// Whether all is written.
    pub(super) fn close(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        state.closing = true;
        self.pushed.notify_all();
        self.wait_until_written(state, limit)
    }

    /// Waits at most `limit` until everything that has come is written. Whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        self.wait_until_written(self.lock(), limit)
    }

    fn wait_until_written(&self, state: MutexGuard<'_, State>, limit: Duration) -> bool {
        let waits = |state: &mut State| state.writing || !state.batch.entries.is_empty() || state.batch.dropped > 0;
        let waited = self.drained.wait_timeout_while(state, limit, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !waits(&mut state)
    }
}

fn cost(entry: &Entry) -> usize {
    entry.text.len() + size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry { level: Level::Info, unix: 0.0, text: text.to_owned() }
    }

    #[test]
    fn entries_come_out_in_order() {
        let queue = Queue::default();
        queue.push(entry("one"));
        queue.push(entry("two"));
        let batch = queue.take().unwrap();
        assert_eq!((batch.entries, batch.dropped), ([entry("one"), entry("two")].into(), 0));
        queue.push(entry("three"));
        assert!(!queue.close(Duration::ZERO), "three is not written yet");
        assert_eq!(queue.take().unwrap().entries, [entry("three")]);
        assert_eq!(queue.take(), None);
        assert!(queue.close(Duration::ZERO));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Queue::default();
        let long = entry(&"x".repeat(QUEUE_LIMIT / 4));
        (0..10).for_each(|_| queue.push(long.clone()));
        queue.push(entry("a short one has no place before those that were dropped"));
        let batch = queue.take().unwrap();
        assert_eq!((batch.entries.len(), batch.dropped), (3, 8));
        queue.push(entry("after"));
        assert_eq!(queue.take().unwrap(), Batch { entries: [entry("after")].into(), dropped: 0 });
    }

    #[test]
    fn a_pause_ends_when_the_queue_closes() {
        let queue = Queue::default();
        assert!(queue.pause(Duration::ZERO));
        queue.close(Duration::ZERO);
        assert!(!queue.pause(Duration::from_secs(3600)));
    }
}
