//! The last things that went wrong in a watcher, or that circusd did about it, for `why`. A watcher whose workers only do
//! as they are told has none.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::arbiter::fleet::scaler::Rescale;
use crate::arbiter::ids::Wid;
use crate::arbiter::outcome::{Cause, ended, span};
use crate::arbiter::time::Now;
use crate::base::Pid;
use crate::proto::{Object, Signal};

/// So many are kept: what a screen holds, and in a crash loop the last half minute at least.
const MOST_KEPT: usize = 20;

/// The last happenings, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Chronicle(VecDeque<Happening>);

/// Something that happened to a worker, or to the watcher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Happening {
    /// Seconds since the epoch; of several in a row, the last.
    time: f64,
    /// `None` where it concerns the watcher.
    wid: Option<Wid>,
    what: What,
    /// How often in a row.
    times: u32,
    then: Then,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) enum What {
    /// A worker exited that circusd had not told to.
    Exit {
        pid: Pid,
        exit_code: i32,
        lived: Duration,
        /// The kernel has killed it because memory ran out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        oom: bool,
    },
    /// A worker, or the watcher, did not come up or stay up.
    Failed(Cause),
    /// A worker did not stop within so many seconds, or by these signals, and was killed.
    Killed {
        pid: Pid,
        timeout: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signals: Option<String>,
    },
    /// A reload has failed.
    ReloadFailed { reason: String },
    /// The number of workers has followed the need.
    Scaled(Rescale),
    /// The watcher was started.
    Started,
    /// The watcher has stopped.
    Stopped { reason: Option<String> },
}

/// What circusd did about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Then {
    Nothing,
    /// The slot waits before its next worker, after so many causes in a row.
    Waits {
        times: u32,
        wait: Duration,
    },
    /// It starts no more.
    GaveUp,
}

impl Chronicle {
    pub(in crate::arbiter) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::arbiter) fn note(&mut self, wid: Option<Wid>, what: What, now: Now) {
        if matches!(what, What::Failed(_))
            && let Some(before) = self.latest(wid).filter(|before| before.what == what)
        {
            (before.time, before.then) = (now.unix, Then::Nothing);
            before.times = before.times.saturating_add(1);
            return;
        }
        if self.0.len() == MOST_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Happening { time: now.unix, wid, what, times: 1, then: Then::Nothing });
    }

    /// The slot waits before its next worker, for this cause.
    pub(in crate::arbiter) fn waits(&mut self, wid: Wid, cause: &Cause, times: u32, wait: Duration, now: Now) {
        self.follow(wid, cause, Then::Waits { times, wait }, now);
    }

    /// The watcher starts no more workers, for this cause.
    pub(in crate::arbiter) fn gave_up(&mut self, wid: Wid, cause: &Cause, now: Now) {
        self.follow(wid, cause, Then::GaveUp, now);
    }

    fn follow(&mut self, wid: Wid, cause: &Cause, then: Then, now: Now) {
        if self.latest(Some(wid)).is_none_or(|last| !last.what.is(cause)) {
            self.note(Some(wid), What::Failed(cause.clone()), now);
        }
        if let Some(last) = self.latest(Some(wid)) {
            last.then = then;
        }
    }

    fn latest(&mut self, wid: Option<Wid>) -> Option<&mut Happening> {
        self.0.iter_mut().rev().find(|happening| happening.wid == wid)
    }

    /// The worker whose trouble is the latest: its number, and its pid where that is known.
    pub(in crate::arbiter) fn latest_worker(&self) -> Option<(Wid, Option<Pid>)> {
        let worker = |happening: &Happening| {
            let pid = match happening.what {
                What::Exit { pid, .. } | What::Killed { pid, .. } => Some(pid),
                // It has not got to its program, so it has printed nothing.
                What::Failed(Cause::Launch(_)) => return None,
                What::Failed(_)
                | What::ReloadFailed { .. }
                | What::Scaled(_)
                | What::Started
                | What::Stopped { .. } => None,
            };
            Some((happening.wid?, pid))
        };
        self.0.iter().rev().find_map(worker)
    }

    /// As objects of an answer, the oldest first.
    pub(in crate::arbiter) fn rows(&self) -> impl Iterator<Item = Object> + '_ {
        self.0.iter().map(Happening::fields)
    }
}

impl What {
    /// Whether this is what a cause tells of.
    fn is(&self, cause: &Cause) -> bool {
        match (self, cause) {
            (Self::Exit { exit_code, .. }, Cause::Exit { exit_code: code, .. }) => exit_code == code,
            (Self::Failed(failed), cause) => failed == cause,
            _ => false,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Exit { .. } => "exit",
            Self::Failed(_) => "failure",
            Self::Killed { .. } => "killed",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::Scaled(_) => "scaled",
            Self::Started => "started",
            Self::Stopped { .. } => "stopped",
        }
    }

    fn words(&self, wid: Option<Wid>) -> String {
        let worker = |pid: Pid| match wid {
            Some(wid) => format!("worker {} (pid {})", wid.0, pid.0),
            None => format!("a worker (pid {})", pid.0),
        };
        match self {
            Self::Exit { pid, exit_code, lived, oom } => {
                let sender = match Signal(-exit_code) {
                    _ if *oom => OUT_OF_MEMORY,
                    Signal::KILL => KILLED_FROM_OUTSIDE,
                    _ => "",
                };
                format!("{} {} after {}{sender}", worker(*pid), ended(*exit_code), span(*lived))
            }
            Self::Failed(cause) => cause.words(wid),
            Self::Killed { pid, signals: Some(signals), .. } => {
                format!("{} did not stop by {signals} (stop_signal) and was killed", worker(*pid))
            }
            Self::Killed { pid, timeout, .. } => {
                format!("{} did not stop within {timeout} s (graceful_timeout) and was killed", worker(*pid))
            }
            Self::ReloadFailed { reason } => reason.clone(),
            Self::Scaled(Rescale { from, to, reason, .. }) => format!("{from} to {to} workers: {reason}"),
            Self::Started => "started".into(),
            Self::Stopped { reason: Some(reason) } => format!("stopped: {reason}"),
            Self::Stopped { reason: None } => "stopped as it was told to".into(),
        }
    }

    fn fields(&self) -> Object {
        let value = match self {
            Self::Exit { pid, exit_code, lived, oom } => {
                let mut fields = json!({
                    "pid": pid.0, "exit_code": exit_code, "lived": lived.as_secs_f64(),
                    "signal": (*exit_code < 0).then(|| Signal(-exit_code).to_string()),
                });
                if let (true, Some(fields)) = (*oom, fields.as_object_mut()) {
                    fields.insert("oom".into(), true.into());
                }
                fields
            }
            Self::Failed(cause) => return cause.fields(),
            Self::Scaled(Rescale { from, to, .. }) => json!({"before": from, "numprocesses": to}),
            Self::Killed { pid, signals: Some(signals), .. } => json!({"pid": pid.0, "stop_signal": signals}),
            Self::Killed { pid, timeout, .. } => json!({"pid": pid.0, "graceful_timeout": timeout}),
            Self::ReloadFailed { .. } | Self::Started | Self::Stopped { .. } => return Object::new(),
        };
        value.as_object().cloned().unwrap_or_default()
    }
}

/// What is known of a SIGKILL that circusd has not sent.
const KILLED_FROM_OUTSIDE: &str =
    ", which circusd did not send: it was an operator, or the kernel because memory ran out (dmesg tells)";

/// What is known of a SIGKILL that the kernel has sent to a process of the worker's control group.
const OUT_OF_MEMORY: &str =
    ", by the kernel because memory ran out in its control group (memory_max) or on the machine";

impl Happening {
    fn words(&self) -> String {
        let mut words = self.what.words(self.wid);
        if self.times > 1 {
            words.push_str(&format!(", {} times", self.times));
        }
        match self.then {
            Then::Nothing => {}
            Then::Waits { times: 1, wait } => words.push_str(&format!("; the next start waited {}", span(wait))),
            Then::Waits { times, wait } => {
                words.push_str(&format!("; the next start waited {} ({times} in a row)", span(wait)));
            }
            Then::GaveUp => words.push_str("; given up"),
        }
        words
    }

    fn fields(&self) -> Object {
        let mut fields = self.what.fields();
        let mut put = |key: &str, value: serde_json::Value| drop(fields.insert(key.into(), value));
        put("event", self.what.name().into());
        put("time", self.time.into());
        put("wid", self.wid.map(|wid| wid.0).into());
        put("text", self.words().into());
        put("times", self.times.into());
        if let Then::Waits { wait, .. } = self.then {
            put("wait", wait.as_secs_f64().into());
        }
        if self.then == Then::GaveUp {
            put("gave_up", true.into());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mono;
    use crate::proto::{SpawnError, Stage};

    fn at(unix: f64) -> Now {
        Now { mono: Mono(0), unix }
    }

    fn texts(chronicle: &Chronicle) -> Vec<String> {
        chronicle.rows().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
    }

    fn exit(pid: i32, exit_code: i32) -> What {
        What::Exit { pid: Pid(pid), exit_code, lived: Duration::from_millis(200), oom: false }
    }

    #[test]
    fn each_exit_tells_how_long_the_next_start_waited() {
        let mut chronicle = Chronicle::default();
        let cause = |exit_code| Cause::Exit { exit_code, lived: Duration::from_millis(200) };
        chronicle.note(Some(Wid(1)), exit(7, -11), at(1.0));
        chronicle.waits(Wid(1), &cause(-11), 1, Duration::from_millis(100), at(1.0));
        chronicle.note(Some(Wid(2)), exit(8, -9), at(2.0));
        chronicle.note(Some(Wid(1)), exit(9, -11), at(3.0));
        chronicle.waits(Wid(1), &cause(-11), 2, Duration::from_millis(200), at(3.0));
        chronicle.note(Some(Wid(1)), exit(10, 3), at(4.0));
        chronicle.gave_up(Wid(1), &cause(3), at(4.0));
        assert_eq!(
            texts(&chronicle),
            [
                "worker 1 (pid 7) was ended by SIGSEGV after 200 ms; the next start waited 100 ms".to_owned(),
                format!("worker 2 (pid 8) was ended by SIGKILL after 200 ms{KILLED_FROM_OUTSIDE}"),
                "worker 1 (pid 9) was ended by SIGSEGV after 200 ms; the next start waited 200 ms (2 in a row)".into(),
                "worker 1 (pid 10) exited with status 3 after 200 ms; given up".into(),
            ]
        );
        assert_eq!(chronicle.latest_worker(), Some((Wid(1), Some(Pid(10)))));
        let row = chronicle.rows().next().unwrap();
        assert_eq!((&row["event"], &row["signal"], &row["wait"]), (&json!("exit"), &json!("SIGSEGV"), &json!(0.1)));
    }

    #[test]
    fn failures_that_are_the_same_are_one_line() {
        let mut chronicle = Chronicle::default();
        let error = SpawnError { stage: Stage::Chdir, errno: 2, detail: "/nope".into() };
        for time in 1..=3 {
            chronicle.note(Some(Wid(1)), What::Failed(Cause::Launch(error.clone())), at(f64::from(time)));
        }
        chronicle.gave_up(Wid(1), &Cause::Launch(error), at(3.0));
        chronicle.note(None, What::Failed(Cause::HeldBack { by: "db".into() }), at(4.0));
        assert_eq!(
            texts(&chronicle),
            [
                "worker 1 could not be started: failed to change to the working directory: /nope ([Errno 2] No such \
                 file or directory), 3 times; given up",
                "not started: db, which has a higher priority, has not come up",
            ]
        );
        assert_eq!(chronicle.latest_worker(), None, "it has printed nothing");
    }

    #[test]
    fn only_the_last_are_kept() {
        let mut chronicle = Chronicle::default();
        (0..1000).for_each(|pid| chronicle.note(Some(Wid(1)), exit(pid, 1), at(0.0)));
        assert_eq!((chronicle.0.len(), chronicle.latest_worker()), (MOST_KEPT, Some((Wid(1), Some(Pid(999))))));
    }
}
