//! Commands that streams are written to: started again, stopped, killed.

use super::rig::Rig;
use crate::arbiter::{Event, Pid, SinkCommandId, SinkEvent};
use crate::proto::{SpawnError, Stage};

const ID: SinkCommandId = SinkCommandId(1);

fn tell(rig: &mut Rig, event: SinkEvent) {
    rig.tell(Event::SinkCommand(ID, event));
}

fn start(rig: &mut Rig, pid: i32) {
    tell(rig, SinkEvent::Started { name: "w: stdout_stream".into(), pid: Pid(pid) });
}

fn exit(rig: &mut Rig, pid: i32, exit_code: i32) {
    tell(rig, SinkEvent::Exited { pid: Pid(pid), exit_code });
}

fn with_command() -> Rig {
    let mut rig = Rig::fleet(1);
    start(&mut rig, 900);
    rig.logs();
    rig
}

#[test]
fn command_that_ends_is_started_again_at_once() {
    let mut rig = with_command();
    rig.pass(1000);
    exit(&mut rig, 900, 3);
    assert_eq!(rig.logs(), ["w: stdout_stream: its command has ended (exit status 3); it starts again in 0 ms"]);
    rig.pass(0);
    rig.expect(["start command 1"]);
    start(&mut rig, 901);
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn command_that_ends_early_backs_off() {
    let mut rig = with_command();
    for (pid, least, most) in [(900, 90, 110), (901, 180, 220), (902, 360, 440)] {
        exit(&mut rig, pid, -9);
        assert!(rig.logs()[0].contains("(SIGKILL); it starts again in "));
        rig.pass(least - 1);
        rig.expect([]);
        rig.pass(most - least + 1);
        rig.expect(["start command 1"]);
        start(&mut rig, pid + 1);
    }
    rig.assert_quiescent();
}

#[test]
fn command_that_cannot_be_started_is_tried_again() {
    let mut rig = with_command();
    rig.pass(1000);
    exit(&mut rig, 900, 0);
    rig.pass(0);
    rig.said();
    rig.logs();
    tell(&mut rig, SinkEvent::Failed(SpawnError { stage: Stage::Exec, errno: 2, detail: "/bin/x".into() }));
    assert_eq!(
        rig.logs(),
        ["w: stdout_stream: its command cannot be started: /bin/x ([Errno 2] No such file or directory)"]
    );
    rig.pass(110);
    rig.expect(["start command 1"]);
    rig.assert_quiescent();
}

#[test]
fn command_of_a_closed_stream_ends_or_is_killed() {
    let mut rig = with_command();
    tell(&mut rig, SinkEvent::Closed);
    rig.pass(9_999);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["kill command 900"]);
    rig.pass(10_000);
    rig.expect(["kill command 900"]);
    exit(&mut rig, 900, -9);
    assert_eq!(rig.logs(), [""; 0]);
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn command_of_a_closed_stream_is_not_started_again() {
    let mut rig = with_command();
    exit(&mut rig, 900, 1);
    tell(&mut rig, SinkEvent::Closed);
    assert_eq!(rig.arbiter.next_deadline(), None);
    rig.assert_quiescent();
}

#[test]
fn back_off_outlasts_a_hand_over() {
    let mut rig = with_command();
    exit(&mut rig, 900, 1);
    rig.hand_over();
    rig.expect([]);
    rig.pass(110);
    rig.expect(["start command 1"]);
    // The order was given out, and the daemon is gone.
    rig.hand_over();
    rig.expect(["start command 1"]);
    rig.assert_quiescent();
}
