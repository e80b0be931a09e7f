//! `cgroup = yes`: a control group for each worker. A test makes the group that is delegated to its circusd.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, Process, Site, wait_until};

/// Where cgroup v2 is mounted. Every kernel that circusd runs on has it, and root may mount it.
fn mounted() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    });
    point.expect("cgroup v2 is mounted: mount -t cgroup2 cgroup2 /mnt")
}

/// A group that is delegated to a circusd, which is started in it. It is removed at the end, with what is below.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Self {
        let folder = mounted().join(format!("circus-it-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Starts circusd in it with these sections.
    #[track_caller]
    fn start(&self, sections: &str) -> Circusd {
        let site = Site::new();
        let ini = site.ini("circus.ini", sections);
        let ours = site.circusd();
        let mut command = site.command("/bin/sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        command.arg(ours.get_program()).args(ours.get_args()).arg(ini);
        let mut circusd = Circusd::launch_by(site, command);
        circusd.wait_until_it_listens();
        circusd
    }

    /// The groups of workers.
    fn groups(&self) -> Vec<PathBuf> {
        below(&self.0).into_iter().filter(|path| name(path).starts_with("worker.")).collect()
    }

    #[track_caller]
    fn wait_until_empty(&self) {
        wait_until("no group of a worker is left", || self.groups().is_empty());
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for group in self.groups() {
            drop(std::fs::write(group.join("cgroup.kill"), "1"));
            drop(std::fs::remove_dir(group));
        }
        drop(std::fs::remove_dir(self.0.join("circusd")));
        drop(std::fs::remove_dir(&self.0));
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The name of a process's group of version 2.
fn group_of(process: Process) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", process.0)).unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A worker that has a child, and a grandchild in a session of its own that ignores SIGTERM and whose parent has ended:
/// nothing but the group says whose it is.
const FAMILY: &str = "cmd = {knobs} child 'say ready' child 'child session+ignore+say+ready exit 0' say ready
                      stdout_stream.filename = {dir}/w.log
                      graceful_timeout = 0.3
                      cgroup = yes";

/// The worker, and its two descendants.
#[track_caller]
fn family(circusd: &Circusd) -> (Process, Vec<Process>) {
    wait_until("every process is ready", || circusd.read("w.log").matches("ready\n").count() == 3);
    let worker = circusd.workers("w")[0];
    let mut others = Vec::new();
    wait_until("the one between has ended", || {
        others = circusd.inhabitants();
        others.retain(|one| ![worker, circusd.process()].contains(one));
        others.len() == 2
    });
    (worker, others)
}

fn stop(circusd: &Circusd) {
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
}

#[test]
#[ignore = "needs root"]
fn each_worker_and_what_it_starts_has_a_group_that_goes_with_it() {
    let delegated = Delegated::new("each");
    let circusd = delegated.start(&format!("[watcher:w]\n{FAMILY}"));
    let (worker, others) = family(&circusd);
    let group = group_of(worker);
    assert!(group.starts_with("worker.w.1."), "{group}");
    assert!(others.iter().all(|other| group_of(*other) == group));
    assert!(!group_of(circusd.process()).starts_with("worker."));
    circusd.tell("incr", json!({"name": "w", "waiting": true}));
    let workers = circusd.wait_for_workers("w", 2);
    let groups = workers.iter().map(|worker| group_of(*worker)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((groups.len(), delegated.groups().len()), (2, 2), "{groups:?}");
    stop(&circusd);
    assert!(!others.iter().any(|other| other.lives()), "also the one that no session and no parent tells of");
    delegated.wait_until_empty();
}

#[test]
#[ignore = "needs root"]
fn stop_signal_and_sigkill_reach_the_whole_group() {
    let delegated = Delegated::new("mode");
    let circusd = delegated.start(&format!("[watcher:w]\nkill_mode = cgroup\nstop_signal = HUP\n{FAMILY}"));
    let (worker, others) = family(&circusd);
    stop(&circusd);
    assert!(![worker].iter().chain(&others).any(|one| one.lives()));
    assert_eq!(circusd.log().matches("was killed").count(), 0, "SIGHUP ends all of them: {}", circusd.log());
    delegated.wait_until_empty();
    circusd.tell("set", json!({"name": "w", "options": {"stop_signal": 15}}));
    circusd.write("w.log", "");
    circusd.tell("start", json!({"name": "w", "waiting": true}));
    wait_until("the next family is ready", || circusd.inhabitants().len() == 1 + 3);
    stop(&circusd);
    assert_eq!(circusd.inhabitants(), [circusd.process()], "the one that ignores SIGTERM is killed");
}

#[test]
#[ignore = "needs root"]
fn what_a_killed_worker_leaves_is_ended_before_its_successor_starts() {
    let delegated = Delegated::new("left");
    let circusd = delegated.start(&format!("[watcher:w]\n{FAMILY}"));
    let (worker, others) = family(&circusd);
    let mut events = circusd.events();
    worker.send(Signal::SIGKILL);
    let story = events.until("w", "spawn");
    assert!(!others.iter().any(|other| other.lives()));
    assert!(story.iter().any(|one| one.what == "reap" && one.pid() == worker.0 && one.body["exit_code"] == -9));
    assert!(story.iter().all(|one| one.body.get("oom").is_none()), "memory had nothing to do with it");
}

#[test]
#[ignore = "needs root"]
fn orphans_that_are_kept_keep_their_group() {
    let delegated = Delegated::new("keep");
    let mut circusd = delegated.start(&format!("[watcher:w]\norphans = keep\n{FAMILY}"));
    let (_, others) = family(&circusd);
    stop(&circusd);
    assert_eq!(delegated.groups().len(), 1);
    let alive: Vec<&Process> = others.iter().filter(|other| other.lives()).collect();
    assert!(!alive.is_empty());
    alive.iter().for_each(|other| other.send(Signal::SIGKILL));
    wait_until("they have ended", || !others.iter().any(|other| other.lives()));
    circusd.quit();
    delegated.wait_until_empty();
}

#[test]
#[ignore = "needs root"]
fn upgrade_keeps_groups() {
    let delegated = Delegated::new("upgrade");
    let circusd = delegated.start(&format!("[watcher:w]\nkill_mode = cgroup\n{FAMILY}"));
    let (worker, others) = family(&circusd);
    let group = group_of(worker);
    circusd.tell("upgrade", json!({}));
    assert_eq!((circusd.workers("w"), group_of(worker)), (vec![worker], group));
    stop(&circusd);
    assert!(![worker].iter().chain(&others).any(|one| one.lives()));
    delegated.wait_until_empty();
}

#[test]
#[ignore = "needs root"]
fn workers_of_a_killed_circusd_are_adopted_with_their_groups() {
    let delegated = Delegated::new("adopt");
    let mut circusd = delegated.start(&format!(
        "[circus]\nstate_file = {{dir}}/state\non_orphans = adopt\n[watcher:w]\nkill_mode = cgroup\n{FAMILY}"
    ));
    let (worker, others) = family(&circusd);
    let group = group_of(worker);
    wait_until("the state file names it", || circusd.read("state").contains(&format!("\"pid\":{},", worker.0)));
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    circusd.restart();
    assert_eq!((circusd.wait_for_workers("w", 1), group_of(worker)), (vec![worker], group));
    stop(&circusd);
    assert!(![worker].iter().chain(&others).any(|one| one.lives()), "{}", circusd.log());
    delegated.wait_until_empty();
}

#[test]
#[ignore = "needs root"]
fn without_a_delegated_group_nothing_starts_and_the_reason_is_told() {
    let site = Site::new();
    let ini = site
        .ini("circus.ini", "[watcher:w]\ncmd = {knobs}\ncgroup = yes\nmax_retry = 1\n[watcher:other]\ncmd = {knobs}");
    let ours = site.circusd();
    let alone = |site: &Site, arguments: &[&str]| {
        let mut command = site.command("unshare");
        let script = "for point in $(grep -w cgroup2 /proc/mounts | cut -d' ' -f2); do umount -l $point; done; exec \"$0\" \"$@\"";
        command.args(["-m", "sh", "-c", script]).arg(ours.get_program()).args(ours.get_args()).args(arguments);
        command
    };
    let reason = "no cgroup v2 is mounted";
    let mut check = alone(&site, &["--check", ini.to_str().unwrap()]);
    let checked = check.output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(text.contains("circus.ini:3: warning: [watcher:w] cgroup:") && text.contains(reason), "{text}");
    let command = alone(&site, &[ini.to_str().unwrap()]);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    circusd.wait_for_log("w has stopped");
    assert!(circusd.log().contains(&format!("failed to give it a control group: {reason}")), "{}", circusd.log());
    assert!(circusd.log().contains("stage=cgroup"));
    circusd.wait_for_workers("other", 1);
}

/// Whether the groups below the mount can have this controller.
fn has(controller: &str) -> bool {
    let text = std::fs::read_to_string(mounted().join("cgroup.controllers")).unwrap();
    text.split_whitespace().any(|word| word == controller)
}

/// Has the root of all groups give those below it a controller.
fn delegate(controller: &str) {
    std::fs::write(mounted().join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
}

/// Where version 1 has the controllers, as on machines with both, version 2 lacks them, and that is what is told.
#[track_caller]
fn assert_lacks(delegated: &Delegated, option: &str, controller: &str) {
    let circusd = delegated.start(&format!("[watcher:w]\ncmd = {{knobs}}\ncgroup = yes\nmax_retry = 1\n{option}"));
    circusd.wait_for_log("w has stopped");
    assert!(circusd.log().contains(&format!("needs the controller {controller}")), "{}", circusd.log());
    assert!(delegated.groups().is_empty());
}

#[test]
#[ignore = "needs root"]
fn death_for_lack_of_memory_is_called_that() {
    let delegated = Delegated::new("memory");
    if !has("memory") {
        return assert_lacks(&delegated, "memory_max = 32M", "memory");
    }
    delegate("memory");
    let circusd = delegated.start(
        "[watcher:w]
         cmd = {knobs} until {dir}/go hold 256
         cgroup = yes
         memory_max = 32M
         respawn = no",
    );
    let mut events = circusd.events();
    let [worker] = circusd.wait_for_workers("w", 1)[..] else { unreachable!() };
    let group = delegated.groups()[0].clone();
    assert_eq!(std::fs::read_to_string(group.join("memory.max")).unwrap().trim(), (32 << 20).to_string());
    // circusd itself has moved away, so that the group may have controllers.
    assert_eq!(group_of(circusd.process()), "circusd");
    drop(std::fs::write(group.join("memory.swap.max"), "0"));
    circusd.write("go", "");
    let story = events.until("w", "reap");
    assert_eq!((story.last().unwrap().pid(), &story.last().unwrap().body["oom"]), (worker.0, &Value::Bool(true)));
    assert_eq!(circusd.details("w")["last_exit"]["oom"], true);
    let why = circusd.tell("why", json!({"name": "w"})).to_string();
    assert!(why.contains("by the kernel because memory ran out in its control group"), "{why}");
    delegated.wait_until_empty();
}

#[test]
#[ignore = "needs root"]
fn bounds_are_written_to_the_group() {
    let delegated = Delegated::new("bounds");
    let all =
        [("cpu", "cpu_max = 0.5"), ("pids", "pids_max = 9"), ("io", "io_weight = 50"), ("memory", "memory_high = 64M")];
    if let Some((controller, option)) = all.iter().find(|(controller, _)| !has(controller)) {
        return assert_lacks(&delegated, option, controller);
    }
    all.iter().for_each(|(controller, _)| delegate(controller));
    let options: Vec<&str> = all.iter().map(|(_, option)| *option).collect();
    let circusd = delegated.start(&format!("[watcher:w]\ncmd = {{knobs}}\ncgroup = yes\n{}", options.join("\n")));
    circusd.wait_for_workers("w", 1);
    let group = delegated.groups()[0].clone();
    let read = |name: &str| std::fs::read_to_string(group.join(name)).unwrap().trim().to_owned();
    assert_eq!((read("cpu.max"), read("pids.max")), ("50000 100000".to_owned(), "9".to_owned()));
    assert_eq!((read("io.weight"), read("memory.high")), ("default 50".to_owned(), (64 << 20).to_string()));
}
