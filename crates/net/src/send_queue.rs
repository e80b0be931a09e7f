//! Answers that clients have not fetched: bounded queues, one for each client. Pure data.

use std::collections::{HashMap, VecDeque};

use super::readiness::Sent;

/// How much is kept for clients that do not read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes for one client. A single answer is kept whatever its size.
    pub(super) client: usize,
    /// Bytes for all of them together.
    pub(super) total: usize,
}

/// An answer that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) delimiter: bool,
    pub(super) payload: Vec<u8>,
}

impl Answer {
    /// What it costs to keep it, its share of the containers included.
    fn cost(&self) -> usize {
        self.payload.len() + 64
    }
}

#[derive(Debug, Default)]
struct Queue {
    answers: VecDeque<Answer>,
    bytes: usize,
}

/// What became of the answers that were tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Sent.
    pub(super) sent: usize,
    /// Dropped, because their client has gone.
    pub(super) gone: usize,
}

/// The answers that wait, in order for each client.
#[derive(Debug)]
pub(super) struct SendQueue {
    limits: Limits,
    clients: HashMap<Vec<u8>, Queue>,
    answers: usize,
    bytes: usize,
}

impl SendQueue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, clients: HashMap::new(), answers: 0, bytes: 0 }
    }

    /// The number of answers that wait.
    pub(super) fn len(&self) -> usize {
        self.answers
    }

    /// Whether earlier answers of this client wait: a later one must not overtake them.
    pub(super) fn holds(&self, client: &[u8]) -> bool {
        !self.clients.is_empty() && self.clients.contains_key(client)
    }

    /// Keeps an answer for later, and returns how many were dropped to stay within the limits: this one where its client
    /// has too many, or all those of the client with the most.
    pub(super) fn push(&mut self, client: &[u8], answer: Answer) -> usize {
        let cost = answer.cost();
        let queue = self.clients.entry(client.to_vec()).or_default();
        if !queue.answers.is_empty() && queue.bytes + cost > self.limits.client {
            return 1;
        }
        queue.bytes += cost;
        queue.answers.push_back(answer);
        self.answers += 1;
        self.bytes += cost;
        if self.bytes > self.limits.total { self.drop_greediest() } else { 0 }
    }

    fn drop_greediest(&mut self) -> usize {
        let greediest = self.clients.iter().max_by_key(|(_, queue)| queue.bytes).map(|(client, _)| client.clone());
        greediest.map_or(0, |client| self.forget(&client))
    }

    /// Drops the waiting answers of a client; returns their number.
    pub(super) fn forget(&mut self, client: &[u8]) -> usize {
        let Some(queue) = self.clients.remove(client) else { return 0 };
        self.answers -= queue.answers.len();
        self.bytes -= queue.bytes;
        queue.answers.len()
    }

    /// Tries to send what waits, each client's answers in order, until its queue is full again.
    pub(super) fn retry(&mut self, mut send: impl FnMut(&[u8], &Answer) -> Sent) -> Progress {
        let mut progress = Progress::default();
        let (answers, bytes) = (&mut self.answers, &mut self.bytes);
        self.clients.retain(|client, queue| {
            while let Some(answer) = queue.answers.front() {
                match send(client, answer) {
                    Sent::Done => {
                        progress.sent += 1;
                        *answers -= 1;
                        *bytes -= answer.cost();
                        queue.bytes -= answer.cost();
                        queue.answers.pop_front();
                    }
                    Sent::Full => return true,
                    Sent::Gone => {
                        progress.gone += queue.answers.len();
                        *answers -= queue.answers.len();
                        *bytes -= queue.bytes;
                        return false;
                    }
                }
            }
            false
        });
        progress
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(size: usize) -> Answer {
        Answer { delimiter: false, payload: vec![b'x'; size] }
    }

    fn queue(client: usize, total: usize) -> SendQueue {
        SendQueue::new(Limits { client, total })
    }

    #[test]
    fn answers_leave_in_order_and_a_full_queue_keeps_the_rest() {
        let mut queue = queue(10_000, 10_000);
        for size in 1..=5 {
            assert_eq!(queue.push(b"a", answer(size)), 0);
        }
        let mut seen = Vec::new();
        let progress = queue.retry(|_, answer| {
            if seen.len() == 3 {
                return Sent::Full;
            }
            seen.push(answer.payload.len());
            Sent::Done
        });
        assert_eq!((seen, progress), (vec![1, 2, 3], Progress { sent: 3, gone: 0 }));
        assert_eq!(queue.len(), 2);
        assert!(queue.holds(b"a"));
    }

    #[test]
    fn a_client_that_has_gone_is_forgotten() {
        let mut queue = queue(10_000, 10_000);
        queue.push(b"gone", answer(1));
        queue.push(b"gone", answer(1));
        queue.push(b"slow", answer(1));
        let progress = queue.retry(|client, _| if client == b"gone" { Sent::Gone } else { Sent::Full });
        assert_eq!(progress, Progress { sent: 0, gone: 2 });
        assert_eq!((queue.len(), queue.holds(b"gone")), (1, false));
    }

    #[test]
    fn one_client_cannot_use_up_the_room_of_the_others() {
        let mut queue = queue(1000, 1500);
        assert_eq!((0..20).map(|_| queue.push(b"greedy", answer(36))).sum::<usize>(), 10);
        assert_eq!((0..5).map(|_| queue.push(b"modest", answer(36))).sum::<usize>(), 0);
        assert_eq!(queue.push(b"third", answer(36)), 10, "the greedy one pays");
        assert!(queue.holds(b"modest") && queue.holds(b"third") && !queue.holds(b"greedy"));
    }

    #[test]
    fn a_single_answer_is_kept_whatever_its_size() {
        let mut queue = queue(10, 1_000_000);
        assert_eq!(queue.push(b"a", answer(5000)), 0);
        assert_eq!(queue.push(b"a", answer(1)), 1);
    }

    proptest! {
        #[test]
        fn the_sums_agree_with_the_queues(steps in proptest::collection::vec((0u8..4, 0u8..4, 0usize..300), 0..200)) {
            let mut queue = queue(1000, 2000);
            for (kind, client, size) in steps {
                match kind {
                    0 | 1 => drop(queue.push(&[client], answer(size))),
                    2 => drop(queue.retry(|name, answer| match answer.payload.len() % 3 {
                        0 => Sent::Done,
                        1 => Sent::Full,
                        _ if name == [client] => Sent::Gone,
                        _ => Sent::Full,
                    })),
                    _ => drop(queue.forget(&[client])),
                }
                let answers: usize = queue.clients.values().map(|queue| queue.answers.len()).sum();
                let bytes: usize = queue.clients.values().flat_map(|queue| &queue.answers).map(Answer::cost).sum();
                prop_assert_eq!((answers, bytes), (queue.answers, queue.bytes));
                prop_assert!(queue.clients.values().all(|queue| !queue.answers.is_empty()));
                prop_assert!(bytes <= 2000);
            }
        }
    }
}
