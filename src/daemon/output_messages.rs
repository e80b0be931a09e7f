//! Messages of the output thread to the daemon.

use std::time::Duration;

use super::clock;
use super::control::Control;
use super::core::Core;
use super::events::EventPublisher;
use super::plugins::log_speaker;
use crate::arbiter::{Event, JobId, Level, Mono, Pid};
use crate::output::{Message, OutputHandle};
use crate::proto::Notification;

/// Messages of one turn, by their weight: a client that follows a flood, or asks for one last line after the other, does
/// not keep another's request waiting, nor more answers in memory than one turn makes.
const MESSAGES_A_TURN: usize = 256;

/// After a turn in which last lines were answered and that took this long or longer, no more are taken up for [`REST`]
/// times as long: a client that asks for one after the other has a share of circusd's time, and the others have the rest.
const LONG: Duration = Duration::from_millis(2);
/// See [`LONG`].
const REST: u32 = 4;

/// The messages of the output thread.
#[derive(Debug, Default)]
pub(super) struct OutputMessages {
    /// There may be more than what was taken up.
    pending: bool,
    /// Last lines are among what was taken up in this turn.
    has_tails: bool,
    /// None is taken up before.
    rests_until: Option<Mono>,
}

impl OutputMessages {
    /// The thread has woken the loop.
    pub(super) fn arrived(&mut self) {
        self.pending = true;
    }

    /// Whether there is something for the next turn, which must not wait.
    pub(super) fn are_pending(&self) -> bool {
        self.pending && self.rests_until.is_none()
    }

    /// When what waits is taken up.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.rests_until.filter(|_| self.pending)
    }

    /// A turn that began then is over.
    pub(super) fn end_turn(&mut self, begun: Mono) {
        if std::mem::take(&mut self.has_tails) {
            self.rests_until = rest(begun, clock::now().mono);
        }
    }

    /// Takes up what there is, so much in each turn.
    pub(super) fn take(
        &mut self,
        output: &mut OutputHandle,
        control: &Control,
        events: &mut EventPublisher,
        core: &mut Core,
    ) {
        self.rests_until = self.rests_until.filter(|until| *until > core.now.mono);
        if !self.are_pending() {
            return;
        }
        let (messages, more) = output.take_some(MESSAGES_A_TURN);
        self.pending = more;
        self.has_tails = messages.iter().any(|message| matches!(message, Message::Tailed(..)));
        pass_on(messages, control, events, core);
    }
}

/// Until when last lines wait, after a turn with some.
fn rest(begun: Mono, over: Mono) -> Option<Mono> {
    let spent = over.since(begun);
    (spent >= LONG).then(|| over.after(spent * REST))
}

/// Does what the output thread has asked for.
pub(super) fn pass_on(messages: Vec<Message>, control: &Control, events: &mut EventPublisher, core: &mut Core) {
    let mut printed = Vec::new();
    for message in messages {
        match message {
            Message::Info(text) => core.log(Level::Info, text),
            Message::Warning(text) => core.log(Level::Warning, text),
            Message::LogLine { speaker, level, line } => log_speaker(core, &speaker, level, &line),
            Message::Matched(pid) => core.feed(Event::Notified { pid: Pid(pid), said: vec![Notification::Ready] }),
            Message::Synced(_) => {}
            Message::Tailed(job, tail) => core.feed(Event::Tailed { job: JobId(job), tail }),
            Message::Output { topic, body, .. } if core.arbiter.may_follow(&control.peers, &topic) => {
                printed.push((topic, body));
            }
            Message::Output { .. } => {}
        }
    }
    if !printed.is_empty() {
        events.publish_output(printed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_answers_wait_for_nothing_and_long_ones_leave_four_fifths_of_the_time() {
        let begun = clock::now().mono;
        assert_eq!(rest(begun, begun.after(LONG / 2)), None);
        assert_eq!(rest(begun, begun.after(LONG)), Some(begun.after(LONG * 5)));
        let mut messages = OutputMessages { pending: true, ..OutputMessages::default() };
        assert!(messages.are_pending() && messages.next_due().is_none());
        messages.rests_until = rest(begun, begun.after(LONG));
        assert!(!messages.are_pending() && messages.next_due() == Some(begun.after(LONG * 5)));
    }
}
