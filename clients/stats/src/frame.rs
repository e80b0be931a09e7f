//! The messages: the original's keys first, in its order, then ours.

use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::inventory::{Job, Watcher};
use super::process_cache::Known;
use super::totals::{Totals, rounded};

/// What a process has that circusd started as a worker.
#[derive(Debug)]
pub(super) struct WorkerFacts {
    pub(super) wid: u64,
    /// Seconds since circusd started it.
    pub(super) uptime: f64,
    /// It and its descendants.
    pub(super) tree: Totals,
}

/// `stat.WATCHER.PID`
#[derive(Debug)]
pub(super) struct ProcessFrame<'a> {
    pub(super) known: &'a Known,
    /// Of circusd's own programs.
    pub(super) name: Option<&'a str>,
    /// Of the others.
    pub(super) worker: Option<WorkerFacts>,
}

impl Serialize for ProcessFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Known { info, .. } = self.known;
        let own = self.known.own();
        let entries = circus_core::proto::ProcessInfo::ENTRIES + if self.worker.is_some() { 15 } else { 12 };
        let mut map = serializer.serialize_map(Some(entries))?;
        info.put(&mut map)?;
        map.serialize_entry("subtopic", &info.pid)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("title", &self.known.title())?;
        map.serialize_entry("rss", &own.resident)?;
        map.serialize_entry("vms", &info.usage.map(|usage| usage.mapped))?;
        map.serialize_entry("pss", &own.proportional)?;
        map.serialize_entry("cpu_time", &rounded(own.cpu_time.as_secs_f64(), 3))?;
        map.serialize_entry("threads", &own.threads)?;
        map.serialize_entry("fds", &own.fds)?;
        map.serialize_entry("io_read", &own.disk.map(|disk| disk.0))?;
        map.serialize_entry("io_write", &own.disk.map(|disk| disk.1))?;
        map.serialize_entry("switches", &own.switches)?;
        if let Some(worker) = &self.worker {
            map.serialize_entry("wid", &worker.wid)?;
            map.serialize_entry("uptime", &rounded(worker.uptime, 3))?;
            map.serialize_entry("tree", &worker.tree)?;
        }
        map.end()
    }
}

/// What the processes of a watcher come to. As in the original: the mean of their shares of the processor, the sum of
/// their shares of the memory, and the age of the oldest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Aggregate {
    pids: Vec<i32>,
    cpu: f64,
    memory: f64,
    age: f64,
    tree: Totals,
}

impl Aggregate {
    pub(super) fn add(&mut self, known: &Known, tree: Option<&Totals>) {
        self.pids.push(known.info.pid);
        if let Some(usage) = &known.info.usage {
            self.cpu += usage.cpu;
            self.memory += usage.memory;
            self.age = self.age.max(usage.age);
        }
        if let Some(tree) = tree {
            self.tree.add(tree);
        }
    }

    pub(super) fn has(&self, pid: i32) -> bool {
        self.pids.contains(&pid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }
}

/// `stat.WATCHER`
#[derive(Debug)]
pub(super) struct WatcherFrame<'a> {
    pub(super) aggregate: &'a Aggregate,
    /// None for circusd's own programs.
    pub(super) watcher: Option<&'a Watcher>,
    /// The time since it was published.
    pub(super) since: Duration,
}

impl Serialize for WatcherFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Aggregate { pids, cpu, memory, age, tree } = self.aggregate;
        let job = self.watcher.and_then(|watcher| watcher.job.as_ref());
        let length = 4 + if self.watcher.is_some() { 4 } else { 0 } + if job.is_some() { 2 } else { 0 };
        let mut map = serializer.serialize_map(Some(length))?;
        map.serialize_entry("pid", pids)?;
        map.serialize_entry("cpu", &rounded(cpu / (pids.len().max(1) as f64), 3))?;
        map.serialize_entry("mem", &rounded(*memory, 3))?;
        map.serialize_entry("age", age)?;
        if let Some(watcher) = self.watcher {
            let uptime = watcher.uptime.map(|uptime| rounded(uptime + self.since.as_secs_f64(), 3));
            map.serialize_entry("state", &watcher.state)?;
            map.serialize_entry("restarts", &watcher.restarts)?;
            map.serialize_entry("uptime", &uptime)?;
            map.serialize_entry("tree", tree)?;
        }
        if let Some(Job { last_run, next_run }) = job {
            map.serialize_entry("last_run", last_run)?;
            map.serialize_entry("next_run", next_run)?;
        }
        map.end()
    }
}

/// `stat.sockets.FD`
#[derive(Debug, Serialize)]
pub(super) struct SocketFrame<'a> {
    pub(super) fd: i32,
    pub(super) subtopic: i32,
    pub(super) reads: u64,
    pub(super) address: &'a str,
}

/// `stat.sockets`
#[derive(Debug, Default, Serialize)]
pub(super) struct SocketsFrame<'a> {
    pub(super) addresses: Vec<&'a str>,
    pub(super) reads: u64,
}
