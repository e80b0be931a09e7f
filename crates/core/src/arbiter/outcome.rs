//! What did not come up, and the reason: one model for the answers to requests that wait, for `status`, the log and the events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::arbiter::ids::Wid;
use crate::arbiter::time::Now;
use crate::proto::{Fault, HookPoint, Object, Signal, SpawnError};

/// At most so many failures are listed in an answer.
const MAX_LISTED: usize = 100;

/// Why a worker, or a watcher as a whole, did not come up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum Cause {
    /// The launch failed.
    Launch(SpawnError),
    /// The worker exited early, or again and again.
    Exit {
        /// The exit status, or minus the signal.
        exit_code: i32,
        lived: Duration,
    },
    /// A hook refused it.
    Hook {
        /// `None`: the watcher's Python hooks cannot be loaded.
        point: Option<HookPoint>,
        /// Why the hook has failed; `None` if it returned false.
        error: Option<String>,
    },
    /// The worker exists and has not executed its program in this time.
    Stuck { after: Duration },
    /// It was not ready in time.
    NotReady {
        after: Duration,
        /// As the option has it.
        probe: String,
        /// What the last attempt came to.
        error: Option<String>,
    },
    /// It was at work, and is so no more.
    Unhealthy {
        /// As the option has it.
        probe: String,
        /// What the last attempt came to.
        error: String,
        /// How many in a row.
        times: u32,
    },
    /// A watcher of a higher priority did not come up.
    HeldBack { by: String },
    /// A watcher that it comes after (`after`) is not up.
    Waits { on: String, health: String },
}

impl Cause {
    /// In words that can follow the name of the watcher and a colon.
    pub(in crate::arbiter) fn words(&self, wid: Option<Wid>) -> String {
        let worker = wid.map(|wid| format!("worker {}", wid.0));
        match (self, worker) {
            (Self::Launch(error), Some(worker)) => format!("{worker} could not be started: {}", error.describe()),
            (Self::Launch(error), None) => error.describe(),
            (Self::Exit { exit_code, lived }, worker) => {
                let worker = worker.as_deref().unwrap_or("a worker");
                format!("{worker} {} after {}", ended(*exit_code), span(*lived))
            }
            (Self::Hook { .. }, Some(worker)) => format!("{worker} was refused: {}", self.words(None)),
            (Self::Hook { point: Some(point), error: None }, None) => format!("hook {} returned false", point.name()),
            (Self::Hook { point: Some(point), error: Some(error) }, None) => {
                format!("hook {} failed: {error}", point.name())
            }
            (Self::Hook { point: None, error }, None) => error.clone().unwrap_or_default(),
            (Self::NotReady { after, probe, error }, worker) => {
                let worker = worker.map(|worker| format!("{worker} was ")).unwrap_or_default();
                let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                format!("{worker}not ready after {} ({probe}{error})", span(*after))
            }
            (Self::Unhealthy { probe, error, times }, worker) => {
                let worker = worker.map(|worker| format!("{worker} was ")).unwrap_or_default();
                let times = if *times > 1 { format!("{times} times in a row: ") } else { String::new() };
                format!("{worker}unhealthy ({probe}: {times}{error})")
            }
            (Self::Stuck { after }, worker) => {
                let worker = worker.as_deref().unwrap_or("a worker");
                format!("{worker} has not executed its program within {}", span(*after))
            }
            (Self::HeldBack { by }, _) => format!("not started: {by}, which has a higher priority, has not come up"),
            (Self::Waits { on, health }, _) => format!("waits for {on} ({health})"),
        }
    }

    /// The watcher that has to come up before the one that this is about may start.
    pub(in crate::arbiter) fn held_back_by(&self) -> Option<&str> {
        match self {
            Self::HeldBack { by } | Self::Waits { on: by, .. } => Some(by),
            Self::Launch(_)
            | Self::Exit { .. }
            | Self::Hook { .. }
            | Self::Stuck { .. }
            | Self::NotReady { .. }
            | Self::Unhealthy { .. } => None,
        }
    }

    /// As fields of an answer.
    pub(in crate::arbiter) fn fields(&self) -> Object {
        let value = match self {
            Self::Launch(error) => return launch(error),
            Self::Exit { exit_code, lived } => {
                json!({"stage": "run", "exit_code": exit_code, "lived": lived.as_secs_f64()})
            }
            Self::Hook { point, error } => {
                json!({"stage": "hook", "hook": point.map(HookPoint::name), "error": error})
            }
            Self::Stuck { after } => json!({"stage": "start", "after": after.as_secs_f64()}),
            Self::NotReady { after, probe, error } => {
                json!({"stage": "ready", "after": after.as_secs_f64(), "probe": probe, "error": error})
            }
            Self::Unhealthy { probe, error, times } => {
                json!({"stage": "health", "probe": probe, "error": error, "failures": times})
            }
            Self::HeldBack { by } | Self::Waits { on: by, .. } => json!({"stage": "order", "by": by}),
        };
        value.as_object().cloned().unwrap_or_default()
    }
}

/// A worker, or a watcher, that did not come up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Failure {
    /// The worker's slot; `None` where the watcher as a whole is meant.
    pub(in crate::arbiter) wid: Option<Wid>,
    pub(in crate::arbiter) cause: Cause,
    /// Seconds since the epoch.
    time: f64,
    serial: u64,
}

impl Failure {
    pub(in crate::arbiter) fn words(&self) -> String {
        self.cause.words(self.wid)
    }

    /// Whether watchers of lower priority must not start, as they may need this one.
    pub(in crate::arbiter) fn holds_back(&self) -> bool {
        match &self.cause {
            Cause::Hook { point: Some(HookPoint::BeforeStart), error: None } => false,
            Cause::Hook { .. } => self.wid.is_none(),
            Cause::HeldBack { .. } => true,
            Cause::Launch(_)
            | Cause::Exit { .. }
            | Cause::Stuck { .. }
            | Cause::NotReady { .. }
            | Cause::Unhealthy { .. }
            // A watcher that needs this one says so itself, by `after`.
            | Cause::Waits { .. } => false,
        }
    }

    /// As an object of an answer.
    pub(in crate::arbiter) fn fields(&self) -> Object {
        let mut fields = self.cause.fields();
        fields.insert("wid".into(), self.wid.map(|wid| wid.0).into());
        fields.insert("reason".into(), self.words().into());
        fields.insert("time".into(), self.time.into());
        fields
    }
}

/// The last failure of each slot of a watcher, and of the watcher itself, since it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Failures {
    next: u64,
    last: BTreeMap<Option<Wid>, Failure>,
}

impl Failures {
    pub(in crate::arbiter) fn note(&mut self, wid: Option<Wid>, cause: Cause, now: Now) {
        self.last.insert(wid, Failure { wid, cause, time: now.unix, serial: self.next });
        self.next += 1;
    }

    /// A number that separates later failures from earlier ones.
    pub(in crate::arbiter) fn mark(&self) -> u64 {
        self.next
    }

    /// The failures since a mark, that of the watcher itself first, then by slot.
    pub(in crate::arbiter) fn since(&self, mark: u64) -> impl Iterator<Item = &Failure> {
        self.last.values().filter(move |failure| failure.serial >= mark)
    }

    /// Whether this slot has failed since a mark.
    pub(in crate::arbiter) fn has(&self, wid: Wid, mark: u64) -> bool {
        self.last.get(&Some(wid)).is_some_and(|failure| failure.serial >= mark)
    }

    /// Why this slot failed the last time.
    pub(in crate::arbiter) fn cause(&self, wid: Wid) -> Option<&Cause> {
        self.last.get(&Some(wid)).map(|failure| &failure.cause)
    }

    pub(in crate::arbiter) fn latest(&self) -> Option<&Failure> {
        self.last.values().max_by_key(|failure| failure.serial)
    }

    /// The work of this slot is done after all.
    pub(in crate::arbiter) fn forget(&mut self, wid: Wid) {
        self.last.remove(&Some(wid));
    }

    pub(in crate::arbiter) fn clear(&mut self) {
        self.last.clear();
    }
}

/// The answer to a request that was to bring up workers of a watcher, some of which did not come up. `None` if none failed.
pub(in crate::arbiter) fn fault(watcher: &str, failures: &[&Failure]) -> Option<Fault> {
    let first = failures.first()?;
    let workers = failures.iter().filter(|failure| failure.wid.is_some()).count();
    let reason = match workers {
        2.. if first.wid.is_some() => format!("{watcher}: {workers} workers did not come up: {}, ...", first.words()),
        _ => format!("{watcher}: {}", first.words()),
    };
    let rows = failures.iter().take(MAX_LISTED).map(|failure| {
        let mut row = failure.fields();
        row.insert("watcher".into(), watcher.into());
        row
    });
    Some(Fault { failed: rows.collect(), ..Fault::command(reason) })
}

/// The two faults of one request as one.
pub(in crate::arbiter) fn merged(first: Option<Fault>, second: Option<Fault>) -> Option<Fault> {
    match (first, second) {
        (Some(mut first), Some(second)) if !second.failed.is_empty() => {
            // Of many watchers' reasons, as much is kept as of one.
            first.reason = Fault::command(format!("{}; {}", first.reason, second.reason)).reason;
            first.failed.extend(second.failed);
            first.failed.truncate(MAX_LISTED);
            Some(first)
        }
        (first, second) => first.or(second),
    }
}

/// A launch that failed: at which stage, with which errno (0 where the kernel had no part in it), and about what.
fn launch(error: &SpawnError) -> Object {
    Object::from_iter([
        ("stage".into(), error.stage.name().into()),
        ("errno".into(), error.errno.into()),
        ("error".into(), error.errno_name().into()),
        ("detail".into(), error.detail.as_str().into()),
    ])
}

pub(in crate::arbiter) fn ended(exit_code: i32) -> String {
    if exit_code < 0 {
        format!("was ended by {}", Signal(-exit_code))
    } else {
        format!("exited with status {exit_code}")
    }
}

pub(in crate::arbiter) fn span(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mono;
    use crate::proto::Stage;

    const NOW: Now = Now { mono: Mono(0), unix: 5.0 };

    #[test]
    fn causes_in_words() {
        let error = SpawnError { stage: Stage::Exec, errno: 2, detail: "/nope".into() };
        let hook =
            |error: Option<&str>| Cause::Hook { point: Some(HookPoint::AfterStart), error: error.map(str::to_owned) };
        let lived = Duration::from_millis(36);
        for (cause, wid, words) in [
            (
                Cause::Launch(error),
                Some(Wid(1)),
                "worker 1 could not be started: failed to execute the program: /nope ([Errno 2] No such file or \
                 directory)",
            ),
            (Cause::Exit { exit_code: 7, lived }, Some(Wid(2)), "worker 2 exited with status 7 after 36 ms"),
            (
                Cause::Exit { exit_code: -11, lived: Duration::from_millis(2540) },
                Some(Wid(2)),
                "worker 2 was ended by SIGSEGV after 2.5 s",
            ),
            (hook(None), None, "hook after_start returned false"),
            (hook(Some("no broker")), None, "hook after_start failed: no broker"),
            (hook(None), Some(Wid(3)), "worker 3 was refused: hook after_start returned false"),
            (
                Cause::HeldBack { by: "db".into() },
                None,
                "not started: db, which has a higher priority, has not come up",
            ),
            (Cause::Waits { on: "db".into(), health: "starting".into() }, None, "waits for db (starting)"),
        ] {
            assert_eq!(cause.words(wid), words);
        }
    }

    #[test]
    fn fault_names_the_watcher_and_lists_each_worker() {
        let mut failures = Failures::default();
        let cause = |exit_code| Cause::Exit { exit_code, lived: Duration::ZERO };
        failures.note(Some(Wid(9)), cause(1), NOW);
        let mark = failures.mark();
        failures.note(Some(Wid(2)), cause(3), NOW);
        failures.note(Some(Wid(1)), cause(4), NOW);
        let since: Vec<&Failure> = failures.since(mark).collect();
        let fault = fault("web", &since).unwrap();
        assert_eq!(fault.reason, "web: 2 workers did not come up: worker 1 exited with status 4 after 0 ms, ...");
        let rows: Vec<_> = fault.failed.iter().map(|row| (&row["watcher"], &row["wid"], &row["exit_code"])).collect();
        assert_eq!(rows, [(&json!("web"), &json!(1), &json!(4)), (&json!("web"), &json!(2), &json!(3))]);
        assert_eq!(super::fault("web", &[]), None);
        assert!(failures.has(Wid(2), mark) && !failures.has(Wid(9), mark));
    }

    #[test]
    fn faults_of_several_watchers_are_one() {
        let of = |name: &str| Fault { failed: vec![Object::new()], ..Fault::command(format!("{name}: x")) };
        let both = merged(Some(of("a")), Some(of("b"))).unwrap();
        assert_eq!((both.reason.as_str(), both.failed.len()), ("a: x; b: x", 2));
        assert_eq!(merged(Some(of("a")), None), Some(of("a")));
        let many = (0..10_000).map(|_| Some(of("watcher"))).reduce(merged).unwrap().unwrap();
        assert!(many.reason.len() < 5000, "{}", many.reason.len());
        assert_eq!(merged(Some(of("a")), Some(Fault::command("cancelled"))), Some(of("a")));
    }
}
