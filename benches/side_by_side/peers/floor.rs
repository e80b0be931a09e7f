//! The floor, seen as a manager.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use super::peer::{FLOOR, Job, Peer, Running, Task};
use crate::client::{Client, bound};
use crate::clock::Moment;
use crate::harness::{Program, command};
use crate::outcome::{Outcome, fault};

/// Rounds of statistics: enough that 20 ms between them make a second.
const ROUNDS: &str = "50";
/// As long as a request is.
const MESSAGE: &[u8] = &[b'x'; 100];

pub(super) struct Floor;

/// A program of the floor.
fn program(arguments: &[&str]) -> Outcome<Command> {
    let mut command = command(std::env::current_exe()?);
    command.arg("--floor").args(arguments);
    Ok(command)
}

/// The bare client: a process that asks once.
pub(crate) fn ask(endpoint: &str, message: &str) -> Outcome<Command> {
    program(&["ask", endpoint, message])
}

impl Peer for Floor {
    fn name(&self) -> &str {
        FLOOR
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Option<Box<dyn Running>>> {
        let endpoint = format!("ipc://{}", job.room.join("control").display());
        let (probe, inbox) = (text(&job.probe)?, text(&job.inbox)?);
        let workers = job.workers.to_string();
        let mut main = match &job.task {
            Task::Fleet => program(&["spawn", probe, inbox, &workers])?,
            Task::Logs { file, lines, width } => {
                program(&["pump", probe, inbox, &lines.to_string(), &width.to_string(), text(file)?])?
            }
            Task::Statistics => program(&["stat", probe, &endpoint, &workers, ROUNDS])?,
            Task::Nothing => program(&["echo", &endpoint])?,
        };
        let began = Moment::now();
        let main = match job.task {
            Task::Statistics => Program::start(main.stdout(Stdio::piped()))?,
            Task::Fleet | Task::Logs { .. } | Task::Nothing => Program::daemon(&mut main, job.room)?,
        };
        Ok(Some(Box::new(Work { client: None, echo: None, main, began, endpoint, task: job.task.clone() })))
    }
}

fn text(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| fault(format!("{} is not UTF-8", path.display())))
}

struct Work {
    client: Option<Client>,
    /// The program that answers requests where the work itself answers none.
    echo: Option<Program>,
    main: Program,
    began: Moment,
    endpoint: String,
    task: Task,
}

fn socket(endpoint: &str) -> &Path {
    Path::new(endpoint.trim_start_matches("ipc://"))
}

impl Running for Work {
    fn began(&self) -> Moment {
        self.began
    }

    fn ready(&mut self) -> Outcome<()> {
        if let Task::Fleet = self.task {
            self.echo = Some(Program::start(&mut program(&["echo", &self.endpoint])?)?);
        }
        bound(socket(&self.endpoint), || self.main.has_ended())?;
        self.client = Some(Client::connect(&self.endpoint)?);
        self.ping()
    }

    fn ping(&mut self) -> Outcome<()> {
        if let Some(client) = &self.client {
            client.exchange(MESSAGE)?;
        }
        Ok(())
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.endpoint)
    }

    /// It measures itself, round by round, and that is as many seconds.
    fn statistics(&mut self, _over: Duration) -> Outcome<Option<f64>> {
        bound(socket(&self.endpoint), || self.main.has_ended())?;
        let context = Client::connect(&self.endpoint)?;
        let _subscriber = context.subscriber(&self.endpoint, "stat.w")?;
        // The subscriber's messages are not read: sending must cost the floor as little as it can.
        self.main.wait()?;
        let mut told = String::new();
        if let Some(mut stdout) = self.main.stdout() {
            stdout.read_to_string(&mut told)?;
        }
        Ok(Some(told.trim().parse()?))
    }

    fn managers(&self) -> Vec<Pid> {
        vec![self.main.pid()]
    }

    fn halt(&mut self) -> Outcome<()> {
        self.client = None;
        self.echo = None;
        self.main.end(Duration::from_secs(60))?;
        // An echo that was killed leaves its socket.
        let _ = fs::remove_file(socket(&self.endpoint));
        Ok(())
    }
}
