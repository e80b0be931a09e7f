//! A circusd that has no quiet minute, and what it uses meanwhile: docs/soak.md says how to run it.
//!
//! Workers crash ten times a second, fleets are reloaded, the file changes, watchers come and go, workers flood their
//! output, and circusd becomes another program again and again. Memory, descriptors, timers and the time of an answer
//! are looked at all the while. They have to stay as they are.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures, and waits")]

mod fleet;
mod look;
mod report;
mod saved_state;
mod trouble;
mod verdict;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use fleet::Fleet;
use look::{Look, Looker};
use trouble::Done;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Keeps a circusd busy with crashes, reloads, upgrades and floods, and fails if it grows.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench soak --")]
struct Args {
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// How many workers crash each second.
    #[arg(long, value_name = "N", default_value_t = 10)]
    crashes: u32,
    /// Where soak.md, soak.svg and samples.csv are written.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    out: PathBuf,
    /// The circusd.
    #[arg(long, value_name = "PATH", default_value = "target/release/circusd")]
    circusd: PathBuf,
    /// The worker: the example of this name.
    #[arg(long, value_name = "PATH", default_value = "target/release/examples/knobs")]
    knobs: PathBuf,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Looks once a second until the time is over, and says each minute how it goes.
fn watch(fleet: &Fleet, time: Duration, is_quiet: impl Fn() -> bool) -> Outcome<Vec<Look>> {
    let begun = Instant::now();
    let mut looker = Looker::new(fleet)?;
    let mut looks: Vec<Look> = Vec::new();
    let mut next = Duration::ZERO;
    while begun.elapsed() < time {
        if is_quiet() {
            return Err("what causes trouble, or hears of it, has ended".into());
        }
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
        next += Duration::from_secs(1);
        let look = looker.look(begun.elapsed())?;
        if looks.len().is_multiple_of(60) {
            println!("{look}");
        }
        looks.push(look);
    }
    Ok(looks)
}

fn run(args: &Args) -> Outcome<bool> {
    let mut fleet = Fleet::start(&args.circusd, &args.knobs, args.crashes)?;
    let over = AtomicBool::new(false);
    let (looks, done) = std::thread::scope(|scope| -> Outcome<(Vec<Look>, Done)> {
        let troubles = scope.spawn(|| trouble::cause(&fleet, &over).map_err(|error| error.to_string()));
        let heard = scope.spawn(|| trouble::listen(&fleet, &over).map_err(|error| error.to_string()));
        let time = Duration::from_secs_f64(args.minutes * 60.0);
        let looks = watch(&fleet, time, || troubles.is_finished() || heard.is_finished());
        over.store(true, Ordering::Relaxed);
        let done = troubles.join().map_err(|_| "what causes trouble has panicked")??;
        let (deaths, starts) = heard.join().map_err(|_| "the subscriber has panicked")??;
        Ok((looks?, Done { deaths, starts, ..done }))
    })?;
    let left = fleet.end()?;
    let verdicts = verdict::verdicts(&looks, &done, left);
    report::write(&args.out, args, &looks, &done, &verdicts)?;
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    println!("the report is in {}", args.out.display());
    Ok(verdicts.iter().all(|verdict| verdict.holds))
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
