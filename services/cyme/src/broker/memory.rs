//! A broker in memory: for one branch without a broker, and for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Broker, Pending};
use crate::core::{Answer, Board, BrokerCall, Message};

/// All branches that have a copy of it see each other.
#[derive(Clone)]
pub struct Memory {
    branch: String,
    board: Arc<Mutex<Board>>,
    news: Arc<Notify>,
    begun: Instant,
}

impl Default for Memory {
    fn default() -> Self {
        Self { branch: String::new(), board: Arc::default(), news: Arc::default(), begun: Instant::now() }
    }
}

impl Memory {
    /// The same broker, as seen by a branch.
    pub fn of(&self, branch: &str) -> Self {
        Self { branch: branch.to_owned(), ..self.clone() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Board, Duration) -> T) -> T {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut board, self.begun.elapsed())
    }
}

impl Broker for Memory {
    fn call(&self, call: BrokerCall) -> Pending<'_, Answer> {
        let answer = self.with(|board, now| board.apply(now, call));
        self.news.notify_waiters();
        Box::pin(async move { Ok(answer) })
    }

    fn receive(&self) -> Pending<'_, Message> {
        Box::pin(async move {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                // From here on no news is missed.
                news.as_mut().enable();
                if let Some(message) = self.with(|board, now| board.receive(now, &self.branch)) {
                    return Ok(message);
                }
                news.await;
            }
        })
    }
}
