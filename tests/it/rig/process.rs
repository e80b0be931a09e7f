//! Processes, as /proc shows them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process by its number. What is asked of one that has gone is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process(pub(crate) i32);

impl Process {
    /// Every process of this machine.
    pub(crate) fn all() -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Self)).collect()
    }

    /// Every process whose working directory is this one.
    pub(crate) fn in_directory(directory: &Path) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.cwd().is_some_and(|cwd| cwd.starts_with(directory))).collect()
    }

    /// Sends a signal. To one that has gone, nothing happens.
    pub(crate) fn send(self, signal: Signal) {
        let _gone = kill(Pid::from_raw(self.0), signal);
    }

    /// Whether it runs: a zombie does not.
    pub(crate) fn lives(self) -> bool {
        self.state().is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// `R`, `S`, `T`, `Z` ...
    pub(crate) fn state(self) -> Option<char> {
        self.stat(0)?.chars().next()
    }

    /// Whether its exec is done: in the middle of it a process has neither arguments nor an environment.
    pub(crate) fn has_its_program(self) -> bool {
        // `env_end`, which the kernel sets last.
        self.stat(48).is_some_and(|end| end != "0")
    }

    pub(crate) fn parent(self) -> Option<Self> {
        self.stat(1)?.parse().ok().map(Self)
    }

    /// The number of its process group.
    pub(crate) fn group(self) -> Option<i32> {
        self.stat(2)?.parse().ok()
    }

    /// Its children, those included that have ended and were not reaped.
    pub(crate) fn children(self) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.parent() == Some(self)).collect()
    }

    pub(crate) fn zombies(self) -> usize {
        self.children().into_iter().filter(|child| child.state() == Some('Z')).count()
    }

    /// Its open descriptors: what each number is.
    pub(crate) fn fds(self) -> BTreeMap<i32, PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.file("fd")) else { return BTreeMap::new() };
        let entry = |entry: std::fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, std::fs::read_link(entry.path()).ok()?))
        };
        entries.flatten().filter_map(entry).collect()
    }

    /// Whether it has this socket.
    pub(crate) fn has_socket(self, inode: u64) -> bool {
        let name = PathBuf::from(format!("socket:[{inode}]"));
        self.fds().values().any(|fd| *fd == name)
    }

    pub(crate) fn fd_numbers(self) -> Vec<i32> {
        self.fds().into_keys().collect()
    }

    /// The words of its command line.
    pub(crate) fn argv(self) -> Vec<String> {
        self.strings("cmdline")
    }

    pub(crate) fn environment(self) -> BTreeMap<String, String> {
        let split = |variable: String| variable.split_once('=').map(|(name, value)| (name.into(), value.into()));
        self.strings("environ").into_iter().filter_map(split).collect()
    }

    /// Soft and hard limit of open files.
    pub(crate) fn open_files(self) -> (u64, u64) {
        let limits = std::fs::read_to_string(self.file("limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// A line of `status`, as a number: `VmRSS`, `Uid` ...
    pub(crate) fn status(self, key: &str) -> u64 {
        Self::number_in(&self.file("status"), key).unwrap()
    }

    /// How often its threads have gone to sleep, all together.
    pub(crate) fn voluntary_switches(self) -> u64 {
        let threads = std::fs::read_dir(self.file("task")).unwrap().flatten();
        threads.filter_map(|thread| Self::number_in(&thread.path().join("status"), "voluntary_ctxt_switches")).sum()
    }

    /// Nothing where the process or thread has ended.
    fn number_in(file: &Path, key: &str) -> Option<u64> {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
        Some(line.split_whitespace().next().unwrap().parse().unwrap())
    }

    fn cwd(self) -> Option<PathBuf> {
        std::fs::read_link(self.file("cwd")).ok()
    }

    fn file(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }

    fn strings(self, name: &str) -> Vec<String> {
        let bytes = std::fs::read(self.file(name)).unwrap_or_default();
        let strings = bytes.split(|byte| *byte == 0).map(|string| String::from_utf8_lossy(string).into_owned());
        let mut strings: Vec<String> = strings.collect();
        strings.pop();
        strings
    }

    /// Processor time of its own, in ticks of 10 ms.
    pub(crate) fn busy(self) -> u64 {
        [11, 12].into_iter().filter_map(|index| self.stat(index)?.parse::<u64>().ok()).sum()
    }

    /// The same of its thread of this name, or of its first.
    pub(crate) fn busy_thread(self, name: Option<&str>) -> u64 {
        let tasks = std::fs::read_dir(self.file("task")).unwrap().map(|task| task.unwrap().path());
        let wanted = |task: &PathBuf| match name {
            Some(name) => std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name),
            None => task.ends_with(self.0.to_string()),
        };
        let task = tasks.into_iter().find(wanted).unwrap();
        let stat = |index| stat(&task.join("stat"), index)?.parse::<u64>().ok();
        [11, 12].into_iter().filter_map(stat).sum()
    }

    fn stat(self, index: usize) -> Option<String> {
        stat(&self.file("stat"), index)
    }
}

/// A word of a `stat` file after the name, which may contain anything and stands in parentheses.
fn stat(file: &Path, index: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(index).map(str::to_owned)
}
