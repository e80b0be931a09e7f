//! Messages of the output thread to the daemon.

use super::control::Control;
use super::core::Core;
use super::events::EventPublisher;
use super::plugins::log_speaker;
use crate::arbiter::{Event, JobId, Level, Pid};
use crate::output::{Message, OutputHandle};
use crate::proto::Notification;

/// Messages of one turn, by their weight: a client that follows a flood, or asks for one last line after the other, does
/// not keep another's request waiting, nor more answers in memory than one turn makes.
const MESSAGES_A_TURN: usize = 256;

/// The messages of the output thread.
#[derive(Debug, Default)]
pub(super) struct OutputMessages {
    /// There may be more than what was taken up.
    pending: bool,
}

impl OutputMessages {
    /// The thread has woken the loop.
    pub(super) fn arrived(&mut self) {
        self.pending = true;
    }

    pub(super) fn are_pending(&self) -> bool {
        self.pending
    }

    /// Takes up what there is, so much in each turn.
    pub(super) fn take(
        &mut self,
        output: &mut OutputHandle,
        control: &Control,
        events: &mut EventPublisher,
        core: &mut Core,
    ) {
        if !self.pending {
            return;
        }
        let (messages, more) = output.take_some(MESSAGES_A_TURN);
        self.pending = more;
        pass_on(messages, control, events, core);
    }
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
