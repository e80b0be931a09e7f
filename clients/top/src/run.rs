//! The loop: wait, read what has arrived, draw.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, FREE};
use super::input::{Effect, Input};
use super::screen::Screen;
use super::state::State;
use circus_sys as sys;

const SIGNALS: Token = FREE;
const KEYS: Token = Token(FREE.0 + 1);

/// Between two pictures, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(100);

/// Messages of workers' output that are taken up in one turn, so that keys work in a flood.
const LINES_A_TURN: usize = 256;

/// How often something is forgotten that nothing was heard of.
const TICK: Duration = Duration::from_secs(1);

/// circus-top at work.
pub(super) struct Session {
    poll: Poll,
    connection: Connection,
    state: State,
    signals: sys::Signals,
    tick: Duration,
    /// More output may wait than was taken up.
    more: bool,
    ended: bool,
}

impl Session {
    /// `poll` is the one that `connection` is registered with.
    pub(super) fn new(
        poll: Poll,
        connection: Connection,
        state: State,
        signals: sys::Signals,
    ) -> std::io::Result<Self> {
        poll.registry().register(&mut SourceFd(&signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
        Ok(Self { poll, connection, state, signals, tick: Duration::ZERO, more: false, ended: false })
    }

    /// On a terminal, until the operator leaves.
    pub(super) fn show(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&Screen::input()), KEYS, Interest::READABLE)?;
        let mut drawn = Duration::ZERO;
        let mut draw = true;
        while !self.ended {
            let now = sys::since_boot();
            draw |= self.tend_output(now);
            if draw && now.saturating_sub(drawn) >= FRAME {
                screen.draw(&self.state)?;
                (drawn, draw) = (now, false);
            }
            let due = if draw { drawn + FRAME } else { self.due(now) };
            draw |= self.wait(due.min(self.due(now)));
            let Some(keys) = screen.read() else { break };
            for key in keys {
                let effect = self.state.feed(Input::Key(key), sys::since_boot());
                if effect == Some(Effect::Redraw) {
                    screen.clear()?;
                }
                self.obey(effect);
                // Keys show their effect at once.
                (draw, drawn) = (true, Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Without a terminal: until this holds, or for `limit`, or until a signal. What is known then.
    pub(super) fn until(mut self, limit: Duration, holds: impl Fn(&State) -> bool) -> State {
        let end = sys::since_boot() + limit;
        while !self.ended && !holds(&self.state) {
            let now = sys::since_boot();
            if now >= end {
                break;
            }
            self.wait(self.due(now).min(end));
        }
        self.state
    }

    /// When something is to be done without being asked.
    fn due(&self, now: Duration) -> Duration {
        if self.more {
            return now;
        }
        self.connection.due(now).min(self.tick)
    }

    /// Waits until something comes, or until then, and handles it. Whether there is news.
    fn wait(&mut self, due: Duration) -> bool {
        let mut events = Events::with_capacity(16);
        // Rounded up: poll counts in milliseconds, and too early would be a turn for nothing.
        let limit = due.saturating_sub(sys::since_boot()) + Duration::from_millis(1);
        // An error is an interruption: whatever it was, the turn looks at everything.
        let _interrupted = self.poll.poll(&mut events, Some(limit));
        let now = sys::since_boot();
        let mut news = self.take_signals();
        if self.connection.ask(now) {
            // Sending may have consumed the edge of ZMQ_FD that announces messages.
            news |= self.take_messages(now);
        }
        news |= self.take_messages(now);
        if let Some(reconnected) = self.connection.give_up(now) {
            self.state.feed(Input::Silence(self.connection.trouble()), now);
            if let Err(reason) = reconnected {
                self.state.feed(Input::Trouble(reason), now);
            }
            news = true;
        }
        if self.tick <= now {
            self.tick = now + TICK;
            self.state.feed(Input::Tick, now);
            news = true;
        }
        news
    }

    fn take_signals(&mut self) -> bool {
        let mut caught = Vec::new();
        self.signals.read(&mut caught);
        self.ended |= caught.iter().any(|caught| match caught {
            sys::SignalEvent::Terminate(_) | sys::SignalEvent::Reload => true,
            // Another size of the terminal is one of these: it is drawn anew.
            sys::SignalEvent::Child
            | sys::SignalEvent::Upgrade
            | sys::SignalEvent::ReopenLogs
            | sys::SignalEvent::Ignored(_) => false,
        });
        !caught.is_empty()
    }

    fn take_messages(&mut self, now: Duration) -> bool {
        let mut news = false;
        while let Some((topic, body)) = self.connection.stats.try_recv() {
            news = true;
            let effect = self.state.feed(Input::Stat { topic: &topic, body: &body }, now);
            self.obey(effect);
        }
        while let Some((topic, body)) = self.connection.events.try_recv() {
            news = true;
            let effect = self.state.feed(Input::Event { topic: &topic, body: &body }, now);
            self.obey(effect);
        }
        while let Some((asked, answer)) = self.connection.answer(now) {
            news = true;
            let effect = self.state.feed(Input::Answer(asked, &answer), now);
            self.obey(effect);
        }
        // Last, for an answer may be what it waits for.
        self.take_output(now) || news
    }

    fn take_output(&mut self, now: Duration) -> bool {
        let mut taken = 0;
        while taken < LINES_A_TURN
            && self.state.output.listens()
            && let Some(heard) = self.connection.heard()
        {
            taken += 1;
            self.state.feed(Input::Output(heard), now);
        }
        self.more = taken == LINES_A_TURN;
        taken > 0
    }

    /// Listens to the output that is looked at, and asks for the last lines of it. Whether there is news.
    fn tend_output(&mut self, now: Duration) -> bool {
        let wanted = self.state.subject();
        let turned = self.state.output.subject() != wanted.as_ref();
        if turned {
            self.state.output.begin(wanted.clone());
            if let Err(reason) = self.connection.listen(wanted) {
                self.state.feed(Input::Trouble(reason), now);
            }
        }
        let Some(inquiry) = self.state.output.inquiry() else { return turned };
        self.connection.inquire(&inquiry, now);
        // Sending may have consumed the edge of ZMQ_FD that announces messages.
        self.take_messages(now) || turned
    }

    fn obey(&mut self, effect: Option<Effect>) {
        let now = sys::since_boot();
        match effect {
            None | Some(Effect::Redraw) => {}
            Some(Effect::Ask) => self.connection.dirty = true,
            Some(Effect::Quit) => self.ended = true,
            Some(Effect::Order(number, order)) => self.connection.order(number, &order, now),
            Some(Effect::Follow(endpoints)) => {
                if let Err(reason) = self.connection.follow(endpoints) {
                    self.state.feed(Input::Trouble(reason), now);
                }
            }
        }
    }
}
