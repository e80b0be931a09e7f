//! What the selected watcher, or one of its workers, prints.
//!
//! When the pane is opened, circus-top subscribes, waits for circusd's greeting, and then asks for the last lines: what is published
//! meanwhile is not taken up before they have come, and so nothing is missed and nothing shown twice.

use std::collections::VecDeque;

use serde_json::Value;

use super::input::Heard;
use super::plain::plain;
use circus_core::proto::{Gap, Object, OutputEvent, StreamName, Tail, TailCursor};

/// How many lines are remembered.
const MAX_LINES: usize = 1000;

/// What is remembered of a line: more than any terminal is wide.
const WIDTH: usize = 1000;

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// As its file spells it.
    pub(super) watcher: String,
    pub(super) stream: StreamName,
    /// Only this worker's.
    pub(super) wid: Option<u32>,
}

/// What is asked of circusd: the last lines, under this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inquiry {
    pub(super) number: u64,
    pub(super) subject: Subject,
    pub(super) lines: u32,
    pub(super) after: Option<u64>,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum TailState {
    /// Nothing is listened to.
    #[default]
    Closed,
    /// circusd has not greeted.
    Waiting,
    /// The last lines are to be asked for.
    Greeted,
    /// They are on their way.
    Asked,
    /// They were shown, and so is what comes.
    Live,
    /// There is none, for this reason.
    Refused(String),
}

/// A line of the pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Line { pid: i32, text: String },
    Gap(Gap),
}

/// The pane.
#[derive(Debug, Default)]
pub(super) struct Output {
    subject: Option<Subject>,
    tail_state: TailState,
    place: TailCursor,
    lines: VecDeque<Shown>,
    /// The last line goes on.
    open: bool,
    /// How many lines were missed since the pane was opened.
    missed: u64,
    number: u64,
}

impl Output {
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    pub(super) fn tail_state(&self) -> &TailState {
        &self.tail_state
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// The last so many lines, the latest last.
    pub(super) fn latest(&self, count: usize) -> impl Iterator<Item = &Shown> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count))
    }

    /// From now on it is about something else, or nothing. Answers to earlier questions come too late.
    pub(super) fn begin(&mut self, subject: Option<Subject>) {
        let tail_state = if subject.is_some() { TailState::Waiting } else { TailState::Closed };
        *self = Self { subject, tail_state, number: self.number + 1, ..Self::default() };
    }

    /// Whether what comes is to be taken up. What comes while the last lines are on their way stays where it is.
    pub(super) fn listens(&self) -> bool {
        match self.tail_state {
            TailState::Closed | TailState::Greeted | TailState::Asked => false,
            TailState::Waiting | TailState::Live | TailState::Refused(_) => true,
        }
    }

    /// What is to be asked, once.
    pub(super) fn inquiry(&mut self) -> Option<Inquiry> {
        let subject = self.subject.clone().filter(|_| self.tail_state == TailState::Greeted)?;
        self.tail_state = TailState::Asked;
        let after = self.place.cursor();
        // After the first lines, all the following ones are wanted.
        let lines = if after.is_some() { u32::MAX } else { MAX_LINES as u32 };
        Some(Inquiry { number: self.number, subject, lines, after })
    }

    /// circusd has not answered in time: it is asked again.
    pub(super) fn silence(&mut self) {
        if self.tail_state == TailState::Asked {
            self.tail_state = TailState::Greeted;
        }
    }

    pub(super) fn take(&mut self, heard: &Heard) {
        match heard {
            Heard::Greeting => self.tail_state = TailState::Greeted,
            Heard::Lines(event) if self.tail_state == TailState::Live => self.published(event),
            // There is output where there was none to be had.
            Heard::Lines(_) if matches!(self.tail_state, TailState::Refused(_)) => self.tail_state = TailState::Greeted,
            Heard::Lines(_) => {}
        }
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Object) {
        if number != self.number || self.tail_state != TailState::Asked {
            return;
        }
        if answer.get("status").and_then(Value::as_str) == Some("error") {
            let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("circusd refused it without a reason");
            self.refused(reason);
            return;
        }
        let Ok(tail) = serde_json::from_value::<Tail>(Value::Object(answer.clone())) else {
            self.refused("the answer does not fit the command tail");
            return;
        };
        if self.place.is_of_another(&tail) {
            self.place = TailCursor::default();
            self.tail_state = TailState::Greeted;
            return;
        }
        let missed = self.place.fetched(&tail);
        self.note(missed);
        for line in tail.lines {
            self.push(line.pid, &line.line);
        }
        self.tail_state = TailState::Live;
    }

    fn refused(&mut self, reason: &str) {
        self.tail_state = TailState::Refused(reason.to_owned());
        self.lines.clear();
    }

    fn published(&mut self, event: &OutputEvent) {
        if self.place.has_seen(event) {
            return;
        }
        let missed = self.place.published(event);
        self.note(missed);
        if self.subject.as_ref().and_then(|subject| subject.wid).is_some_and(|wid| wid != event.wid) {
            return;
        }
        for line in &event.lines {
            self.push(event.pid, line);
        }
        self.open = event.more;
    }

    fn note(&mut self, missed: Option<Gap>) {
        let Some(missed) = missed else { return };
        if let Gap::Lines(count) = missed {
            self.missed = self.missed.saturating_add(count);
        }
        self.open = false;
        self.keep(Shown::Gap(missed));
    }

    fn push(&mut self, pid: i32, line: &str) {
        if std::mem::take(&mut self.open)
            && let Some(Shown::Line { text, .. }) = self.lines.back_mut()
        {
            let room = WIDTH.saturating_sub(text.chars().count());
            text.push_str(&plain(line, room));
            return;
        }
        self.keep(Shown::Line { pid, text: plain(line, WIDTH) });
    }

    fn keep(&mut self, shown: Shown) {
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(shown);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(wid: Option<u32>) -> Subject {
        Subject { watcher: "web".into(), stream: StreamName::Stdout, wid }
    }

    fn opened(wid: Option<u32>) -> Output {
        let mut output = Output::default();
        output.begin(Some(subject(wid)));
        output
    }

    fn tail(lines: &[&str], cursor: u64, next: u64, began: f64) -> Object {
        let line = |line: &&str| json!({"pid": 21, "wid": 1, "time": 1.5, "line": line});
        let lines: Vec<Value> = lines.iter().map(line).collect();
        let answer = json!({"status": "ok", "name": "web", "lines": lines, "cursor": cursor, "missed": 3, "next": next,
            "began": began});
        answer.as_object().unwrap().clone()
    }

    fn event(first: u64, cursor: u64, wid: u32, lines: &[&str], more: bool) -> Heard {
        Heard::Lines(OutputEvent {
            watcher: "web".into(),
            stream: StreamName::Stdout,
            pid: 20 + wid as i32,
            wid,
            time: 1.5,
            first,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            more,
            cursor,
            began: 1.0,
        })
    }

    fn live(wid: Option<u32>) -> Output {
        let mut output = opened(wid);
        output.take(&Heard::Greeting);
        let number = output.inquiry().unwrap().number;
        output.answered(number, &tail(&["a"], 2, 7, 1.0));
        assert_eq!(output.tail_state(), &TailState::Live);
        output
    }

    fn texts(output: &Output) -> Vec<String> {
        let text = |shown: &Shown| match shown {
            Shown::Line { pid, text } => format!("{pid} {text}"),
            Shown::Gap(missed) => format!("- {missed}"),
        };
        output.latest(usize::MAX).map(text).collect()
    }

    #[test]
    fn tail_is_requested_before_first_event() {
        let mut output = Output::default();
        assert!(!output.listens(), "a closed pane costs nothing");
        output.begin(Some(subject(None)));
        assert!(output.listens() && output.inquiry().is_none());
        output.take(&Heard::Greeting);
        let inquiry = output.inquiry().unwrap();
        assert_eq!(inquiry, Inquiry { number: 1, subject: subject(None), lines: 1000, after: None });
        assert!(!output.listens() && output.inquiry().is_none());
        output.silence();
        assert_eq!(output.inquiry(), Some(inquiry), "it is asked again");
        output.answered(1, &tail(&["a", "b"], 4, 2, 1.0));
        output.answered(1, &tail(&["twice"], 4, 2, 1.0));
        output.take(&event(1, 4, 1, &["b"], false));
        output.take(&event(2, 6, 2, &["c"], false));
        assert_eq!(texts(&output), ["21 a", "21 b", "22 c"]);
        output.begin(None);
        assert!(!output.listens() && texts(&output).is_empty());
    }

    #[test]
    fn answers_about_something_else_are_too_late() {
        let mut output = opened(None);
        output.take(&Heard::Greeting);
        let late = output.inquiry().unwrap();
        output.begin(Some(subject(Some(2))));
        output.take(&Heard::Greeting);
        output.inquiry().unwrap();
        output.answered(late.number, &tail(&["a"], 2, 1, 1.0));
        assert_eq!((output.tail_state(), texts(&output).len()), (&TailState::Asked, 0));
    }

    #[test]
    fn gaps_are_counted_where_they_are() {
        let mut output = live(None);
        output.take(&event(7, 4, 1, &["b"], true));
        output.take(&event(10, 9, 1, &["c"], false));
        output.take(&event(12, 12, 1, &["d"], false));
        assert_eq!(texts(&output), ["21 a", "21 b", "- 2 lines", "21 c", "- 1 line", "21 d"]);
        assert_eq!(output.missed(), 3);
    }

    #[test]
    fn one_worker_of_several_and_lines_in_parts() {
        let mut output = live(Some(1));
        output.take(&event(7, 4, 1, &["b", "long"], true));
        output.take(&event(9, 6, 1, &["er", "c"], false));
        output.take(&event(11, 9, 2, &["other"], false));
        output.take(&event(12, 12, 1, &["d"], false));
        assert_eq!(texts(&output), ["21 a", "21 b", "21 longer", "21 c", "21 d"]);
    }

    #[test]
    fn a_refusal_is_told_and_ends_when_there_is_output() {
        let mut output = opened(None);
        output.take(&Heard::Greeting);
        let number = output.inquiry().unwrap().number;
        output.answered(number, json!({"status": "error", "reason": "no stream"}).as_object().unwrap());
        assert_eq!(output.tail_state(), &TailState::Refused("no stream".into()));
        output.take(&event(0, 2, 1, &["a"], false));
        assert!(output.inquiry().is_some());
        output.answered(number, json!({"status": "ok"}).as_object().unwrap());
        assert!(matches!(output.tail_state(), TailState::Refused(_)));
    }

    #[test]
    fn reconnection_continues_a_new_circusd_starts_over() {
        let mut output = live(None);
        output.take(&Heard::Greeting);
        let inquiry = output.inquiry().unwrap();
        assert_eq!((inquiry.after, inquiry.lines), (Some(2), u32::MAX));
        output.answered(inquiry.number, &tail(&["b"], 9, 8, 1.0));
        assert_eq!(texts(&output), ["21 a", "- 3 bytes of output", "21 b"]);
        output.take(&Heard::Greeting);
        output.inquiry().unwrap();
        output.answered(inquiry.number, &tail(&[], 3, 0, 2.0));
        assert_eq!(output.inquiry().unwrap().after, None, "the cursor means nothing there");
        output.answered(inquiry.number, &tail(&["x"], 3, 0, 2.0));
        assert_eq!(texts(&output).last().unwrap(), "21 x");
        assert_eq!(output.tail_state(), &TailState::Live);
    }

    #[test]
    fn no_more_is_kept_than_can_be_shown() {
        let mut output = live(None);
        let long = "x".repeat(3 * WIDTH);
        for number in 0..2 * MAX_LINES as u64 {
            output.take(&event(7 + number, 3 + number, 1, &[&long], true));
        }
        let Some(Shown::Line { text, .. }) = output.latest(1).next() else { panic!() };
        assert_eq!(text.len(), WIDTH);
        for number in 0..2 * MAX_LINES as u64 {
            output.take(&event(7 + 2 * MAX_LINES as u64 + number, 9000 + number, 1, &["y"], false));
        }
        assert_eq!(texts(&output).len(), MAX_LINES);
    }
}
