//! Fleets: the machines that a branch of Cyme announces, each asked and steered through that branch.
//!
//! Nothing is asked of a branch while nobody looks, once its machines are known: it keeps the last events itself. While
//! somebody does, events come as a stream; they say when states are to be asked for. Which machines there are, and what
//! processes use, a branch tells only when it is asked.

pub mod client;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use circus_core::proto::Object;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turn, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::core::fleet::{self, Announced, Call, Message, Report, Roster, Said, Step, announced, encoded, named, said};
use crate::core::{Board, Reach};
use crate::link::{Machine, Outcome, now};
use crate::tree::Shown;
use client::{Client, Failure, Listening};

/// So often a branch is asked which machines there are, and what their processes use, while somebody looks.
const ROUND: Duration = Duration::from_secs(5);
/// So often a branch that does not answer is tried again while nobody looks.
const CALM: Duration = Duration::from_secs(10);
/// Between two requests for the states of a machine whose events say that something has changed.
const PAUSE: Duration = Duration::from_secs(1);
/// After this time a stream of events that has ended is opened again.
const AGAIN: Duration = Duration::from_secs(3);
/// So long a branch may take for a question: it asks another branch, and that its circusd.
const PATIENCE: Duration = Duration::from_secs(10);
/// What was asked so short a time ago is fresh.
const FRESH: Duration = Duration::from_millis(500);
/// Why a machine is away.
const GONE: &str = "its branch is announced no more";

/// What is the same for all machines of a console.
#[derive(Clone)]
pub struct Common {
    /// Where the machines are shown.
    pub shown: Shown,
    /// Counts what changes.
    pub news: Arc<watch::Sender<u64>>,
    /// As if somebody looked.
    pub always: bool,
    /// The names of the circusds that are shown beside.
    pub circusds: Vec<String>,
    /// It is the only fleet.
    pub alone: bool,
    /// A line for people.
    pub log: fn(&str),
}

/// A fleet, by one of its branches.
pub struct Fleet {
    client: Client,
    common: Common,
    /// What stands for the fleet as long as its machines are not known.
    board: Arc<Mutex<Board>>,
    looking: watch::Sender<usize>,
    /// When its machines were asked for last.
    asked: Turn<Option<Instant>>,
    roster: Mutex<Roster>,
    members: Mutex<BTreeMap<String, Attended>>,
    began: Instant,
}

/// A machine, and the task that asks of it while somebody looks.
type Attended = (Arc<Member>, JoinHandle<()>);

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Asks the branch in the background, for as long as the console runs.
    pub fn start(client: Client, common: Common) -> Arc<Self> {
        let place = client.address().place();
        let board = Arc::new(Mutex::new(Board::new(&place, &client.address().to_string())));
        let fleet = Arc::new(Self {
            client,
            board,
            looking: watch::Sender::new(usize::from(common.always)),
            common,
            asked: Turn::default(),
            roster: Mutex::default(),
            members: Mutex::default(),
            began: Instant::now(),
        });
        locked(&fleet.board).of_fleet(&fleet.client.address().to_string(), &[]);
        fleet.common.shown.add(fleet.machine());
        let own = Arc::clone(&fleet);
        tokio::spawn(async move { own.run().await });
        fleet
    }

    /// What stands for the fleet.
    fn machine(self: &Arc<Self>) -> Machine {
        Machine::of_branch(&self.client.address().place(), Arc::clone(&self.board), Arc::clone(self))
    }

    async fn run(self: Arc<Self>) {
        let mut looks = self.looking.subscribe();
        loop {
            let known = self.fresh().await;
            let watched = *looks.borrow_and_update() > 0;
            let pause = match (watched, known) {
                (true, _) => sleep(ROUND),
                (false, false) => sleep(CALM),
                (false, true) => sleep(Duration::MAX),
            };
            tokio::select! {
                () = pause => {}
                _ = looks.wait_for(|count| *count > 0), if !watched => {}
            }
        }
    }

    /// Asks for the machines, unless that was done just now. Whether they are known.
    pub async fn fresh(self: &Arc<Self>) -> bool {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            let call = Call { method: "GET", path: "/machines/".into() };
            let answer = self.client.ask(&call, PATIENCE).await.map_err(String::from);
            *asked = Some(Instant::now());
            let found = answer.and_then(|(status, body)| announced(status, &body));
            self.found(found);
        }
        *locked(&self.board).reach() == Reach::Up
    }

    fn found(self: &Arc<Self>, found: Result<Vec<Announced>, String>) {
        let place = self.client.address().place();
        let before = locked(&self.board).reach().clone();
        let now = match &found {
            Ok(_) => Reach::Up,
            Err(reason) => Reach::Down(reason.clone()),
        };
        locked(&self.board).reached(now.clone());
        match found {
            Ok(list) => {
                self.common.shown.remove(&place);
                let steps = locked(&self.roster).announced(list, self.began.elapsed());
                steps.into_iter().for_each(|step| self.step(step));
            }
            Err(_) => self.common.shown.add(self.machine()),
        }
        if before != now {
            let said = match &now {
                Reach::Down(reason) => reason.as_str(),
                Reach::Up | Reach::Trying => "its machines are known",
            };
            (self.common.log)(&format!("fleet {}: {said}", self.client.address()));
        }
        self.tell();
    }

    fn step(self: &Arc<Self>, step: Step) {
        let mut members = locked(&self.members);
        match step {
            Step::Here(Announced { id, labels }) => {
                let (member, _) = members.entry(id.clone()).or_insert_with(|| self.member(&id));
                locked(&member.board).of_fleet(&self.client.address().to_string(), &labels);
                member.announced(true);
            }
            Step::Away(id) => {
                if let Some((member, _)) = members.get(&id) {
                    member.announced(false);
                }
            }
            Step::Forget(id) => {
                if let Some((member, task)) = members.remove(&id) {
                    task.abort();
                    self.common.shown.remove(&member.name);
                }
            }
        }
    }

    fn member(self: &Arc<Self>, id: &str) -> Attended {
        let address = self.client.address();
        let name = named(id, &address.place(), self.common.alone, &self.common.circusds);
        let member = Arc::new(Member {
            board: Arc::new(Mutex::new(Board::new(&name, &address.to_string()))),
            name,
            id: id.to_owned(),
            fleet: Arc::clone(self),
            wanted: watch::Sender::new(Wanted { looking: usize::from(self.common.always), here: false }),
            changed: Notify::new(),
            stale: AtomicBool::new(true),
            asked: Turn::default(),
            seen: Turn::default(),
            told: AtomicU64::new(0),
        });
        self.common.shown.add(Machine::of_member(&member.name, Arc::clone(&member.board), Arc::clone(&member)));
        let own = Arc::clone(&member);
        (member, tokio::spawn(async move { own.attend().await }))
    }

    /// Somebody looks, or does so no more.
    pub(crate) fn look(&self, looks: bool) {
        self.looking.send_modify(|count| *count = if looks { *count + 1 } else { count.saturating_sub(1) });
    }

    /// Why nothing can be asked of what stands for the fleet.
    pub(crate) fn lost(&self) -> Outcome {
        Outcome::Lost(match locked(&self.board).reach() {
            Reach::Down(reason) => reason.clone(),
            Reach::Trying | Reach::Up => "this is a fleet, and no machine".into(),
        })
    }

    fn tell(&self) {
        self.common.news.send_modify(|count| *count += 1);
    }
}

/// Whether a machine is to be asked.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    looking: usize,
    /// A branch announces it.
    here: bool,
}

impl Wanted {
    fn is(&self) -> bool {
        self.here && self.looking > 0
    }
}

/// A machine of a fleet.
pub(crate) struct Member {
    name: String,
    id: String,
    fleet: Arc<Fleet>,
    board: Arc<Mutex<Board>>,
    wanted: watch::Sender<Wanted>,
    /// An event says that something is otherwise.
    changed: Notify,
    /// States were not asked for since that.
    stale: AtomicBool,
    /// When states were asked for last.
    asked: Turn<Option<Instant>>,
    /// The number of the last event.
    seen: Turn<u64>,
    /// The change that was counted last.
    told: AtomicU64,
}

impl Member {
    fn tell(&self) {
        let version = locked(&self.board).version();
        if self.told.swap(version, Ordering::SeqCst) != version {
            self.fleet.tell();
        }
    }

    fn announced(&self, here: bool) {
        let mut before = !here;
        self.wanted.send_modify(|wanted| before = std::mem::replace(&mut wanted.here, here));
        if before == here {
            return;
        }
        self.stale.store(true, Ordering::SeqCst);
        locked(&self.board).reached(if here { Reach::Trying } else { Reach::Down(GONE.into()) });
        self.tell();
    }

    fn is_here(&self) -> bool {
        self.wanted.borrow().here
    }

    pub(crate) fn look(&self, looks: bool) {
        self.fleet.look(looks);
        let count = |looking: usize| if looks { looking + 1 } else { looking.saturating_sub(1) };
        self.wanted.send_modify(|wanted| wanted.looking = count(wanted.looking));
    }

    // -- requests --------------------------------------------------------------------------------------------------------

    /// Has its circusd do something, as far as the branch offers it.
    pub(crate) async fn call(&self, command: &str, properties: &Object, patience: Duration) -> Outcome {
        let call = match fleet::call(&self.id, command, properties) {
            Ok(call) => call,
            Err(reason) => {
                let refused = json!({"status": "error", "reason": reason});
                return Outcome::Answer(refused.as_object().cloned().unwrap_or_default());
            }
        };
        if !self.is_here() {
            return Outcome::Lost(GONE.into());
        }
        let watcher = properties.get("name").and_then(Value::as_str);
        let outcome = match self.fleet.client.ask(&call, patience).await {
            Ok((status, body)) => match said(watcher, status, &body) {
                Said::Answer(answer) => Outcome::Answer(answer),
                Said::Lost(reason) => Outcome::Lost(reason),
            },
            Err(Failure::Late) => Outcome::Silence,
            Err(Failure::Lost(reason)) => Outcome::Lost(reason),
        };
        if call.method == "POST" {
            self.otherwise();
        }
        outcome
    }

    /// What the workers of a watcher print, as it comes.
    pub(crate) async fn follow(&self, properties: &Object) -> Result<Listening, String> {
        let call = fleet::call(&self.id, "tail", properties)?;
        self.fleet.client.listen(&call).await
    }

    /// Waits until its board is as its circusd is now, or that is known not to be there.
    pub(crate) async fn fresh(&self) {
        {
            let asked = self.asked.lock().await;
            let recent = asked.is_some_and(|asked| asked.elapsed() < FRESH);
            let up = *locked(&self.board).reach() == Reach::Up;
            if !self.is_here() || recent && up && !self.stale.load(Ordering::SeqCst) {
                return;
            }
        }
        self.refresh().await;
    }

    fn otherwise(&self) {
        self.stale.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Asks for the states. Whether they came.
    async fn refresh(&self) -> bool {
        let mut asked = self.asked.lock().await;
        self.stale.store(false, Ordering::SeqCst);
        let outcome = self.call("status", &Object::new(), PATIENCE).await;
        *asked = Some(Instant::now());
        let reach = match answered(outcome) {
            Ok(answer) => {
                locked(&self.board).statuses(&answer, now());
                Reach::Up
            }
            Err(reason) => Reach::Down(reason),
        };
        // It may have been announced no more meanwhile.
        if self.is_here() {
            locked(&self.board).reached(reach.clone());
        }
        self.tell();
        reach == Reach::Up
    }

    // -- while somebody looks --------------------------------------------------------------------------------------------

    async fn attend(self: Arc<Self>) {
        let mut wanted = self.wanted.subscribe();
        while wanted.wait_for(Wanted::is).await.is_ok() {
            tokio::select! {
                () = self.states() => {}
                () = self.figures() => {}
                () = self.events() => {}
                _ = wanted.wait_for(|wanted| !wanted.is()) => {}
            }
        }
    }

    async fn states(&self) {
        loop {
            if self.refresh().await {
                sleep(PAUSE).await;
                self.changed.notified().await;
            } else {
                sleep(AGAIN).await;
            }
        }
    }

    async fn figures(&self) {
        loop {
            match answered(self.call("stats", &Object::new(), PATIENCE).await) {
                Ok(answer) => locked(&self.board).stats(&answer, now() as u64),
                // Whether its circusd is there, the states tell.
                Err(_) => self.otherwise(),
            }
            self.tell();
            sleep(ROUND).await;
        }
    }

    async fn events(&self) {
        loop {
            // Why there are none, the states tell.
            drop(self.follow_events().await);
            sleep(AGAIN).await;
        }
    }

    async fn follow_events(&self) -> Result<(), String> {
        let after = self.caught_up().await?;
        let path = format!("/machines/{}/events/?after={after}", encoded(&self.id));
        let mut news = self.fleet.client.listen(&Call { method: "GET", path }).await?;
        loop {
            for Message { event, data } in news.next().await? {
                if event == "end" {
                    return Ok(());
                }
                let value = serde_json::from_str(&data).unwrap_or_default();
                let mut seen = self.seen.lock().await;
                self.report(&mut seen, &value);
            }
            self.tell();
        }
    }

    /// Takes down the events that the branch keeps. The number of the last one.
    pub(crate) async fn caught_up(&self) -> Result<u64, String> {
        let mut seen = self.seen.lock().await;
        if !self.is_here() {
            return Err(GONE.into());
        }
        let call = Call { method: "GET", path: format!("/machines/{}/events/", encoded(&self.id)) };
        let (status, body) = self.fleet.client.ask(&call, PATIENCE).await?;
        let next = body["next"].as_u64().filter(|_| status == 200).ok_or_else(|| fleet::denied(status, None))?;
        *seen = fleet::seen(*seen, next);
        for value in body["events"].as_array().into_iter().flatten() {
            self.report(&mut seen, value);
        }
        *seen = next;
        self.tell();
        Ok(next)
    }

    fn report(&self, seen: &mut u64, value: &Value) {
        let Some(report) = Report::read(value).filter(|report| report.number > *seen) else { return };
        *seen = report.number;
        locked(&self.board).event(Some(&report.watcher), &report.event, report.about, report.time);
        self.otherwise();
    }
}

/// circusd's answer to a question, or why there is none.
fn answered(outcome: Outcome) -> Result<Object, String> {
    match outcome {
        Outcome::Answer(answer) if answer.get("status").and_then(Value::as_str) != Some("error") => Ok(answer),
        Outcome::Answer(answer) => {
            let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("it gives no reason");
            Err(format!("circusd refuses: {reason}"))
        }
        Outcome::Silence => Err("the branch or circusd does not answer in time".into()),
        Outcome::Lost(reason) => Err(reason),
    }
}
