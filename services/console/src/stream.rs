//! Server-sent events: what has changed since a browser was told last.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use circus_core::access::Scope;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::core::Reach;
use crate::link::{Look, Machine, now};
use crate::tail::Batch;
use crate::tree::Shown;

/// A browser is told at most so often.
const PACE: Duration = Duration::from_millis(300);
/// So many browsers may be told at once.
const STREAMS: usize = 256;

/// How many are told.
pub(crate) type Streams = Arc<AtomicUsize>;

struct Place(Streams);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A machine, and what a browser knows of it.
struct Told {
    machine: Machine,
    _look: Look,
    version: u64,
    event: u64,
}

impl Told {
    fn new(machine: Machine, event: u64) -> Self {
        Self { _look: machine.look(), machine, version: 0, event }
    }
}

/// What a browser shows beside the overview.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) machine: String,
    pub(crate) watcher: String,
}

/// Of whom a browser is told.
pub(crate) enum Of {
    /// Of all that are shown, which come and go.
    All(Shown),
    /// Of this one; with the number of the last event that the browser knows.
    One(Machine, Option<u64>),
}

struct State {
    told: Vec<Told>,
    /// Where machines come and go.
    shown: Option<Shown>,
    names: Option<Vec<String>>,
    detail: Option<Detail>,
    /// The watchers that the browser is shown.
    scope: Scope,
    touched: Option<u64>,
    /// The browser knows that there is no such watcher.
    gone: bool,
    news: watch::Receiver<u64>,
    waiting: std::vec::IntoIter<Event>,
    first: bool,
    _place: Place,
}

/// What changes of these watchers, and one watcher in full. None: too many are told already.
pub(crate) fn changes(
    of: Of,
    detail: Option<Detail>,
    scope: Scope,
    news: watch::Receiver<u64>,
    streams: &Streams,
) -> Option<Response> {
    if streams.fetch_add(1, Ordering::SeqCst) >= STREAMS {
        streams.fetch_sub(1, Ordering::SeqCst);
        return None;
    }
    let (told, shown) = match of {
        Of::All(shown) => (Vec::new(), Some(shown)),
        Of::One(machine, event) => (vec![Told::new(machine, event.unwrap_or(0))], None),
    };
    let waiting = Vec::new().into_iter();
    let state = State {
        told,
        shown,
        names: None,
        detail,
        scope,
        touched: None,
        gone: false,
        news,
        waiting,
        first: true,
        _place: Place(Arc::clone(streams)),
    };
    let events = futures_lite::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    Some(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

impl State {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.next() {
                return Some(event);
            }
            if !std::mem::take(&mut self.first) {
                self.news.changed().await.ok()?;
                // What comes at the same time is told together.
                sleep(PACE).await;
            }
            self.news.borrow_and_update();
            self.waiting = self.collect().into_iter();
        }
    }

    /// Machines that have come are told from now on, and those that have gone no more.
    fn follow(&mut self) -> Option<Event> {
        let shown = self.shown.as_ref()?.all();
        self.told.retain(|told| shown.iter().any(|machine| machine.is(&told.machine)));
        for machine in &shown {
            if !self.told.iter().any(|told| told.machine.is(machine)) {
                self.told.push(Told::new(machine.clone(), 0));
            }
        }
        let names: Vec<String> = shown.iter().map(|machine| machine.name().to_owned()).collect();
        let changed = self.names.as_ref() != Some(&names);
        let told = changed.then(|| event("machines", &json!({"names": names})));
        self.names = Some(names);
        told
    }

    fn collect(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = self.follow().into_iter().collect();
        for told in &mut self.told {
            let name = told.machine.name().to_owned();
            let board = told.machine.board();
            let changes = board.since(&self.scope, told.version, told.event, now());
            let detail = self.detail.as_ref().filter(|detail| detail.machine == name);
            let watcher = detail.map(|detail| (detail, board.watcher(&detail.watcher, now())));
            told.version = changes.version;
            if let Some(machine) = &changes.machine {
                events.push(event("machine", machine));
            }
            if let Some(names) = &changes.names {
                events.push(event("names", &json!({"machine": name, "watchers": names})));
            }
            if !changes.rows.is_empty() {
                events.push(event("rows", &json!({"machine": name, "rows": changes.rows})));
            }
            match watcher {
                // Before circusd has told its watchers, nothing says that there is none of this name.
                Some((detail, None)) if !self.gone && (self.touched.is_some() || *board.reach() == Reach::Up) => {
                    (self.touched, self.gone) = (None, true);
                    events.push(event("gone", &json!({"machine": name, "watcher": detail.watcher})));
                }
                Some((_, Some((touched, shown)))) if self.touched != Some(touched) => {
                    (self.touched, self.gone) = (Some(touched), false);
                    events.push(event("watcher", &json!({"machine": name, "watcher": shown})));
                }
                _ => {}
            }
            for mut happened in changes.events {
                let number = happened["number"].as_u64().unwrap_or(told.event);
                told.event = number;
                happened["machine"] = name.clone().into();
                events.push(event("event", &happened).id(number.to_string()));
            }
        }
        events
    }
}

/// The lines that come.
pub(crate) fn lines(batches: mpsc::Receiver<Batch>) -> Response {
    let events = futures_lite::stream::unfold(batches, |mut batches| async move {
        let batch = batches.recv().await?;
        Some((Ok::<_, Infallible>(event("lines", &batch.json())), batches))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
