//! Requests lost while a fleet of web servers changes under load: docs/benchmarks.md says how to run it.
//!
//! Three servers share a socket of circusd. Visitors ask them for pages all the time, one half over connections that are
//! kept open, one page in 50 a slow one, and each piece of work is counted by itself.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures, and waits")]

#[path = "../../tests/it/rig/load.rs"]
mod load;

use std::cell::RefCell;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use circus_net::{Context, Dealer};
use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use load::{Counts, Load};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Counts the requests that are lost by reloads, upgrades, changes of the file, killed workers and a stop.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench reload --")]
struct Args {
    /// How often the workers are reloaded, at once and one by one.
    #[arg(long, value_name = "N", default_value_t = 100)]
    reloads: usize,
    /// How often circusd is upgraded, and the file changed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    upgrades: usize,
    /// How many workers are killed, 100 ms apart.
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: usize,
    /// For how many seconds all workers are stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    stop: f64,
    /// In how many upgrades the pause is measured that clients see.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pauses: usize,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value_t = 500)]
    rate: u32,
    /// The circusd.
    #[arg(long, value_name = "PATH", default_value = "target/release/circusd")]
    circusd: PathBuf,
    /// The server: the example of this name.
    #[arg(long, value_name = "PATH", default_value = "target/release/examples/webworker")]
    webworker: PathBuf,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A circusd with its servers. It ends when this is dropped.
struct Fleet {
    child: Child,
    port: u16,
    client: RefCell<Dealer>,
    ini: String,
    folder: tempfile::TempDir,
}

impl Fleet {
    fn start(args: &Args) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("circus-reload-").tempdir()?;
        let dir = folder.path().display().to_string();
        let found = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
        let (circusd, webworker) = (found(&args.circusd)?, found(&args.webworker)?);
        let ini = format!(
            "[circus]\nendpoint = ipc://{dir}/control\npubsub_endpoint = ipc://{dir}/events\n[socket:web]\nhost = \
             127.0.0.1\nport = 0\n[watcher:web]\ncmd = {} $(circus.sockets.web)\nuse_sockets = True\nnumprocesses = \
             3\nready = notify\nmin_uptime = 0.2\ngraceful_timeout = 10\n",
            webworker.display()
        );
        std::fs::write(folder.path().join("circus.ini"), &ini)?;
        let child = Command::new(circusd).arg(folder.path().join("circus.ini")).current_dir(folder.path()).spawn()?;
        let client = RefCell::new(Dealer::connect(&Context::new()?, &format!("ipc://{dir}/control"), None)?);
        let mut fleet = Self { child, port: 0, client, ini, folder };
        let sockets = fleet.call("listsockets", json!({}))?;
        fleet.port = u16::try_from(sockets["sockets"][0]["port"].as_u64().unwrap_or_default())?;
        fleet.call("start", json!({"name": "web", "waiting": true}))?;
        Ok(fleet)
    }

    fn call(&self, command: &str, properties: Value) -> Outcome<Value> {
        let entries = [("command", command.into()), ("properties", properties)];
        let request = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let reply = self.client.borrow_mut().call(request, DEADLINE).map_err(|error| format!("{command}: {error}"))?;
        let reply = Value::Object(reply);
        if reply["status"] == "error" { Err(format!("{command}: {reply}").into()) } else { Ok(reply) }
    }

    fn reload(&self, sequential: bool) -> Outcome<()> {
        self.call("reload", json!({"name": "web", "waiting": true, "sequential": sequential})).map(drop)
    }

    fn pids(&self) -> Outcome<Vec<i32>> {
        let reply = self.call("list", json!({"name": "web"}))?;
        let pids = reply["pids"].as_array().into_iter().flatten();
        Ok(pids.filter_map(|pid| i32::try_from(pid.as_i64()?).ok()).collect())
    }

    /// Writes the file anew, with another socket or without, and has circusd follow it.
    fn change_file(&self, turn: usize) -> Outcome<()> {
        let other = if turn.is_multiple_of(2) { "[socket:other]\nhost = 127.0.0.1\nport = 0\n" } else { "" };
        std::fs::write(self.folder.path().join("circus.ini"), format!("{}{other}", self.ini))?;
        self.call("reloadconfig", json!({"waiting": true})).map(drop)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        drop(self.child.wait());
    }
}

/// One row: what is done, how often, and what visitors meet meanwhile.
fn row(fleet: &Fleet, rate: u32, what: &str, act: impl FnOnce() -> Outcome<usize>) -> Outcome<Counts> {
    let load = Load::start(fleet.port, 32, rate);
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let times = act();
    let took = begun.elapsed().as_secs_f64();
    let counts = load.stop();
    let Counts { answered, refused, reset, lost, repeated, slowest } = counts;
    println!(
        "| {what} | {} | {took:.0} | {answered} | {refused} | {reset} | {lost} | {repeated} | {slowest} |",
        times?
    );
    Ok(counts)
}

/// A client that asks again and again; `longest` gets what it waits at most, in microseconds.
fn longest_wait(
    over: &AtomicBool,
    longest: &AtomicU64,
    mut ask: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        ask()?;
        longest.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Asks circusd for a figure until it answers: a request that is sent at the moment of the exchange is lost.
fn ask_circusd(client: &mut Dealer) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let entries = [("command", "numwatchers".into()), ("properties", json!({}))];
        let request = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        match client.call(request, Duration::from_millis(10)) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > DEADLINE => return Err(error.to_string()),
            Err(_) => {}
        }
    }
}

/// A page over a connection of its own.
fn ask_worker(port: u16) -> Result<(), String> {
    let text = |error: std::io::Error| format!("a request to a worker: {error}");
    let mut connection = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    connection.set_read_timeout(Some(DEADLINE)).map_err(text)?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").map_err(text)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(text)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("a worker answers {answer:?}")) }
}

/// The pause that clients see in an upgrade: how long the upgrade takes from its request to the answer, and how long at
/// most other clients of circusd and of the workers wait meanwhile.
fn pauses(fleet: &Fleet, count: usize) -> Outcome<()> {
    let (over, control, served) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (port, endpoint) = (fleet.port, format!("ipc://{}/control", fleet.folder.path().display()));
    let mut rows = [Vec::new(), Vec::new(), Vec::new()];
    std::thread::scope(|scope| -> Outcome<()> {
        let asks = scope.spawn(|| {
            let context = Context::new().map_err(|error| error.to_string())?;
            let mut client = Dealer::connect(&context, &endpoint, None).map_err(|error| error.to_string())?;
            longest_wait(&over, &control, || ask_circusd(&mut client))
        });
        let visits = scope.spawn(|| longest_wait(&over, &served, || ask_worker(port)));
        let measured = (0..count).try_for_each(|_| {
            control.store(0, Ordering::Relaxed);
            served.store(0, Ordering::Relaxed);
            let begun = Instant::now();
            fleet.call("upgrade", json!({}))?;
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            // What has begun to wait meanwhile is answered by then.
            std::thread::sleep(Duration::from_millis(200));
            let waits = [took, control.load(Ordering::Relaxed), served.load(Ordering::Relaxed)];
            rows.iter_mut().zip(waits).for_each(|(row, wait)| row.push(wait));
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        for client in [asks, visits] {
            client.join().map_err(|_| "a client has panicked")??;
        }
        measured
    })?;
    println!("\n| in an upgrade, ms | n | p50 | max |\n|---|---:|---:|---:|");
    let names = [
        "from the request `upgrade` to its answer",
        "the longest wait of a client that asks circusd",
        "the longest wait of a client that asks a worker",
    ];
    for (name, row) in names.iter().zip(&mut rows) {
        row.sort_unstable();
        let ms = |at: usize| row.get(at).map_or(0.0, |wait| *wait as f64 / 1e3);
        println!("| {name} | {count} | {:.1} | {:.1} |", ms(count / 2), ms(count.saturating_sub(1)));
    }
    Ok(())
}

fn run(args: &Args) -> Outcome<bool> {
    let fleet = Fleet::start(args)?;
    let pause = || std::thread::sleep(Duration::from_millis(200));
    println!(
        "| under {} requests a second | times | s | answered | refused | reset | lost | asked again | slowest, ms |",
        args.rate
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut failed = 0;
    for (what, sequential) in [("reload", false), ("reload --sequential", true)] {
        let all = || {
            for _ in 0..args.reloads {
                fleet.reload(sequential)?;
                pause();
            }
            Ok(args.reloads)
        };
        failed += row(&fleet, args.rate, what, all)?.failed();
    }
    let upgrades = || {
        for _ in 0..args.upgrades {
            fleet.call("upgrade", json!({}))?;
            pause();
        }
        Ok(args.upgrades)
    };
    failed += row(&fleet, args.rate, "upgrade", upgrades)?.failed();
    let changes = || {
        for turn in 0..args.upgrades {
            fleet.change_file(turn)?;
            pause();
        }
        Ok(args.upgrades)
    };
    failed += row(&fleet, args.rate, "reloadconfig: another socket comes and goes", changes)?.failed();
    let stop = || {
        fleet.call("stop", json!({"name": "web", "waiting": true}))?;
        std::thread::sleep(Duration::from_secs_f64(args.stop));
        fleet.call("start", json!({"name": "web", "waiting": true})).map(|_| 1)
    };
    failed += row(&fleet, args.rate, &format!("all workers stopped for {} s", args.stop), stop)?.failed();
    // Connections that a killed worker had accepted are reset with it. Successors come at once, as min_uptime = 0
    // counts no crash loop.
    fleet.call("set", json!({"name": "web", "options": {"min_uptime": 0}}))?;
    let kills = || {
        let mut killed = 0;
        for turn in 0..args.kills {
            let pids = fleet.pids()?;
            let victim = pids.get(turn % pids.len().max(1));
            killed += usize::from(victim.is_some_and(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()));
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(killed)
    };
    let Counts { refused, lost, .. } = row(&fleet, args.rate, "a worker killed every 100 ms", kills)?;
    pauses(&fleet, args.pauses)?;
    println!("\nlost that no killed worker had accepted: {}", failed + refused + lost);
    Ok(failed + refused + lost == 0)
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("reload: {error}");
            ExitCode::FAILURE
        }
    }
}
