//! Watchers from start to stop, and what comes in between.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Intent, WatcherState};
use crate::config::Respawn;

#[test]
fn a_watcher_starts_and_stops() {
    let mut rig = Rig::unstarted(vec![watcher("My App", |w| w.numprocesses = 2)], |_| {});
    rig.settle();
    rig.expect(["launch worker 1", "my_app.spawn 101", "launch worker 2", "my_app.spawn 102", "my_app.start"]);
    let stop = rig.send_command("stop", json!({"name": "my app", "waiting": true}));
    rig.expect(["SIGTERM 101", "my_app.kill 101", "SIGTERM 102", "my_app.kill 102"]);
    assert_eq!(rig.state("my app"), WatcherState::Stopping);
    rig.exit(102, -15);
    assert_eq!(rig.answer_to(stop), None);
    rig.exit(101, -15);
    rig.expect(["my_app.reap 102 -15", "my_app.reap 101 -15", "my_app.stop"]);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn a_healthy_workers_death_is_made_good_in_the_same_turn() {
    let mut rig = Rig::fleet(2);
    rig.pass(1000);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "launch worker 1", "w.spawn 103"]);
    rig.assert_quiescent();
}

#[test]
fn early_exits_wait_longer_until_one_lasts() {
    let mut rig = Rig::fleet(1);
    for (pid, at_least, at_most) in [(101, 90, 110), (102, 180, 220), (103, 360, 440), (104, 720, 880)] {
        rig.exit(pid, 1);
        assert_eq!(rig.said(), [format!("w.reap {pid} 1")]);
        rig.pass(at_least - 1);
        rig.expect([]);
        rig.pass(at_most - at_least + 2);
        assert_eq!(rig.said(), ["launch worker 1".to_owned(), format!("w.spawn {}", pid + 1)]);
    }
    rig.pass(1000);
    rig.exit(105, 1);
    rig.expect(["w.reap 105 1", "launch worker 1", "w.spawn 106"]);
    rig.exit(106, 1);
    rig.said();
    rig.pass(111);
    rig.expect(["launch worker 1", "w.spawn 107"]);
    rig.assert_quiescent();
}

#[test]
fn a_back_off_is_bounded_by_check_delay() {
    let mut rig = Rig::with_circus(vec![watcher("w", |_| {})], |circus| circus.check_delay = 0.5);
    for pid in 101..120 {
        rig.exit(pid, 1);
        rig.pass(551);
        assert_eq!(rig.running("w"), [pid + 1]);
    }
    rig.assert_quiescent();
}

#[test]
fn worker_that_ignores_the_stop_signal_is_killed() {
    let mut rig = Rig::fleet(1);
    rig.command("stop", json!({"name": "w"}));
    rig.said();
    rig.pass(4999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn a_stop_takes_over_a_running_kill() {
    let mut rig = Rig::fleet(1);
    rig.command("kill", json!({"name": "w", "signum": "USR1", "graceful_timeout": 100.0}));
    rig.expect(["SIGUSR1 101", "w.kill 101"]);
    rig.command("stop", json!({"name": "w"}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.pass(5000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

#[test]
fn stop_children_are_signalled_and_published() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.stop_children = true)]);
    rig.command("stop", json!({"name": "w"}));
    rig.expect(["SIGTERM 101 and children", "w.kill 101", "w.kill 1101"]);
    rig.exit(101, 0);
    rig.assert_quiescent();
}

#[test]
fn incr_and_decr_the_oldest_go_first() {
    let mut rig = Rig::fleet(2);
    assert_eq!(rig.command("incr", json!({"name": "w", "waiting": true})), Some(json!({"numprocesses": 3})));
    rig.expect(["launch worker 3", "w.spawn 103"]);
    let decr = rig.send_command("decr", json!({"name": "w", "nb": 2, "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102"]);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(decr), None);
    rig.exit(102, -15);
    assert_eq!(rig.answer_to(decr), Some(json!({"numprocesses": 1})));
    // The lowest number that is free.
    rig.said();
    rig.command("incr", json!({"name": "w"}));
    rig.expect(["launch worker 1", "w.spawn 104"]);
    rig.assert_quiescent();
}

#[test]
fn stubborn_surplus_worker_keeps_no_slot() {
    let mut rig = Rig::fleet(2);
    rig.pass(2000);
    rig.command("decr", json!({"name": "w"}));
    rig.said();
    // 101 takes its time; 102 is missed at once all the same.
    rig.exit(102, -9);
    rig.expect(["w.reap 102 -9", "launch worker 2", "w.spawn 103"]);
    rig.assert_quiescent();
}

#[test]
fn processes_start_one_after_the_other_with_warmup_delay() {
    let mut rig = Rig::unstarted(
        vec![watcher("w", |w| {
            w.numprocesses = 3;
            w.warmup_delay = 1.0;
        })],
        |_| {},
    );
    rig.settle();
    rig.expect(["launch worker 1", "w.spawn 101"]);
    assert_eq!(rig.state("w"), WatcherState::Starting { spawned: true });
    rig.pass(1000);
    rig.expect(["launch worker 2", "w.spawn 102"]);
    rig.pass(1000);
    rig.expect(["launch worker 3", "w.spawn 103", "w.start"]);
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn watchers_start_by_priority_and_with_a_pause() {
    let fleet = vec![
        watcher("a", |w| w.priority = 1),
        watcher("b", |w| w.priority = 9),
        watcher("c", |_| {}),
        watcher("d", |w| w.autostart = false),
    ];
    let mut rig = Rig::unstarted(fleet, |circus| circus.warmup_delay = 1.0);
    rig.settle();
    rig.expect(["launch worker 1", "b.spawn 101", "b.start"]);
    rig.pass(1000);
    rig.expect(["launch worker 1", "a.spawn 102", "a.start"]);
    rig.pass(1000);
    rig.expect(["launch worker 1", "c.spawn 103", "c.start"]);
    assert_eq!(rig.state("d"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn stop_before_its_turn_prevents_the_start() {
    let fleet = vec![watcher("a", |w| w.priority = 1), watcher("b", |_| {})];
    let mut rig = Rig::with_circus(fleet, |circus| circus.warmup_delay = 1.0);
    rig.command("stop", json!({"name": "b", "waiting": true}));
    rig.pass(5000);
    assert_eq!(rig.state("b"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn without_respawn_the_last_death_stops_the_watcher() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.numprocesses = 2;
        w.respawn = Respawn::Never;
    })]);
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0"]);
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.exit(102, 0);
    rig.expect(["w.reap 102 0", "w.stop"]);
    let started = rig.command("start", json!({"name": "w", "waiting": true}));
    assert_eq!(started, Some(json!({"info": {"started": [103, 104], "kept": []}})));
    rig.assert_quiescent();
}

#[test]
fn start_fills_up_and_lists_kept_workers() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.numprocesses = 2;
        w.respawn = Respawn::Never;
    })]);
    rig.exit(101, 0);
    let started = rig.command("start", json!({"name": "w", "waiting": true}));
    assert_eq!(started, Some(json!({"info": {"started": [103], "kept": [102]}})));
    rig.assert_quiescent();
}

#[test]
fn a_watcher_of_no_process_does_not_come_up() {
    let mut rig = Rig::unstarted(vec![watcher("w", |w| w.numprocesses = 0)], |_| {});
    rig.settle();
    rig.expect(["w.stop"]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.pass(60_000);
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn a_singleton_stays_single() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.singleton = true)]);
    let answer = Some(json!({"numprocesses": 1, "singleton": true}));
    assert_eq!(rig.command("incr", json!({"name": "w", "nb": 3, "waiting": true})), answer);
    let refused = rig.command("set", json!({"name": "w", "options": {"numprocesses": 3}})).unwrap();
    assert_eq!(refused["errno"], 5);
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn an_old_worker_is_replaced_when_it_is_gone() {
    let mut rig = Rig::new(vec![watcher("w", |w| {
        w.max_age = 10;
        w.max_age_variance = 5;
    })]);
    rig.pass(9999);
    rig.expect([]);
    rig.pass(5001);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn restart_stops_then_starts() {
    let mut rig = Rig::fleet(1);
    let restart = rig.send_command("restart", json!({"name": "w", "waiting": true}));
    rig.exit(101, -15);
    rig.expect(["SIGTERM 101", "w.kill 101", "w.reap 101 -15", "w.stop", "launch worker 1", "w.spawn 102", "w.start"]);
    let info = json!({"info": {"stopped": [101], "started": [102], "kept": []}});
    assert_eq!(rig.answer_to(restart), Some(info));
    rig.assert_quiescent();
}

#[test]
fn ten_restarts_by_an_impatient_client_are_one() {
    let mut rig = Rig::fleet(1);
    let ids: Vec<u64> = (0..10).map(|_| rig.send_command("restart", json!({"name": "w", "waiting": true}))).collect();
    rig.exit(101, -15);
    for id in ids {
        assert!(rig.answer_to(id).is_some());
    }
    assert_eq!(rig.running("w"), [102]);
    rig.assert_quiescent();
}

#[test]
fn a_graceful_reload_starts_the_new_before_it_ends_the_old() {
    let mut rig = Rig::fleet(2);
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.expect(["launch worker 1", "w.spawn 103", "launch worker 2", "w.spawn 104"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102"]);
    rig.exit_all(&[101, 102], -15);
    rig.expect(["w.reap 101 -15", "w.reap 102 -15", "w.reload"]);
    let info = json!({"info": {"stopped": [101, 102], "started": [103, 104], "kept": []}});
    assert_eq!(rig.answer_to(reload), Some(info));
    rig.assert_quiescent();
}

#[test]
fn a_reload_whose_new_processes_cannot_start_keeps_the_old() {
    let mut rig = Rig::fleet(2);
    rig.fail(20, 2);
    let answer = rig.command("reload", json!({"name": "w", "waiting": true})).unwrap();
    assert_eq!(answer["errno"], 5);
    assert!(answer["reason"].as_str().unwrap().contains("the old processes are kept"), "{answer}");
    rig.failures.clear();
    assert_eq!(rig.running("w"), [101, 102]);
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn a_reload_whose_new_processes_die_at_once_keeps_the_old() {
    let mut rig = Rig::fleet(1);
    rig.pass(2000);
    rig.hold_launches = true;
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    // One of the two newcomers after an incr never gets up, so the old one is still needed.
    rig.command("incr", json!({"name": "w"}));
    let slow = rig.held.remove(1);
    let quick = rig.held.remove(0);
    rig.answer(quick);
    rig.settle();
    for pid in 102..107 {
        assert_eq!(rig.answer_to(reload), None);
        rig.exit(pid, 1);
        rig.pass(2000);
        if let Some(next) = rig.held.pop() {
            rig.answer(next);
            rig.settle();
        }
    }
    assert_eq!(rig.answer_to(reload).unwrap()["errno"], 5);
    assert!(rig.running("w").contains(&101));
    rig.held.push(slow);
    rig.assert_quiescent();
}

#[test]
fn a_sequential_reload_replaces_one_after_the_other() {
    let mut rig = Rig::fleet(2);
    let reload = rig.send_command("reload", json!({"name": "w", "sequential": true, "waiting": true}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "launch worker 1", "w.spawn 103"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 102", "w.kill 102"]);
    assert_eq!(rig.answer_to(reload), None);
    rig.exit(102, -15);
    rig.expect(["w.reap 102 -15", "launch worker 2", "w.spawn 104"]);
    rig.pass(1000);
    rig.expect(["w.reload"]);
    let info = json!({"info": {"stopped": [101, 102], "started": [103, 104], "kept": []}});
    assert_eq!(rig.answer_to(reload), Some(info));
    rig.assert_quiescent();
}

#[test]
fn send_hup_leaves_the_reload_to_the_processes() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.send_hup = true)]);
    let info = json!({"info": {"stopped": [], "started": [], "kept": [101]}});
    assert_eq!(rig.command("reload", json!({"name": "w", "waiting": true})), Some(info));
    rig.expect(["SIGHUP 101", "w.reload"]);
    rig.assert_quiescent();
}

#[test]
fn many_exits_at_once_signal_no_collected_process() {
    // Reaping the first would end the second of a sequential reload, which was reaped in the same breath.
    let mut rig = Rig::fleet(3);
    rig.command("reload", json!({"name": "w", "sequential": true}));
    rig.exit_all(&[101, 102, 103], -15);
    assert_eq!(rig.running("w").len(), 1, "the two that died young by themselves wait out their back-off");
    rig.pass(200);
    assert_eq!(rig.running("w").len(), 3);
    rig.assert_quiescent();
}

#[test]
fn one_watchers_long_stop_delays_no_other() {
    let mut rig = Rig::new(vec![watcher("slow", |w| w.graceful_timeout = 60.0), watcher("quick", |_| {})]);
    rig.pass(2000);
    let stop = rig.send_command("stop", json!({"name": "slow", "waiting": true}));
    rig.said();
    assert_eq!(rig.command("status", json!({"name": "slow"})), Some(json!({"status": "stopping"})));
    assert_eq!(rig.command("incr", json!({"name": "quick", "waiting": true})), Some(json!({"numprocesses": 2})));
    rig.exit(102, -9);
    rig.expect(["launch worker 2", "quick.spawn 103", "quick.reap 102 -9", "launch worker 1", "quick.spawn 104"]);
    assert_eq!(rig.answer_to(stop), None);
    rig.assert_quiescent_after(stop);
}

#[test]
fn quit_ends_everything_and_a_second_one_hastens() {
    let mut rig = Rig::fleet(2);
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGTERM 102", "w.kill 102"]);
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect(["SIGKILL 101 tree", "w.kill 101", "SIGKILL 102 tree", "w.kill 102"]);
    let refused = rig.command("start", json!({"name": "w"})).unwrap();
    assert_eq!(refused["reason"], "arbiter is already running arbiter_stop command");
    assert_eq!(rig.command("status", json!({"name": "w"})), Some(json!({"status": "stopping"})));
    rig.exit_all(&[101, 102], -9);
    rig.expect(["w.reap 101 -9", "w.reap 102 -9", "w.stop", "exit 0"]);
    assert_eq!(rig.arbiter.next_deadline(), None);
}

#[test]
fn restart_without_a_name_stops_all_and_begins_anew() {
    let mut rig = Rig::fleet(1);
    assert_eq!(rig.command("restart", json!({})), Some(json!({})));
    rig.exit(101, -15);
    rig.expect(["SIGTERM 101", "w.kill 101", "w.reap 101 -15", "w.stop", "restart"]);
}

#[test]
fn restart_that_waits_is_answered_by_the_next_life() {
    let mut rig = Rig::fleet(1);
    let id = rig.send_command("restart", json!({"waiting": true}));
    rig.exit(101, -15);
    assert_eq!((rig.said().last().map(String::as_str), rig.answer_to(id)), (Some("restart"), None));
    let waiters = rig.arbiter.take_restarters();
    assert_eq!((waiters.len(), rig.arbiter.take_restarters().len()), (1, 0));
    let next_life = |refusal: Option<&str>| {
        let idle = watcher("idle", |w| w.autostart = false);
        let mut next = Rig::unstarted(vec![watcher("w", |_| {}), idle], |_| {});
        next.arbiter.answer_restart(waiters.clone(), refusal, next.now());
        next
    };
    let mut next = next_life(None);
    next.settle();
    assert_eq!(next.answer_to(id), Some(json!({})));
    assert_eq!(next.state("idle"), WatcherState::Stopped);
    let mut next = next_life(None);
    next.hold_proofs = true;
    next.settle();
    next.exit(101, 3);
    assert_eq!(next.answer_to(id).unwrap()["failed"][0]["exit_code"], 3);
    let mut next = next_life(Some("the file is broken"));
    next.settle();
    assert_eq!(next.answer_to(id), Some(json!({"errno": 5, "reason": "the file is broken"})));
}

#[test]
fn restart_that_waits_is_refused_by_a_quit() {
    let mut rig = Rig::fleet(1);
    let id = rig.send_command("restart", json!({"waiting": true}));
    rig.command("quit", json!({}));
    let reason = "circusd was told to quit meanwhile, so it does not start again";
    assert_eq!(rig.answer_to(id), Some(json!({"errno": 5, "reason": reason})));
    rig.exit(101, -15);
    assert_eq!(rig.said().last().map(String::as_str), Some("exit 0"));
}

#[test]
fn quit_in_the_turn_of_a_restart_wins() {
    for quit in [json!({"waiting": true}), json!({})] {
        let mut rig = Rig::fleet(1);
        rig.command("restart", json!({}));
        rig.exit(101, -15);
        assert_eq!(rig.said().last().unwrap(), "restart");
        // The daemon takes up requests before it does what this turn has decided.
        assert_eq!(rig.command("quit", quit), Some(json!({})));
        rig.expect(["exit 0"]);
    }
}

#[test]
fn rm_frees_the_name_at_once() {
    let mut rig = Rig::fleet(1);
    let rm = rig.send_command("rm", json!({"name": "w", "waiting": true}));
    rig.expect(["w.remove", "SIGTERM 101", "w.kill 101"]);
    assert_eq!(rig.command("list", json!({})), Some(json!({"watchers": []})));
    let add = rig.send_command("add", json!({"name": "w", "cmd": "x", "start": true, "waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(rm), Some(json!({})));
    assert_eq!(rig.answer_to(add), Some(json!({"started": [102], "kept": []})));
    assert_eq!(rig.running("w"), [102]);
    rig.assert_quiescent();
}

#[test]
fn rm_nostop_leaves_the_processes_alone() {
    let mut rig = Rig::fleet(1);
    assert_eq!(rig.command("rm", json!({"name": "w", "nostop": true, "waiting": true})), Some(json!({})));
    rig.expect(["w.remove"]);
    rig.exit(101, -15);
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn set_is_all_or_nothing() {
    let mut rig = Rig::fleet(2);
    let refused = rig.command("set", json!({"name": "w", "options": {"numprocesses": 5, "bogus": 1}})).unwrap();
    assert_eq!(refused["reason"], "unknown key 'bogus'");
    let count = json!({"options": {"numprocesses": 2}});
    assert_eq!(rig.command("get", json!({"name": "w", "keys": ["numprocesses"]})), Some(count));
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn set_of_what_the_workers_run_reloads_them() {
    let mut rig = Rig::fleet(1);
    let set = rig.send_command("set", json!({"name": "w", "options": {"cmd": "other"}, "waiting": true}));
    rig.expect(["w.updated", "launch other", "w.spawn 102"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.reload"]);
    assert_eq!(rig.answer_to(set), Some(json!({})));
    rig.assert_quiescent();
}

#[test]
fn set_never_starts_a_watcher_that_is_being_stopped() {
    let mut rig = Rig::fleet(1);
    rig.command("stop", json!({"name": "w"}));
    rig.command("set", json!({"name": "w", "options": {"cmd": "other"}, "waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn first_term_during_a_restart_is_graceful() {
    let mut rig = Rig::fleet(1);
    rig.command("restart", json!({}));
    rig.said();
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect([]);
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "w.stop", "exit 0"]);
}

#[test]
fn repeated_quit_kills_none_and_a_second_signal_does() {
    let mut rig = Rig::fleet(1);
    let quit = rig.send_command("quit", json!({"waiting": true}));
    rig.command("quit", json!({}));
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect([]);
    rig.tell(Event::Intent(Intent::Quit));
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -9);
    assert_eq!(rig.answer_to(quit), Some(json!({})));
}

#[test]
fn sigkill_is_repeated_until_it_helps() {
    let mut rig = Rig::fleet(1);
    rig.command("stop", json!({"name": "w"}));
    rig.pass(5000);
    rig.expect(["SIGTERM 101", "w.kill 101", "SIGKILL 101 tree", "w.kill 101"]);
    rig.pass(10_000);
    rig.expect(["SIGKILL 101 tree", "SIGKILL 101 tree"]);
    rig.exit(101, -9);
    rig.assert_quiescent();
}

#[test]
fn two_stops_during_a_restart_are_both_answered() {
    let mut rig = Rig::fleet(1);
    rig.command("restart", json!({"name": "w"}));
    let stops: Vec<u64> = (0..2).map(|_| rig.send_command("stop", json!({"name": "w", "waiting": true}))).collect();
    let rm = rig.send_command("rm", json!({"name": "w", "waiting": true}));
    rig.command("stop", json!({}));
    rig.exit(101, -15);
    for stop in stops {
        assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    }
    assert_eq!(rig.answer_to(rm), Some(json!({})));
    assert!(rig.arbiter.views().is_empty(), "a removed watcher is forgotten");
    rig.assert_quiescent();
}

/// `db` starts first; `a` and `c` drain into it.
fn drained() -> Rig {
    let mut rig = Rig::new(vec![watcher("a", |_| {}), watcher("db", |w| w.priority = 1), watcher("c", |_| {})]);
    rig.said();
    rig
}

fn kills(rig: &mut Rig) -> Vec<String> {
    rig.said().into_iter().filter(|line| line.contains(".kill")).collect()
}

#[test]
fn a_higher_priority_stops_later() {
    for how in ["stop", "quit", "restart"] {
        let mut rig = drained();
        let properties = if how == "restart" { json!({"name": "*"}) } else { json!({}) };
        rig.command(how, properties);
        assert_eq!(kills(&mut rig), ["a.kill 102", "c.kill 103"], "{how}");
        rig.exit(102, -15);
        assert_eq!(kills(&mut rig), [""; 0], "{how}: c has not stopped yet");
        rig.exit(103, -15);
        assert_eq!(kills(&mut rig), ["db.kill 101"], "{how}");
        rig.exit(101, -15);
        let said = rig.said();
        match how {
            "quit" => assert!(said.contains(&"exit 0".to_owned()), "{said:?}"),
            "restart" => assert_eq!(said.iter().filter(|line| line.starts_with("launch")).count(), 3, "{said:?}"),
            _ => assert!(!said.iter().any(|line| line.starts_with("launch")), "{said:?}"),
        }
    }
}

#[test]
fn second_quit_stops_all_tiers_at_once() {
    for term in [false, true] {
        let mut rig = drained();
        rig.command("quit", json!({}));
        assert_eq!(kills(&mut rig), ["a.kill 102", "c.kill 103"]);
        if term {
            rig.tell(Event::Intent(Intent::Quit));
        } else {
            rig.command("quit", json!({}));
        }
        assert_eq!(kills(&mut rig), ["db.kill 101"]);
        rig.exit_all(&[101, 102, 103], -15);
        assert!(rig.said().contains(&"exit 0".to_owned()));
    }
}

#[test]
fn stop_and_graceful_timeout_work_during_quit() {
    let mut rig = drained();
    rig.command("quit", json!({}));
    let stop = rig.send_command("stop", json!({"name": "[ac]", "match": "glob", "waiting": true}));
    assert_eq!(rig.command("set", json!({"name": "c", "options": {"graceful_timeout": 1}})), Some(json!({})));
    assert_eq!(rig.command("set", json!({"name": "c", "options": {"numprocesses": 4}})).unwrap()["errno"], 5);
    rig.said();
    rig.pass(1000);
    rig.expect(["SIGKILL 103 tree", "c.kill 103"]);
    rig.exit_all(&[102, 103], -15);
    assert_eq!(rig.answer_to(stop), Some(json!({})));
    let all = rig.send_command("stop", json!({"waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(all), Some(json!({})));
    assert!(rig.said().contains(&"exit 0".to_owned()));
}

#[test]
fn a_start_after_a_stop_of_all_is_the_last_word() {
    let mut rig = drained();
    rig.command("stop", json!({}));
    let start = rig.send_command("start", json!({"name": "db", "waiting": true}));
    rig.exit_all(&[101, 102, 103], -15);
    assert!(rig.answer_to(start).is_some());
    assert_eq!((rig.state("db"), rig.state("a")), (WatcherState::Active, WatcherState::Stopped));
    rig.assert_quiescent();
}

#[test]
fn a_hook_that_hangs_before_start_does_not_hold_up_equals() {
    let held = |name: &str| {
        watcher(name, |w| {
            let run = crate::config::Hook { run: "exec:x".into(), ignore_failure: false };
            w.hooks.insert(crate::proto::HookPoint::BeforeStart, run);
        })
    };
    let lower = watcher("z", |w| w.priority = -1);
    let mut rig = Rig::unstarted(vec![held("a"), held("b"), watcher("c", |_| {}), lower], |_| {});
    rig.settle();
    rig.expect(["hook before_start", "hook before_start", "launch worker 1", "c.spawn 101", "c.start"]);
    rig.hook(Ok(true));
    rig.expect(["a.hook_success \"before_start\"", "launch worker 1", "a.spawn 102", "a.start"]);
    // A lower priority waits for all of them.
    rig.hook(Ok(true));
    let said = rig.said();
    assert!(said.ends_with(&["b.start", "launch worker 1", "z.spawn 104", "z.start"].map(String::from)), "{said:?}");
    rig.assert_quiescent();
}

#[test]
fn a_reload_of_all_takes_one_watcher_after_the_other() {
    let mut rig = Rig::new(vec![watcher("a", |_| {}), watcher("b", |_| {})]);
    rig.tell(Event::Intent(Intent::Reload));
    rig.expect(["launch worker 1", "a.spawn 103"]);
    rig.pass(1000);
    // The worker of a that is still to end holds up no watcher.
    rig.expect(["SIGTERM 101", "a.kill 101", "launch worker 1", "b.spawn 104"]);
    rig.exit(101, -15);
    rig.expect(["a.reap 101 -15", "a.reload"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 102", "b.kill 102"]);
    rig.exit(102, -15);
    rig.expect(["b.reap 102 -15", "b.reload"]);
    rig.assert_quiescent();
}

#[test]
fn restart_of_several_reports_one_that_was_stopped() {
    let mut rig = Rig::new(vec![watcher("a1", |_| {}), watcher("a2", |_| {})]);
    let restart = rig.send_command("restart", json!({"name": "a*", "waiting": true}));
    rig.command("stop", json!({"name": "a1"}));
    rig.exit_all(&[101, 102], -15);
    assert_eq!(rig.answer_to(restart).unwrap()["errno"], 5);
    assert_eq!(rig.state("a1"), WatcherState::Stopped);
    assert_eq!(rig.state("a2"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn an_option_reaches_new_processes_even_where_a_hup_reloads() {
    let mut rig = Rig::new(vec![watcher("w", |w| w.send_hup = true)]);
    rig.command("set", json!({"name": "w", "options": {"cmd": "other"}}));
    rig.expect(["w.updated", "launch other", "w.spawn 102"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn a_signal_that_does_not_exist_is_refused() {
    let mut rig = Rig::fleet(1);
    let refused = json!({"errno": 4, "reason": "[Errno 22] Invalid argument"});
    assert_eq!(rig.command("kill", json!({"name": "w", "signum": 99})), Some(refused));
    assert_eq!(rig.command("set", json!({"name": "w", "options": {"stop_signal": 99}})).unwrap()["errno"], 3);
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn many_launches_are_asked_for_in_portions() {
    let mut rig = Rig::fleet(1);
    assert_eq!(rig.command("incr", json!({"name": "w", "nb": 1_000_000_000})).unwrap()["errno"], 3);
    rig.hold_launches = true;
    rig.command("incr", json!({"name": "w", "nb": 600}));
    assert_eq!(rig.held.len(), 256);
    rig.hold_launches = false;
    for launch in std::mem::take(&mut rig.held) {
        rig.answer(launch);
    }
    rig.settle();
    assert_eq!(rig.running("w").len(), 601);
    rig.assert_quiescent();
}

#[test]
fn overtaken_commands_are_answered() {
    let mut rig = Rig::fleet(1);
    let restart = rig.send_command("restart", json!({"name": "w", "waiting": true}));
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    let cancelled = |what: &str| Some(json!({"errno": 5, "reason": format!("{what} was cancelled by stop")}));
    assert_eq!(rig.answer_to(restart), cancelled("restart"));
    assert_eq!(rig.answer_to(reload), cancelled("reload"));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

impl Rig {
    /// As `assert_quiescent`, where this request is answered by the end only.
    fn assert_quiescent_after(mut self, id: u64) {
        let alive = self.alive.clone();
        let slow: Vec<i32> = alive.iter().copied().filter(|pid| *pid == 101).collect();
        self.exit_all(&slow, -15);
        assert!(self.answer_to(id).is_some());
        self.assert_quiescent();
    }
}

#[test]
fn a_watcher_waits_for_the_end_of_a_removed_one_of_its_name() {
    let mut rig = Rig::fleet(1);
    rig.command("rm", json!({"name": "w"}));
    let add = rig.send_command("add", json!({"name": "W", "cmd": "x", "start": true, "waiting": true}));
    rig.expect(["w.remove", "SIGTERM 101", "w.kill 101", "w.add"]);
    assert_eq!((rig.state("w"), rig.answer_to(add)), (WatcherState::Stopped, None));
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    assert!(rig.answer_to(add).is_some() && rig.answer_to(stop).is_some(), "a stop has nothing to wait for");
    let start = rig.send_command("start", json!({"name": "w", "waiting": true}));
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.stop", "launch x", "w.spawn 102", "w.start"]);
    assert!(rig.answer_to(start).is_some());
    rig.assert_quiescent();
}
