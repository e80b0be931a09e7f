//! The loop: wait, read what has arrived, draw.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::connection::Connection;
use super::input::{Effect, Input};
use super::keys::Key;
use super::screen::Screen;
use super::state::{HostLabel, Mode, State};
use circus_sys as sys;

/// Connections have the tokens from 0 on.
const SIGNALS: Token = Token(usize::MAX - 1);
const KEYS: Token = Token(usize::MAX - 2);

/// Between two pictures, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(100);

/// Messages of workers' output that are taken up in one turn, so that keys work in a flood.
const LINES_A_TURN: usize = 256;

/// How often something is forgotten that nothing was heard of.
const TICK: Duration = Duration::from_secs(1);

/// A circusd, and what is known of it.
pub(super) struct Place {
    /// Its name in hosts.toml.
    pub(super) name: String,
    connection: Connection,
    pub(super) state: State,
    /// More output may wait than was taken up.
    more: bool,
    ended: bool,
}

impl Place {
    pub(super) fn new(name: String, connection: Connection, state: State) -> Self {
        Self { name, connection, state, more: false, ended: false }
    }

    fn label(&self, is_shown: bool) -> HostLabel {
        HostLabel { name: self.name.clone(), trouble: self.state.trouble(), is_shown }
    }
}

/// circus-top at work.
pub(super) struct Session {
    poll: Poll,
    /// One at least.
    places: Vec<Place>,
    /// The place that is shown.
    shown: usize,
    signals: sys::Signals,
    tick: Duration,
    ended: bool,
}

impl Session {
    /// `poll` is the one that the connections are registered with.
    pub(super) fn new(poll: Poll, places: Vec<Place>, signals: sys::Signals) -> std::io::Result<Self> {
        poll.registry().register(&mut SourceFd(&signals.as_fd().as_raw_fd()), SIGNALS, Interest::READABLE)?;
        Ok(Self { poll, places, shown: 0, signals, tick: Duration::ZERO, ended: false })
    }

    /// Shows the next host, or the one before. Output is looked at on one host at a time.
    fn turn_to(&mut self, forward: bool) {
        let (count, now) = (self.places.len(), sys::since_boot());
        if let Some(place) = self.places.get_mut(self.shown) {
            place.state.settings.output = None;
            place.tend_output(now);
        }
        self.shown = (self.shown + if forward { 1 } else { count - 1 }) % count;
    }

    /// Tells the place that is shown which hosts there are.
    fn tell_hosts(&mut self) {
        if self.places.len() < 2 {
            return;
        }
        let shown = self.shown;
        let labels = self.places.iter().enumerate().map(|(at, place)| place.label(at == shown)).collect();
        if let Some(place) = self.places.get_mut(shown) {
            place.state.hosts = labels;
        }
    }

    /// What a key does. Whether everything is to be drawn anew.
    fn press(&mut self, key: Key) -> bool {
        let several = self.places.len() > 1;
        let Some(place) = self.places.get_mut(self.shown) else { return false };
        match key {
            Key::Tab | Key::BackTab if several && place.state.mode == Mode::Look => {
                self.turn_to(key == Key::Tab);
                false
            }
            key => {
                let effect = place.state.feed(Input::Key(key), sys::since_boot());
                let anew = effect == Some(Effect::Redraw);
                place.obey(effect);
                self.ended |= place.ended;
                anew
            }
        }
    }

    /// On a terminal, until the operator leaves.
    pub(super) fn show(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&Screen::input()), KEYS, Interest::READABLE)?;
        let mut drawn = Duration::ZERO;
        let mut draw = true;
        while !self.ended {
            let now = sys::since_boot();
            let shown = self.shown;
            draw |= self.places.get_mut(shown).is_some_and(|place| place.tend_output(now));
            if draw && now.saturating_sub(drawn) >= FRAME {
                self.tell_hosts();
                if let Some(place) = self.places.get(shown) {
                    screen.draw(&place.state)?;
                }
                (drawn, draw) = (now, false);
            }
            let due = if draw { drawn + FRAME } else { self.due(now) };
            draw |= self.wait(due.min(self.due(now)));
            let Some(keys) = screen.read() else { break };
            for key in keys {
                if self.press(key) {
                    screen.clear()?;
                }
                // Keys show their effect at once.
                (draw, drawn) = (true, Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Without a terminal: until this holds of every place, or for `limit`, or until a signal. What is known then.
    pub(super) fn until(mut self, limit: Duration, holds: impl Fn(&State) -> bool) -> Vec<Place> {
        let end = sys::since_boot() + limit;
        while !self.ended && !self.places.iter().all(|place| holds(&place.state)) {
            let now = sys::since_boot();
            if now >= end {
                break;
            }
            self.wait(self.due(now).min(end));
        }
        self.places
    }

    /// When something is to be done without being asked.
    fn due(&self, now: Duration) -> Duration {
        let due = self.places.iter().map(|place| if place.more { now } else { place.connection.due(now) }).min();
        due.map_or(self.tick, |due| due.min(self.tick))
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
        let is_due = self.tick <= now;
        if is_due {
            self.tick = now + TICK;
        }
        for place in &mut self.places {
            news |= place.turn(now);
            if is_due {
                place.state.feed(Input::Tick, now);
                news = true;
            }
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
}

impl Place {
    /// Asks what is to be asked, and takes up what has come. Whether there is news.
    fn turn(&mut self, now: Duration) -> bool {
        let mut news = false;
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
        news
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
            Some(Effect::Why(number, watcher)) => self.connection.ask_why(number, &watcher, now),
            Some(Effect::Follow(endpoints)) => {
                if let Err(reason) = self.connection.follow(endpoints) {
                    self.state.feed(Input::Trouble(reason), now);
                }
            }
        }
    }
}
