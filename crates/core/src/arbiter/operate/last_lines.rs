//! What a worker has printed last: the output thread has it, and answers later. Where nothing is kept, there are no lines.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::ids::{JobId, Wid};
use crate::arbiter::operate::job::Jobs;
use crate::base::CollectOrdered as _;
use crate::base::Pid;
use crate::config::WatcherConfig;
use crate::proto::{KeptLine, StreamName, Tail, TailRange};

/// So many lines are reported.
const MOST_LINES: usize = 10;
/// So many are looked through: a predecessor may have printed as well, with the same number.
const MOST_SEEN: usize = 1000;
/// So many characters of a line are reported.
const MOST_CHARS: usize = 500;

/// A question to the output thread, and the answer as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct LastLines {
    watcher: String,
    /// Whose lines; without a pid those of all processes of this number, and without either all of the watcher's.
    worker: Option<(Wid, Option<Pid>)>,
    streams: Vec<StreamName>,
    /// What has been asked, and has not been answered.
    asked: BTreeSet<(JobId, StreamName)>,
    lines: Vec<(StreamName, KeptLine)>,
}

impl LastLines {
    pub(in crate::arbiter) fn of(config: &WatcherConfig, worker: Option<(Wid, Option<Pid>)>) -> Self {
        Self {
            watcher: config.name.clone(),
            worker,
            streams: kept_streams(config),
            asked: BTreeSet::new(),
            lines: Vec::new(),
        }
    }

    /// Of a worker that has not printed anything.
    pub(in crate::arbiter) fn none(config: &WatcherConfig) -> Self {
        Self { streams: Vec::new(), ..Self::of(config, None) }
    }

    /// Whether something of what the workers print is kept.
    pub(in crate::arbiter) fn are_kept(&self) -> bool {
        !self.streams.is_empty()
    }

    /// What the output thread is to be asked.
    pub(in crate::arbiter) fn ask(&mut self, jobs: &mut Jobs) -> Vec<Action> {
        self.asked = self.streams.iter().map(|stream| (jobs.name(), *stream)).collect_set();
        self.ask_again().collect()
    }

    /// The questions that no answer has come to.
    pub(in crate::arbiter) fn ask_again(&self) -> impl Iterator<Item = Action> + '_ {
        let range = TailRange { lines: MOST_SEEN, wid: self.worker.map(|(wid, _)| wid.0), after: None };
        self.asked.iter().map(move |(job, stream)| Action::Tail {
            job: *job,
            watcher: self.watcher.clone(),
            stream: *stream,
            range,
        })
    }

    pub(in crate::arbiter) fn awaits(&self, job: JobId) -> bool {
        self.asked.iter().any(|(asked, _)| *asked == job)
    }

    /// Takes an answer. Whether it was the last.
    pub(in crate::arbiter) fn take(&mut self, job: JobId, tail: Tail) -> bool {
        let Some(question) = self.asked.iter().find(|(asked, _)| *asked == job).copied() else { return false };
        self.asked.remove(&question);
        let pid = self.worker.and_then(|(_, pid)| pid);
        let its = tail.lines.into_iter().filter(|line| pid.is_none_or(|pid| pid == Pid(line.pid)));
        self.lines.extend(its.map(|line| (question.1, line)));
        self.asked.is_empty()
    }

    /// The last lines of all streams, the oldest first.
    pub(in crate::arbiter) fn into_last(mut self) -> impl Iterator<Item = (StreamName, KeptLine)> {
        self.lines.sort_by(|(_, one), (_, other)| one.time.total_cmp(&other.time));
        let from = self.lines.len().saturating_sub(MOST_LINES);
        self.lines.into_iter().skip(from).map(|(stream, line)| {
            let text = line.line.chars().take(MOST_CHARS).collect();
            (stream, KeptLine { line: text, ..line })
        })
    }
}

/// The streams of which something is kept.
fn kept_streams(config: &WatcherConfig) -> Vec<StreamName> {
    let streams = [
        (StreamName::Stdout, &config.stdout_stream, config.close_child_stdout),
        (StreamName::Stderr, &config.stderr_stream, config.close_child_stderr),
    ];
    let is_kept = |(_, stream, closed): &(StreamName, &Option<_>, bool)| stream.is_some() && !closed;
    let kept = streams.into_iter().filter(|_| config.tail_bytes > 0).filter(is_kept);
    kept.map(|(name, ..)| name).collect()
}
