//! `after` with real programs: what a watcher needs starts before it and stops after it.

use serde_json::json;

use crate::rig::{Site, wait_until};

#[test]
fn worker_waits_for_its_broker_and_ends_before_it() {
    let mut circusd = Site::new().start(
        "[watcher:worker]
         cmd = {knobs} polite worker-left
         after = broker
         stdout_stream.class = FileStream
         stdout_stream.filename = {dir}/ends
         [watcher:broker]
         cmd = {knobs} polite broker-left
         ready = exec:/usr/bin/test -f {dir}/up
         ready_interval = 0.05
         stdout_stream.class = FileStream
         stdout_stream.filename = {dir}/ends",
    );
    wait_until("the broker is asked whether it is ready", || {
        circusd.details("broker")["processes"][0]["check_error"] == "exit status 1"
    });
    assert_eq!(circusd.workers("worker").len(), 0);
    circusd.write("up", "");
    circusd.wait_for_workers("worker", 1);
    circusd.quit();
    let ends = circusd.read("ends");
    let place = |text: &str| ends.find(text).unwrap_or_else(|| panic!("{text} is missing in {ends:?}"));
    assert!(place("worker-left") < place("broker-left"), "{ends:?}");
}

#[test]
fn impossible_orders_are_named_with_their_path() {
    let site = Site::new();
    let file = site.write(
        "f.ini",
        "[watcher:a]\ncmd = sh\nafter = b\n[watcher:b]\ncmd = sh\nafter = a\n[watcher:c]\ncmd = sh\nafter = nothing\n",
    );
    let output = site.run_circusd(&["--check", file.to_str().unwrap()]);
    assert_eq!(output.status, Some(1), "{output:?}");
    for told in ["f.ini:3: error: [watcher:a] after: ", "a -> b -> a", "f.ini:9: error: [watcher:c] after: ", "nothing"]
    {
        assert!(output.stdout.contains(told), "{told}: {output:?}");
    }
}

#[test]
fn order_set_later_is_checked_and_holds() {
    let circusd = Site::new().start("[watcher:a]\ncmd = {knobs}\n[watcher:b]\ncmd = {knobs}");
    circusd.wait_for_workers("b", 1);
    assert_eq!(circusd.ctl(&["set", "a", "after", "b"]).1, Some(0));
    let (text, status) = circusd.ctl(&["set", "b", "after", "a"]);
    assert!(status == Some(3) && text.contains("b -> a -> b"), "{text} {status:?}");
    circusd.tell("stop", json!({"name": "*", "match": "glob", "waiting": true}));
    circusd.tell("start", json!({"name": "*", "match": "glob", "waiting": true}));
    circusd.wait_for_workers("a", 1);
}
