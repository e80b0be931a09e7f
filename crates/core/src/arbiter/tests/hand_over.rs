//! Hand-overs: another daemon reads the state, and everything that the one before had under way is asked for again.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Arbiter, Event, Exit, Intent, Pid, WatcherState, WorkerState};
use crate::base::saved::SavedError;
use crate::config::{CircusConfig, Hook, SocketConfig, StreamConfig, WatcherConfig};
use crate::proto::{HookPoint, Tail};

/// A state of the present version.
const SAMPLE: &[u8] = include_bytes!("state-v1.bin");

fn hooked(points: &[HookPoint]) -> WatcherConfig {
    watcher("w", |w| {
        for point in points {
            w.hooks.insert(*point, Hook { run: "exec:answer".into(), ignore_failure: false });
        }
    })
}

/// One watcher with these hooks, of which those that belong to its start have answered.
fn running(points: &[HookPoint]) -> Rig {
    let mut rig = Rig::unstarted(vec![hooked(points)], |_| {});
    rig.settle();
    while rig.state("w") != WatcherState::Active {
        rig.hook(Ok(true));
    }
    rig.said();
    rig
}

#[test]
fn idle_fleet_goes_on_without_a_word() {
    let mut rig = Rig::fleet(3);
    rig.hand_over();
    rig.expect([]);
    assert_eq!(rig.running("w"), [101, 102, 103]);
    rig.pass(2000);
    rig.exit(102, 1);
    rig.expect(["w.reap 102 1", "launch worker 2", "w.spawn 104"]);
    rig.assert_quiescent();
}

#[test]
fn unconfirmed_launch_is_tried_again() {
    let mut rig = Rig::unstarted(vec![watcher("w", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    rig.expect(["launch worker 1"]);
    rig.hand_over();
    rig.expect(["launch worker 1"]);
    let launch = rig.held.pop().unwrap();
    rig.answer(launch);
    rig.settle();
    rig.expect(["w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn process_of_an_unconfirmed_launch_is_let_go() {
    let mut rig = Rig::unstarted(vec![watcher("w", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    let worker = rig.held[0].worker;
    rig.tell(Event::Created { worker, pid: Pid(500) });
    rig.said();
    rig.hand_over();
    rig.expect(["launch worker 1"]);
    // The first daemon has ended it: its exit is not the worker's.
    rig.tell(Event::Exited(vec![Exit::new(Pid(500), -9)]));
    rig.expect([]);
    let launch = rig.held.pop().unwrap();
    assert_eq!(launch.worker, worker);
    rig.answer(launch);
    rig.settle();
    rig.expect(["w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn unconfirmed_launch_that_was_to_be_stopped_is_given_up() {
    let mut rig = Rig::unstarted(vec![watcher("w", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    rig.tell(Event::Created { worker: rig.held[0].worker, pid: Pid(500) });
    rig.alive.push(500);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.said();
    rig.alive.clear();
    rig.hand_over();
    rig.expect(["w.stop"]);
    assert!(rig.answer_to(stop).is_some());
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn figures_and_lines_are_asked_for_again() {
    let stream = StreamConfig { class: "MemoryStream".into(), options: Default::default() };
    let mut rig = Rig::new(vec![watcher("My App", |w| w.stdout_stream = Some(stream))]);
    let stats = rig.send_command("stats", json!({"name": "my app"}));
    let tail = rig.send_command("tail", json!({"name": "my app", "lines": 5}));
    let said = rig.said();
    assert_eq!(said, ["look at 101", "tail 5 of My App stdout"]);
    rig.hand_over();
    assert_eq!(rig.said(), said);
    rig.look();
    let job = rig.tails[0];
    rig.tell(Event::Tailed { job, tail: Tail::default() });
    assert_eq!(rig.answer_to(stats).unwrap()["info"]["101"]["wid"], 1);
    assert_eq!(rig.answer_to(tail).unwrap()["name"], "my app");
    rig.assert_quiescent();
}

#[test]
fn configuration_file_is_read_and_taken_over_again() {
    let mut rig = Rig::fleet(1);
    if let Ok(file) = &mut rig.file {
        file.sockets.push(SocketConfig::new("web"));
    }
    let reload = rig.send_command_held("reloadconfig", json!({"waiting": true}));
    // The file was to be read.
    rig.hand_over();
    assert_eq!(rig.answer_to(reload), None);
    let config = rig.file.clone().unwrap();
    rig.tell(Event::ConfigLoaded(Ok((Box::new(config), Vec::new()))));
    // It was to be taken over.
    rig.hold_files = false;
    rig.hand_over();
    rig.expect(["take over done"]);
    assert_eq!(rig.answer_to(reload).unwrap()["sockets"][0], json!({"name": "web", "change": "added"}));
    rig.assert_quiescent();
}

#[test]
fn sockets_are_opened_and_watched_again() {
    let socket = SocketConfig::new("web");
    let on_demand = watcher("w", |w| {
        w.on_demand = true;
        w.stdin_socket = Some("web".into());
    });
    let mut rig = Rig::with_sockets(vec![on_demand], CircusConfig::default(), vec![socket]);
    // The order to open them was not carried out.
    while rig.arbiter.poll_action().is_some() {}
    rig.hand_over();
    rig.expect(["watch web"]);
    rig.hand_over();
    rig.expect(["watch web"]);
    rig.tell(Event::Acceptable("web".into()));
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn hooks_that_something_waits_for_run_again_with_all_their_time() {
    let mut rig = Rig::unstarted(vec![hooked(&[HookPoint::BeforeStart, HookPoint::BeforeSpawn])], |_| {});
    rig.settle();
    rig.expect(["hook before_start"]);
    rig.pass(40_000);
    rig.hand_over();
    rig.expect(["hook before_start"]);
    // hook_timeout is 60 s.
    rig.pass(40_000);
    rig.expect([]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_start\"", "hook before_spawn wid 1"]);
    rig.hand_over();
    rig.expect(["hook before_spawn wid 1"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_spawn\"", "launch worker 1", "w.spawn 101", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn hooks_that_nothing_waits_for_run_again_too() {
    let mut rig = running(&[HookPoint::AfterReap]);
    rig.pass(2000);
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1", "hook after_reap wid 1 101 exit 1", "launch worker 1", "w.spawn 102"]);
    rig.hand_over();
    rig.expect(["hook after_reap wid 1 101 exit 1"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"after_reap\""]);
    rig.send_command("stop", json!({"name": "w"}));
    rig.exit(102, -15);
    rig.hook(Ok(true));
    rig.assert_quiescent();
}

#[test]
fn signal_waits_for_its_hook_after_a_hand_over_too() {
    let mut rig = running(&[HookPoint::BeforeSignal]);
    rig.send_command("stop", json!({"name": "w"}));
    rig.expect(["hook before_signal wid 1 101 SIGTERM"]);
    rig.hand_over();
    rig.expect(["hook before_signal wid 1 101 SIGTERM"]);
    rig.hook(Ok(true));
    rig.expect(["w.hook_success \"before_signal\"", "SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn hook_about_a_worker_that_is_gone_is_not_run_again() {
    let mut rig = running(&[HookPoint::BeforeSignal]);
    let signal = rig.send_command("signal", json!({"name": "w", "signum": 10, "waiting": true}));
    rig.expect(["hook before_signal wid 1 101 SIGUSR1"]);
    rig.pass(2000);
    rig.exit(101, 1);
    rig.said();
    rig.hand_over();
    rig.expect([]);
    assert_eq!(rig.answer_to(signal), Some(json!({})));
    rig.send_command("stop", json!({"name": "w"}));
    rig.hook(Ok(true));
    rig.exit(102, -15);
    rig.assert_quiescent();
}

#[test]
fn figures_are_extended_after_a_hand_over_too() {
    let mut rig = running(&[HookPoint::ExtendedStats]);
    let stats = rig.send_command("stats", json!({"name": "w", "extended": true}));
    rig.look();
    rig.said();
    rig.hand_over();
    rig.expect(["hook extended_stats wid 1 101"]);
    assert_eq!(rig.hooks[0].subject.stats.as_ref().unwrap()["wid"], 1);
    rig.hook(Ok(true));
    assert_eq!(rig.answer_to(stats).unwrap()["info"]["101"]["wid"], 1);
    rig.assert_quiescent();
}

#[test]
fn stop_deadline_passes_during_a_hand_over() {
    let mut rig = Rig::fleet(1);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.pass(4000);
    rig.hand_over();
    rig.expect([]);
    rig.pass(1000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    assert!(rig.answer_to(stop).is_some());
    rig.assert_quiescent();
}

/// A core with one of everything under way, always the same.
fn busy() -> Rig {
    let stream = StreamConfig { class: "MemoryStream".into(), options: Default::default() };
    let hook = Hook { run: "exec:answer".into(), ignore_failure: false };
    let app = watcher("app", |w| {
        w.stdout_stream = Some(stream);
        w.hooks.insert(HookPoint::BeforeSignal, hook);
    });
    let mut rig = Rig::new(vec![app, watcher("late", |w| w.autostart = false)]);
    rig.hold_launches = true;
    rig.send_command("start", json!({"name": "late", "waiting": true}));
    rig.send_command("stats", json!({"name": "app"}));
    rig.send_command("tail", json!({"name": "app"}));
    rig.send_command_held("reloadconfig", json!({}));
    rig.send_command("stop", json!({"name": "app", "waiting": true}));
    rig
}

#[expect(clippy::disallowed_methods, reason = "the test's own knob")]
fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// After a change of the state's shape: count [`crate::arbiter::STATE_VERSION`] up if a release has written the one
/// before, then write the sample with `BLESS=1`.
#[test]
fn sample_of_the_present_version_is_read() {
    let rig = busy();
    let written = rig.arbiter.save().unwrap();
    if is_blessing() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/arbiter/tests/state-v1.bin");
        #[expect(clippy::disallowed_methods, reason = "it writes the sample")]
        std::fs::write(path, &written).unwrap();
        return;
    }
    let read = Arbiter::restore(SAMPLE).expect("the sample can be read");
    assert_eq!(read, rig.arbiter, "the sample was read differently than it was written");
    assert_eq!(SAMPLE.len(), written.len(), "what is written now has another shape than the sample");
}

#[test]
fn sample_goes_on_where_it_stopped() {
    let mut rig = busy();
    rig.arbiter = Arbiter::restore(SAMPLE).unwrap();
    rig.said();
    rig.hold_files = false;
    rig.hand_over();
    let said = rig.said();
    let expected = ["look at 101", "tail 10 of app stdout", "hook before_signal wid 1 101 SIGTERM", "launch worker 1"];
    assert_eq!(said, expected);
    let late = rig.arbiter.view("late").unwrap();
    assert_eq!(late.workers[0].state, WorkerState::Starting { stop_pending: false });
    let launch = rig.held.pop().unwrap();
    rig.answer(launch);
    rig.settle();
    rig.look();
    let job = rig.tails[0];
    rig.tell(Event::Tailed { job, tail: Tail::default() });
    rig.hook(Ok(true));
    rig.exit(101, -15);
    // A start is answered when its workers have lived for min_uptime.
    rig.pass(1000);
    assert_eq!(rig.state("app"), WatcherState::Stopped);
    assert_eq!(rig.state("late"), WatcherState::Active);
    assert_eq!(rig.arbiter.pending_answers(), 0);
    rig.assert_quiescent();
}

#[test]
fn damaged_state_is_refused() {
    let bytes = Rig::fleet(1).arbiter.save().unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(Arbiter::restore(&damaged), Err(SavedError::Damaged)));
    assert!(matches!(Arbiter::restore(&bytes[..bytes.len() - 1]), Err(SavedError::Length { .. })));
    assert!(matches!(Arbiter::restore(b"[circus]"), Err(SavedError::NoState)));
}

/// Why the upgrade of this client has failed.
fn refusal(rig: &mut Rig, id: u64) -> String {
    rig.answer_to(id).unwrap()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn upgrade_is_answered_by_the_daemon_that_takes_over() {
    let mut rig = Rig::fleet(2);
    let upgrade = rig.send_command("upgrade", json!({"binary": "/opt/circusd"}));
    rig.expect(["upgrade to /opt/circusd"]);
    rig.hand_over();
    assert_eq!(rig.answer_to(upgrade), None);
    rig.tell(Event::Upgraded { version: "0.2.0".into(), pid: Pid(1) });
    rig.expect(["circusd.upgrade"]);
    assert_eq!(rig.answer_to(upgrade), Some(json!({"version": "0.2.0", "pid": 1})));
    // One that is over is not told of again.
    rig.tell(Event::Upgraded { version: "0.2.0".into(), pid: Pid(1) });
    rig.tell(Event::UpgradeFailed { stage: "check", reason: "late".into() });
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn one_upgrade_at_a_time_and_none_while_everything_stops() {
    let mut rig = Rig::fleet(1);
    let first = rig.send_command("upgrade", json!({}));
    let second = rig.send_command("upgrade", json!({}));
    rig.tell(Event::Intent(Intent::Upgrade));
    rig.expect(["upgrade"]);
    assert_eq!(refusal(&mut rig, second), "not upgraded: another upgrade is in progress");
    rig.tell(Event::UpgradeFailed { stage: "check", reason: "exit status 1".into() });
    assert_eq!(refusal(&mut rig, first), "not upgraded, at the stage 'check': exit status 1");
    rig.tell(Event::Intent(Intent::Upgrade));
    rig.expect(["upgrade"]);
    rig.command("quit", json!({}));
    assert!(rig.arbiter.may_be_upgraded().is_err());
    rig.said();
    let late = rig.send_command("upgrade", json!({}));
    assert!(refusal(&mut rig, late).starts_with("not upgraded: arbiter is already running"));
    rig.exit(101, -15);
    rig.assert_quiescent();
}
