//! The seeded simulator: the core against a fake kernel and a client that does everything, watched by a model.
//!
//! `CIRCUS_SIM_SEEDS=1000 cargo test --test sim` runs more seeds than the default 256; `CIRCUS_SIM_SEED=17` repeats one
//! and `CIRCUS_SIM_TRACE=1` prints what happens in it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

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
mod sink_commands;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the test's own knobs")]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn the_core_keeps_its_promises() {
    let seeds = match setting("CIRCUS_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("CIRCUS_SIM_SEEDS").unwrap_or(256),
    };
    let steps = setting("CIRCUS_SIM_STEPS").unwrap_or(300);
    let mut total = run::Totals::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run::run(seed, steps, setting("CIRCUS_SIM_TRACE").is_some()));
        match outcome {
            Ok(totals) => total.add(&totals),
            Err(_) => panic!("seed {seed} failed; repeat it with CIRCUS_SIM_SEED={seed} CIRCUS_SIM_TRACE=1"),
        }
    }
    println!("{total:?}");
}

#[test]
fn runs_come_when_they_should_and_one_at_a_time() {
    let seeds = match setting("CIRCUS_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("CIRCUS_SIM_SEEDS").unwrap_or(256),
    };
    let steps = setting("CIRCUS_SIM_STEPS").unwrap_or(300);
    let mut runs = 0;
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| jobs::run(seed, steps, setting("CIRCUS_SIM_TRACE").is_some()));
        match outcome {
            Ok(some) => runs += some,
            Err(_) => panic!("seed {seed} failed; repeat it with CIRCUS_SIM_SEED={seed} CIRCUS_SIM_TRACE=1"),
        }
    }
    println!("{runs} runs");
}
