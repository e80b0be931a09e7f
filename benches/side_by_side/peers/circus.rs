//! Circus, the original and ours: the same file, the same protocol.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::json;

use super::peer::{Job, Peer, Running, Task};
use crate::client::Client;
use crate::clock::{Moment, look, millis, pass};
use crate::harness::{Program, alive, command};
use crate::outcome::{Outcome, fault};
use crate::proc::cpu;

/// What a worker is called, as the kernel has it.
const WORKER: &str = "probe";

pub(super) struct Circus {
    pub(super) name: String,
    pub(super) program: PathBuf,
}

impl Peer for Circus {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Option<Box<dyn Running>>> {
        let ini = job.room.join("circus.ini");
        fs::write(&ini, configuration(job))?;
        let began = Moment::now();
        let program = Program::daemon(command(&self.program).arg(&ini), job.room)?;
        let endpoint = |name: &str| format!("ipc://{}", job.room.join(name).display());
        Ok(Some(Box::new(Daemon {
            client: None,
            program,
            began,
            control: endpoint("control"),
            statistics: endpoint("statistics"),
        })))
    }
}

fn configuration(job: &Job<'_>) -> String {
    let room = job.room.display();
    let mut text = format!("[circus]\nendpoint = ipc://{room}/control\npubsub_endpoint = ipc://{room}/events\n");
    if let Task::Statistics = job.task {
        text += &format!("statsd = True\nstats_endpoint = ipc://{room}/statistics\n");
    }
    if let Task::Nothing = job.task {
        return text;
    }
    text += &format!("[watcher:w]\ncmd = {}\nnumprocesses = {}\ngraceful_timeout = 5\n", job.command(), job.workers);
    if let Some(file) = job.output() {
        text += &format!("stdout_stream.class = FileStream\nstdout_stream.filename = {}\n", file.display());
    }
    text
}

struct Daemon {
    client: Option<Client>,
    program: Program,
    began: Moment,
    control: String,
    statistics: String,
}

impl Daemon {
    fn call(&mut self, command: &str, properties: serde_json::Value) -> Outcome<()> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.control)?,
        };
        self.client.insert(client).call(command, properties)?;
        Ok(())
    }

    /// The daemon, and whatever of its descendants is no worker: its own helpers.
    fn helpers(&self) -> Vec<Pid> {
        // Between fork and exec a worker has its parent's name; there is no such one when all have reported.
        alive().into_iter().filter(|kin| kin.name != WORKER).map(|kin| kin.pid).collect()
    }
}

impl Running for Daemon {
    fn began(&self) -> Moment {
        self.began
    }

    fn ready(&mut self) -> Outcome<()> {
        self.call("list", json!({}))
    }

    fn ping(&mut self) -> Outcome<()> {
        self.call("status", json!({"name": "w"}))
    }

    fn incr(&mut self) -> Outcome<bool> {
        // The original refuses while it is busy with anything else.
        let asked =
            look(Duration::from_secs(30), Duration::from_millis(5), || self.call("incr", json!({"name": "w"})).ok());
        asked.map(|()| true).ok_or_else(|| fault("incr was refused for 30 s"))
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.control)
    }

    fn statistics(&mut self, over: Duration) -> Outcome<Option<f64>> {
        // Until the process of the statistics has begun its rounds.
        pass(Duration::from_secs(4));
        let context = Client::connect(&self.control)?;
        let subscriber = context.subscriber(&self.statistics, "stat.w")?;
        let listen = |time: Duration| -> Outcome<usize> {
            let (begin, mut heard) = (Moment::now(), 0);
            while begin.elapsed() < time {
                if subscriber.poll(zmq::POLLIN, 50)? > 0 {
                    subscriber.recv_multipart(0)?;
                    heard += 1;
                }
            }
            Ok(heard)
        };
        listen(Duration::from_secs(1))?;
        let managers = self.helpers();
        let (begin, before) = (Moment::now(), cpu(&managers));
        let heard = listen(over)?;
        let used = millis(cpu(&managers) - before) / begin.elapsed().as_secs_f64();
        if heard == 0 {
            return Err(fault("no statistics came"));
        }
        Ok(Some(used))
    }

    fn managers(&self) -> Vec<Pid> {
        vec![self.program.pid()]
    }

    fn halt(&mut self) -> Outcome<()> {
        self.program.end(Duration::from_secs(60))?;
        self.client = None;
        Ok(())
    }
}
