//! What workers print, into one file: every line, whole.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use super::plan::{Notes, Plan, begin};
use crate::clock::{Moment, look};
use crate::harness::Harness;
use crate::outcome::{Outcome, fault};
use crate::peers::{Peer, Task};
use crate::proc::cpu;
use crate::report::Figure;

const WRITERS: usize = 4;
const WIDTH: usize = 100;

pub(super) fn run(harness: &Harness, peer: &dyn Peer, plan: &Plan, notes: &mut Notes) -> Outcome<()> {
    let room = harness.room()?;
    let file = room.join("output");
    let task = Task::Logs { file: file.clone(), lines: plan.lines, width: WIDTH };
    let Some(mut begun) = begin(harness, peer, &room, WRITERS, task)? else { return Ok(()) };
    let births = begun.inbox.all(WRITERS, Duration::from_secs(30))?;
    let first = births.iter().map(|birth| birth.at).min().ok_or_else(|| fault("no writer has begun"))?;
    let wanted = (WRITERS * plan.lines * WIDTH) as u64;
    let done = arrival(&file, wanted)?;
    let used = cpu(&begun.running.managers()).as_secs_f64();
    begun.running.halt()?;
    let bytes = wanted as f64;
    let torn = torn(&file)?;
    fs::remove_file(&file)?;
    notes.extend([
        (Figure::LogRate, bytes / 1e6 / done.since(first).as_secs_f64()),
        (Figure::LogCpu, used / (bytes / 1e9)),
        (Figure::TornLines, torn as f64),
    ]);
    Ok(())
}

/// When the last byte was there.
fn arrival(file: &Path, wanted: u64) -> Outcome<Moment> {
    let length = || fs::metadata(file).map_or(0, |told| told.len());
    let limit = Duration::from_secs(180);
    let all = look(limit, Duration::from_millis(1), || (length() >= wanted).then(Moment::now));
    all.ok_or_else(|| fault(format!("only {} of {wanted} bytes came within {} s", length(), limit.as_secs())))
}

/// Lines of another length than all have: some other line is in them.
fn torn(file: &Path) -> Outcome<usize> {
    let mut torn = 0;
    let mut lines = BufReader::with_capacity(1 << 16, File::open(file)?);
    let mut line = Vec::with_capacity(2 * WIDTH);
    while lines.read_until(b'\n', &mut line)? > 0 {
        torn += usize::from(line.len() != WIDTH);
        line.clear();
    }
    Ok(torn)
}
