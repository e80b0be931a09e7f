//! `tail`: the output thread is asked, and the answer goes on to the client.

use serde_json::Value;

use crate::arbiter::ids::JobId;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::requests::pending::PendingTail;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::proto::{Body, Fault, Object, Reply, ReplyTo, StreamName, Tail, TailRange};

/// So many questions may wait for their answers; further ones are refused at once.
pub(in crate::arbiter) const MOST_WAITING: usize = 1000;

impl Arbiter {
    pub(in crate::arbiter) fn tail(
        &mut self,
        to: &ReplyTo,
        name: String,
        stream: StreamName,
        range: TailRange,
    ) -> Dispatch {
        if self.phase.has_ended() {
            // No output is read any more.
            self.phase.at_work()?;
        }
        let config = &self.fleet.named(&name)?.config;
        // The output of a plugin without a stream goes to the log.
        let to_log = config.plugin.is_some();
        let (configured, closed) = match stream {
            StreamName::Stdout => (&config.stdout_stream, config.close_child_stdout),
            StreamName::Stderr => (&config.stderr_stream, config.close_child_stderr),
        };
        if configured.is_none() && !to_log || closed {
            let stream = stream.name();
            return Err(Fault::command(format!(
                "{name} has no {stream}_stream, so its {stream} does not pass through circusd: set \
                {stream}_stream.class = MemoryStream to keep it for tail"
            )));
        }
        if config.tail_bytes == 0 && range.lines > 0 {
            return Err(Fault::command(format!("the output of {name} is not kept: its tail_bytes is 0")));
        }
        if self.tails.len() + self.whys.len() >= MOST_WAITING {
            return Err(Fault::command("too many tail requests wait for their answer"));
        }
        if *to != ReplyTo::Discard {
            let watcher = self.fleet.named(&name)?.name().to_owned();
            let job = self.jobs.name();
            let tail = PendingTail { to: to.clone(), name, watcher, stream, range };
            self.outbox.act(tail.action(job));
            self.tails.insert(job, tail);
        }
        Ok(None)
    }

    /// The lines have come.
    pub(in crate::arbiter) fn tailed(&mut self, job: JobId, tail: Tail, now: Now) {
        let Some(tail) = self.last_lines_came(job, tail, now) else { return };
        let Some(PendingTail { to, name, stream, .. }) = self.tails.remove(&job) else { return };
        // Plain data with keys that are strings can always be written.
        let lines = tail.lines.into_iter().map(|line| serde_json::to_value(line).unwrap_or_default());
        let entries: [(&str, Value); 7] = [
            ("name", name.into()),
            ("stream", stream.name().into()),
            ("lines", lines.collect()),
            ("cursor", tail.cursor.into()),
            ("missed", tail.missed.into()),
            ("next", tail.next.into()),
            ("began", tail.began.into()),
        ];
        let properties = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Object>();
        self.outbox.reply(Reply { to, body: Body::Ok(properties), time: now.unix });
    }

    /// The end has come first: requests that still wait for lines are refused.
    pub(in crate::arbiter) fn refuse_tails(&mut self, now: Now) {
        let Err(fault) = self.phase.at_work() else { return };
        for (_, pending) in std::mem::take(&mut self.tails) {
            self.outbox.reply(Reply { to: pending.to, body: Body::Error(fault.clone()), time: now.unix });
        }
    }
}
