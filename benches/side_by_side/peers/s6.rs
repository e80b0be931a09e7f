//! s6: a process of its own for each worker, and one that scans their folders.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;

use super::peer::{Job, Peer, Running, Task};
use crate::clock::{Moment, pass};
use crate::harness::{Program, alive, command};
use crate::outcome::{Outcome, fault};

pub(super) struct S6 {
    /// s6-svscan; its sisters are beside it.
    pub(super) program: PathBuf,
}

impl Peer for S6 {
    fn name(&self) -> &str {
        "s6"
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Option<Box<dyn Running>>> {
        let Task::Fleet = job.task else { return Ok(None) };
        let scanned = job.room.join("scan");
        for at in 0..job.workers {
            let service = scanned.join(format!("w{at}"));
            fs::create_dir_all(&service)?;
            let run = service.join("run");
            fs::write(&run, format!("#!/bin/sh\nexec {}\n", job.command()))?;
            fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
        }
        let most = (job.workers + 10).to_string();
        let began = Moment::now();
        let program = Program::daemon(command(&self.program).args(["-c", &most]).arg(&scanned), job.room)?;
        let stat = self.program.with_file_name("s6-svstat");
        Ok(Some(Box::new(Scanner { program, began, stat, first: scanned.join("w0") })))
    }
}

struct Scanner {
    program: Program,
    began: Moment,
    stat: PathBuf,
    first: PathBuf,
}

impl Running for Scanner {
    fn began(&self) -> Moment {
        self.began
    }

    fn ready(&mut self) -> Outcome<()> {
        // s6 has no process to ask; its supervisors are at rest when their workers run.
        pass(Duration::from_millis(200));
        self.ping()
    }

    fn ping(&mut self) -> Outcome<()> {
        let stdout = std::process::Stdio::null();
        let content = Program::start(command(&self.stat).arg(&self.first).stdout(stdout))?.wait()?;
        if content { Ok(()) } else { Err(fault("s6-svstat failed")) }
    }

    fn managers(&self) -> Vec<Pid> {
        alive().into_iter().filter(|kin| kin.name.starts_with("s6-")).map(|kin| kin.pid).collect()
    }

    fn halt(&mut self) -> Outcome<()> {
        self.program.end(Duration::from_secs(60))
    }
}
