//! What did not come up: circusctl reports it, and a deploy script sees it in the exit status.

use crate::rig::{Circusd, Site};

fn fleet() -> Circusd {
    Site::new().start(
        "[watcher:gone]
         cmd = /nonexistent/program
         autostart = no
         [watcher:false]
         cmd = /bin/false
         autostart = no
         [watcher:late]
         cmd = /bin/sh -c \"sleep 0.4; exit 7\"
         autostart = no
         [watcher:deaf]
         cmd = {knobs}
         autostart = no
         hooks.after_start = wait_tcp:127.0.0.1:1
         hook_timeout = 0.3
         [watcher:good]
         cmd = {knobs}
         autostart = no",
    )
}

#[test]
fn start_that_waits_tells_what_did_not_come_up() {
    let circusd = fleet();
    for (watcher, words) in [
        ("gone", "error: gone: worker 1 could not be started: failed to execute the program: /nonexistent/program"),
        ("false", "error: false: worker 1 exited with status 1 after "),
        ("late", "error: late: worker 1 exited with status 7 after "),
        ("deaf", "error: deaf: hook after_start failed: "),
    ] {
        let (error, status) = circusd.ctl(&["start", watcher, "--waiting"]);
        assert!(error.starts_with(words), "{watcher}: {error}");
        assert_eq!(status, Some(3), "{watcher}");
        let (_, status) = circusd.ctl(&["restart", watcher, "--waiting"]);
        assert_eq!(status, Some(3), "{watcher}");
    }
    assert_eq!(circusd.ctl(&["start", "good", "--waiting"]), (String::new(), Some(0)));
    let details = circusd.details("deaf");
    assert_eq!(details["health"], "failed");
    assert!(details["reason"].as_str().is_some_and(|reason| reason.starts_with("hook after_start failed")));
}

#[test]
fn add_and_set_that_wait_tell_what_did_not_come_up() {
    let circusd = fleet();
    let (error, status) = circusd.ctl(&["add", "--start", "--waiting", "bad", "/nonexistent/prog"]);
    assert!(error.starts_with("error: bad: worker 1 could not be started"), "{error}");
    assert_eq!(status, Some(3));
    circusd.tell("start", serde_json::json!({"name": "good", "waiting": true}));
    let before = circusd.workers("good");
    let (error, status) = circusd.ctl(&["set", "--waiting", "good", "cmd", "/bin/false"]);
    assert!(error.starts_with("error: good: reload failed, the old processes are kept: worker"), "{error}");
    assert_eq!((status, circusd.workers("good") == before), (Some(3), true));
}

#[test]
fn restart_of_circusd_that_waits_tells_what_did_not_come_up() {
    let circusd = Site::new().start("[watcher:good]\ncmd = {knobs}");
    assert_eq!(circusd.ctl(&["restart", "--waiting"]), (String::new(), Some(0)));
    let before = circusd.workers("good");
    circusd.ini("circus.ini", "[watcher:good]\ncmd = {knobs}\n[watcher:false]\ncmd = /bin/false");
    let (error, status) = circusd.ctl(&["restart", "--waiting"]);
    assert!(error.starts_with("error: false: worker 1 exited with status 1 after "), "{error}");
    assert_eq!(status, Some(3));
    assert_ne!(circusd.workers("good"), before);
    std::fs::write(circusd.path("circus.ini"), "[watcher:good]\ncmd = x\nstop_signal = NONE\n[circus\n").unwrap();
    let (error, status) = circusd.ctl(&["restart", "--waiting"]);
    assert!(
        error.starts_with("error: the configuration cannot be used; starting again with the previous one"),
        "{error}"
    );
    assert_eq!(status, Some(3));
}
