//! `stats` and `dstats`: what the core knows of its processes, and what the kernel does.
//!
//! One question is with the daemon at a time; it looks at the processes over several turns, and answers with
//! `Event::Sampled`. The others wait in line as they came, so that what they take up until then is small, and which
//! processes they mean is found out when their turn comes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::arbiter::action::Action;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::fleet::worker::Worker;
use crate::arbiter::ids::{JobId, WorkerId};
use crate::arbiter::lifecycle::hooks;
use crate::arbiter::lifecycle::purpose::{HookSubject, Purpose, extended};
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::requests::pending::{Extending, Group, PendingStats, Question, Sampling, StatsRequest, Subject};
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::Pid;
use crate::commands::py_repr;
use crate::proto::{Body, Fault, Object, ProcessInfo, ProcessSelector, Reply, ReplyTo};

/// So many questions may wait for their answers; further ones are refused at once.
const MOST_WAITING: usize = 10_000;

/// What stands in place of the figures of a process that has ended.
const GONE: &str = "No such process (stopped?)";

impl Arbiter {
    pub(in crate::arbiter) fn stats(
        &mut self,
        to: &ReplyTo,
        name: Option<String>,
        process: Option<ProcessSelector>,
        extended: bool,
        now: Now,
    ) -> Dispatch {
        let question = match (name, process) {
            (None, _) => Question::Fleet,
            (Some(name), None) => Question::Watcher(name),
            (Some(name), Some(process)) => Question::Process(name, process),
        };
        self.ask_for_stats(to, question, extended, now)
    }

    pub(in crate::arbiter) fn daemon_stats(&mut self, to: &ReplyTo, now: Now) -> Dispatch {
        self.ask_for_stats(to, Question::Daemon, false, now)
    }

    fn ask_for_stats(&mut self, to: &ReplyTo, question: Question, extended: bool, now: Now) -> Dispatch {
        if self.phase.has_ended() {
            // No sample is taken any more.
            self.phase.at_work()?;
        }
        self.check(&question)?;
        if self.pending_stats.waiting.len() >= MOST_WAITING {
            return Err(Fault::command("too many stats requests wait for their answer"));
        }
        if *to != ReplyTo::Discard {
            self.pending_stats.waiting.push_back(StatsRequest { to: to.clone(), question, extended });
            self.next_stats_request(now);
        }
        Ok(None)
    }

    /// Puts the next question to the daemon, unless one is with it.
    fn next_stats_request(&mut self, now: Now) {
        while self.pending_stats.sampling.is_none() {
            let Some(stats_request) = self.pending_stats.waiting.pop_front() else { return };
            let groups = match self.subjects(&stats_request.question) {
                Ok(groups) => groups,
                Err(fault) => {
                    self.outbox.reply(Reply { to: stats_request.to, body: Body::Error(fault), time: now.unix });
                    continue;
                }
            };
            let job = self.jobs.name();
            let StatsRequest { to, question, extended } = stats_request;
            let mut asked = vec![to];
            self.pending_stats.waiting.retain(|other| {
                let same = other.question == question && other.extended == extended;
                if same {
                    asked.push(other.to.clone());
                }
                !same
            });
            let sampling = Sampling { job, question, extended, to: asked, groups };
            let targets = sampling.targets();
            self.pending_stats.sampling = Some(sampling);
            if targets.is_empty() {
                self.answer_stats(Vec::new(), now);
            } else {
                self.outbox.act(Action::Sample { job, targets });
            }
        }
    }

    /// The figures have come, in the order in which they were asked for.
    pub(in crate::arbiter) fn sampled(&mut self, job: JobId, samples: Vec<Option<ProcessInfo>>, now: Now) {
        if self.pending_stats.sampling.as_ref().is_some_and(|sampling| sampling.job == job) {
            self.answer_stats(samples, now);
            self.next_stats_request(now);
        }
    }

    fn answer_stats(&mut self, samples: Vec<Option<ProcessInfo>>, now: Now) {
        let Some(sampling) = self.pending_stats.sampling.take() else { return };
        let Sampling { job, question, to, groups, extended } = sampling;
        let subjects: Vec<Subject> = groups.iter().flat_map(|(_, subjects)| subjects).copied().collect();
        let extends = extended && !matches!(question, Question::Fleet | Question::Daemon);
        let mut samples = samples.into_iter();
        let properties = match question {
            Question::Fleet => {
                let infos = groups.into_iter().map(|(name, subjects)| (name, self.infos(&subjects, &mut samples)));
                object([("infos", infos.collect())])
            }
            Question::Watcher(name) => object([("name", name.into()), ("info", self.infos(&subjects, &mut samples))]),
            Question::Process(_, process) => {
                let subject = subjects.first();
                let info = subject.map_or_else(|| GONE.into(), |subject| self.info(subject, samples.next().flatten()));
                object([("process", process.given), ("info", info)])
            }
            Question::Daemon => object([("info", samples.next().flatten().map_or_else(|| GONE.into(), on_wire))]),
        };
        let mut answer = Extending { to, properties, left: BTreeSet::new() };
        if extends {
            self.extend_figures(job, &mut answer, &subjects, now);
        }
        if answer.left.is_empty() {
            answer_all(self, answer.to, &Body::Ok(answer.properties), now);
        } else {
            self.pending_stats.extending.insert(job, answer);
        }
    }

    /// Asks the hook about every process that there are figures of.
    fn extend_figures(&mut self, job: JobId, answer: &mut Extending, subjects: &[Subject], now: Now) {
        for subject in subjects {
            let Some(Value::Object(stats)) = answer.figures(subject.pid) else { continue };
            let subject = HookSubject {
                pid: Some(subject.pid),
                wid: Some(subject.wid),
                stats: Some(stats.clone()),
                ..HookSubject::default()
            };
            let Some(pid) = subject.pid else { continue };
            let Some(worker) = self.pids.get(pid) else { continue };
            let purpose = Purpose::ExtendedStats { job, pid };
            if self.with(worker.watcher, now, |w, cx| hooks::run(w, purpose, subject, cx)) == Some(true) {
                answer.left.insert(pid);
            }
        }
    }

    /// The hook has answered about a process. As in Circus, a hook that fails is what the answer is.
    pub(in crate::arbiter) fn extended(&mut self, job: JobId, pid: Pid, stats: Result<Object, String>, now: Now) {
        let Some(answer) = self.pending_stats.extending.get_mut(&job) else { return };
        let failure = match stats {
            Ok(stats) => {
                if let Some(figures) = answer.figures(pid) {
                    *figures = extended(figures.take(), stats);
                }
                answer.left.remove(&pid);
                None
            }
            Err(error) => Some(Fault::command(format!("hook extended_stats failed: {error}"))),
        };
        if (failure.is_some() || answer.left.is_empty())
            && let Some(answer) = self.pending_stats.extending.remove(&job)
        {
            let body = failure.map_or_else(|| Body::Ok(answer.properties), Body::Error);
            answer_all(self, answer.to, &body, now);
        }
    }

    /// The figures of several processes, by pid.
    fn infos(&self, subjects: &[Subject], samples: &mut impl Iterator<Item = Option<ProcessInfo>>) -> Value {
        let infos = subjects.iter().map(|subject| {
            let sample = samples.next().flatten();
            (subject.pid.0.to_string(), self.info(subject, sample))
        });
        infos.collect::<Object>().into()
    }

    /// The figures of a process, and what we know of it besides.
    fn info(&self, subject: &Subject, sample: Option<ProcessInfo>) -> Value {
        // A process that was reaped meanwhile may have been mistaken for a new one with its pid.
        let alive = self.pids.get(subject.pid) == Some(subject.worker);
        match sample.filter(|_| alive).map(on_wire) {
            Some(Value::Object(mut info)) => {
                info.insert("started".into(), subject.started.into());
                info.insert("wid".into(), subject.wid.0.into());
                let worker = self.fleet.get(subject.worker.watcher).and_then(|w| w.workers().get(&subject.worker));
                info.extend(worker.map(Worker::report).unwrap_or_default());
                info.into()
            }
            _ => GONE.into(),
        }
    }

    /// What is wrong with a question is answered at once; which processes it means is found out when its turn comes.
    fn check(&self, question: &Question) -> Result<(), Fault> {
        match question {
            Question::Fleet | Question::Daemon => Ok(()),
            Question::Watcher(name) => self.fleet.named(name).map(drop),
            Question::Process(..) => self.subjects(question).map(drop),
        }
    }

    /// The processes that a question means.
    fn subjects(&self, question: &Question) -> Result<Vec<Group>, Fault> {
        match question {
            Question::Fleet => Ok(self.fleet.shown().map(group).collect()),
            Question::Watcher(name) => Ok(vec![group(self.fleet.named(name)?)]),
            Question::Process(name, process) => {
                let (shown, mut subjects) = group(self.fleet.named(name)?);
                subjects.retain(|subject| i64::from(subject.pid.0) == process.pid);
                if subjects.is_empty() {
                    let (pid, name) = (py_repr(&process.given), py_repr(&name.as_str().into()));
                    return Err(Fault::message(format!("process {pid} not found in {name}")));
                }
                Ok(vec![(shown, subjects)])
            }
            Question::Daemon => Ok(Vec::new()),
        }
    }

    /// The end has come first: requests that still wait for figures are refused.
    pub(in crate::arbiter) fn refuse_stats(&mut self, now: Now) {
        let Err(fault) = self.phase.at_work() else { return };
        let PendingStats { sampling, waiting, extending } = std::mem::take(&mut self.pending_stats);
        let sampled = sampling.into_iter().flat_map(|sampling| sampling.to);
        let sampled = sampled.chain(extending.into_values().flat_map(|answer| answer.to));
        for to in sampled.chain(waiting.into_iter().map(|stats_request| stats_request.to)) {
            self.outbox.reply(Reply { to, body: Body::Error(fault.clone()), time: now.unix });
        }
    }
}

fn group(watcher: &Watcher) -> Group {
    let subject = |(id, worker): (&WorkerId, &Worker)| {
        Some(Subject { worker: *id, pid: worker.pid?, wid: worker.wid, started: worker.started.unix })
    };
    (watcher.name().to_owned(), watcher.workers().iter().filter_map(subject).collect())
}

impl Extending {
    /// What the answer says of a process.
    fn figures(&mut self, pid: Pid) -> Option<&mut Value> {
        let one = self.properties.contains_key("process");
        let info = self.properties.get_mut("info")?;
        if one { Some(info) } else { info.get_mut(pid.0.to_string()) }
    }
}

fn answer_all(arbiter: &mut Arbiter, to: Vec<ReplyTo>, body: &Body, now: Now) {
    for to in to {
        arbiter.outbox.reply(Reply { to, body: body.clone(), time: now.unix });
    }
}

fn on_wire(info: ProcessInfo) -> Value {
    // Plain data with keys that are strings can always be written.
    serde_json::to_value(info).unwrap_or_default()
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Object {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
