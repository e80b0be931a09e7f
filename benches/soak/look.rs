//! What circusd uses at a moment, and how long it takes to answer.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::fleet::{Client, Fleet};
use crate::saved_state::{self, Kept};

/// The state is looked at once in so many looks.
const STATE_EVERY: usize = 5;

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// RSS in KiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
    pub(crate) children: usize,
    /// Those that had ended at the look before, too, and were not reaped.
    pub(crate) lasting_zombies: usize,
    /// How long `numwatchers` took; `None` where it had to be asked again.
    pub(crate) answer: Option<Duration>,
    pub(crate) kept: Option<Kept>,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, memory, descriptors, children, answer, .. } = self;
        let minutes = at.as_secs_f64() / 60.0;
        write!(f, "{minutes:.1} min: {memory} KiB, {descriptors} descriptors, {children} children, answer {answer:?}")
    }
}

/// Looks again and again.
pub(crate) struct Looker<'f> {
    fleet: &'f Fleet,
    client: Client,
    zombies: BTreeSet<i32>,
    looks: usize,
}

impl<'f> Looker<'f> {
    pub(crate) fn new(fleet: &'f Fleet) -> Outcome<Self> {
        saved_state::prepare(fleet)?;
        Ok(Self { fleet, client: fleet.client()?, zombies: BTreeSet::new(), looks: 0 })
    }

    pub(crate) fn look(&mut self, at: Duration) -> Outcome<Look> {
        let begun = Instant::now();
        let again = self.client.question("numwatchers")?;
        let answer = (again == 0).then(|| begun.elapsed());
        let pid = self.fleet.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let memory =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let (children, zombies) = children(pid);
        let lasting_zombies = zombies.intersection(&self.zombies).count();
        self.zombies = zombies;
        // Before the state is written, which takes descriptors and memory for a moment.
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let looks_at_state = self.looks.is_multiple_of(STATE_EVERY);
        let kept = if looks_at_state { saved_state::look(self.fleet, &mut self.client)? } else { None };
        self.looks += 1;
        let memory = memory.ok_or("circusd has no memory")?;
        Ok(Look { at, memory, descriptors, children, lasting_zombies, answer, kept })
    }
}

/// How many children a process has, and those of them that have ended.
fn children(parent: u32) -> (usize, BTreeSet<i32>) {
    let (mut count, mut zombies) = (0, BTreeSet::new());
    let parent = parent.to_string();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name may have anything in it.
        let Some((_, words)) = stat.rsplit_once(") ") else { continue };
        let mut words = words.split(' ');
        let (state, ppid) = (words.next(), words.next());
        if ppid == Some(&parent) {
            count += 1;
            if state == Some("Z") {
                zombies.insert(pid);
            }
        }
    }
    (count, zombies)
}
