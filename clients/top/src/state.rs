//! The model: the known figures, the selection, and what a key does. It uses no clock, no socket and no terminal.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::event_log::{self, Entry, EventLog};
use super::fleet::{Fleet, OWN};
use super::input::{Asked, Effect, Endpoints, Input, Question};
use super::keys::Key;
use super::order::{Order, Verb};
use super::output::Output;
use super::rows::{RowId, Settings, Sort};
use circus_client::endpoint::{Trouble, reachable};
use circus_core::commands::why_in_words;
use circus_core::proto::{Object, StreamName};

/// How long a message to the operator stays.
const NOTICE: Duration = Duration::from_secs(6);

/// After this long without figures something is said about it.
const QUIET: Duration = Duration::from_secs(4);

/// Lines of a page.
const PAGE: usize = 10;

/// What the keys are for at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Look,
    /// A filter is typed; this is the one before.
    Filter(String),
    /// This is sent when it is confirmed.
    Confirm(Order),
    Help,
    /// What went wrong in a watcher is read.
    Why(Why),
}

/// What went wrong in a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    pub(super) watcher: String,
    /// Under which circusd was asked.
    number: u64,
    /// None until circusd has answered.
    pub(super) lines: Option<Vec<String>>,
    /// The first line that is seen.
    pub(super) first: usize,
}

impl Why {
    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let last = self.lines.as_ref().map_or(0, |lines| lines.len().saturating_sub(1));
        self.first = to(self.first).min(last);
    }
}

/// A host, as the line of hosts shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostLabel {
    pub(super) name: String,
    /// What is wrong there.
    pub(super) trouble: Option<String>,
    pub(super) is_shown: bool,
}

/// Whether circusd answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    /// It is not known yet.
    Asked,
    Answers,
    Silent,
}

/// Something to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// Which endpoints the command line names: what circusd says of these does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) control: bool,
    pub(super) stats: bool,
    pub(super) events: bool,
}

/// Everything that circus-top knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) fleet: Fleet,
    pub(super) event_log: EventLog,
    pub(super) output: Output,
    pub(super) settings: Settings,
    pub(super) mode: Mode,
    pub(super) daemon: Daemon,
    pub(super) endpoints: Endpoints,
    pub(super) now: Duration,
    /// In which times of day are written.
    pub(super) zone: TimeZone,
    given: Given,
    /// The endpoint named for figures is not that of the circusd that would get the orders: theirs.
    strange: Option<String>,
    /// circusd is silent since this user may not connect to it.
    denied: Option<Trouble>,
    /// The hosts that circus-top looks at; none where it is one without a choice.
    pub(super) hosts: Vec<HostLabel>,
    pub(super) selected: Option<RowId>,
    /// Where that stood, for when it is gone.
    pub(super) at: usize,
    notice: Option<(Notice, Duration)>,
    begun: Duration,
    metrics_at: Option<Duration>,
    orders: Vec<(u64, Order)>,
    last_order: u64,
}

impl State {
    pub(super) fn new(endpoints: Endpoints, given: Given, timeout: Duration, zone: TimeZone, now: Duration) -> Self {
        Self {
            fleet: Fleet::new(timeout),
            event_log: EventLog::default(),
            output: Output::default(),
            settings: Settings::default(),
            mode: Mode::Look,
            daemon: Daemon::Asked,
            endpoints,
            now,
            zone,
            given,
            strange: None,
            denied: None,
            hosts: Vec::new(),
            selected: None,
            at: 0,
            notice: None,
            begun: now,
            metrics_at: None,
            orders: Vec::new(),
            last_order: 0,
        }
    }

    /// Takes up what has come, and says what is to be done.
    pub(super) fn feed(&mut self, input: Input<'_>, now: Duration) -> Option<Effect> {
        self.now = now;
        match input {
            Input::Stat { topic, body } => {
                if self.fleet.take_stat(topic, body, now) {
                    self.metrics_at = Some(now);
                }
                None
            }
            Input::Event { topic, body } => {
                let (entry, ended) = event_log::read(topic, body)?;
                self.event_log.push(entry);
                if let Some(pid) = ended {
                    self.fleet.forget(pid);
                }
                Some(Effect::Ask)
            }
            Input::Output(heard) => {
                self.output.take(&heard);
                None
            }
            Input::Answer(asked, answer) => {
                self.daemon = Daemon::Answers;
                self.take_answer(asked, answer)
            }
            Input::Silence(trouble) => {
                self.daemon = Daemon::Silent;
                self.denied = trouble.filter(|trouble| matches!(trouble, Trouble::Denied { .. }));
                self.output.silence();
                if let Mode::Why(why) = &mut self.mode
                    && why.lines.is_none()
                {
                    why.lines = Some(vec!["no answer".to_owned()]);
                }
                for (_, order) in std::mem::take(&mut self.orders) {
                    self.note(&order, "no answer", None, true);
                }
                None
            }
            Input::Trouble(reason) => {
                self.tell(reason, true);
                None
            }
            Input::Key(key) => self.press(key),
            Input::Tick => {
                self.fleet.expire(now);
                self.notice.take_if(|(_, until)| *until <= now);
                None
            }
        }
    }

    // -- answers -----------------------------------------------------------------------------------------------------

    fn take_answer(&mut self, asked: Asked, answer: &Object) -> Option<Effect> {
        match asked {
            Asked::Question(Question::Status) => self.fleet.take_status(answer, self.now),
            Asked::Question(Question::Sockets) => self.fleet.take_sockets(answer, self.now),
            Asked::Question(Question::Options) => return self.take_options(answer),
            Asked::Tail(number) => self.output.answered(number, answer),
            Asked::Why(number) => self.take_why(number, answer),
            Asked::Order(number) => {
                let at = self.orders.iter().position(|(known, _)| *known == number)?;
                let (_, order) = self.orders.swap_remove(at);
                let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
                let refused = text("status") == "error";
                let told = if refused { text("reason") } else { "ordered" };
                let time = answer.get("time").and_then(Value::as_f64);
                self.note(&order, told, time, refused);
                self.tell(format!("{order}: {told}"), refused);
                return Some(Effect::Ask);
            }
        }
        None
    }

    fn take_why(&mut self, number: u64, answer: &Object) {
        let Mode::Why(why) = &mut self.mode else { return };
        if why.number != number {
            return;
        }
        let text = match answer.get("reason").and_then(Value::as_str) {
            Some(reason) if answer.get("status").and_then(Value::as_str) == Some("error") => reason.to_owned(),
            Some(_) | None => why_in_words(answer),
        };
        why.lines = Some(text.lines().map(str::to_owned).collect());
    }

    /// What is wrong here, for the line of hosts.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.daemon {
            Daemon::Asked => None,
            Daemon::Silent => Some("no answer".to_owned()),
            Daemon::Answers => match self.fleet.watchers.values().filter(|watcher| watcher.is_in_trouble()).count() {
                0 => None,
                some => Some(format!("{some} in trouble")),
            },
        }
    }

    /// Where circusd's figures and events are, unless the command line has said it.
    fn take_options(&mut self, answer: &Object) -> Option<Effect> {
        let options = answer.get("options")?.as_object()?;
        let told = |key: &str| options.get(key).and_then(Value::as_str).map(reachable);
        let (stats, events) = (told("stats_endpoint")?, told("pubsub_endpoint")?);
        let differs = self.given.stats && !self.given.control && stats != self.endpoints.stats;
        self.strange = differs.then(|| stats.clone());
        let endpoints = Endpoints {
            control: self.endpoints.control.clone(),
            stats: if self.given.stats { self.endpoints.stats.clone() } else { stats },
            events: if self.given.events { self.endpoints.events.clone() } else { events },
        };
        if endpoints == self.endpoints {
            return None;
        }
        self.endpoints = endpoints.clone();
        Some(Effect::Follow(endpoints))
    }

    /// What became of an order belongs to what happened.
    fn note(&mut self, order: &Order, detail: &str, time: Option<f64>, bad: bool) {
        let (watcher, what) = (order.watcher.clone(), order.verb.command().to_owned());
        self.event_log.push(Entry { time, watcher, what, detail: detail.to_owned(), bad });
    }

    fn tell(&mut self, text: String, bad: bool) {
        self.notice = Some((Notice { text, bad }, self.now + NOTICE));
    }

    /// What the operator should know now.
    pub(super) fn notice(&self) -> Option<Notice> {
        let bad = |text: String| Some(Notice { text, bad: true });
        if let Some((notice, _)) = &self.notice {
            return Some(notice.clone());
        }
        if self.daemon == Daemon::Silent {
            if let Some(denied) = &self.denied {
                return bad(format!("{denied}; still trying"));
            }
            return bad(format!("no answer from {}: is circusd running? still trying", self.endpoints.control));
        }
        if let Some(theirs) = &self.strange {
            return bad(format!(
                "commands are disabled: {} publishes its figures at {theirs}; see --control",
                self.endpoints.control
            ));
        }
        let quiet = self.now.saturating_sub(self.metrics_at.unwrap_or(self.begun)) >= QUIET;
        if quiet {
            return bad(format!("no figures from {}: is statsd = yes set?", self.endpoints.stats));
        }
        None
    }

    // -- keys --------------------------------------------------------------------------------------------------------

    fn press(&mut self, key: Key) -> Option<Effect> {
        match (key, std::mem::replace(&mut self.mode, Mode::Look)) {
            (Key::Interrupt, _) => Some(Effect::Quit),
            (Key::Redraw, mode) => {
                self.mode = mode;
                Some(Effect::Redraw)
            }
            (key, Mode::Look) => self.press_looking(key),
            (key, Mode::Filter(before)) => {
                self.type_filter(key, before);
                None
            }
            (Key::Char('y' | 'Y') | Key::Enter, Mode::Confirm(order)) => self.order(order),
            (_, Mode::Confirm(order)) => {
                self.tell(format!("{order}: not done"), false);
                None
            }
            (_, Mode::Help) => None,
            (key, Mode::Why(why)) => self.press_reading(key, why),
        }
    }

    fn press_reading(&mut self, key: Key, mut why: Why) -> Option<Effect> {
        match key {
            Key::Char('k') | Key::Up => why.scroll(|at| at.saturating_sub(1)),
            Key::Char('j') | Key::Down => why.scroll(|at| at.saturating_add(1)),
            Key::PageUp => why.scroll(|at| at.saturating_sub(PAGE)),
            Key::PageDown => why.scroll(|at| at.saturating_add(PAGE)),
            Key::Char('g') | Key::Home => why.scroll(|_| 0),
            Key::Char('G') | Key::End => why.scroll(|_| usize::MAX),
            Key::Char('w') => return self.ask_why(why.watcher),
            _ => return None,
        }
        self.mode = Mode::Why(why);
        None
    }

    /// Asks what went wrong in the selected watcher.
    fn ask_about_selected(&mut self) -> Option<Effect> {
        let (RowId { watcher, .. }, _) = self.selection()?;
        if self.daemon != Daemon::Answers {
            self.tell(format!("circusd does not answer at {}", self.endpoints.control), true);
            return None;
        }
        let Some(named) = self.fleet.watchers.get(&watcher).map(|watcher| watcher.name.clone()) else {
            self.tell("w shows what went wrong in a watcher; select one".to_owned(), true);
            return None;
        };
        self.ask_why(named)
    }

    fn ask_why(&mut self, watcher: String) -> Option<Effect> {
        self.last_order += 1;
        let number = self.last_order;
        self.mode = Mode::Why(Why { watcher: watcher.clone(), number, lines: None, first: 0 });
        Some(Effect::Why(number, watcher))
    }

    fn press_looking(&mut self, key: Key) -> Option<Effect> {
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Char('?' | 'h') | Key::Help => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Filter(self.settings.filter.clone()),
            Key::Escape => self.settings.filter.clear(),
            Key::Char('k') | Key::Up => self.step(|at, _| at.saturating_sub(1)),
            Key::Char('j') | Key::Down => self.step(|at, _| at.saturating_add(1)),
            Key::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            Key::PageDown => self.step(|at, _| at.saturating_add(PAGE)),
            Key::Char('g') | Key::Home => self.step(|_, _| 0),
            Key::Char('G') | Key::End => self.step(|_, count| count),
            Key::Char(' ') | Key::Enter => self.fold(None),
            Key::Left => self.fold(Some(true)),
            Key::Right => self.fold(Some(false)),
            Key::Char('f') => self.fold_all(),
            Key::Char('i') => self.settings.reversed = !self.settings.reversed,
            Key::Char('e') => self.settings.events = !self.settings.events,
            Key::Char('w') => return self.ask_about_selected(),
            Key::Char('o') => self.look_at(StreamName::Stdout),
            Key::Char('O') => self.look_at(StreamName::Stderr),
            Key::Char(character) => self.press_letter(character),
            Key::Backspace | Key::Interrupt | Key::Redraw | Key::Tab | Key::BackTab => {}
        }
        None
    }

    fn press_letter(&mut self, letter: char) {
        if let Some(sort) = Sort::ALL.into_iter().find(|sort| sort.key() == letter) {
            self.settings.sort = sort;
            self.settings.reversed = false;
        } else if let Some(verb) = Verb::of_key(letter) {
            self.prepare(verb);
        }
    }

    fn type_filter(&mut self, key: Key, before: String) {
        match key {
            Key::Enter => return,
            Key::Escape => {
                self.settings.filter = before;
                return;
            }
            Key::Char(character) => self.settings.filter.push(character),
            Key::Backspace => drop(self.settings.filter.pop()),
            Key::Up
            | Key::Down
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Help
            | Key::Interrupt
            | Key::Redraw
            | Key::Tab
            | Key::BackTab => {}
        }
        self.mode = Mode::Filter(before);
    }

    /// Asks whether this is to be done to the selected watcher.
    fn prepare(&mut self, verb: Verb) {
        let Some((RowId { watcher, .. }, _)) = self.selection() else { return };
        let told = match (watcher.as_str(), self.daemon) {
            (OWN, _) => {
                Err("these keys do not apply to circusd itself; use circusctl reload, restart or quit".to_owned())
            }
            (_, Daemon::Asked | Daemon::Silent) => {
                Err(format!("circusd does not answer at {}: nothing is sent", self.endpoints.control))
            }
            (_, Daemon::Answers) if self.strange.is_some() => Err("commands are disabled: see --control".to_owned()),
            (key, Daemon::Answers) => {
                let named = self.fleet.watchers.get(key).map_or(key, |watcher| watcher.name.as_str());
                Ok(Order { verb, watcher: named.to_owned() })
            }
        };
        match told {
            Ok(order) => self.mode = Mode::Confirm(order),
            Err(reason) => self.tell(reason, true),
        }
    }

    fn order(&mut self, order: Order) -> Option<Effect> {
        self.last_order += 1;
        self.orders.push((self.last_order, order.clone()));
        self.tell(format!("{order} ..."), false);
        Some(Effect::Order(self.last_order, order))
    }

    /// Shows what workers print there, or, where that is shown, no more.
    fn look_at(&mut self, stream: StreamName) {
        self.settings.output = Some(stream).filter(|_| self.settings.output != Some(stream));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{NOW, answer, press, state};

    #[test]
    fn an_order_is_sent_only_when_it_is_confirmed() {
        let mut state = state();
        assert_eq!(press(&mut state, "Gkkkkkk"), []);
        assert_eq!(press(&mut state, "x"), []);
        assert_eq!(state.mode, Mode::Confirm(Order { verb: Verb::Stop, watcher: "web".into() }));
        assert_eq!(press(&mut state, "n"), []);
        assert_eq!(state.mode, Mode::Look);
        let order = Order { verb: Verb::Stop, watcher: "web".into() };
        assert_eq!(press(&mut state, "xy"), [Effect::Order(1, order)]);
        let effect = answer(&mut state, Asked::Order(1), json!({"status": "error", "reason": "not now"}));
        assert_eq!(effect, Some(Effect::Ask));
        assert_eq!(state.notice(), Some(Notice { text: "stop web: not now".into(), bad: true }));
        assert!(state.event_log.latest(1).all(|entry| entry.bad && entry.what == "stop"));
        assert_eq!(answer(&mut state, Asked::Order(1), json!({"status": "ok"})), None, "an answer that is not awaited");
    }

    #[test]
    fn what_went_wrong_is_asked_and_read() {
        let mut state = state();
        assert_eq!(press(&mut state, "Gkkkkkkw"), [Effect::Why(1, "web".into())]);
        let reply =
            json!({"name": "web", "health": "failed", "reason": "gave up", "events": [], "lines": [], "time": 5.0});
        assert_eq!(answer(&mut state, Asked::Why(7), reply.clone()), None, "of another question");
        assert!(matches!(&state.mode, Mode::Why(why) if why.lines.is_none()));
        answer(&mut state, Asked::Why(1), reply);
        let lines = |state: &State| match &state.mode {
            Mode::Why(why) => why.lines.clone().map(|lines| (lines, why.first)),
            _ => None,
        };
        let told = ["web: failed: gave up", "  nothing has gone wrong"].map(str::to_owned).to_vec();
        assert_eq!(lines(&state), Some((told.clone(), 0)));
        assert_eq!(press(&mut state, "jjjj"), []);
        assert_eq!(lines(&state), Some((told, 1)), "the last line stays");
        assert_eq!(press(&mut state, "w"), [Effect::Why(2, "web".into())], "once more");
        answer(&mut state, Asked::Why(2), json!({"status": "error", "reason": "program web not found"}));
        assert_eq!(lines(&state), Some((vec!["program web not found".to_owned()], 0)));
        assert_eq!(press(&mut state, "q"), []);
        assert_eq!(state.mode, Mode::Look, "q closes what is read first");
    }

    #[test]
    fn nothing_is_sent_where_nobody_listens() {
        let mut state = state();
        state.feed(Input::Silence(None), NOW);
        assert!(state.notice().is_some_and(|notice| notice.text.contains("still trying")));
        assert_eq!(press(&mut state, "xy"), []);
        assert!(state.notice().is_some_and(|notice| notice.text.contains("nothing is sent")));
        answer(&mut state, Asked::Question(Question::Sockets), json!({}));
        assert_eq!(press(&mut state, "Gxy"), [], "circusd itself is stopped by other means");
        assert_eq!(press(&mut state, "gxy").len(), 1);
        let denied = Trouble::Denied { path: "/run/c".into(), owner: "root".into(), mode: 0o600 };
        state.feed(Input::Silence(Some(denied)), NOW * 100);
        state.feed(Input::Tick, NOW * 100);
        let notice = state.notice().map(|notice| notice.text);
        assert_eq!(
            notice.as_deref(),
            Some("permission denied: /run/c belongs to root and has mode 0600; still trying")
        );
    }

    #[test]
    fn endpoints_are_learned() {
        let mut state = state();
        let told = |stats: &str| json!({"options": {"stats_endpoint": stats, "pubsub_endpoint": "tcp://*:7"}});
        let effect = answer(&mut state, Asked::Question(Question::Options), told("ipc:///s"));
        let endpoints = Endpoints { control: "c".into(), stats: "ipc:///s".into(), events: "tcp://127.0.0.1:7".into() };
        assert_eq!(effect, Some(Effect::Follow(endpoints)));
        assert_eq!(answer(&mut state, Asked::Question(Question::Options), told("ipc:///s")), None);
        // Figures of one circusd and orders to another would be a trap.
        state.given.stats = true;
        answer(&mut state, Asked::Question(Question::Options), told("ipc:///other"));
        assert!(state.notice().is_some_and(|notice| notice.text.contains("ipc:///other")));
        assert_eq!(press(&mut state, "gxy"), []);
        state.given.control = true;
        answer(&mut state, Asked::Question(Question::Options), told("ipc:///other"));
        assert_eq!(press(&mut state, "gxy").len(), 1);
    }

    #[test]
    fn typing_a_filter() {
        let mut state = state();
        press(&mut state, "/weq");
        assert_eq!(state.settings.filter, "weq", "no letter is a command meanwhile");
        state.feed(Input::Key(Key::Backspace), NOW);
        state.feed(Input::Key(Key::Enter), NOW);
        assert_eq!((state.settings.filter.as_str(), &state.mode), ("we", &Mode::Look));
        press(&mut state, "/x");
        state.feed(Input::Key(Key::Escape), NOW);
        assert_eq!(state.settings.filter, "we");
        state.feed(Input::Key(Key::Escape), NOW);
        assert_eq!(state.settings.filter, "");
    }

    #[test]
    fn leaving() {
        assert_eq!(press(&mut state(), "q"), [Effect::Quit]);
        let mut state = state();
        press(&mut state, "/");
        assert_eq!(state.feed(Input::Key(Key::Interrupt), NOW), Some(Effect::Quit));
        assert_eq!(press(&mut state, "?q"), [], "it only closes the help");
    }

    #[test]
    fn missing_metrics_are_reported() {
        let mut state = state();
        let later = NOW + QUIET;
        state.feed(Input::Tick, later);
        assert!(state.notice().is_some_and(|notice| notice.text.contains("no figures from")));
        state.feed(Input::Stat { topic: b"stat.web", body: b"{}" }, later);
        assert_eq!(state.notice(), None);
    }
}
