//! A command that runs while this process has a lease, and ends with it.
//!
//! A command whose lease cannot be kept is ended before the lease ends, so that no other holder has begun by then.

use std::future::Future;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// A lease that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// It grows with each holder.
    pub number: u64,
    /// Until then no other holder gets it.
    pub until: Instant,
}

/// A lease, as one holder asks for it.
pub trait Lease: Clone + Send + Sync + 'static {
    /// Takes it, for the first time or again, then with the number that is `held`. Nothing: another holder has it. An error
    /// says why it is not known.
    fn take(&self, held: Option<u64>) -> impl Future<Output = Result<Option<Taken>, String>> + Send;

    /// Gives it back.
    fn give_back(&self) -> impl Future<Output = ()> + Send;
}

/// How a lease is kept, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The program, as its messages begin.
    pub program: &'static str,
    /// The variable in which the command finds the number of the lease.
    pub variable: &'static str,
    /// The word that the program starts itself with, to become the command: see [`become_command`].
    pub become_word: &'static str,
    /// How often the lease is taken again.
    pub renew: Duration,
    /// How often a lease that another holder has is asked for.
    pub again: Duration,
    /// So long before the end of the lease the command is asked to end.
    pub ask_before: Duration,
    /// So long before it the command is ended.
    pub end_before: Duration,
}

/// Becomes a command that ends with the process that has started it. The words are the pid of that process and the command.
/// Returns why it cannot be.
pub fn become_command(words: &[String]) -> String {
    let [parent, program, arguments @ ..] = words else { return "there is no command".into() };
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.to_string();
    }
    // It may have ended before.
    if parent.parse() != Ok(getppid().as_raw()) {
        return "the process that holds the lease has ended".into();
    }
    format!("{program}: {}", Command::new(program).args(arguments).exec())
}

impl Terms {
    fn say(&self, what: &str) {
        drop(writeln!(std::io::stderr(), "{}: {what}", self.program));
    }

    /// Runs a command while there is a lease, until it ends by itself or this process is told to end.
    pub fn run(&self, lease: &impl Lease, name: &str, command: &[String]) -> std::io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(self.hold(lease, name, command));
        // A request that is not answered is not waited for.
        runtime.shutdown_background();
        done
    }

    async fn hold(&self, lease: &impl Lease, name: &str, command: &[String]) -> std::io::Result<ExitCode> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut told = String::new();
        loop {
            let taken = tokio::select! {
                taken = lease.take(None) => taken,
                _ = term.recv() => return Ok(ExitCode::SUCCESS),
                _ = int.recv() => return Ok(ExitCode::SUCCESS),
            };
            let state = match &taken {
                Ok(Some(taken)) => format!("runs {name}: lease {}", taken.number),
                Ok(None) => format!("another has the lease of {name}, or had it until now"),
                Err(reason) => format!("no lease of {name}: {reason}"),
            };
            if state != told {
                self.say(&state);
                told = state;
            }
            let Ok(Some(taken)) = taken else {
                tokio::select! {
                    () = sleep(self.again) => continue,
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                }
            };
            let child = tokio::process::Command::new(std::env::current_exe()?)
                .args([self.become_word, "--", &std::process::id().to_string()])
                .args(command)
                .env(self.variable, taken.number.to_string())
                .kill_on_drop(true)
                .spawn()?;
            let (status, lost) = self.keep(lease, child, taken, [&mut term, &mut int]).await?;
            lease.give_back().await;
            if !lost {
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
        }
        lease.give_back().await;
        Ok(ExitCode::SUCCESS)
    }

    /// Keeps the lease while the command runs. How it has ended, and whether because the lease could not be kept.
    async fn keep(
        &self,
        lease: &impl Lease,
        mut child: Child,
        Taken { number, mut until }: Taken,
        [term, int]: [&mut tokio::signal::unix::Signal; 2],
    ) -> std::io::Result<(ExitStatus, bool)> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        // It may have ended meanwhile.
        let send = |signal| {
            let _ = pid.map(|pid| kill(pid, signal));
        };
        let (sender, mut taken) = mpsc::unbounded_channel();
        let (mut renew, mut lost, mut killed) = (Instant::now() + self.renew, false, false);
        loop {
            let (ask, end) = (until - self.ask_before, until - self.end_before);
            tokio::select! {
                status = child.wait() => return Ok((status?, lost)),
                _ = term.recv() => send(Signal::SIGTERM),
                _ = int.recv() => send(Signal::SIGINT),
                () = sleep_until(renew) => {
                    renew += self.renew;
                    let (lease, sender) = (lease.clone(), sender.clone());
                    tokio::spawn(async move { sender.send(lease.take(Some(number)).await) });
                }
                Some(again) = taken.recv() => match again {
                    Ok(Some(again)) if again.number == number => until = until.max(again.until),
                    // It has another holder, or had one: the command must not go on.
                    Ok(_) => {
                        lost = true;
                        send(Signal::SIGKILL);
                    }
                    Err(reason) => self.say(&format!("the lease is not kept: {reason}")),
                },
                () = sleep_until(ask), if !lost => {
                    self.say("the lease ends soon: the command is to end");
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
}
