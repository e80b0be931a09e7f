//! `audit_log`: which client has changed what.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::rig::{Circusd, Site, wait_until};

/// The lines of the audit log that have come by now, of which one has these words.
#[track_caller]
fn lines(circusd: &Circusd, words: &str) -> Vec<String> {
    circusd.wait_for_text("audit", words).lines().map(str::to_owned).collect()
}

#[test]
fn each_change_has_a_line_with_its_client_and_no_values() {
    let me = User::from_uid(Uid::current()).unwrap().expect("the user of the tests has a name");
    let mut circusd = Site::new().start(&format!(
        "[circus]\nendpoint_owner = {}\naudit_log = {{dir}}/audit\n[watcher:w]\ncmd = {{knobs}}",
        me.name
    ));
    assert_eq!(std::fs::metadata(circusd.path("audit")).unwrap().mode() & 0o7777, 0o600);
    circusd.tell("list", json!({}));
    circusd.tell("restart", json!({"name": "w", "waiting": true}));
    circusd.ask("set", json!({"name": "w", "options": {"env": {"TOKEN": "secret"}, "numprocesses": "secret"}}));
    circusd.ask("add", json!({"name": "x", "cmd": "secret", "options": {"uid": me.uid.as_raw() + 1}}));
    circusd.ask("rm", json!({"name": "no\nresult=ok"}));
    circusd.ask("stop", json!({"name": 7, "match": "secret"}));
    let who = format!("uid={} pid={}", me.uid, std::process::id());
    let lines = lines(&circusd, "command=stop");
    let expected = [
        format!("command=restart target=w {who} result=ok"),
        format!("command=set target=w options=env,numprocesses {who} result=error errno="),
        format!("command=add target=x options=uid {who} result=denied reason=\"uid does not match"),
        format!("command=rm target=\"no\\\\nresult=ok\" {who} result=error errno=3"),
        format!("command=stop {who} result=error errno="),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        let (time, rest) = line.split_once(" circusd[").unwrap();
        assert!(time.len() >= "2026-01-01T00:00:00.000+00:00".len() && rest.contains(expected.as_str()), "{line}");
        assert!(!line.contains("secret") && !line.contains('\u{1b}'), "{line}");
    }
    circusd.quit();
    assert!(circusd.read("audit").contains("command=quit"), "the last one is written, too");
}

#[test]
fn format_changes_and_a_moved_file_is_opened_again() {
    let circusd = Site::new().start("[circus]\naudit_log = {dir}/audit\n[watcher:w]\ncmd = {knobs}");
    circusd.tell("incr", json!({"name": "w"}));
    lines(&circusd, "command=incr");
    std::fs::rename(circusd.path("audit"), circusd.path("audit.1")).unwrap();
    circusd.ini("circus.ini", &circusd.read("circus.ini").replace("audit_log", "audit_format = json\naudit_log"));
    circusd.tell("reloadconfig", json!({"waiting": true}));
    circusd.tell("decr", json!({"name": "w"}));
    let lines = lines(&circusd, "\"decr\"");
    let objects: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let commands: Vec<&str> = objects.iter().map(|object| object["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["reloadconfig", "decr"]);
    assert_eq!(objects[1]["target"], "w");
    assert_eq!((&objects[1]["result"], &objects[1]["pid"]), (&json!("ok"), &json!(std::process::id())));
    assert!(objects[1]["time"].is_string() && objects[1]["process"] == circusd.process().0);
    // What an upgrade answers, its successor tells of.
    circusd.tell("upgrade", json!({}));
    circusd.wait_for_text("audit", "\"upgrade\"");
}

#[test]
fn file_that_others_may_touch_is_refused() {
    let site = Site::new();
    site.write("audit", "");
    std::fs::set_permissions(site.path("audit"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let ini = site.ini("circus.ini", "[circus]\naudit_log = {dir}/audit\n[watcher:w]\ncmd = {knobs}");
    let output = site.run_circusd(&[ini.to_str().unwrap()]);
    let mend = format!("others may read or change it (mode 0644): chmod 600 {}", site.path("audit").display());
    assert!(output.status == Some(1) && output.stderr.contains(&mend), "{output:?}");
    // While circusd runs, a file that is no good is not taken over.
    let circusd = site.start("[circus]\naudit_log = {dir}/good\n[watcher:w]\ncmd = {knobs}");
    circusd.write("bad", "");
    circusd.ini("circus.ini", &circusd.read("circus.ini").replace("/good", "/bad"));
    let reply = circusd.ask("reloadconfig", json!({}));
    assert!(reply.to_string().contains("audit_log ") && reply["status"] == "error", "{reply}");
    wait_until("the old one goes on", || circusd.read("good").contains("command=reloadconfig"));
}

#[test]
fn flood_of_denials_is_counted() {
    let me = User::from_uid(Uid::current()).unwrap().expect("the user of the tests has a name");
    let sections = "[circus]\nendpoint_owner = {me}\naudit_log = {dir}/audit\n[watcher:w]\ncmd = {knobs}";
    let circusd = Site::new().start(&sections.replace("{me}", &me.name));
    let mut client = circusd.client();
    for _ in 0..300 {
        let reply = crate::rig::ask(&mut client, "add", json!({"name": "x", "cmd": "x"}));
        assert_eq!(reply["status"], "error", "{reply}");
    }
    circusd.tell("incr", json!({"name": "w"}));
    let lines = lines(&circusd, "command=incr");
    // Ten seconds may begin anew in between.
    let denied = lines.iter().filter(|line| line.contains("result=denied")).count();
    assert!((100..=200).contains(&denied), "{denied}");
}
