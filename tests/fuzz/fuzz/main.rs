//! Random inputs for everything that reads bytes of others: requests, files, datagrams, saved states.
//!
//! An input of `corpus/TARGET` is changed at random, and given to the target. One whose outcome was not seen before (an
//! error of another kind, another shape of what was read) joins the inputs that are changed. What makes a target panic is
//! written to `target/tmp`, and belongs into the corpus when the fault is mended: every file there is tried each time.
//!
//! `CIRCUS_FUZZ_SECONDS=600 cargo test -p circus-fuzz` takes so long for each target (CI: 8, otherwise 1), and
//! `CIRCUS_FUZZ_SEED` repeats a run. cargo-fuzz and libFuzzer need a nightly compiler, and a run of theirs cannot be a test
//! of the stable one; the outcomes stand in for their coverage.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by it, and has its own knobs and clock"
)]

mod input;
mod targets;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use input::Rng;
use targets::Target;

/// Longer ones cost time and show nothing more.
const LONGEST: usize = 32_768;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The committed inputs of a target.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> =
        files.map(|file| file.unwrap().path()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    inputs
}

/// What a target makes of an input, without what differs between inputs of one kind.
fn outcome(target: &Target, input: &[u8], from: &str) -> String {
    let tried = std::panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let Ok(told) = tried else {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        std::fs::write(&kept, input).unwrap();
        panic!("{} panics with an input made from {from}; it is in {}", target.name, kept.display());
    };
    told.chars().filter(|c| !c.is_ascii_digit()).take(200).collect()
}

/// Changes and tries inputs for so long. Returns how many were tried, and how many kinds of outcomes there were.
fn fuzz(target: &Target, seed: u64, time: Duration) -> (u64, usize) {
    let mut rng = Rng::new(seed);
    let mut seen = BTreeSet::new();
    let mut pool = Vec::new();
    for (path, input) in corpus(target) {
        seen.insert(outcome(target, &input, &path.display().to_string()));
        pool.push(input);
    }
    let (begun, mut tried) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let first = pool[rng.below(pool.len())].clone();
        let mut input = input::changed(&mut rng, first, &pool, target.words);
        input.truncate(LONGEST);
        tried += 1;
        if seen.insert(outcome(target, &input, &format!("seed {seed}"))) && pool.len() < 4096 {
            pool.push(input);
        }
    }
    (tried, seen.len())
}

#[test]
fn nothing_panics() {
    let seed = setting("CIRCUS_FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let time = Duration::from_secs(setting("CIRCUS_FUZZ_SECONDS").unwrap_or(1));
    println!("repeat it with CIRCUS_FUZZ_SEED={seed}");
    for target in targets::ALL {
        let (tried, kinds) = fuzz(target, seed, time);
        println!("{}: {tried} inputs, {kinds} kinds of outcomes", target.name);
        assert!(tried > 20, "{} is too slow: {tried}", target.name);
        assert!(kinds > 1, "{}: every input ends alike, so nothing is read", target.name);
    }
}

/// The harness bites: a target that panics at three bytes in a row is found out.
#[test]
fn planted_fault_is_found() {
    let planted = Target {
        name: "planted",
        words: &[],
        run: |input| {
            assert!(!input.windows(3).any(|bytes| bytes == b"\"\"\""), "planted");
            String::from_utf8_lossy(input).len().to_string()
        },
    };
    let mut rng = Rng::new(7);
    let pool = vec![b"{\"a\": \"b\"}".to_vec()];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..1_000_000).any(|_| {
        let input = input::changed(&mut rng, pool[0].clone(), &pool, planted.words);
        std::panic::catch_unwind(|| (planted.run)(&input)).is_err()
    });
    std::panic::set_hook(hook);
    assert!(found);
}
