//! The run: rounds, works, and each manager in turn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::Args;
use crate::harness::{Harness, sweep};
use crate::outcome::{Outcome, fault};
use crate::output::{Findings, machine, ticks, write};
use crate::peers::{FLOOR, OURS, Peer, find, ours};
use crate::report::{Samples, judge, stolen};
use crate::work::{Plan, Work};

/// Measures, tells and writes. Whether all of our own work was done, and with `--strict` all goals reached.
pub(crate) fn run(args: &Args) -> Outcome<bool> {
    let circusd = args.circusd.clone().unwrap_or_else(built_circusd);
    if !circusd.is_file() {
        return Err(fault(format!(
            "{}: there is no such program; `cargo build --release` makes it",
            circusd.display()
        )));
    }
    let machine = machine();
    let harness = Harness::open()?;
    let mut peers = ours(&circusd);
    let found = find(&args.with, args.venv.as_deref())?;
    peers.extend(found.peers);
    found.missing.iter().for_each(|missing| eprintln!("SKIPPED {missing}"));
    let mut findings = Findings {
        machine,
        samples: Samples::default(),
        sizes: args.workers.clone(),
        subjects: peers.iter().map(|peer| peer.name().to_owned()).collect(),
        missing: found.missing,
        failures: Vec::new(),
        rounds: args.rounds,
    };
    let before = ticks();
    measure(&harness, &peers, args, &plan(args, &circusd), &mut findings);
    findings.machine.stolen = stolen(&before, &ticks());
    write(&findings, args)?;
    let missed = findings.sizes.iter().flat_map(|size| judge(&findings.samples, *size, OURS, FLOOR));
    let missed = missed.filter(|verdict| !verdict.holds).count();
    let own = findings.failures.iter().filter(|failure| [FLOOR, OURS].iter().any(|us| failure.starts_with(us)));
    Ok(own.count() == 0 && !findings.samples.is_empty() && !(args.strict && missed > 0))
}

fn plan(args: &Args, circusd: &Path) -> Plan {
    Plan {
        idle: Duration::from_secs_f64(args.idle),
        pings: args.pings,
        kills: args.kills,
        lines: args.lines,
        circusctl: circusd.with_file_name("circusctl"),
    }
}

/// All managers do one work before any of them does the next: other load of the machine falls on all alike.
fn measure(harness: &Harness, peers: &[Box<dyn Peer>], args: &Args, plan: &Plan, findings: &mut Findings) {
    let all = [Work::Fleet, Work::Logs, Work::Stats, Work::Control, Work::Startup];
    let wanted = all.into_iter().filter(|work| args.only.is_empty() || args.only.contains(work));
    let steps: Vec<(Work, usize)> = wanted.flat_map(|work| sizes(work, args).map(move |size| (work, size))).collect();
    for round in 1..=args.rounds {
        for (work, workers) in &steps {
            for peer in peers {
                eprintln!("round {round} of {}: {work:?}, {workers} workers: {}", args.rounds, peer.name());
                let mut notes = Vec::new();
                if let Err(error) = work.run(harness, peer.as_ref(), *workers, plan, &mut notes) {
                    findings.failures.push(format!("{}: {work:?}, {workers} workers: {error}", peer.name()));
                }
                for (figure, value) in notes {
                    findings.samples.add(*workers, peer.name(), figure, value);
                }
                sweep();
            }
        }
    }
}

/// The numbers of workers with which a work is done.
fn sizes(work: Work, args: &Args) -> impl Iterator<Item = usize> {
    let count = if work.grows() { args.workers.len() } else { 1 };
    args.workers.iter().copied().take(count)
}

/// circusd as cargo built it last in the profile of this program, which lies in `deps` beside it.
fn built_circusd() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(2).unwrap_or(Path::new("")).join("circusd")
}
