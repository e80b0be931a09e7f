//! Between the output thread and those who ask for output.
//!
//! Nothing of it is paid where nobody listens: the thread makes events only of what somebody has subscribed to by name.

use super::event_loop::Daemon;
use super::plugins::log_speaker;
use crate::arbiter::{Event, JobId, Level};
use crate::net::News;
use crate::output::Message;
use crate::proto::{OUTPUT_GREETING, OUTPUT_TOPICS};

/// Messages of one turn: who follows a flood does not keep a request waiting.
const MESSAGES_A_TURN: usize = 256;

impl Daemon {
    /// Takes note of who listens to what.
    pub(super) fn take_subscriptions(&mut self) {
        loop {
            // Again after the greetings: to send them may have eaten news.
            self.publisher.settle();
            let Some(News { subscribed }) = self.publisher.take_news() else { break };
            let topics = self.publisher.subscriptions().filter(|prefix| concerns_output(prefix)).map(<[u8]>::to_vec);
            self.launcher.output.follow(topics.collect());
            // The thread hears of it before anything that the subscriber asks for from now on.
            for prefix in subscribed.iter().filter(|prefix| prefix.starts_with(OUTPUT_TOPICS.as_bytes())) {
                self.publisher.publish(prefix, OUTPUT_GREETING);
            }
        }
    }

    /// Takes up what the output thread has to say, so much in each turn.
    pub(super) fn take_output(&mut self) {
        if !self.output_pending {
            return;
        }
        let messages = self.launcher.output.take_some(MESSAGES_A_TURN);
        self.output_pending = messages.len() == MESSAGES_A_TURN;
        let mut printed = Vec::new();
        for message in messages {
            match message {
                Message::Info(text) => self.log_line(Level::Info, &text),
                Message::Warning(text) => self.log_line(Level::Warning, &text),
                Message::Told { speaker, level, line } => {
                    log_speaker(&mut self.log, self.now.unix, &speaker, level, &line)
                }
                Message::Synced(_) => {}
                Message::Tailed(job, tail) => self.feed(Event::Tailed { job: JobId(job), tail }),
                Message::Output { topic, body, .. } if self.arbiter.may_follow(&self.resources.peers, &topic) => {
                    printed.push((topic, body))
                }
                Message::Output { .. } => {}
            }
        }
        self.publisher.publish_all(printed.iter().map(|(topic, body)| (topic.as_bytes(), body)));
    }
}

/// Whether a subscription reaches output. An empty one means everything that there was before there was output.
fn concerns_output(prefix: &[u8]) -> bool {
    let topics = OUTPUT_TOPICS.as_bytes();
    !prefix.is_empty() && (prefix.starts_with(topics) || topics.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_output_gets_it() {
        for prefix in ["o", "output", "output.", "output.web.stdout"] {
            assert!(concerns_output(prefix.as_bytes()), "{prefix}");
        }
        for prefix in ["", "watcher.", "w", "outputs", "output-web"] {
            assert!(!concerns_output(prefix.as_bytes()), "{prefix}");
        }
    }
}
