//! Requests to circusd: a few at once, whose answers are read when they come.

use std::time::Duration;

use super::inventory::{self, Own, Socket, Watcher};
use circus_client::{Client, ClientError};
use circus_core::proto::Object;

/// After this long no answer is expected any more.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Between two rounds of questions, so that a crash loop that is news all the time costs circusd little.
const PAUSE: Duration = Duration::from_millis(100);

/// An answer of circusd.
#[derive(Debug)]
pub(super) enum Answer {
    /// The watchers, and circusd's own programs.
    Watchers(Vec<Watcher>, Vec<Own>),
    /// The sockets that it holds.
    Sockets(Vec<Socket>),
    /// Its own process.
    Daemon(Own),
}

/// The connection to circusd, and what was asked last.
pub(super) struct Control {
    pub(super) connection: circus_client::Control,
    round: u64,
    asked: Option<Duration>,
    /// Answers that are still expected.
    open: usize,
}

const STATUS: &str = "status";
const SOCKETS: &str = "listsockets";
const DAEMON: &str = "dstats";

impl Control {
    pub(super) fn connect(client: &Client, endpoint: &str) -> Result<Self, ClientError> {
        Ok(Self { connection: client.control(endpoint)?.unmonitored(), round: 0, asked: None, open: 0 })
    }

    /// When questions may be asked again: at once, unless there are answers to wait for.
    pub(super) fn free_at(&self) -> Duration {
        let wait = if self.open > 0 { TIMEOUT } else { PAUSE };
        self.asked.map_or(Duration::ZERO, |asked| asked + wait)
    }

    /// How long ago the last round was.
    pub(super) fn since_asked(&self, now: Duration) -> Duration {
        self.asked.map_or(Duration::MAX, |asked| now.saturating_sub(asked))
    }

    /// Asks for watchers and sockets, and for circusd's pid if that is not known.
    pub(super) fn ask(&mut self, knows_daemon: bool, now: Duration) {
        self.round += 1;
        self.asked = Some(now);
        let commands = [STATUS, SOCKETS, DAEMON];
        let commands = commands.iter().filter(|command| **command != DAEMON || !knows_daemon);
        let (round, connection) = (self.round, &mut self.connection);
        let send = |command: &&&str| {
            let verbose = (**command == STATUS).then(|| ("verbose".to_owned(), true.into()));
            connection.ask(&format!("{command} {round}"), command, verbose.into_iter().collect())
        };
        self.open = commands.filter(send).count();
    }

    /// The next thing that circusd said in answer to the last round.
    pub(super) fn read(&mut self) -> Option<Answer> {
        while let Some((id, answer)) = self.connection.answer() {
            let Some((command, round)) = id.split_once(' ') else { continue };
            if round.parse() != Ok(self.round) {
                continue;
            }
            self.open = self.open.saturating_sub(1);
            if let Some(told) = read_answer(command, &answer) {
                return Some(told);
            }
        }
        None
    }
}

fn read_answer(command: &str, answer: &Object) -> Option<Answer> {
    match command {
        STATUS => inventory::watchers(answer).map(|(watchers, own)| Answer::Watchers(watchers, own)),
        SOCKETS => inventory::sockets(answer).map(Answer::Sockets),
        DAEMON => inventory::daemon(answer).map(Answer::Daemon),
        _ => None,
    }
}
