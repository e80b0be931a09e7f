//! Workers that end while processes that they have started live on.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, Pid, WatcherState};
use crate::config::{Orphans, Respawn};

fn leader_exits(rig: &mut Rig, pid: i32) {
    assert_eq!(rig.arbiter.orphans_of(Pid(pid)), Some(Orphans::End));
    rig.tell(Event::LeaderExited(Pid(pid)));
}

#[test]
fn successor_waits_for_what_its_predecessor_left() {
    let mut rig = Rig::fleet(1);
    rig.pass(2000);
    leader_exits(&mut rig, 101);
    rig.expect(["SIGTERM 101"]);
    rig.pass(1000);
    rig.expect([]);
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn leftovers_are_killed_after_graceful_timeout() {
    let mut rig = Rig::fleet(1);
    rig.pass(2000);
    leader_exits(&mut rig, 101);
    rig.said();
    rig.pass(4999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1", "launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn stop_waits_for_leftovers_and_has_one_timeout_for_all() {
    let mut rig = Rig::fleet(1);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.said();
    rig.pass(3000);
    leader_exits(&mut rig, 101);
    rig.expect(["SIGTERM 101"]);
    assert_eq!((rig.answer_to(stop), rig.state("w")), (None, WatcherState::Stopping));
    rig.pass(2000);
    rig.expect(["SIGKILL 101 tree", "w.kill 101"]);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    rig.assert_quiescent();
}

#[test]
fn early_exit_is_early_however_long_its_leftovers_take() {
    let mut rig = Rig::fleet(1);
    leader_exits(&mut rig, 101);
    rig.pass(3000);
    rig.said();
    rig.exit(101, 1);
    rig.expect(["w.reap 101 1"]);
    rig.pass(111);
    rig.expect(["launch worker 1", "w.spawn 102"]);
    rig.assert_quiescent();
}

#[test]
fn killed_leftovers_do_not_make_the_exit_an_expected_one() {
    // On-failure replaces what was asked to end; a success that left others behind was not asked.
    let mut rig = Rig::new(vec![watcher("w", |w| w.respawn = Respawn::OnFailure)]);
    rig.pass(2000);
    leader_exits(&mut rig, 101);
    rig.pass(5000);
    rig.said();
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0", "w.stop"]);
    rig.assert_quiescent();
}

#[test]
fn policy_is_known_for_workers_and_for_no_other_process() {
    let rig = Rig::new(vec![watcher("w", |w| w.orphans = Orphans::Keep)]);
    assert_eq!(rig.arbiter.orphans_of(Pid(101)), Some(Orphans::Keep));
    assert_eq!(rig.arbiter.orphans_of(Pid(4711)), None);
    rig.assert_quiescent();
}
