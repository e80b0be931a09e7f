//! Control groups (cgroups(7), version 2): one for each worker, below the group that was delegated to circusd.
//!
//! circusd makes groups beside nothing but itself: in its own group, or in the one above where its own is called
//! `circusd`. To give a group controllers, the kernel wants the group to have no processes, so circusd then moves itself,
//! and what it has started before, into `circusd` below it. The root of all groups is free of that rule.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Pid, eaccess};

use circus_core::config::GroupFile;
use circus_core::proto::{Signal, SpawnError, Stage};

use super::kill::Handle;
use super::leftovers::ProcessIdentity;
use super::process::Proc;

/// The group that circusd itself moves into.
const OWN: &str = "circusd";
/// What the names of workers' groups begin with: no file of the kernel does.
const PREFIX: &str = "worker.";
/// Groups of one name, left by circusds before this one, after which no other is tried.
const MOST_NAMESAKES: u32 = 100;
/// Looks at a group after which no more processes are waited for, where the kernel cannot kill a group at once.
const MAX_PASSES: usize = 50;
/// The longest part of a watcher's name in that of a group, which has 255 bytes at most.
const NAME_MAX: usize = 150;

/// The group below which circusd makes those of its workers.
#[derive(Clone, Debug)]
pub struct CgroupHome {
    folder: PathBuf,
}

impl CgroupHome {
    /// The group that is delegated to circusd; or, in words, why there is none.
    pub fn find() -> Result<Self, String> {
        let folder = own_folder()?;
        let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == OWN));
        let folder = above.map_or_else(|| folder.clone(), Path::to_owned);
        for (path, access) in
            [(folder.clone(), AccessFlags::W_OK | AccessFlags::X_OK), (folder.join("cgroup.procs"), AccessFlags::W_OK)]
        {
            eaccess(&path, access).map_err(|errno| {
                let text = io::Error::from(errno);
                format!("the control group of circusd is not delegated to it: {}: {text}", path.display())
            })?;
        }
        Ok(Self { folder })
    }

    /// This folder, which looks like one.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Makes a group for a worker, with these bounds.
    pub fn make(&self, watcher: &str, wid: u32, serial: u64, files: &[GroupFile]) -> Result<Cgroup, SpawnError> {
        for file in files {
            self.enable(file)?;
        }
        // It counts the ends by a lack of memory. Where it is not to be had, nothing else suffers.
        let _without = fs::write(self.folder.join("cgroup.subtree_control"), "+memory");
        let group = self.make_folder(&format!("{PREFIX}{}.{wid}.{serial}", escaped(watcher)))?;
        for file in files {
            if let Err(error) = fs::write(group.folder.join(file.name), &file.text) {
                group.remove();
                return Err(failed(&error, format!("{} = {} ({})", file.name, file.text, file.option)));
            }
        }
        Ok(group)
    }

    fn make_folder(&self, name: &str) -> Result<Cgroup, SpawnError> {
        let mut number = 0;
        loop {
            let suffix = if number == 0 { String::new() } else { format!(".{number}") };
            let folder = self.folder.join(format!("{name}{suffix}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Cgroup { folder }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_NAMESAKES => number += 1,
                Err(error) => return Err(failed(&error, folder.display().to_string())),
            }
        }
    }

    /// Gives the groups of workers a controller.
    fn enable(&self, file: &GroupFile) -> Result<(), SpawnError> {
        let (controller, list) = (file.controller, self.folder.join("cgroup.subtree_control"));
        let has = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            (text.split_whitespace().any(|word| word == controller), text.trim().to_owned())
        };
        if has(&list).0 {
            return Ok(());
        }
        if let (false, delegated) = has(&self.folder.join("cgroup.controllers")) {
            let (option, folder) = (file.option, self.folder.display());
            let detail = format!("{option} needs the controller {controller}, and those of {folder} are: {delegated}");
            return Err(SpawnError { stage: Stage::Cgroup, errno: 0, detail });
        }
        let enable = || fs::write(&list, format!("+{controller}"));
        let result = match enable() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                self.move_own_processes().and_then(|()| enable())
            }
            result => result,
        };
        result.map_err(|error| failed(&error, format!("+{controller} in {}", list.display())))
    }

    /// Moves circusd and all that it has started, as far as they are in this group, into a group of their own.
    fn move_own_processes(&self) -> io::Result<()> {
        let own = self.folder.join(OWN);
        if !own.is_dir() {
            fs::create_dir(&own)?;
        }
        let us = Pid::this();
        let family = Proc::default().descendants(us);
        for pid in pids_in(&self.folder).into_iter().filter(|pid| *pid == us || family.contains(pid)) {
            match fs::write(own.join("cgroup.procs"), pid.to_string()) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Removes the groups of workers that no process is left of, those of circusds before this one.
    pub fn sweep(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        for group in groups {
            let _kept = Cgroup { folder: group.path() }.remove();
        }
    }
}

/// Where the group of this process is; or, in words, why it has none.
pub(super) fn own_folder() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    folder_of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
}

/// Where the group of a process is, by its own `/proc/PID/mountinfo` and `/proc/PID/cgroup`.
fn folder_of(mounts: &str, groups: &str) -> Result<PathBuf, String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or("the kernel has no cgroup v2")?;
    if path.starts_with("/..") {
        return Err(format!("the control group of circusd, {path}, is outside of its cgroup namespace"));
    }
    // `36 35 98:0 /root /mount/point options - cgroup2 ...`
    let mounted = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        (after.split(' ').next() == Some("cgroup2")).then_some((fields.next()?, fields.next()?))
    });
    let mut found = mounted.filter_map(|(root, point)| {
        let below = if root == "/" {
            Some(path)
        } else {
            path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Some((unescaped(point), below?))
    });
    let (point, below) = found.next_back().ok_or("no cgroup v2 is mounted that has the control group of circusd")?;
    Ok(Path::new(&point).join(below.trim_start_matches('/')))
}

/// Blanks and backslashes of a path in mountinfo stand as octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |text, (code, character)| text.replace(code, character))
}

/// A watcher's name as part of the name of a folder.
fn escaped(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    name.chars().map(plain).take(NAME_MAX).collect()
}

fn failed(error: &io::Error, detail: String) -> SpawnError {
    SpawnError { stage: Stage::Cgroup, errno: error.raw_os_error().unwrap_or(0), detail }
}

fn pids_in(folder: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process that this pid namespace does not have.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The group of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// The one at this path.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The group of a worker that an earlier circusd has started, if that gave it one.
    pub fn of(pid: Pid) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let folder = folder_of(&mounts, &group).ok()?;
        // The worker may have made groups of its own below.
        let is_worker =
            |folder: &&Path| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        folder.ancestors().find(is_worker).map(Self::at)
    }

    /// For the start of a process in it.
    pub fn open(&self) -> Result<OwnedFd, SpawnError> {
        let open = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&self.folder);
        open.map(OwnedFd::from).map_err(|error| failed(&error, self.folder.display().to_string()))
    }

    /// The group and those below it.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.folder.clone()];
        let mut next = 0;
        while let Some(folder) = folders.get(next) {
            let below = folders_in(folder);
            folders.extend(below);
            next += 1;
        }
        folders
    }

    /// The processes in it.
    pub fn processes(&self, proc: &Proc) -> Vec<ProcessIdentity> {
        let pids = self.folders().into_iter().flat_map(|folder| pids_in(&folder));
        let stats = pids.filter_map(|pid| proc.stat(pid));
        stats.filter(|stat| !stat.zombie && stat.pid != Pid::this()).map(|stat| ProcessIdentity::from(&stat)).collect()
    }

    /// Sends a signal to every process in it, and to none that has one of their pids.
    pub fn send(&self, proc: &Proc, signal: Signal) {
        if signal == Signal::KILL {
            return self.kill(proc);
        }
        let members = self.processes(proc);
        for member in members {
            let handle = Handle::open(member.pid);
            // Behind the handle the pid cannot change hands: it is still in the group, so it is meant.
            if proc.started(member.pid) == Some(member.started) && Self::of(member.pid).as_ref() == Some(self) {
                let _gone = handle.send(member.pid, signal);
            }
        }
    }

    /// Kills every process in it, those included that are being forked.
    pub fn kill(&self, proc: &Proc) {
        // Before Linux 5.14 the kernel has no such file.
        if fs::OpenOptions::new()
            .write(true)
            .open(self.folder.join("cgroup.kill"))
            .and_then(|mut file| io::Write::write_all(&mut file, b"1"))
            .is_ok()
        {
            return;
        }
        for _ in 0..MAX_PASSES {
            let members = self.processes(proc);
            if members.is_empty() {
                return;
            }
            members.iter().for_each(|member| member.send(proc, Signal::KILL));
        }
    }

    /// How many processes of it the kernel has killed because memory ran out, since it was made.
    pub fn oom_kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let count = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        count("oom_kill ").unwrap_or(0)
    }

    /// Removes it, with groups that the worker has made below. Whether it is gone: it stays while it has processes.
    pub fn remove(&self) -> bool {
        let removed = self.folders().into_iter().rev().all(|folder| fs::remove_dir(folder).is_ok());
        removed || !self.folder.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
        31 25 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
        41 31 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn own_group_is_where_the_kernel_says() {
        let found = |groups: &str| folder_of(MOUNTS, groups).map(|folder| folder.to_str().unwrap().to_owned());
        assert_eq!(found("4:memory:/x\n0::/\n"), Ok("/sys/fs/cgroup/unified/".into()));
        assert_eq!(found("0::/a/b.service\n"), Ok("/sys/fs/cgroup/unified/a/b.service".into()));
        assert_eq!(found("4:memory:/x\n"), Err("the kernel has no cgroup v2".into()));
        assert!(found("0::/../x\n").unwrap_err().contains("outside"));
        let container = "41 31 0:37 /docker/1 /my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_eq!(folder_of(container, "0::/docker/1/x\n"), Ok("/my groups/x".into()));
        assert!(folder_of(container, "0::/docker/12\n").unwrap_err().contains("no cgroup v2 is mounted"));
        assert!(folder_of("", "0::/\n").is_err());
    }

    /// A folder that looks like a group with these controllers.
    fn home(controllers: &str, enabled: &str) -> (tempfile::TempDir, CgroupHome) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(folder.path().join("cgroup.subtree_control"), enabled).unwrap();
        let home = CgroupHome::at(folder.path());
        (folder, home)
    }

    fn file(controller: &'static str, name: &'static str, text: &str) -> GroupFile {
        GroupFile { controller, name, text: text.into(), option: "memory_max" }
    }

    #[test]
    fn group_has_its_bounds_and_its_name() {
        let (folder, home) = home("cpu memory pids\n", "\n");
        let files = [file("memory", "memory.max", "1048576"), file("pids", "pids.max", "7")];
        let group = home.make("a b/c", 2, 17, &files).unwrap();
        assert_eq!(group.folder(), folder.path().join("worker.a_b_c.2.17"));
        assert_eq!(fs::read_to_string(group.folder().join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(group.folder().join("pids.max")).unwrap(), "7");
        let other = home.make("a b/c", 2, 17, &[]).unwrap();
        assert_eq!(other.folder(), folder.path().join("worker.a_b_c.2.17.1"), "one of an earlier circusd is there");
        assert!(home.make(&"x".repeat(1000), 1, 1, &[]).is_ok());
    }

    #[test]
    fn controller_that_is_not_delegated_is_named() {
        let (_folder, home) = home("hugetlb pids\n", "\n");
        let error = home.make("w", 1, 0, &[file("memory", "memory.max", "1")]).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Cgroup, 0));
        assert!(error.detail.starts_with("memory_max needs the controller memory"), "{}", error.detail);
        assert!(error.detail.ends_with("are: hugetlb pids"), "{}", error.detail);
    }

    #[test]
    fn bound_that_is_refused_leaves_no_group() {
        let (folder, home) = home("memory\n", "memory\n");
        let error = home.make("w", 1, 0, &[file("memory", "no/such", "1")]).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Cgroup, libc::ENOENT));
        assert_eq!(error.detail, "no/such = 1 (memory_max)");
        assert!(folders_in(folder.path()).is_empty());
    }

    #[test]
    fn ends_by_a_lack_of_memory_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let group = Cgroup::at(folder.path());
        assert_eq!(group.oom_kills(), 0);
        fs::write(folder.path().join("memory.events"), "low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n")
            .unwrap();
        assert_eq!(group.oom_kills(), 1);
    }

    #[test]
    fn empty_groups_of_workers_are_swept_with_what_is_below() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["worker.w.1.0/below/more", "worker.w.2.0", "circusd", "other"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // As a group with processes cannot be removed.
        fs::write(folder.path().join("worker.w.2.0/file"), "").unwrap();
        CgroupHome::at(folder.path()).sweep();
        let mut left: Vec<_> =
            folders_in(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["circusd", "other", "worker.w.2.0"]);
    }
}
