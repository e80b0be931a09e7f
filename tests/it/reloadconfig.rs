//! The configuration file is read again while everything runs.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::rig::{Answer, Circusd, Http, Process, Site};

const FILE: &str = "
    [watcher:change]
    cmd = {knobs} say one
    [watcher:gone]
    cmd = {knobs}
    [watcher:stay]
    cmd = {knobs}
    ";

/// The processes of the watchers that are there, one each.
fn one_each<const N: usize>(circusd: &Circusd, names: [&str; N]) -> [Process; N] {
    names.map(|name| circusd.wait_for_workers(name, 1)[0])
}

#[test]
fn the_plan_is_printed_then_carried_out_then_empty() {
    let circusd = Site::new().start(FILE);
    let [change, gone, stay] = one_each(&circusd, ["change", "gone", "stay"]);
    circusd.tell("add", json!({"name": "extra", "cmd": circusd.named("{knobs}"), "start": true}));
    circusd.ini(
        "circus.ini",
        "[circus]
         check_delay = 1
         endpoint_mode = 0660
         [watcher:change]
         cmd = {knobs} say two
         graceful_timeout = 3
         [watcher:fresh]
         cmd = {knobs}
         numprocesses = 2
         [watcher:stay]
         cmd = {knobs}
         graceful_timeout = 2
         nonsense = 1",
    );
    let plan = "\
removed   watcher gone
removed   watcher extra   made by add, and not in the file
replaced  watcher change  cmd, graceful_timeout
added     watcher fresh
adjusted  watcher stay    graceful_timeout, nonsense
applied   [circus]        check_delay
restart   [circus]        endpoint_mode: not before circusd is restarted
";
    let shown = circusd.circusctl(&["reloadconfig", "--dry-run", "--prune"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with("warning")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!((sorted(&shown.stdout), shown.status), (sorted(plan), Some(0)), "{shown:?}");
    assert!(shown.stdout.contains("unknown key 'nonsense'"), "{shown:?}");
    assert_eq!(one_each(&circusd, ["change", "gone", "stay"]), [change, gone, stay]);

    let done = circusd.circusctl(&["reloadconfig", "--prune", "--waiting"]);
    assert_eq!(done.stdout, "ok\n[circus] endpoint_mode will change when circusd is restarted\n");
    assert_eq!(circusd.tell("list", json!({}))["watchers"], json!(["change", "fresh", "stay"]));
    assert!([change, gone].iter().all(|process| !process.lives()));
    let now = one_each(&circusd, ["change", "stay"]);
    assert_eq!(now[1], stay, "what set applies without new processes restarts none");
    circusd.wait_for_workers("fresh", 2);
    assert_eq!(circusd.tell("globaloptions", json!({}))["options"]["check_delay"], 1.0);

    let again = circusd.tell("reloadconfig", json!({"waiting": true}));
    assert!(again["watchers"].as_array().unwrap().iter().all(|step| step["change"] == "kept"), "{again}");
    assert_eq!(one_each(&circusd, ["change", "stay"]), now);
}

#[test]
fn a_broken_file_is_told_by_line_and_changes_nothing() {
    let circusd = Site::new().start(FILE);
    let before = one_each(&circusd, ["change", "gone", "stay"]);
    circusd.ini("circus.ini", "[watcher:change]\ncmd = {knobs}\nnumprocesses = many\n[watcher:other]\ncmd = {knobs}");
    for option in ["--dry-run", "--waiting"] {
        let refused = circusd.circusctl(&["reloadconfig", option]);
        assert_eq!((refused.stdout.as_str(), refused.status), ("", Some(3)));
        assert!(refused.stderr.starts_with("error: server error\n"), "{refused:?}");
        assert!(refused.stderr.contains("circus.ini:3: [watcher:change] numprocesses"), "{refused:?}");
    }
    assert_eq!(one_each(&circusd, ["change", "gone", "stay"]), before);
    assert_eq!(circusd.tell("list", json!({}))["watchers"], json!(["change", "gone", "stay"]));
}

fn served(path: &str, also: &str) -> String {
    format!(
        "[socket:web]
         path = {path}
         [watcher:web]
         cmd = {{knobs}} serve $(circus.sockets.web)
         use_sockets = True
         {also}"
    )
}

#[test]
fn a_socket_that_moves_takes_its_users_along() {
    let circusd = Site::new().start(&served("{dir}/old", ""));
    let [before] = one_each(&circusd, ["web"]);
    assert_eq!(Http::get_at(&circusd.path("old")), Answer::Body(format!("{}\n", before.0)));
    circusd.ini("circus.ini", &served("{dir}/new", ""));
    let reply = circusd.tell("reloadconfig", json!({"waiting": true}));
    assert_eq!(reply["sockets"], json!([{"name": "web", "change": "replaced", "why": ["path"]}]));
    let [after] = one_each(&circusd, ["web"]);
    assert!(!before.lives() && !circusd.path("old").exists());
    assert_eq!(Http::get_at(&circusd.path("new")), Answer::Body(format!("{}\n", after.0)));
}

#[test]
fn a_socket_that_is_adjusted_costs_nobody_anything() {
    let circusd = Site::new().start(&served("{dir}/web", ""));
    let before = one_each(&circusd, ["web"]);
    // A key of [socket:web] may stand in a section that follows.
    circusd.ini("circus.ini", &served("{dir}/web", "[socket:web]\nbacklog = 7\numask = 077"));
    let reply = circusd.tell("reloadconfig", json!({"waiting": true}));
    assert_eq!(reply["sockets"], json!([{"name": "web", "change": "adjusted", "why": ["backlog", "umask"]}]));
    assert_eq!(circusd.tell("listsockets", json!({}))["sockets"][0]["backlog"], 7);
    let mode = std::fs::metadata(circusd.path("web")).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, one_each(&circusd, ["web"])), (0o700, before));
}

#[test]
fn a_socket_that_cannot_be_opened_changes_nothing() {
    let circusd = Site::new().start(&served("{dir}/web", ""));
    let before = one_each(&circusd, ["web"]);
    circusd.ini("circus.ini", &served("{dir}/missing/web", "[watcher:other]\ncmd = {knobs}"));
    let reply = circusd.ask("reloadconfig", json!({}));
    assert_eq!((&reply["errno"], &reply["reason"]), (&json!(6), &json!("server error")));
    assert!(reply["details"][0].as_str().unwrap().contains("missing' does not exist"), "{reply}");
    assert_eq!(circusd.tell("list", json!({}))["watchers"], json!(["web"]));
    assert_eq!(Http::get_at(&circusd.path("web")), Answer::Body(format!("{}\n", before[0].0)));
}

#[test]
fn log_and_umask_follow_the_file() {
    let file = |circus: &str, count: u32| {
        format!("[circus]\n{circus}\n[watcher:w{count}]\ncmd = {{knobs}} write {{dir}}/made{count} x")
    };
    let circusd = Site::new().start(&file("umask = 022", 1));
    let mode = |name: &str| {
        circusd.wait_for_text(name, "x");
        std::fs::metadata(circusd.path(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("made1"), 0o644);
    circusd.ini("circus.ini", &file("umask = 077\nlogoutput = {dir}/other.log", 2));
    circusd.tell("reloadconfig", json!({"waiting": true}));
    assert_eq!(mode("made2"), 0o600);
    circusd.wait_for_text("other.log", "reloadconfig: 1 added, 1 removed, 2 options of [circus] applied");
    assert!(!circusd.log().contains("w2 started"));
}
