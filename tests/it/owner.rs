//! `endpoint_owner`: clients of the control endpoint start programs as that user and as no other.

use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::rig::{Circusd, Site, wait_until};

#[test]
fn watchers_get_no_other_uid_than_the_owner_s() {
    let me = User::from_uid(Uid::current()).unwrap().expect("the user of the tests has a name");
    let (name, number) = (me.name.as_str(), me.uid.as_raw());
    let circusd = Site::new().start(&format!("[circus]\nendpoint_owner = {name}\n[watcher:w]\ncmd = {{knobs}}\n"));
    let add = |watcher: &str, options| circusd.ask("add", json!({"name": watcher, "cmd": "x", "options": options}));
    for (watcher, options) in [("none", json!({})), ("other", json!({"uid": number + 1}))] {
        let reply = add(watcher, options);
        assert_eq!(reply["reason"], "uid does not match endpoint_owner");
        assert_eq!(reply["errno"], 3);
    }
    for (watcher, uid) in [("name", json!(name)), ("number", json!(number)), ("text", json!(number.to_string()))] {
        let reply = add(watcher, json!({"uid": uid}));
        assert_eq!(reply["status"], "ok", "{reply}");
    }
    let set = |options| circusd.ask("set", json!({"name": "name", "options": options}));
    assert_eq!(set(json!({"uid": number + 1}))["reason"], "uid does not match endpoint_owner");
    assert_eq!(set(json!({"uid": name, "graceful_timeout": 1}))["status"], "ok");
}

/// The user that owns the endpoint, and another one: every Debian has them.
const OWNER: &str = "daemon";
const OTHER: &str = "bin";

/// A circusd of root whose endpoint belongs to a user, with a watcher of root's, one of another user's and one of the
/// owner's.
fn owned_circusd() -> Circusd {
    Site::new().start(&format!(
        "[circus]
        endpoint_owner = {OWNER}
        [watcher:roots]
        cmd = sleep 1000
        numprocesses = 1
        [watcher:others]
        cmd = sleep 1000
        uid = {OTHER}
        working_dir = /
        [watcher:own]
        cmd = sleep 1000
        uid = {OWNER}
        working_dir = /"
    ))
}

#[track_caller]
fn refused(reply: &Value) {
    assert_eq!(reply["status"], "error", "{reply}");
    let reason = reply["reason"].as_str().unwrap();
    assert!(reason.starts_with("not allowed: ") || reason == "uid does not match endpoint_owner", "{reason}");
}

#[test]
#[ignore = "needs root"]
fn an_owner_cannot_act_as_another_user() {
    let circusd = owned_circusd();
    let pids = |name: &str| circusd.ask("list", json!({"name": name}))["pids"].clone();
    circusd.wait_for_workers("roots", 1);
    circusd.wait_for_workers("others", 1);
    circusd.wait_for_workers("own", 1);
    let before = (pids("roots"), pids("others"));
    let proof = circusd.path("proof");
    let script = format!("id -u > {}; sleep 1000", proof.display());
    let set =
        |name: &str, options: Value| circusd.ask("set", json!({"name": name, "options": options, "waiting": true}));
    for options in [
        json!({"cmd": script, "shell": true}),
        json!({"executable": "/bin/sh", "args": ["-c", script]}),
        json!({"env": {"LD_PRELOAD": "/tmp/x.so"}}),
        json!({"working_dir": "/root"}),
        json!({"uid": OWNER}),
        json!({"numprocesses": 2}),
    ] {
        refused(&set("roots", options.clone()));
        refused(&set("others", options));
    }
    let log = circusd.path("log");
    std::fs::write(&log, "kept\n").unwrap();
    let file = json!({"class": "FileStream", "filename": log, "max_bytes": 1});
    for options in [
        json!({"gid": "shadow"}),
        json!({"uid": OTHER}),
        json!({"uid": 0}),
        json!({"stdout_stream": file}),
        json!({"stdout_stream.filename": log}),
        json!({"stdout_stream": {"class": "exec", "command": script}}),
        json!({"hooks.before_start": format!("exec:sh -c '{script}'")}),
        json!({"copy_env": true}),
        json!({"use_sockets": true}),
        json!({"rlimit_nofile": 1_000_000}),
        json!({"close_child_stdin": false}),
    ] {
        refused(&set("own", options.clone()));
        let mut options = options;
        if options.get("uid").is_none() {
            options["uid"] = OWNER.into();
        }
        refused(&circusd.ask("add", json!({"name": "new", "cmd": "sleep 1", "options": options, "start": true})));
    }
    for name in ["roots", "others"] {
        for (command, more) in [
            ("signal", json!({"signum": "kill"})),
            ("kill", json!({"signum": 9})),
            ("stop", json!({})),
            ("restart", json!({})),
            ("rm", json!({"nostop": true})),
            ("incr", json!({})),
            ("get", json!({"keys": ["env"]})),
            ("options", json!({})),
            ("tail", json!({"stream": "stdout"})),
        ] {
            let mut properties = more;
            properties["name"] = name.into();
            refused(&circusd.ask(command, properties));
        }
    }
    for command in ["quit", "reloadconfig", "restart", "stop", "start", "reload"] {
        refused(&circusd.ask(command, json!({})));
    }
    assert_eq!((pids("roots"), pids("others")), before, "nothing was signalled");
    assert!(!proof.exists(), "nothing ran");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "kept\n", "nothing was opened");
}

#[test]
#[ignore = "needs root"]
fn an_owner_rules_its_own_watchers() {
    let circusd = owned_circusd();
    let ok = |reply: Value| assert_eq!(reply["status"], "ok", "{reply}");
    ok(circusd
        .ask("set", json!({"name": "own", "options": {"cmd": "sleep 2000", "numprocesses": 2}, "waiting": true})));
    ok(circusd.ask("signal", json!({"name": "own", "signum": "term"})));
    ok(circusd.ask("restart", json!({"name": "own", "waiting": true})));
    let options = json!({"uid": OWNER, "stdout_stream": {"class": "MemoryStream"}});
    ok(circusd.ask("add", json!({"name": "new", "cmd": "sh -c 'id -u; exec sleep 1000'", "options": options, "start": true, "waiting": true})));
    let owner = User::from_name(OWNER).unwrap().unwrap().uid.to_string();
    wait_until("its user is printed", || {
        let tail = circusd.ask("tail", json!({"name": "new", "stream": "stdout"}));
        tail.to_string().contains(&format!("\"{owner}\""))
    });
    ok(circusd.ask("rm", json!({"name": "new", "waiting": true})));
}
