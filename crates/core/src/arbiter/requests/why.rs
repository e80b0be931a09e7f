//! `why`: what went wrong in a watcher, and what its worker has printed last.

use serde_json::{Value, json};

use crate::arbiter::operate::last_lines::LastLines;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::requests::pending::PendingWhy;
use crate::arbiter::requests::tail::MOST_WAITING;
use crate::arbiter::requests::verbose_status::reason_of;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::proto::{Body, Fault, KeptLine, Object, Reply, ReplyTo, StreamName};

impl Arbiter {
    pub(in crate::arbiter) fn why(&mut self, to: &ReplyTo, name: &str, now: Now) -> Dispatch {
        let watcher = self.fleet.named(name)?;
        let (health, reason) = self.fares(watcher, now);
        let past = &watcher.history;
        let worker = past.chronicle.latest_worker();
        let reason = reason.or_else(|| reason_of(watcher));
        let mut lines = LastLines::of(&watcher.config, worker);
        let mut answer = Object::new();
        let mut put = |key: &str, value: Value| drop(answer.insert(key.into(), value));
        put("name", watcher.name().into());
        put("state", watcher.state.name().into());
        put("health", health.name().into());
        put("reason", reason.into());
        put("restarts", past.restarts.into());
        put("events", past.chronicle.rows().map(Value::from).collect());
        put("worker", worker.map_or(Value::Null, |(wid, pid)| json!({"wid": wid.0, "pid": pid.map(|pid| pid.0)})));
        put("output_kept", lines.are_kept().into());
        if self.phase.has_ended() || !lines.are_kept() {
            answer.insert("lines".into(), Value::Array(Vec::new()));
            return Ok(Some(answer));
        }
        if self.tails.len() + self.whys.len() >= MOST_WAITING {
            return Err(Fault::command("too many tail requests wait for their answer"));
        }
        if *to != ReplyTo::Discard {
            let questions = lines.ask(&mut self.jobs);
            self.outbox.actions.extend(questions);
            self.whys.push(PendingWhy { to: to.clone(), answer, lines });
        }
        Ok(None)
    }

    /// No more lines come: what is there is the answer.
    pub(in crate::arbiter) fn answer_whys(&mut self, now: Now) {
        for pending in std::mem::take(&mut self.whys) {
            self.answer_why(pending, now);
        }
    }

    pub(in crate::arbiter) fn answer_why(&mut self, pending: PendingWhy, now: Now) {
        let PendingWhy { to, mut answer, lines } = pending;
        let row = |(stream, line): (StreamName, KeptLine)| json!({"stream": stream.name(), "pid": line.pid, "wid": line.wid, "time": line.time, "line": line.line});
        answer.insert("lines".into(), lines.into_last().map(row).collect());
        self.outbox.reply(Reply { to, body: Body::Ok(answer), time: now.unix });
    }
}
