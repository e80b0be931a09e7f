//! Workers that exit again and again, hooks that refuse single workers, and what is logged of it all.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Intent, WatcherState};
use crate::config::{Hook, WatcherConfig};
use crate::proto::HookPoint;

fn hooked(point: HookPoint) -> WatcherConfig {
    watcher("w", |w| {
        w.numprocesses = 2;
        w.hooks.insert(point, Hook { run: "exec:x".into(), ignore_failure: false });
    })
}

fn spawns(rig: &mut Rig, name: &str) -> usize {
    let spawned = format!("{name}.spawn");
    rig.said().iter().filter(|line| line.starts_with(&spawned)).count()
}

#[test]
fn a_slow_crash_loop_backs_off() {
    let mut rig = Rig::fleet(1);
    // An import that fails after 1.6 s.
    for pid in 101..104 {
        rig.pass(1600);
        rig.exit(pid, 1);
        assert_eq!(spawns(&mut rig, "w"), 1, "the first three are replaced at once");
    }
    rig.pass(1600);
    rig.exit(104, 1);
    assert_eq!(spawns(&mut rig, "w"), 0);
    let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    assert_eq!(status["details"]["backing_off"][0]["times"], 4);
    assert!(rig.logs().iter().any(|line| line.contains("the next start is delayed wid=1 status=1")), "it is logged");
    rig.pass(120);
    assert_eq!(spawns(&mut rig, "w"), 1);
    // One that lasts is no part of it.
    rig.pass(10_000);
    rig.exit(105, 1);
    assert_eq!(spawns(&mut rig, "w"), 1);
    rig.assert_quiescent();
}

#[test]
fn crash_loop_slower_than_ten_times_min_uptime_backs_off() {
    let mut rig = Rig::fleet(1);
    let health = |rig: &mut Rig| {
        rig.command("status", json!({"name": "w", "verbose": true})).unwrap()["details"]["health"].take()
    };
    for pid in 101..104 {
        rig.pass(20_000);
        rig.exit(pid, 1);
        assert_eq!(spawns(&mut rig, "w"), 1, "the first three are replaced at once");
    }
    assert_eq!(health(&mut rig), "backing off", "it runs as the ones did that exited");
    rig.logs();
    // Each wait is twice the one before, as the loop goes on.
    for (pid, wait) in [(104, 100), (105, 200), (106, 400), (107, 800)] {
        rig.pass(20_000);
        rig.exit(pid, 1);
        let words = format!("times={}", pid - 100);
        let logged = |line: &String| line.contains("w: worker exits again and again") && line.contains(&words);
        assert!(rig.logs().iter().any(logged), "{words} is not in the log");
        rig.pass(wait * 8 / 10);
        assert_eq!(spawns(&mut rig, "w"), 0);
        rig.pass(wait * 4 / 10);
        assert_eq!(spawns(&mut rig, "w"), 1);
    }
    rig.pass(39_000);
    assert_eq!(health(&mut rig), "backing off");
    rig.pass(2000);
    assert_eq!(health(&mut rig), "ready", "it has lived twice as long as they did");
    // Its exit is the first of a new count.
    rig.exit(108, 1);
    assert_eq!(spawns(&mut rig, "w"), 1);
    rig.assert_quiescent();
}

#[test]
fn workers_that_succeed_after_a_while_are_no_crash_loop() {
    let mut rig = Rig::fleet(1);
    for pid in 101..111 {
        rig.pass(20_000);
        rig.exit(pid, 0);
        assert_eq!(spawns(&mut rig, "w"), 1);
    }
    rig.assert_quiescent();
}

#[test]
fn kills_from_outside_are_no_crash_loop() {
    let mut rig = Rig::fleet(1);
    for pid in 101..111 {
        rig.pass(1600);
        rig.exit(pid, -9);
        assert_eq!(spawns(&mut rig, "w"), 1);
    }
    rig.assert_quiescent();
}

#[test]
fn a_crash_loop_without_min_uptime_holds_up_no_start() {
    let crash = watcher("crash", |w| {
        w.priority = 1;
        w.numprocesses = 3;
        w.min_uptime = 0.0;
    });
    let mut rig = Rig::unstarted(vec![crash, watcher("next", |_| {})], |_| {});
    rig.hold_launches = true;
    rig.settle();
    // Each worker that comes up is gone before the next one does.
    let mut order = Vec::new();
    for pid in 101..110 {
        let launch = rig.held.remove(0);
        order.push(launch.argv.join(" "));
        rig.answer(launch);
        rig.settle();
        if rig.state("next") != WatcherState::Stopped {
            break;
        }
        rig.exit(pid, 1);
    }
    assert_eq!(order, ["worker 1", "worker 2", "worker 3"], "each slot is tried before any is tried again");
    assert_eq!(rig.state("crash"), WatcherState::Active);
}

#[test]
fn watchers_take_turns_to_launch() {
    let mut rig = Rig::new(vec![watcher("crowd", |w| w.numprocesses = 50), watcher("well", |w| w.cmd = "well".into())]);
    rig.pass(2000);
    rig.hold_launches = true;
    let crowd: Vec<i32> = (101..151).collect();
    rig.alive.retain(|pid| *pid != 151);
    let exit = |pid| crate::arbiter::Exit::new(crate::arbiter::Pid(pid), 1);
    // All exit at once, the crowd before the one that is well.
    rig.tell(Event::Exited(crowd.iter().map(|pid| exit(*pid)).chain([exit(151)]).collect()));
    let place = rig.held.iter().position(|launch| launch.argv == ["well"]).unwrap();
    assert!(place < 2, "it waits behind {place} of the crowd");
}

#[test]
fn a_reload_of_all_starts_nothing_that_was_stopped() {
    for command in [false, true] {
        let mut rig =
            Rig::new(vec![watcher("on", |_| {}), watcher("off", |_| {}), watcher("manual", |w| w.autostart = false)]);
        rig.command("stop", json!({"name": "off"}));
        rig.exit(102, -15);
        rig.said();
        if command {
            rig.command("reload", json!({}));
        } else {
            rig.tell(Event::Intent(Intent::Reload));
        }
        rig.exit(101, -15);
        assert_eq!((rig.state("on"), rig.state("off")), (WatcherState::Active, WatcherState::Stopped));
        assert_eq!(rig.state("manual"), WatcherState::Stopped);
        // By its name it is meant.
        rig.command("reload", json!({"name": "off"}));
        assert_eq!(rig.state("off"), WatcherState::Active);
        rig.assert_quiescent();
    }
}

#[test]
fn incr_starts_a_watcher_that_wanted_no_process() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.numprocesses = 0)]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    assert_eq!(rig.command("incr", json!({"name": "w", "waiting": true})), Some(json!({"numprocesses": 1})));
    assert_eq!((rig.state("w"), rig.running("w").len()), (WatcherState::Active, 1));
    rig.assert_quiescent();
    let mut rig = Rig::new(vec![watcher("w", |w| w.numprocesses = 0)]);
    rig.command("stop", json!({"name": "w"}));
    rig.command("incr", json!({"name": "w"}));
    assert_eq!(rig.state("w"), WatcherState::Stopped, "it was told to stop");
}

#[test]
fn after_spawn_that_refuses_a_respawn_leaves_the_others_alone() {
    let mut rig = Rig::new(vec![hooked(HookPoint::AfterSpawn)]);
    rig.hook(Ok(true));
    rig.hook(Ok(true));
    rig.pass(2000);
    rig.exit(101, -9);
    rig.said();
    rig.hook(Ok(false));
    rig.expect(["w.hook_success \"after_spawn\"", "w.spawn 103", "SIGTERM 103", "w.kill 103"]);
    rig.exit(103, -15);
    assert_eq!((rig.state("w"), rig.running("w")), (WatcherState::Active, vec![102]));
    rig.said();
    rig.pass(120);
    rig.expect(["launch worker 1", "hook after_spawn wid 1 104"]);
    rig.hook(Ok(true));
    assert_eq!(rig.running("w"), [102, 104]);
    rig.assert_quiescent();
}

#[test]
fn before_spawn_that_refuses_a_respawn_leaves_the_others_alone() {
    let mut rig = Rig::new(vec![hooked(HookPoint::BeforeSpawn)]);
    rig.hook(Ok(true));
    rig.hook(Ok(true));
    rig.pass(2000);
    rig.exit(101, -9);
    rig.hook(Ok(false));
    assert_eq!((rig.state("w"), rig.running("w")), (WatcherState::Active, vec![102]));
    let status = rig.command("status", json!({"name": "w", "verbose": true})).unwrap();
    assert_eq!(status["details"]["backing_off"][0]["hook"], "before_spawn");
    rig.pass(120);
    rig.hook(Ok(true));
    assert_eq!(rig.running("w"), [102, 103]);
    rig.assert_quiescent();
}

#[test]
fn exit_during_after_spawn_is_published_with_its_spawn() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.hooks.insert(HookPoint::AfterSpawn, Hook { run: "exec:x".into(), ignore_failure: false });
    })]);
    rig.exit(101, 3);
    let said = rig.said();
    let at = |line: &str| said.iter().position(|other| other == line);
    assert!(at("w.spawn 101").is_some() && at("w.spawn 101") < at("w.reap 101 3"), "{said:?}");
}

#[test]
fn a_singleton_stops_before_its_successor_starts() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.singleton = true)]);
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 102"]);
    rig.pass(1000);
    rig.expect(["w.reload"]);
    assert!(rig.answer_to(reload).is_some());
    rig.assert_quiescent();
}

#[test]
fn a_command_that_does_not_live_keeps_the_old_processes() {
    let mut rig = Rig::fleet(1);
    rig.hold_proofs = true;
    let options = json!({"cmd": "/bin/false"});
    let set = rig.send_command("set", json!({"name": "w", "options": options, "waiting": true}));
    rig.expect(["w.updated", "launch /bin/false", "w.spawn 102"]);
    for (pid, wait) in (102..107).zip([120, 230, 450, 890, 0]) {
        assert_eq!(rig.answer_to(set), None);
        rig.pass(500);
        rig.exit(pid, 1);
        rig.pass(wait);
    }
    let answer = rig.answer_to(set).unwrap();
    let reason = answer["reason"].as_str().unwrap();
    let expected = "w: reload failed, the old processes are kept: worker 1 exited with status 1 after ";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!(rig.running("w"), [101]);
    // One that lives takes over after min_uptime.
    let set = rig.send_command("set", json!({"name": "w", "options": {"cmd": "/bin/true"}, "waiting": true}));
    rig.pass(990);
    assert_eq!(rig.answer_to(set), None);
    rig.pass(20);
    rig.exit(101, -15);
    assert!(rig.answer_to(set).is_some());
    rig.assert_quiescent();
}

#[test]
fn a_workers_life_is_logged() {
    let mut rig = Rig::fleet(1);
    rig.pass(2500);
    rig.exit(101, -9);
    rig.command("stop", json!({"name": "w"}));
    rig.pass(5000);
    rig.exit(102, -9);
    let lines: Vec<String> = rig.logs().into_iter().filter(|line| line.contains("wid=")).collect();
    let expected = [
        "w: worker started wid=1 pid=101",
        "w: worker exited wid=1 pid=101 signal=SIGKILL after=2.500s asked=no",
        "w: worker started wid=1 pid=102",
        "w: worker did not stop in time and was killed wid=1 pid=102 graceful_timeout=5",
        "w: worker exited wid=1 pid=102 signal=SIGKILL after=5.000s asked=yes",
    ];
    assert_eq!(lines, expected);
    rig.assert_quiescent();
}

#[test]
fn a_storm_is_logged_with_a_count() {
    let mut rig = Rig::fleet(100);
    rig.pass(2000);
    let pids = rig.alive.clone();
    rig.exit_all(&pids, -9);
    rig.pass(2000);
    let logs = rig.logs();
    let count = logs.iter().filter(|line| line.contains("worker exited")).count();
    assert_eq!(count, 50);
    let left_out: Vec<u64> =
        logs.iter().filter_map(|line| line.split_once("lines_left_out=")).map(|(_, n)| n.parse().unwrap()).collect();
    // 100 starts, then 100 exits and 100 starts again; 50 lines a second.
    assert_eq!(left_out, [50, 150]);
    rig.assert_quiescent();
}
