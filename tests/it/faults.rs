//! System calls that fail: circusd lives, says what failed and recovers, or refuses to start and leaves nothing behind.
//!
//! The calls fail in the program as it is installed: `faults/shim.c`, which is compiled here and loaded with LD_PRELOAD,
//! stands between circusd and the C library. So nothing of it is in circusd, and nothing is to be switched off in a release.
//! ptrace and seccomp were the other ways: a filter of seccomp cannot count, its listener and ptrace stop the process at
//! each call and need rights that containers do not give. What the shim cannot reach: calls that do not go through the C
//! library (there are none outside of it), the heap's own mmap (Rust ends the process where memory is refused), and libzmq,
//! which ends the process where its own descriptors fail, by design (its epoll is the one that a test meets).
//!
//! Here every call fails at its 1st, 2nd, 3rd, 5th, 8th ... occurrence in a start, and at its 1st, 3rd and 8th of a round of
//! commands; `CIRCUS_FAULTS_ALL=1` tries every one.
#![expect(clippy::disallowed_methods, reason = "a test compiles what it needs, and reads its own knobs")]

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Site, look_until, wait_until};

/// What fails: the name of a call in the shim, and with which errors.
const FAULTS: &[(&str, &[Errno])] = &[
    ("open", &[Errno::EMFILE, Errno::ENOMEM, Errno::EIO]),
    ("read", &[Errno::EIO, Errno::EINTR]),
    ("write", &[Errno::ENOSPC, Errno::EIO, Errno::EINTR]),
    ("pipe", &[Errno::EMFILE, Errno::ENFILE]),
    ("dup", &[Errno::EMFILE]),
    ("dup2", &[Errno::EBUSY]),
    ("fcntl", &[Errno::EINVAL]),
    ("fork", &[Errno::EAGAIN, Errno::ENOMEM]),
    ("exec", &[Errno::ENOMEM]),
    ("wait", &[Errno::EINTR]),
    ("kill", &[Errno::ESRCH, Errno::EPERM]),
    ("pidfd_open", &[Errno::EMFILE, Errno::ESRCH]),
    ("socket", &[Errno::EMFILE, Errno::ENOMEM]),
    ("bind", &[Errno::EADDRINUSE]),
    ("listen", &[Errno::EADDRINUSE]),
    ("epoll_create", &[Errno::EMFILE]),
    ("epoll_ctl", &[Errno::ENOMEM, Errno::ENOSPC]),
    ("epoll_wait", &[Errno::EINTR]),
    ("rename", &[Errno::EACCES, Errno::ENOSPC]),
    ("unlink", &[Errno::EACCES]),
    ("ftruncate", &[Errno::EIO]),
    ("fsync", &[Errno::EIO]),
    ("memfd", &[Errno::EMFILE]),
    ("inotify", &[Errno::EMFILE]),
    ("chdir", &[Errno::EACCES]),
    ("setsid", &[Errno::EPERM]),
    ("subreaper", &[Errno::EINVAL]),
    ("send", &[Errno::ENOBUFS, Errno::EAGAIN]),
    ("receive", &[Errno::EINTR, Errno::ENOMEM]),
];

/// The layout of the shim's plan.
const LENGTH: u64 = 64;
const ARMED: u64 = 44;
const FIRED: u64 = 52;
const AFTER_EXEC: u64 = 60;

/// The plan of a circusd, which the shim reads.
struct Plan(File);

impl Plan {
    fn new(path: &Path) -> Self {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.set_len(LENGTH).unwrap();
        Self(file)
    }

    /// From now on this call fails once, after so many others.
    fn arm(&self, call: &str, errno: Errno, skip: i32) {
        self.set(call, errno, skip);
        self.0.write_all_at(&1_i32.to_ne_bytes(), ARMED).unwrap();
    }

    /// In the program that circusd becomes next, this call fails once, after so many others.
    fn arm_next_program(&self, call: &str, errno: Errno, skip: i32) {
        self.set(call, errno, skip);
        self.0.write_all_at(&1_i32.to_ne_bytes(), AFTER_EXEC).unwrap();
    }

    fn set(&self, call: &str, errno: Errno, skip: i32) {
        self.disarm();
        let mut plan = [0; LENGTH as usize];
        plan[..call.len()].copy_from_slice(call.as_bytes());
        for (at, number) in [(32, errno as i32), (36, skip), (40, 1)] {
            plan[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        // Whose calls they are stays known.
        self.0.write_all_at(&plan[..44], 0).unwrap();
        self.0.write_all_at(&[0; 8], 48).unwrap();
    }

    fn disarm(&self) {
        self.0.write_all_at(&0_i32.to_ne_bytes(), AFTER_EXEC).unwrap();
        self.0.write_all_at(&0_i32.to_ne_bytes(), ARMED).unwrap();
    }

    fn has_fired(&self) -> bool {
        let mut number = [0; 4];
        self.0.read_exact_at(&mut number, FIRED).unwrap();
        i32::from_ne_bytes(number) > 0
    }
}

/// The shim, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let mut compiler = Command::new("cc");
        let done = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&to).arg(source).arg("-ldl").status();
        assert!(done.unwrap().success(), "the shim cannot be compiled");
        to
    })
}

fn site() -> (Site, Plan) {
    let site = Site::new();
    let plan = Plan::new(&site.path("plan"));
    site.ini(
        "circus.ini",
        "[circus]
         check_delay = 0.2
         state_file = {dir}/circusd.state
         [socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:w]
         cmd = {knobs} say hello
         working_dir = {dir}
         numprocesses = 2
         min_uptime = 0.05
         max_retry = -1
         graceful_timeout = 5
         stdout_stream.filename = {dir}/w.log
         stdout_stream.max_bytes = 100
         stdout_stream.backup_count = 2
         stderr_stream.class = MemoryStream",
    );
    (site, plan)
}

fn launch(site: Site) -> Circusd {
    let ini = site.path("circus.ini");
    let mut command = site.command("/bin/sh");
    command.args(["-c", "LD_PRELOAD=$SHIM; export LD_PRELOAD; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_circusd")]);
    command.arg(ini).env("SHIM", shim()).env("CIRCUS_FAULTS", site.path("plan"));
    Circusd::launch_by(site, command)
}

fn tries_all() -> bool {
    std::env::var_os("CIRCUS_FAULTS_ALL").is_some()
}

/// The occurrences that are tried: all, or fewer and fewer.
fn occurrences() -> impl Iterator<Item = i32> {
    let all = tries_all();
    let next = move |(now, next): &(i32, i32)| Some(if all { (now + 1, now + 2) } else { (*next, now + next) });
    std::iter::successors(Some((1, 2)), next).map(|(now, _)| now - 1)
}

/// Whether circusd has all its workers and answers.
fn is_well(circusd: &Circusd) -> bool {
    let ask = |command: &str, properties| {
        let object = json!({"command": command, "properties": properties}).as_object().cloned()?;
        circusd.client().call(object, Duration::from_secs(5)).ok()
    };
    let listed = ask("list", json!({"name": "w"}));
    let pids = listed.as_ref().and_then(|reply| reply.get("pids")).and_then(|pids| pids.as_array());
    pids.is_some_and(|pids| pids.len() == 2)
        && ask("status", json!({"name": "w"})).is_some_and(|reply| reply.get("status") == Some(&json!("active")))
}

/// What a circusd that could not start has said of it. It must have ended by itself.
#[track_caller]
fn assert_refused_cleanly(circusd: &mut Circusd, errno: Errno, what: &str) {
    let ended = circusd.wait_for_end();
    let log = circusd.log();
    // libzmq makes its epoll in the thread that starts it, and ends the process where it gets none.
    if log.contains("epoll.cpp") && ended.status.is_none() {
        return;
    }
    let bare = format!("circusd: error: {}", std::io::Error::from(errno));
    assert!(!log.lines().any(|line| line == bare), "{what}: it does not say what could not be done:\n{log}");
    assert!(ended.status.is_some_and(|status| status > 0), "{what}: ended with {ended:?}:\n{log}");
    assert!(!log.trim().is_empty() && !log.contains("panicked at"), "{what}: it says nothing of use:\n{log}");
    wait_until(&format!("{what}: nothing is left"), || circusd.inhabitants().is_empty());
}

/// Starts circusd with one fault. Says whether the call came so often.
fn start_with(call: &str, errno: Errno, skip: i32, refused: &mut BTreeSet<String>) -> bool {
    let what = format!("{call} fails with {errno} at its occurrence {}", skip + 1);
    let (site, plan) = site();
    plan.arm(call, errno, skip);
    let mut circusd = launch(site);
    let up = look_until(Duration::from_secs(20), || {
        if !circusd.lives() {
            return Some(false);
        }
        (circusd.log().contains("Arbiter now waiting for commands") && is_well(&circusd)).then_some(true)
    });
    plan.disarm();
    match up {
        Some(true) => circusd.quit(),
        Some(false) => {
            assert!(plan.has_fired(), "{what}: it was not the fault:\n{}", circusd.log());
            assert_refused_cleanly(&mut circusd, errno, &what);
            refused.insert(call.to_owned());
            // A killed circusd leaves them as well, and the next one replaces them.
            for name in ["control", "events", "circusd.pid"] {
                drop(std::fs::remove_file(circusd.path(name)));
            }
        }
        None => panic!("{what}: circusd neither runs nor ends:\n{}", circusd.log()),
    }
    plan.has_fired()
}

#[test]
fn circusd_starts_or_refuses_cleanly_whatever_call_fails() {
    let (mut tried, mut refused) = (0, BTreeSet::new());
    for (call, errors) in FAULTS {
        for errno in *errors {
            for skip in occurrences() {
                if !start_with(call, *errno, skip, &mut refused) {
                    break;
                }
                tried += 1;
            }
        }
    }
    println!("{tried} starts with a fault; refused: {refused:?}");
    assert!(tried > 50, "the faults do not reach circusd: {tried}");
}

/// Everything that circusd does again and again. Answers may be refusals.
fn live_through(circusd: &Circusd) {
    let mut client = circusd.client();
    let mut ask = |command: &str, properties| {
        let request = json!({"command": command, "properties": properties});
        drop(client.call(request.as_object().unwrap().clone(), Duration::from_secs(10)));
    };
    let first = circusd.workers("w").first().copied();
    if let Some(worker) = first {
        worker.send(Signal::SIGKILL);
    }
    ask("incr", json!({"name": "w"}));
    ask("tail", json!({"name": "w"}));
    ask("stats", json!({"name": "w"}));
    ask("decr", json!({"name": "w", "waiting": true}));
    ask(
        "add",
        json!({"name": "guest", "cmd": "sleep 1000", "start": true, "waiting": true,
        "options": {"stdout_stream": {"class": "MemoryStream"}}}),
    );
    ask("signal", json!({"name": "w", "signum": "cont"}));
    ask("reopenlogs", json!({}));
    ask("reload", json!({"name": "w", "waiting": true}));
    ask("rm", json!({"name": "guest", "waiting": true}));
    ask("set", json!({"name": "w", "options": {"numprocesses": 2}, "waiting": true}));
}

#[test]
fn circusd_lives_and_recovers_whatever_call_fails() {
    let (site, plan) = site();
    let mut circusd = launch(site);
    circusd.wait_until_it_listens();
    wait_until("it is well", || is_well(&circusd));
    let mut tried = 0;
    for (call, errors) in FAULTS {
        for errno in *errors {
            for skip in
                occurrences().take_while(|skip| *skip < 30).filter(|skip| tries_all() || [0, 2, 7].contains(skip))
            {
                let what = format!("{call} fails with {errno} at its occurrence {}", skip + 1);
                let before = circusd.log().len();
                plan.arm(call, *errno, skip);
                live_through(&circusd);
                let fired = plan.has_fired();
                plan.disarm();
                assert!(circusd.lives(), "{what}: circusd has ended:\n{}", &circusd.log()[before..]);
                let well = look_until(Duration::from_secs(20), || {
                    // A start that failed for the last time is for the operator to ask again.
                    circusd.ask("start", json!({"name": "w"}));
                    is_well(&circusd).then_some(())
                });
                assert!(well.is_some(), "{what}: circusd does not recover:\n{}", &circusd.log()[before..]);
                assert_eq!(circusd.process().zombies(), 0, "{what}");
                if !fired {
                    break;
                }
                tried += 1;
            }
        }
    }
    println!("{tried} faults while circusd runs");
    assert!(tried > 40, "the faults do not reach circusd: {tried}");
    circusd.quit();
}

/// Ten thousand grandchildren whose parents have gone: they become children of circusd, or, where the kernel does not let it
/// adopt them, of another process. (As PID 1 it is in `init`.)
#[test]
fn orphans_are_nobodys_trouble_with_and_without_a_subreaper() {
    for adopts in [true, false] {
        let site = Site::new();
        let plan = Plan::new(&site.path("plan"));
        site.ini(
            "circus.ini",
            "[watcher:w]
             cmd = /bin/sleep 1000
             numprocesses = 2
             [watcher:forker]
             cmd = /bin/sh -c 'i=0; while [ $i -lt 2500 ]; do (exit 3 &); i=$((i+1)); done; echo forked; exec sleep 1000'
             numprocesses = 4
             autostart = no
             stdout_stream.filename = {dir}/forker.log",
        );
        if !adopts {
            plan.arm("subreaper", Errno::EINVAL, 0);
        }
        let mut circusd = launch(site);
        circusd.wait_until_it_listens();
        assert_eq!(plan.has_fired(), !adopts);
        let healthy = circusd.wait_for_workers("w", 2);
        circusd.tell("start", json!({"name": "forker", "waiting": true}));
        let forkers = circusd.wait_for_workers("forker", 4);
        wait_until("they have come and gone", || circusd.read("forker.log").matches("forked\n").count() == 4);
        wait_until("only workers are left", || circusd.process().children().len() == 6);
        assert_eq!((circusd.workers("w"), circusd.workers("forker")), (healthy, forkers));
        assert!(!circusd.log().contains("worker exited"), "{}", circusd.log());
        circusd.quit();
    }
}

/// What a person would look for in the log, or is told by an answer.
#[test]
fn what_failed_is_said() {
    let (site, plan) = site();
    let mut circusd = launch(site);
    circusd.wait_until_it_listens();
    wait_until("it is well", || is_well(&circusd));
    for (call, errno, said) in [
        ("fork", Errno::EAGAIN, "Resource temporarily unavailable"),
        ("pipe", Errno::EMFILE, "Too many open files"),
        ("exec", Errno::ENOMEM, "Cannot allocate memory"),
        ("chdir", Errno::EACCES, "Permission denied"),
        ("write", Errno::ENOSPC, "No space left on device"),
        ("rename", Errno::EACCES, "Permission denied"),
    ] {
        let before = circusd.log().len();
        wait_until(&format!("{call} has failed and is told as '{said}'"), || {
            plan.arm(call, errno, 0);
            live_through(&circusd);
            let told = circusd.circusctl(&["why", "w"]).stdout;
            circusd.log()[before..].contains(said) || told.contains(said)
        });
        plan.disarm();
        circusd.ask("start", json!({"name": "w"}));
        wait_until("it is well again", || is_well(&circusd));
    }
    circusd.quit();
}

/// An upgrade is refused or done; either way no worker is lost.
#[test]
fn upgrade_loses_no_worker_whatever_call_fails_before_the_exec() {
    let (site, plan) = site();
    let mut circusd = launch(site);
    circusd.wait_until_it_listens();
    wait_until("it is well", || is_well(&circusd));
    let workers = circusd.workers("w");
    let (mut refused, mut done) = (0, 0);
    for (call, errno) in [
        ("memfd", Errno::EMFILE),
        ("pipe", Errno::EMFILE),
        ("fork", Errno::EAGAIN),
        ("exec", Errno::ENOMEM),
        ("dup", Errno::EMFILE),
        ("open", Errno::EMFILE),
        ("fcntl", Errno::EINVAL),
        ("write", Errno::ENOSPC),
    ] {
        for skip in 0..2 {
            let what = format!("{call} fails with {errno} at its occurrence {} in an upgrade", skip + 1);
            plan.arm(call, errno, skip);
            let request = json!({"command": "upgrade", "properties": {}});
            let reply = circusd.client().call(request.as_object().unwrap().clone(), Duration::from_secs(10));
            plan.disarm();
            assert!(circusd.lives(), "{what}: circusd has ended:\n{}", circusd.log());
            let well = look_until(Duration::from_secs(20), || is_well(&circusd).then_some(()));
            assert!(well.is_some(), "{what}: circusd is not well:\n{}", circusd.log());
            assert_eq!(circusd.workers("w"), workers, "{what}");
            match reply.ok().and_then(|reply| reply.get("status").cloned()) {
                Some(status) if status == "error" => refused += 1,
                _ => done += 1,
            }
        }
    }
    println!("{refused} upgrades were refused, {done} were done");
    assert!(refused > 2, "the faults do not reach the upgrade");
    circusd.quit();
}

/// The program that circusd becomes cannot go on with the state: circusd becomes again what it was, and says why.
#[test]
fn upgrade_goes_back_whatever_call_fails_after_the_exec() {
    let (site, plan) = site();
    let mut circusd = launch(site);
    circusd.wait_until_it_listens();
    wait_until("it is well", || is_well(&circusd));
    let workers = circusd.workers("w");
    let (mut back, mut done) = (0, 0);
    for (call, errno, most) in [
        ("open", Errno::EMFILE, 100),
        ("read", Errno::EIO, 100),
        ("pipe", Errno::EMFILE, 100),
        ("dup", Errno::EMFILE, 100),
        ("fcntl", Errno::EINVAL, 100),
        ("fork", Errno::EAGAIN, 100),
        ("socket", Errno::EMFILE, 100),
        // The next one is libzmq's own, and ends the process.
        ("epoll_create", Errno::EMFILE, 1),
        ("epoll_ctl", Errno::ENOMEM, 100),
        ("memfd", Errno::EMFILE, 100),
        ("inotify", Errno::EMFILE, 100),
    ] {
        for skip in occurrences().take_while(|skip| *skip < most) {
            let what = format!("{call} fails with {errno} at its occurrence {} after an upgrade", skip + 1);
            plan.arm_next_program(call, errno, skip);
            let request = json!({"command": "upgrade", "properties": {}});
            let reply = circusd.client().call(request.as_object().unwrap().clone(), Duration::from_secs(10));
            let fired = plan.has_fired();
            plan.disarm();
            assert!(circusd.lives(), "{what}: circusd has ended:\n{}", circusd.log());
            let well = look_until(Duration::from_secs(20), || is_well(&circusd).then_some(()));
            assert!(well.is_some(), "{what}: circusd is not well:\n{}", circusd.log());
            assert_eq!(circusd.workers("w"), workers, "{what}");
            let reply = reply.unwrap_or_else(|error| panic!("{what}: no answer: {error}\n{}", circusd.log()));
            if reply["status"] == "error" {
                let reason = reply["reason"].to_string();
                assert!(reason.contains("at the stage 'resume'"), "{what}: {reason}");
                back += 1;
            } else {
                done += 1;
            }
            if !fired {
                break;
            }
        }
    }
    println!("circusd went back {back} times, {done} upgrades were done");
    assert!(back > 5, "the faults do not reach the next program");
    circusd.quit();
}
