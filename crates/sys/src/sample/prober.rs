//! Sampling the same processes repeatedly, at the least cost.
//!
//! The two files that are wanted each time stay open: reading on costs the kernel less than finding them again, and what
//! was opened of one process never reports another process that got its pid. What changes slowly, or costs much, is read when
//! it is asked for.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;

use super::machine::{Machine, Units};
use super::parse::{self, Figures};
use super::reader::Reader;
use super::title::title;
use super::users::Users;
use crate::process::Proc;
use circus_core::proto::Usage;

/// A process that is looked at again and again. It costs two descriptors, or none where there are no more.
#[derive(Debug)]
pub struct Probe {
    pid: i32,
    /// With the pid it names the process where no descriptor does.
    started: u64,
    stat: Option<File>,
    children: Option<File>,
}

impl Probe {
    /// Whose.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

/// What each sample has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// The figures of `stats`, with 0 for `cpu`, which takes two samples.
    pub usage: Usage,
    /// Processor time of its own.
    pub busy: Duration,
    /// Processor time of children that ended and were collected.
    pub collected: Duration,
    /// Threads.
    pub threads: u64,
}

/// Figures that are read now and then. `None`: the kernel does not report it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// The name of the user it runs as, or the number.
    pub username: Option<Arc<str>>,
    /// What it calls itself: the name of its program.
    pub command: Option<String>,
    /// What people call it: an interpreter by what it runs.
    pub title: Option<String>,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Bytes that it had read from disks, and written to them.
    pub disk: Option<(u64, u64)>,
    /// Context switches of its first thread.
    pub switches: Option<u64>,
}

/// Looks at processes for a caller that remembers what was seen.
#[derive(Debug)]
pub struct Prober {
    reader: Reader,
    proc: Proc,
    units: Units,
    machine: Machine,
    users: Users,
}

impl Default for Prober {
    fn default() -> Self {
        Self::at("/proc", Units::of_this_machine())
    }
}

impl Prober {
    pub(super) fn at(root: &str, units: Units) -> Self {
        let mut reader = Reader::new(root);
        let machine = Machine::look(&mut reader);
        Self { reader, proc: Proc::at(root), units, machine, users: Users::default() }
    }

    /// Begins with a process; `None` where it has ended.
    pub fn open(&mut self, pid: i32) -> Option<Probe> {
        let stat = self.reader.open(pid, "stat").ok();
        let children = self.reader.open(pid, &format!("task/{pid}/children")).ok();
        let mut probe = Probe { pid, started: 0, stat, children };
        probe.started = self.figures(&probe).filter(|figures| !figures.zombie)?.started;
        Some(probe)
    }

    /// How it is now; `None` where it has ended. The time is since boot.
    pub fn look(&mut self, probe: &Probe, now: Duration) -> Option<Metrics> {
        let figures = self.figures(probe).filter(|figures| !figures.zombie && figures.started == probe.started)?;
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / self.units.ticks_per_second as f64);
        Some(Metrics {
            usage: self.machine.usage(figures, self.units, now),
            busy: time(figures.busy),
            collected: time(figures.collected),
            threads: figures.threads,
        })
    }

    /// Appends the pids of its children.
    pub fn children(&mut self, probe: &Probe, threads: u64, pids: &mut Vec<i32>) {
        match &probe.children {
            Some(file) if threads <= 1 => {
                pids.extend(self.reader.again(file, true).map(parse::pids).into_iter().flatten());
            }
            // Each thread has a list of its own; and some kernels keep none.
            Some(_) | None => pids.extend(self.proc.children(Pid::from_raw(probe.pid)).into_iter().map(Pid::as_raw)),
        }
    }

    /// What changes slowly.
    pub fn details(&mut self, probe: &Probe) -> Details {
        let pid = probe.pid;
        let status = self.reader.of_process(pid, "status", 4096).ok();
        let (uid, switches) = (status.and_then(parse::real_uid), status.and_then(parse::switches));
        let cmdline = self.reader.of_process(pid, "cmdline", 4096).ok();
        let (command, title) = (cmdline.and_then(parse::command), cmdline.and_then(title));
        Details {
            username: uid.map(|uid| self.users.name(uid)),
            command,
            title,
            fds: self.reader.entries(pid, "fd").ok(),
            disk: self.reader.of_process(pid, "io", 4096).ok().and_then(parse::disk),
            switches,
        }
    }

    /// Its memory in bytes, what it shares with others counted in proportion. The kernel goes through all of it.
    pub fn proportional(&mut self, probe: &Probe) -> Option<u64> {
        self.reader.of_process(probe.pid, "smaps_rollup", 4096).ok().and_then(parse::proportional)
    }

    fn figures(&mut self, probe: &Probe) -> Option<Figures> {
        let text = match &probe.stat {
            Some(file) => self.reader.again(file, false),
            None => self.reader.of_process(probe.pid, "stat", 4096),
        };
        parse::figures(text.ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    #[test]
    fn this_process() {
        let mut prober = Prober::default();
        let probe = prober.open(Pid::this().as_raw()).unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let now = Duration::from_secs_f64(uptime.split(' ').next().unwrap().parse().unwrap());
        let metrics = prober.look(&probe, now).unwrap();
        assert!(
            metrics.threads >= 1 && metrics.usage.resident > 0 && metrics.usage.memory > 0.0 && metrics.usage.age < 6e3
        );
        let details = prober.details(&probe);
        assert!(details.username.is_some() && details.command.is_some() && details.disk.is_some());
        assert!(details.fds >= Some(5) && details.switches >= Some(1));
        // In proportion it is at most what is resident, which grows meanwhile.
        let whole = prober.look(&probe, now).unwrap().usage.resident;
        assert!((1..=whole + (64 << 20)).contains(&prober.proportional(&probe).unwrap()));
    }

    #[test]
    fn descriptors_are_counted_as_they_are() {
        let mut prober = Prober::default();
        let pid = start(&shell("exec 7</dev/null 8</dev/null; kill -STOP $$")).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        let probe = prober.open(pid.as_raw()).unwrap();
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        assert_eq!(prober.details(&probe).fds, Some(entries));
        crate::send(pid, circus_core::proto::Signal::KILL).unwrap();
        wait(pid);
        assert_eq!(prober.look(&probe, Duration::ZERO), None);
        assert!(prober.open(pid.as_raw()).is_none());
    }

    #[test]
    fn children_of_one_thread_and_of_several() {
        let mut prober = Prober::default();
        let pid = start(&shell("sleep 1000 & sleep 1000 & kill -STOP $$; wait")).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        let probe = prober.open(pid.as_raw()).unwrap();
        let (mut one, mut several) = (Vec::new(), Vec::new());
        prober.children(&probe, 1, &mut one);
        prober.children(&probe, 2, &mut several);
        assert_eq!((one.len(), &one), (2, &several));
        for pid in one.into_iter().map(Pid::from_raw).chain([pid]) {
            crate::send(pid, circus_core::proto::Signal::KILL).unwrap();
        }
        wait(pid);
    }

    #[test]
    fn another_process_with_the_pid_is_another() {
        let root = tempfile::tempdir().unwrap();
        let write = |started: u64| {
            let stat = format!("7 (a) S 1 1 1 0 -1 0 0 0 0 0 9 0 5 0 20 3 1 0 {started} 8192000 256 0 0");
            std::fs::create_dir_all(root.path().join("7/task/7")).unwrap();
            std::fs::write(root.path().join("7/stat"), stat).unwrap();
        };
        write(2000);
        let mut prober = Prober::at(root.path().to_str().unwrap(), Units { ticks_per_second: 100, page: 4096 });
        let mut probe = prober.open(7).unwrap();
        let metrics = prober.look(&probe, Duration::from_secs(30)).unwrap();
        assert_eq!((metrics.busy, metrics.collected), (Duration::from_millis(90), Duration::from_millis(50)));
        probe.stat = None;
        assert!(prober.look(&probe, Duration::from_secs(30)).is_some(), "no descriptor was left");
        write(3000);
        assert_eq!(prober.look(&probe, Duration::from_secs(31)), None);
    }
}
