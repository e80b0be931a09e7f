//! `cyme singleton`: a command that one machine of the fleet runs.
//!
//! It holds a lease at the broker while its command runs. A command whose lease cannot be kept is ended before the lease
//! ends, so that no other machine has begun by then.

use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use serde_json::Value;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Branch, Call, Failure, REFUSED, USAGE, segment};
use crate::core::Random;

/// How long a lease is taken for, in seconds.
const LIFE: u64 = 30;
/// How often it is taken again.
const RENEW: Duration = Duration::from_secs(5);
/// So long before its end the command is asked to end, and then ended.
const ASK_BEFORE: Duration = Duration::from_secs(12);
const END_BEFORE: Duration = Duration::from_secs(2);
/// How often a lease that another machine has is asked for.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the branch may take.
const ANSWER: Duration = Duration::from_secs(8);
/// The word that the program starts itself with, to become the command.
pub(super) const BECOME: &str = "singleton-become";

/// Becomes a command that ends with the process that has started it.
pub(super) fn become_command(words: &[String]) -> Failure {
    let failed = |reason: String| Failure(REFUSED, reason);
    let [parent, program, arguments @ ..] = words else { return failed("there is no command".into()) };
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return failed(error.to_string());
    }
    // It may have ended before.
    if parent.parse() != Ok(getppid().as_raw()) {
        return failed("the process that holds the lease has ended".into());
    }
    failed(format!("{program}: {}", Command::new(program).args(arguments).exec()))
}

/// Runs a command while this machine has the lease.
pub(super) fn run(branch: Branch, words: &[String]) -> Result<ExitCode, Failure> {
    let [name, command @ ..] = words else { return Err(Failure(USAGE, "singleton needs a name".into())) };
    if command.is_empty() {
        return Err(Failure(USAGE, "singleton needs a command: cyme singleton NAME -- COMMAND".into()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure(REFUSED, error.to_string()))?;
    let holder = Random::new(crate::seed()).uuid();
    let lease = Lease { branch, path: format!("/leases/{}/", segment(name)), holder };
    let done = runtime.block_on(hold(&lease, name, command));
    // A request that the branch does not answer is not waited for.
    runtime.shutdown_background();
    done.map_err(|error| Failure(REFUSED, error.to_string()))
}

/// The lease, as this process asks for it.
#[derive(Clone)]
struct Lease {
    branch: Branch,
    path: String,
    holder: String,
}

impl Lease {
    fn call(&self, method: &'static str) -> Call {
        let params = vec![("holder".into(), self.holder.clone()), ("life".into(), LIFE.to_string())];
        Call { method, path: self.path.clone(), params }
    }

    /// Takes the lease: its number and its end, or nothing if another holder has it. An error says why it is not known.
    async fn take(&self) -> Result<Option<(u64, Instant)>, String> {
        let begun = Instant::now();
        let (branch, call) = (self.branch.clone(), self.call("POST"));
        let asked = tokio::task::spawn_blocking(move || branch.send_within(&call, ANSWER)).await;
        let (status, body) = asked.map_err(|error| error.to_string())??;
        match (status, serde_json::from_str::<Value>(&body).unwrap_or_default()["number"].as_u64()) {
            (200, Some(number)) => Ok(Some((number, begun + Duration::from_secs(LIFE)))),
            (409, _) => Ok(None),
            (status, _) => Err(super::refusal(status, &body)),
        }
    }

    async fn give_back(&self) {
        let (branch, call) = (self.branch.clone(), self.call("DELETE"));
        drop(tokio::task::spawn_blocking(move || branch.send_within(&call, Duration::from_secs(2))).await);
    }
}

fn say(what: &str) {
    drop(writeln!(std::io::stderr(), "cyme: {what}"));
}

async fn hold(lease: &Lease, name: &str, command: &[String]) -> std::io::Result<ExitCode> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = String::new();
    loop {
        let taken = tokio::select! {
            taken = lease.take() => taken,
            _ = term.recv() => return Ok(ExitCode::SUCCESS),
            _ = int.recv() => return Ok(ExitCode::SUCCESS),
        };
        let state = match &taken {
            Ok(Some((number, _))) => format!("this machine runs {name}: lease {number}"),
            Ok(None) => format!("another machine runs {name}"),
            Err(reason) => format!("no lease for {name}: {reason}"),
        };
        if state != told {
            say(&state);
            told = state;
        }
        let Ok(Some((number, until))) = taken else {
            tokio::select! {
                () = sleep(AGAIN) => continue,
                _ = term.recv() => return Ok(ExitCode::SUCCESS),
                _ = int.recv() => return Ok(ExitCode::SUCCESS),
            }
        };
        let child = tokio::process::Command::new(std::env::current_exe()?)
            .args([BECOME, "--", &std::process::id().to_string()])
            .args(command)
            .env("CYME_LEASE", number.to_string())
            .kill_on_drop(true)
            .spawn()?;
        let (status, lost) = keep(lease, child, number, until, [&mut term, &mut int]).await?;
        lease.give_back().await;
        if !lost {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
    }
}

/// Keeps the lease while the command runs. How it has ended, and whether because the lease could not be kept.
async fn keep(
    lease: &Lease,
    mut child: Child,
    number: u64,
    mut until: Instant,
    [term, int]: [&mut tokio::signal::unix::Signal; 2],
) -> std::io::Result<(ExitStatus, bool)> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    // It may have ended meanwhile.
    let send = |signal| {
        let _ = pid.map(|pid| kill(pid, signal));
    };
    let (sender, mut taken) = mpsc::unbounded_channel();
    let (mut renew, mut lost, mut killed) = (Instant::now() + RENEW, false, false);
    loop {
        let (ask, end) = (until - ASK_BEFORE, until - END_BEFORE);
        tokio::select! {
            status = child.wait() => return Ok((status?, lost)),
            _ = term.recv() => send(Signal::SIGTERM),
            _ = int.recv() => send(Signal::SIGINT),
            () = sleep_until(renew) => {
                renew += RENEW;
                let (lease, sender) = (lease.clone(), sender.clone());
                tokio::spawn(async move { sender.send(lease.take().await) });
            }
            Some(again) = taken.recv() => match again {
                Ok(Some((same, end))) if same == number => until = until.max(end),
                // It has another holder, or had one: the command must not go on.
                Ok(_) => {
                    lost = true;
                    send(Signal::SIGKILL);
                }
                Err(reason) => say(&format!("the lease is not kept: {reason}")),
            },
            () = sleep_until(ask), if !lost => {
                say("the lease ends soon: the command is to end");
                lost = true;
                send(Signal::SIGTERM);
            }
            () = sleep_until(end), if !killed => {
                killed = true;
                send(Signal::SIGKILL);
            }
        }
    }
}
