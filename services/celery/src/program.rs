//! `circus-celery`: what circusd needs around workers of Celery.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::drain::{Drained, drain};
use crate::health::{Found, look};
use crate::init::{Plan, init};
use crate::lease::BrokerLease;
use crate::remote::Remote;
use crate::singleton::{Terms, become_command};
use crate::worker::{Worker, variable, with_own_name};

/// The variable that Celery reads too.
const VARIABLE: &str = "CELERY_BROKER_URL";
/// The broker without another.
const BROKER: &str = "amqp://guest:guest@localhost:5672//";
/// It is not so.
const NO: u8 = 1;
/// The command was not understood.
const USAGE: u8 = 2;
/// Between two attempts to reach the broker.
const AGAIN: Duration = Duration::from_millis(250);
/// A drain ends so long before its hook would be ended.
const BEFORE_HOOK_TIMEOUT: f64 = 2.0;
/// The word that the program starts itself with, to become a command.
const BECOME: &str = "beat-become";

/// The lease of beat: its command is asked to end 4 s before the lease ends, and is ended 1 s before.
const TERMS: Terms = Terms {
    program: "circus-celery",
    variable: "CIRCUS_CELERY_LEASE",
    become_word: BECOME,
    renew: Duration::from_secs(2),
    again: Duration::from_secs(1),
    ask_before: Duration::from_secs(4),
    end_before: Duration::from_secs(1),
};

/// The arguments.
#[derive(Clone, Debug, Parser)]
#[command(name = "circus-celery", version, about = "What circusd needs around workers of Celery")]
pub struct Args {
    /// the URL of the broker; that of CELERY_BROKER_URL without, which is also looked for in the worker
    #[arg(short, long, value_name = "URL", global = true)]
    pub broker: Option<String>,
    /// what to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Wait until the broker answers
    Wait {
        /// how long it is waited for
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
        timeout: f64,
    },
    /// Succeed when the worker consumes its queues: for the option ready of its watcher
    Ready(Look),
    /// Succeed unless the worker consumes its queues no more: for the option health of its watcher
    Health(Look),
    /// Have the worker take no more tasks, and wait until it has none: for hooks.before_signal of its watcher
    Drain {
        /// how long tasks are waited for; without, almost as long as hook_timeout allows
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        timeout: Option<f64>,
        /// the name of a task that is not waited for; may be given several times
        #[arg(long, value_name = "TASK")]
        except: Vec<String>,
        /// the process of the worker; CIRCUS_PID without
        #[arg(long, value_name = "PID")]
        pid: Option<u32>,
    },
    /// Become a worker whose name no other has: its pid is put into what -n says
    Worker {
        /// the command, as in celery -A APP worker -n NAME@%h
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run a command, as celery beat, while no other process with this broker does
    Beat {
        /// the name of the lease
        #[arg(long, value_name = "NAME", default_value = "beat")]
        name: String,
        /// the command
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Write a configuration of circusd for an application, FOLDER/celery.ini
    Init {
        /// the application, as in celery -A APP
        #[arg(value_name = "APP")]
        app: String,
        /// the folder of the configuration, its sockets and its logs
        #[arg(long, value_name = "FOLDER", default_value = "celery")]
        folder: PathBuf,
        /// the queues, with commas between them; each gets a worker
        #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "celery")]
        queues: Vec<String>,
        /// how many tasks a worker runs at a time
        #[arg(long, value_name = "N", default_value_t = 4)]
        concurrency: u32,
        /// the program celery; the first in PATH without
        #[arg(long, value_name = "PROGRAM")]
        celery: Option<PathBuf>,
        /// the folder that the application is imported from
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        path: PathBuf,
        /// the port of Flower on this machine; 0 for no Flower
        #[arg(long, value_name = "PORT", default_value_t = 5555)]
        flower: u16,
        /// no beat
        #[arg(long)]
        no_beat: bool,
    },
}

/// A look at a worker.
#[derive(Clone, Debug, clap::Args)]
pub struct Look {
    /// how long the worker may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, value_parser = seconds)]
    pub timeout: f64,
    /// the process of the worker; CIRCUS_PID without
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("a number of seconds, up to 1000000".into()) }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, rest @ ..] = words.as_slice()
        && word == BECOME
    {
        return answer(NO, &become_command(rest.get(1..).unwrap_or_default()));
    }
    run(Args::parse())
}

/// Says something, and ends so.
fn answer(code: u8, what: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "circus-celery: {what}"));
    ExitCode::from(code)
}

fn run(args: Args) -> ExitCode {
    let broker = args.broker;
    match args.command {
        Command::Wait { timeout } => {
            let url = url(broker, None, &Value::Null);
            with(&url, async |remote| wait(&remote, Duration::from_secs_f64(timeout)).await)
        }
        Command::Ready(look) => see(broker, &look, false),
        Command::Health(look) => see(broker, &look, true),
        Command::Drain { timeout, except, pid } => begin_drain(broker, timeout, &except, pid),
        Command::Worker { command } => {
            let command = with_own_name(&command, std::process::id());
            let [program, arguments @ ..] = command.as_slice() else { return ExitCode::from(USAGE) };
            let error = std::process::Command::new(program).args(arguments).exec();
            answer(NO, &format!("{program}: {error}"))
        }
        Command::Beat { name, command } => match BrokerLease::open(&url(broker, None, &Value::Null), &name) {
            Ok(lease) => match TERMS.run(&lease, &name, &command) {
                Ok(code) => code,
                Err(error) => answer(NO, &error.to_string()),
            },
            Err(reason) => answer(USAGE, &reason),
        },
        Command::Init { app, folder, queues, concurrency, celery, path, flower, no_beat } => {
            let plan = celery.map_or_else(|| in_path("celery"), Ok).and_then(|celery| {
                let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| error.to_string());
                let helper = std::env::current_exe().map_err(|error| error.to_string())?;
                let (celery, path) = (absolute(celery)?, path.canonicalize().map_err(|error| error.to_string())?);
                let (beat, flower) = (!no_beat, (flower != 0).then_some(flower));
                let broker = url(broker, None, &Value::Null);
                Ok(Plan { app, broker, queues, concurrency, celery, helper, path, beat, flower })
            });
            match plan.and_then(|plan| init(&folder, &plan)) {
                Ok(next) => match io::stdout().write_all(next.as_bytes()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::from(NO),
                },
                Err(reason) => answer(NO, &reason),
            }
        }
    }
}

fn in_path(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("there is no {program} in PATH: --celery names one"))
}

/// The broker: the one that is named; that of the worker's watcher, of the worker, of this process; that of Celery.
fn url(named: Option<String>, pid: Option<u32>, hook: &Value) -> String {
    let of_watcher = || hook["options"]["env"][VARIABLE].as_str().map(str::to_owned);
    let found = named.or_else(of_watcher).or_else(|| variable(pid?, VARIABLE));
    found.or_else(|| std::env::var(VARIABLE).ok()).unwrap_or_else(|| BROKER.into())
}

/// Does something with a broker.
fn with(url: &str, act: impl AsyncFnOnce(Remote) -> ExitCode) -> ExitCode {
    let remote = match Remote::open(url, "circus-celery") {
        Ok(remote) => remote,
        Err(reason) => return answer(USAGE, &reason),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(act(remote));
            runtime.shutdown_background();
            code
        }
        Err(error) => answer(NO, &error.to_string()),
    }
}

async fn wait(remote: &Remote, limit: Duration) -> ExitCode {
    let end = Instant::now() + limit;
    loop {
        match remote.check().await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(reason) if Instant::now() + AGAIN >= end => {
                return answer(NO, &format!("the broker does not answer: {reason}"));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// The process that circusd names.
fn of_circusd(pid: Option<u32>) -> Result<u32, String> {
    let named = || std::env::var("CIRCUS_PID").ok()?.parse().ok();
    pid.or_else(named).ok_or_else(|| "there is no CIRCUS_PID: circusd runs this, or --pid names a worker".into())
}

fn see(broker: Option<String>, how: &Look, lenient: bool) -> ExitCode {
    let worker = match of_circusd(how.pid).and_then(Worker::of) {
        Ok(worker) => worker,
        Err(reason) => return answer(USAGE, &reason),
    };
    let limit = Duration::from_secs_f64(how.timeout);
    with(&url(broker, Some(worker.pid), &Value::Null), async |remote| {
        // A broker that takes long to connect is no fault of the worker.
        let found = timeout(limit * 2, look(&remote, &worker, limit)).await;
        let found = found.unwrap_or_else(|_| Found::NoBroker("it does not answer".into()));
        match found {
            Found::Consumes => ExitCode::SUCCESS,
            Found::Lacks(what) => answer(NO, &format!("{}: {what}", worker.node)),
            Found::Silent if lenient && worker.solo => ExitCode::SUCCESS,
            Found::Silent => answer(NO, &format!("{} does not answer", worker.node)),
            // Another worker would not reach it either.
            Found::NoBroker(reason) if lenient => answer(0, &format!("the worker was not looked at: {reason}")),
            Found::NoBroker(reason) => answer(NO, &reason),
        }
    })
}

/// A drain is no answer to circusd: the signal is sent whatever it finds.
fn begin_drain(broker: Option<String>, limit: Option<f64>, except: &[String], pid: Option<u32>) -> ExitCode {
    let hook = if pid.is_none() { read_hook() } else { Value::Null };
    if hook["signum"].as_i64().is_some_and(|signal| signal != i64::from(nix::libc::SIGTERM)) {
        return ExitCode::SUCCESS;
    }
    let worker = match of_circusd(pid).and_then(Worker::of) {
        Ok(worker) => worker,
        Err(reason) => return answer(0, &format!("nothing is drained: {reason}")),
    };
    let of_hook = hook["hook_timeout"].as_f64().map(|limit| (limit - BEFORE_HOOK_TIMEOUT).max(0.0));
    let limit = Duration::from_secs_f64(limit.or(of_hook).unwrap_or(600.0).min(1e6));
    with(&url(broker, Some(worker.pid), &hook), async |remote| {
        let node = &worker.node;
        match drain(&remote, &worker, except, limit).await {
            Drained::Idle | Drained::Gone => ExitCode::SUCCESS,
            Drained::NotBegun(reason) => answer(0, &format!("{node} is stopped as it is: {reason}")),
            Drained::Late(names) => answer(0, &format!("{node} is stopped with tasks: {}", names.join(", "))),
        }
    })
}

/// What circusd says to a hook.
fn read_hook() -> Value {
    let mut text = String::new();
    if io::stdin().is_terminal() || io::stdin().read_to_string(&mut text).is_err() {
        return Value::Null;
    }
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_arguments_are_in_order() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_broker_is_the_worker_s() {
        let hook = json!({"options": {"env": {"CELERY_BROKER_URL": "redis://watcher"}}});
        assert_eq!(url(Some("redis://named".into()), None, &hook), "redis://named");
        assert_eq!(url(None, None, &hook), "redis://watcher");
    }
}
