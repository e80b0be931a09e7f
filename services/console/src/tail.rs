//! What workers print, for a browser that follows it. A thread for each: it waits at its own subscription, and what its
//! browser does not take in time is dropped and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use circus_client::OutputMessage;
use circus_core::proto::{Gap, KeptLine, Object, OutputEvent, StreamName, Tail, TailCursor};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::core::fleet::Message;
use crate::fleet::client::Listening;
use crate::link::{Follow, Machine, Outcome, Output};

/// So many browsers may follow at once.
const FOLLOWERS: usize = 64;
/// A browser gets at most so many lines at once, and so often.
const BATCH: usize = 500;
const PACE: Duration = Duration::from_millis(100);
/// So many batches may wait for a browser.
const WAITING: usize = 4;
/// So often a thread looks whether its browser has gone.
const LOOK: Duration = Duration::from_secs(1);
/// So long circusd may take for the last lines.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long the subscription may take to stand.
const GREETING: Duration = Duration::from_secs(5);

/// How many follow.
pub(crate) type Followers = Arc<AtomicUsize>;

struct Place(Followers);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which lines.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) watcher: String,
    pub(crate) stream: StreamName,
    pub(crate) lines: usize,
    pub(crate) wid: Option<u32>,
    pub(crate) search: Option<String>,
}

impl Wanted {
    /// The properties of circusd's `tail`.
    pub(crate) fn properties(&self) -> Object {
        let mut properties = Object::from_iter([
            ("name".to_owned(), json!(self.watcher)),
            ("stream".to_owned(), json!(self.stream.name())),
            ("lines".to_owned(), json!(self.lines)),
        ]);
        properties.extend(self.wid.map(|wid| ("wid".to_owned(), json!(wid))));
        properties
    }

    /// Whether a line is one of them: the case of letters does not matter.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.search.as_ref().is_none_or(|search| line.to_lowercase().contains(search.as_str()))
    }
}

/// Lines for a browser.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    lines: Vec<Value>,
    /// Lines that were not sent, because they came faster than the browser may get them.
    dropped: u64,
    /// Lines or bytes that circusd did not send or keep.
    missed: u64,
}

impl Batch {
    pub(crate) fn json(&self) -> Value {
        json!({"lines": self.lines, "dropped": self.dropped, "missed": self.missed})
    }
}

/// The lines that wait to be sent: the last ones, and how many there were before them.
#[derive(Debug, Default)]
struct Pending {
    lines: VecDeque<Value>,
    dropped: u64,
    missed: u64,
}

impl Pending {
    fn push(&mut self, line: &KeptLine) {
        if self.lines.len() >= BATCH {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(json!({"pid": line.pid, "wid": line.wid, "time": line.time, "line": line.line}));
    }

    /// Takes what a branch has sent. False: it was the last.
    fn sent(&mut self, wanted: &Wanted, message: &Message) -> bool {
        match message.event.as_str() {
            "line" => {
                if let Ok(line) = serde_json::from_str::<KeptLine>(&message.data)
                    && wanted.has(&line.line)
                {
                    self.push(&line);
                }
            }
            "missed" => {
                let told: Value = serde_json::from_str(&message.data).unwrap_or_default();
                self.missed += told["missed"].as_u64().unwrap_or_default();
            }
            _ => {}
        }
        message.event != "end"
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0 && self.missed == 0
    }

    fn take(&mut self) -> Batch {
        let lines = std::mem::take(&mut self.lines).into();
        Batch { lines, dropped: std::mem::take(&mut self.dropped), missed: std::mem::take(&mut self.missed) }
    }

    /// What could not be sent is dropped.
    fn lost(&mut self, batch: &Batch) {
        self.dropped += batch.dropped + batch.lines.len() as u64;
        self.missed += batch.missed;
    }
}

/// Follows output; the batches come until the receiver is dropped.
///
/// # Errors
/// With the reason, where circusd refuses or is not there, or too many follow already.
pub(crate) async fn follow(
    machine: &Machine,
    followers: &Followers,
    wanted: Wanted,
) -> Result<mpsc::Receiver<Batch>, (u16, String)> {
    if followers.fetch_add(1, Ordering::SeqCst) >= FOLLOWERS {
        followers.fetch_sub(1, Ordering::SeqCst);
        return Err((503, format!("{FOLLOWERS} browsers follow output already")));
    }
    let place = Place(Arc::clone(followers));
    // What cannot be had is told by the status. The lines are asked for again once the subscription stands.
    kept(machine, wanted.properties()).await?;
    let output = machine.follow(&wanted.watcher, wanted.stream, &wanted.properties()).await;
    let (sender, batches) = mpsc::channel(WAITING);
    let subscription = match output.map_err(|reason| (503, reason))? {
        Output::Published(subscription) => subscription,
        Output::Sent(lines) => {
            tokio::spawn(relay(wanted, lines, sender, place));
            return Ok(batches);
        }
    };
    let (machine, runtime) = (machine.clone(), Handle::current());
    let follower = Follower {
        wanted,
        machine,
        runtime,
        cursor: TailCursor::default(),
        pending: Pending::default(),
        sender,
        _place: place,
    };
    let thread = thread::Builder::new().name("tail".into());
    thread.spawn(move || follower.run(subscription)).map_err(|error| (503, error.to_string()))?;
    Ok(batches)
}

/// The last lines that circusd keeps.
pub(crate) async fn kept(machine: &Machine, properties: Object) -> Result<Tail, (u16, String)> {
    match machine.call("tail", properties, PATIENCE).await {
        Outcome::Answer(answer) if answer.get("status").and_then(Value::as_str) == Some("ok") => {
            serde_json::from_value(Value::Object(answer)).map_err(|error| (503, format!("circusd's answer: {error}")))
        }
        Outcome::Answer(answer) => {
            let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("circusd refuses");
            Err((409, reason.to_owned()))
        }
        Outcome::Silence => Err((503, "circusd does not answer in time".into())),
        Outcome::Lost(reason) => Err((503, reason)),
    }
}

/// Passes on what a branch sends, until one of both sides ends.
async fn relay(wanted: Wanted, mut lines: Listening, sender: mpsc::Sender<Batch>, _place: Place) {
    let mut pending = Pending::default();
    // An empty one says that the browser follows.
    if sender.try_send(pending.take()).is_err() {
        return;
    }
    let mut sent = Instant::now();
    let mut goes_on = true;
    while goes_on {
        tokio::select! {
            news = lines.next() => {
                let news = news.unwrap_or_else(|_| vec![Message { event: "end".into(), data: String::new() }]);
                goes_on = news.iter().all(|message| pending.sent(&wanted, message));
            }
            () = tokio::time::sleep(PACE.saturating_sub(sent.elapsed())), if !pending.is_empty() => {}
            () = sender.closed() => return,
        }
        if !pending.is_empty() && (sent.elapsed() >= PACE || !goes_on) {
            sent = Instant::now();
            match sender.try_send(pending.take()) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(batch)) => pending.lost(&batch),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }
}

struct Follower {
    wanted: Wanted,
    machine: Machine,
    runtime: Handle,
    cursor: TailCursor,
    pending: Pending,
    sender: mpsc::Sender<Batch>,
    _place: Place,
}

impl Follower {
    fn run(mut self, Follow { mut subscriber, topics }: Follow) {
        let mut early = Vec::new();
        let end = Instant::now() + GREETING;
        while let Some((topic, body)) = subscriber.recv(end.saturating_duration_since(Instant::now())) {
            match topics.read(&topic, &body) {
                Some(OutputMessage::Greeting) => break,
                Some(OutputMessage::Lines(event)) if early.len() < BATCH => early.push(event),
                Some(OutputMessage::Lines(_)) | None => {}
            }
        }
        if !self.fetch() {
            return;
        }
        early.iter().for_each(|event| self.take(event));
        // An empty one says that the browser follows.
        if self.sender.try_send(self.pending.take()).is_err() {
            return;
        }
        let mut sent = Instant::now();
        while !self.sender.is_closed() {
            let limit = if self.pending.is_empty() { LOOK } else { PACE.saturating_sub(sent.elapsed()) };
            if let Some((topic, body)) = subscriber.recv(limit) {
                match topics.read(&topic, &body) {
                    // The connection was lost and has come back: what came meanwhile is asked for.
                    Some(OutputMessage::Greeting) if !self.fetch() => return,
                    Some(OutputMessage::Lines(event)) => self.take(&event),
                    Some(OutputMessage::Greeting) | None => {}
                }
            }
            if !self.pending.is_empty() && sent.elapsed() >= PACE {
                sent = Instant::now();
                let batch = self.pending.take();
                match self.sender.try_send(batch) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(batch)) => self.pending.lost(&batch),
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        }
    }

    /// Asks for the lines behind those that were seen. False: circusd does not give them.
    fn fetch(&mut self) -> bool {
        let mut properties = self.wanted.properties();
        properties.extend(self.cursor.cursor().map(|cursor| ("after".to_owned(), json!(cursor))));
        let ask = |properties| self.runtime.block_on(kept(&self.machine, properties));
        let Ok(mut tail) = ask(properties) else { return false };
        if self.cursor.is_of_another(&tail) {
            let Ok(other) = ask(self.wanted.properties()) else { return false };
            tail = other;
        }
        if let Some(gap) = self.cursor.fetched(&tail) {
            self.missed(gap);
        }
        for line in tail.lines.iter().filter(|line| self.wanted.has(&line.line)) {
            self.pending.push(line);
        }
        true
    }

    fn missed(&mut self, gap: Gap) {
        let (Gap::Bytes(count) | Gap::Lines(count)) = gap;
        self.pending.missed += count;
    }

    fn take(&mut self, event: &OutputEvent) {
        if self.cursor.has_seen(event) {
            return;
        }
        if let Some(gap) = self.cursor.published(event) {
            self.missed(gap);
        }
        if self.wanted.wid.is_some_and(|wid| wid != event.wid) {
            return;
        }
        for line in event.lines.iter().filter(|line| self.wanted.has(line)) {
            let line = KeptLine { pid: event.pid, wid: event.wid, time: event.time, line: line.clone() };
            self.pending.push(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> KeptLine {
        KeptLine { pid: 1, wid: 1, time: 1.0, line: text.into() }
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut pending = Pending::default();
        for number in 0..BATCH + 10 {
            pending.push(&line(&number.to_string()));
        }
        let batch = pending.take();
        assert_eq!((batch.lines.len(), batch.dropped, &batch.lines[0]["line"]), (BATCH, 10, &json!("10")));
        assert!(pending.is_empty());
        pending.lost(&batch);
        assert_eq!(pending.take().json(), json!({"lines": [], "dropped": BATCH + 10, "missed": 0}));
    }

    #[test]
    fn what_a_branch_sends() {
        let wanted =
            Wanted { watcher: "w".into(), stream: StreamName::Stdout, lines: 5, wid: None, search: Some("one".into()) };
        let mut pending = Pending::default();
        let mut sent =
            |event: &str, data: Value| pending.sent(&wanted, &Message { event: event.into(), data: data.to_string() });
        assert!(sent("line", json!({"pid": 1, "wid": 1, "time": 1.5, "line": "One"})));
        assert!(sent("line", json!({"pid": 1, "wid": 1, "time": 1.5, "line": "two"})));
        assert!(sent("line", json!("strange")) && sent("missed", json!({"missed": 7})) && sent("other", json!(1)));
        assert!(!sent("end", json!({"status": 408})));
        let batch = pending.take();
        assert_eq!((batch.lines.len(), batch.missed), (1, 7));
    }

    #[test]
    fn a_search_takes_no_case() {
        let mut wanted =
            Wanted { watcher: "w".into(), stream: StreamName::Stderr, lines: 5, wid: Some(2), search: None };
        assert!(wanted.has("anything"));
        wanted.search = Some("error".into());
        assert!(wanted.has("an ERROR") && !wanted.has("fine"));
        assert_eq!(Value::Object(wanted.properties()), json!({"name": "w", "stream": "stderr", "lines": 5, "wid": 2}));
    }
}
