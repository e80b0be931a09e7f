//! One sample of a process.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::unistd::Pid;

use super::history::History;
use super::machine::{Machine, Units};
use super::parse::{self, Figures};
use super::reader::{Reader, Unreadable};
use super::users::Users;
use crate::process::{Proc, by_parent};
use circus_core::proto::{ProcessInfo, Usage};

/// Looks at processes, and remembers what it saw.
#[derive(Debug)]
pub struct Sampler {
    reader: Reader,
    proc: Proc,
    units: Units,
    machine: Option<Machine>,
    history: History,
    users: Users,
    /// Each process's children, where the kernel keeps no lists.
    families: Option<BTreeMap<Pid, Vec<Pid>>>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self::at("/proc", Units::of_this_machine())
    }
}

impl Sampler {
    fn at(root: &str, units: Units) -> Self {
        Self {
            reader: Reader::new(root),
            proc: Proc::at(root),
            units,
            machine: None,
            history: History::new(units.ticks_per_second),
            users: Users::default(),
            families: None,
        }
    }

    /// To be called before the processes of one question are looked at.
    pub fn begin(&mut self) {
        self.families = None;
        let proc = &self.proc;
        self.history.tidy(|pid| proc.exists(Pid::from_raw(pid)));
    }

    /// A process with its direct children; `None` where it has ended. The time is since boot.
    pub fn family(&mut self, pid: Pid, now: Duration) -> Option<ProcessInfo> {
        let (figures, mut info) = self.look(pid.as_raw(), now)?;
        if figures.is_some_and(|figures| figures.zombie) {
            return None;
        }
        let children = self.children(pid, figures.map(|figures| figures.threads));
        info.children = children.into_iter().filter_map(|child| Some(self.look(child, now)?.1)).collect();
        Some(info)
    }

    /// This process, without its children; its share of the processor is since its start at first.
    pub fn myself(&mut self, now: Duration) -> Option<ProcessInfo> {
        let pid = Pid::this().as_raw();
        if let Some(figures) = self.figures(pid).ok().flatten() {
            self.history.since_its_start(pid, figures.started);
        }
        self.look(pid, now).map(|(_, info)| info)
    }

    /// How many files have been read so far: what looking at processes costs.
    pub fn reads(&self) -> u64 {
        self.reader.reads
    }

    /// A process alone, and what its stat says; `None` where it is gone.
    fn look(&mut self, pid: i32, now: Duration) -> Option<(Option<Figures>, ProcessInfo)> {
        let Ok(figures) = self.figures(pid) else {
            self.history.forget(pid);
            return None;
        };
        let usage = figures.map(|figures| self.usage(pid, figures, now));
        let username = self.username(pid);
        let command = self.reader.of_process(pid, "cmdline", 4096).ok().and_then(parse::command);
        Some((figures, ProcessInfo { pid, usage, username, command, children: Vec::new() }))
    }

    /// What the kernel reports of a process, which may be nothing; an error if there is no such process.
    fn figures(&mut self, pid: i32) -> Result<Option<Figures>, Unreadable> {
        match self.reader.of_process(pid, "stat", 4096) {
            Ok(text) => Ok(parse::figures(text)),
            Err(Unreadable::Refused) => Ok(None),
            Err(Unreadable::Gone) => Err(Unreadable::Gone),
        }
    }

    fn usage(&mut self, pid: i32, figures: Figures, now: Duration) -> Usage {
        let usage = self.machine().usage(figures, self.units, now);
        Usage { cpu: self.history.percent(pid, figures.started, figures.busy, now), ..usage }
    }

    fn username(&mut self, pid: i32) -> Option<std::sync::Arc<str>> {
        // The user's number is among the first lines.
        let uid = self.reader.of_process(pid, "status", 512).ok().and_then(parse::real_uid)?;
        Some(self.users.name(uid))
    }

    fn children(&mut self, pid: Pid, threads: Option<u64>) -> Vec<i32> {
        let raw = |pids: Vec<Pid>| pids.into_iter().map(Pid::as_raw).collect();
        if !self.machine().lists_children {
            let proc = &self.proc;
            let families = self.families.get_or_insert_with(|| by_parent(&proc.all()));
            return raw(families.get(&pid).cloned().unwrap_or_default());
        }
        match threads {
            Some(1) => self.reader.children(pid.as_raw()).map(|list| parse::pids(list).collect()).unwrap_or_default(),
            // Each thread has a list of its own.
            threads => {
                self.reader.reads += threads.unwrap_or(1);
                raw(self.proc.children(pid))
            }
        }
    }

    fn machine(&mut self) -> Machine {
        if let Some(machine) = self.machine {
            return machine;
        }
        *self.machine.insert(Machine::look(&mut self.reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shell, start, wait};

    const UNITS: Units = Units { ticks_per_second: 100, page: 4096 };

    struct Fake {
        root: tempfile::TempDir,
        lists: bool,
    }

    impl Fake {
        fn new(lists: bool) -> Self {
            let fake = Self { root: tempfile::tempdir().unwrap(), lists };
            fake.write("stat", "cpu 1 2\nbtime 1700000000\n");
            fake.write("meminfo", "MemTotal: 1000000 kB\n");
            if lists {
                fake.write("thread-self/children", "");
            }
            fake
        }

        fn sampler(&self) -> Sampler {
            Sampler::at(self.root.path().to_str().unwrap(), UNITS)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn process(&self, pid: i32, parent: i32, state: char, busy: u64, children: &[&[i32]]) {
            let threads = children.len().max(1);
            let stat = format!(
                "{pid} (a b) {state} {parent} 1 1 0 -1 0 0 0 0 0 {busy} 0 5 0 20 3 {threads} 0 2000 8192000 256 0 0"
            );
            self.write(&format!("{pid}/stat"), &stat);
            self.write(&format!("{pid}/status"), "Name:\ta b\nUid:\t0\t0\t0\t0\n");
            self.write(&format!("{pid}/cmdline"), "/usr/bin/thing\0--now\0");
            if self.lists {
                for (thread, children) in (pid..).zip(children) {
                    let list: String = children.iter().map(|child| format!("{child} ")).collect();
                    self.write(&format!("{pid}/task/{thread}/children"), &list);
                }
            }
        }

        fn remove(&self, pid: i32) {
            std::fs::remove_dir_all(self.root.path().join(pid.to_string())).unwrap();
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn family(sampler: &mut Sampler, pid: i32, at: u64) -> Option<ProcessInfo> {
        sampler.begin();
        sampler.family(Pid::from_raw(pid), secs(at))
    }

    fn pids(info: &ProcessInfo) -> Vec<i32> {
        info.children.iter().map(|child| child.pid).collect()
    }

    #[test]
    fn every_figure_of_a_process() {
        let fake = Fake::new(true);
        fake.process(7, 1, 'S', 150, &[&[]]);
        let info = family(&mut fake.sampler(), 7, 30).unwrap();
        let usage = Usage {
            resident: 1 << 20,
            mapped: 8_192_000,
            cpu: 0.0,
            memory: 0.1024,
            cpu_time: Duration::from_millis(1550),
            nice: Some(3),
            created: 1_700_000_020.0,
            age: 10.0,
        };
        let expected = ProcessInfo {
            pid: 7,
            usage: Some(usage),
            username: Some("root".into()),
            command: Some("thing".into()),
            children: Vec::new(),
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn direct_children_have_shares_of_their_own() {
        for lists in [true, false] {
            let fake = Fake::new(lists);
            fake.process(7, 1, 'S', 0, &[&[8], &[9]]);
            fake.process(8, 7, 'S', 100, &[&[10]]);
            fake.process(9, 7, 'Z', 0, &[&[]]);
            fake.process(10, 8, 'S', 0, &[&[]]);
            let mut sampler = fake.sampler();
            let info = family(&mut sampler, 7, 100).unwrap();
            assert_eq!(pids(&info), [8, 9], "lists: {lists}");
            assert_eq!(info.children[0].children, []);
            assert_eq!(info.children[1].usage.unwrap().nice, None, "a zombie");
            fake.process(8, 7, 'S', 150, &[&[10]]);
            let info = family(&mut sampler, 7, 101).unwrap();
            assert_eq!(info.children[0].usage.unwrap().cpu, 50.0);
            assert_eq!(info.usage.unwrap().cpu, 0.0);
        }
    }

    #[test]
    fn who_has_ended_is_nobody() {
        for lists in [true, false] {
            let fake = Fake::new(lists);
            fake.process(7, 1, 'S', 0, &[&[8]]);
            fake.process(9, 1, 'Z', 0, &[&[]]);
            let mut sampler = fake.sampler();
            assert_eq!(family(&mut sampler, 9, 100), None, "a zombie");
            assert_eq!(pids(&family(&mut sampler, 7, 100).unwrap()), [0; 0], "a child that has just gone");
            fake.remove(7);
            assert_eq!(family(&mut sampler, 7, 100), None);
        }
    }

    #[test]
    fn what_the_kernel_keeps_from_us_is_not_known() {
        let fake = Fake::new(true);
        fake.process(7, 1, 'S', 0, &[&[]]);
        for file in ["stat", "status", "cmdline"] {
            std::fs::remove_file(fake.root.path().join(format!("7/{file}"))).unwrap();
            std::fs::create_dir(fake.root.path().join(format!("7/{file}"))).unwrap();
        }
        let info = family(&mut fake.sampler(), 7, 100).unwrap();
        assert_eq!(info, ProcessInfo { pid: 7, usage: None, username: None, command: None, children: Vec::new() });
    }

    #[test]
    fn the_real_one() {
        let pid = start(&shell("sleep 1000 & kill -STOP $$; wait")).unwrap();
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        let mut sampler = Sampler::default();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let now = Duration::from_secs_f64(uptime.split(' ').next().unwrap().parse().unwrap());
        sampler.begin();
        let info = sampler.family(pid, now).unwrap();
        let usage = info.usage.unwrap();
        assert_eq!((info.pid, info.command.as_deref()), (pid.as_raw(), Some("sh")));
        assert!(usage.resident > 0 && usage.mapped > usage.resident && usage.memory > 0.0);
        assert!(usage.age < 600.0 && usage.created > 1.6e9);
        assert_eq!(info.username, sampler.myself(now).unwrap().username);
        assert_eq!(info.children.len(), 1);
        assert_eq!(sampler.reads(), 4 + 3 + 3 + 4, "three files each, and one for the children; the machine's once");
        for child in info.children.iter().map(|child| child.pid).chain([pid.as_raw()]) {
            crate::send(Pid::from_raw(child), circus_core::proto::Signal::KILL).unwrap();
        }
        assert_eq!(wait(pid), -9);
        assert_eq!(sampler.family(pid, now), None);
    }
}
