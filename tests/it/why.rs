//! `circusctl why`: what went wrong, and what the worker has printed last.

use serde_json::json;

use crate::rig::{Site, wait_until};

#[test]
fn why_tells_of_deaths_with_the_last_lines_of_the_dead() {
    let circusd = Site::new().start(
        "[watcher:web]
         cmd = /bin/sh -c 'echo starting; echo no such table >&2; kill -SEGV $$'
         stdout_stream.class = MemoryStream
         stderr_stream.class = MemoryStream
         [watcher:gone]
         cmd = /bin/true
         working_dir = {dir}
         autostart = no
         max_retry = 2
         [watcher:calm]
         cmd = {knobs}",
    );
    let told = |name: &str| circusd.circusctl(&["why", name]).stdout;
    wait_until("it has died twice", || told("web").matches("was ended by SIGSEGV").count() >= 2);
    let text = told("web");
    assert!(text.starts_with("web: backing off: ") || text.starts_with("web: starting"), "{text}");
    assert!(text.contains(" was ended by SIGSEGV after ") && text.contains("; the next start waited "), "{text}");
    assert!(text.contains("the last lines of worker 1 (pid "), "{text}");
    assert!(text.contains("\n    stdout: starting\n    stderr: no such table"), "{text}");
    // The same as JSON, for other programs.
    let answer = circusd.tell("why", json!({"name": "web"}));
    let last = answer["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["event"], &last["signal"], &last["exit_code"]), (&json!("exit"), &json!("SIGSEGV"), &json!(-11)));
    assert_eq!(answer["worker"]["pid"], last["pid"]);
    assert!(answer["lines"].as_array().unwrap().iter().all(|line| line["pid"] == last["pid"]), "{answer}");
    let several = circusd.circusctl(&["why", "calm", "web"]).stdout;
    assert!(several.contains("calm: ready\n  nothing has gone wrong\n"), "{several}");
    circusd.tell("set", json!({"name": "gone", "options": {"working_dir": "/nonexistent"}}));
    circusd.tell("start", json!({"name": "gone"}));
    wait_until("it has given up", || told("gone").contains("given up"));
    let text = told("gone");
    assert!(text.starts_with("gone: failed: "), "{text}");
    assert!(text.contains("failed to change to the working directory: /nonexistent"), "{text}");
    assert_eq!(circusd.circusctl(&["why", "nobody"]).stderr, "error: program nobody not found\n");
    circusd.tell("stop", json!({"name": "web", "waiting": true}));
}
