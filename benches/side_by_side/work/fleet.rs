//! One life with so many workers.

use std::time::Duration;

use super::plan::{Begun, Notes, Plan, begin};
use super::respawn::Herd;
use crate::clock::{Moment, micros, millis, pass};
use crate::harness::{Harness, alive};
use crate::inbox::Birth;
use crate::outcome::Outcome;
use crate::peers::{Peer, Running, Task};
use crate::proc::{cpu, pss, switches};
use crate::report::{Figure, percentile};

/// How long all workers may take to begin.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long `incr` is measured with a manager that takes seconds for each.
const BUDGET: Duration = Duration::from_secs(10);
/// How often `incr` is measured.
const INCRS: usize = 20;

pub(super) fn run(harness: &Harness, peer: &dyn Peer, workers: usize, plan: &Plan, notes: &mut Notes) -> Outcome<()> {
    let room = harness.room()?;
    let Some(mut begun) = begin(harness, peer, &room, workers, Task::Fleet)? else { return Ok(()) };
    let births = begun.inbox.all(workers, DEADLINE)?;
    notes.extend(start(&begun, &births));
    begun.running.ready()?;
    notes.extend(rest(&begun, plan));
    notes.extend(status(&mut begun, plan)?);
    let Begun { mut running, inbox } = begun;
    let mut herd = Herd::new(births, inbox);
    notes.extend(herd.respawn(plan.kills)?);
    notes.push((Figure::Storm, herd.storm(DEADLINE)?));
    notes.extend(incr(running.as_mut(), &mut herd)?);
    let begin = Moment::now();
    running.halt()?;
    notes.push((Figure::StopAll, millis(begin.elapsed())));
    // The last ones may just be dying.
    pass(Duration::from_millis(300));
    notes.push((Figure::LeftBehind, alive().len() as f64));
    Ok(())
}

fn start(begun: &Begun, births: &[Birth]) -> Notes {
    let began = begun.running.began();
    let times = || births.iter().map(|birth| birth.at);
    let figures = [(Figure::StartFirst, times().min()), (Figure::StartAll, times().max())];
    figures.into_iter().filter_map(|(figure, at)| Some((figure, millis(at?.since(began))))).collect()
}

/// What it takes while nothing happens.
fn rest(begun: &Begun, plan: &Plan) -> Notes {
    let managers = begun.running.managers();
    let memory = pss(&managers);
    // Work that remains after the start does not count as idleness.
    pass(Duration::from_secs(1));
    let (begin, used, woken) = (Moment::now(), cpu(&managers), switches(&managers));
    pass(plan.idle);
    let (used, woken) = (cpu(&managers) - used, switches(&managers) - woken);
    let seconds = begin.elapsed().as_secs_f64();
    vec![
        (Figure::Memory, memory),
        (Figure::IdleSwitches, woken as f64 * 60.0 / seconds),
        (Figure::IdleCpu, millis(used) / seconds),
    ]
}

fn status(begun: &mut Begun, plan: &Plan) -> Outcome<Notes> {
    let mut times = Vec::with_capacity(plan.pings);
    for _ in 0..plan.pings {
        let begin = Moment::now();
        begun.running.ping()?;
        times.push(micros(begin.elapsed()));
    }
    let figures = [(Figure::StatusP50, 0.5), (Figure::StatusP99, 0.99)];
    Ok(figures.into_iter().filter_map(|(figure, share)| Some((figure, percentile(&times, share)?))).collect())
}

fn incr(running: &mut dyn Running, herd: &mut Herd) -> Outcome<Option<(Figure, f64)>> {
    let (begun, mut times) = (Moment::now(), Vec::with_capacity(INCRS));
    while times.len() < INCRS && (times.is_empty() || begun.elapsed() < BUDGET) {
        let begin = Moment::now();
        if !running.incr()? {
            break;
        }
        times.push(millis(herd.next(Duration::from_secs(15))?.at.since(begin)));
    }
    Ok(percentile(&times, 0.5).map(|value| (Figure::Incr, value)))
}
