//! The seeded simulator: the core against a fake kernel and a client that does everything, watched by a model.
//!
//! `CIRCUS_SIM_SEEDS=1000 cargo test --test sim` runs more seeds than the default 256, `CIRCUS_SIM_NIGHTLY=1` a million steps
//! over as many seeds as that takes; `CIRCUS_SIM_SEED=17` repeats one and `CIRCUS_SIM_TRACE=1` prints what happens in it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use circus_core::proto::{ClientAddress, Format, ReplyTo, RequestId};

mod demand;
mod file;
mod growth;
mod hooks;
mod jobs;
mod kernel;
mod model;
mod probes;
mod rng;
mod run;
mod scaling;
mod sink_commands;

/// The client that sends every request, with the id of this one.
fn client(id: u64) -> ReplyTo {
    let id = RequestId::Json(id.to_string());
    ReplyTo::Client(ClientAddress {
        identity: vec![1],
        delimiter: false,
        id,
        format: Format::Json,
        redacted: false,
        note: None,
    })
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A test has found something.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Runs the seeds until one fails, or another test has found something: a planted bug is found by either.
fn run_seeds(mut run: impl FnMut(u64, u64, bool)) {
    let seeds = match setting("CIRCUS_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("CIRCUS_SIM_SEEDS").unwrap_or(256),
    };
    let (steps, trace) = (setting("CIRCUS_SIM_STEPS").unwrap_or(300), setting("CIRCUS_SIM_TRACE").is_some());
    for seed in seeds {
        if FOUND.load(Ordering::Relaxed) {
            return println!("cut short before seed {seed}: another test has failed");
        }
        if std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, steps, trace))).is_err() {
            FOUND.store(true, Ordering::Relaxed);
            panic!("seed {seed} failed; repeat it with CIRCUS_SIM_SEED={seed} CIRCUS_SIM_TRACE=1");
        }
    }
}

/// What a run of all seeds takes at least, and what a nightly one does.
const STEPS: u64 = 10_000;
const NIGHTLY_STEPS: u64 = 1_000_000;

#[test]
fn the_core_keeps_its_promises() {
    let mut total = run::Totals::default();
    run_seeds(|seed, steps, trace| total.add(&run::run(seed, steps, trace)));
    // Seeds of their own, beyond those that are run each time.
    let mut seed = 1_000_000;
    while setting("CIRCUS_SIM_NIGHTLY").is_some() && total.steps < NIGHTLY_STEPS {
        let one = std::panic::catch_unwind(|| run::run(seed, 300, false));
        let one = one
            .unwrap_or_else(|_| panic!("seed {seed} failed; repeat it with CIRCUS_SIM_SEED={seed} CIRCUS_SIM_TRACE=1"));
        total.add(&one);
        seed += 1;
    }
    println!("{total:?}");
    let chosen = ["CIRCUS_SIM_SEED", "CIRCUS_SIM_SEEDS", "CIRCUS_SIM_STEPS"].iter().any(|name| setting(name).is_some());
    assert!(chosen || total.steps >= STEPS || FOUND.load(Ordering::Relaxed), "only {} steps", total.steps);
    let followed = total.scaled > 0 && total.drained > 0;
    assert!(chosen || followed || FOUND.load(Ordering::Relaxed), "no watcher has followed its need");
}

#[test]
fn runs_come_when_they_should_and_one_at_a_time() {
    let mut runs = 0;
    run_seeds(|seed, steps, trace| runs += jobs::run(seed, steps, trace));
    println!("{runs} runs");
}
