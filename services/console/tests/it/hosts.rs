//! Two circusds of `hosts.toml` in one console.

use std::fs;

use serde_json::{Value, json};

use crate::rig::{ADMIN, OPERATE, Rig, Stream, bearer, eventually, has_circusd};
use crate::sites::Site;

fn pids(rig: &Rig, machine: &str) -> Vec<u64> {
    let shown = rig.get(&format!("/api/machines/{machine}/watchers/web"));
    shown["processes"].as_array().into_iter().flatten().filter_map(|worker| worker["pid"].as_u64()).collect()
}

#[test]
fn circusds_of_hosts_toml_are_steered_each_on_its_own() {
    if !has_circusd("circusds_of_hosts_toml_are_steered_each_on_its_own") {
        return;
    }
    let mut rig = Rig::bare("");
    let (a, mut b) = (Site::start(&rig, "a"), Site::start(&rig, "b"));
    fs::create_dir_all(rig.path("config/circus")).unwrap();
    let host = |site: &Site| format!("[hosts.{}]\nendpoint = '{}'\n", site.name, site.endpoint(&rig, "control"));
    fs::write(rig.path("config/circus/hosts.toml"), host(&a) + &host(&b)).unwrap();
    rig.start_console_of(&["--host", "all"], &[("XDG_CONFIG_HOME", rig.path("config"))]);
    let machines = rig.get("/api/machines");
    let names: Vec<_> = machines.as_array().unwrap().iter().map(|machine| machine["name"].clone()).collect();
    assert_eq!(names, [json!("a"), json!("b")]);
    eventually("both run", || (pids(&rig, "a").len() == 1 && pids(&rig, "b").len() == 1).then_some(()));

    // An action reaches the one that it is for.
    let of_a = pids(&rig, "a");
    let act = |machine: &str, action: &str| {
        rig.post(OPERATE, &format!("/api/machines/{machine}/watchers/web/actions/{action}"), &json!({}))
    };
    let (status, answer) = act("b", "incr");
    assert_eq!((status, &answer["numprocesses"]), (200, &json!(2)), "{answer}");
    eventually("one more at b", || (pids(&rig, "b").len() == 2).then_some(()));
    assert_eq!(pids(&rig, "a"), of_a);

    // One goes away, and the other stays.
    let mut stream = Stream::open(rig.port, "/api/stream", &[("Authorization", &bearer(ADMIN))]);
    let reach = |of: &'static str, wanted: &'static str| {
        move |event: &str, data: &Value| {
            (event == "machine" && data["name"] == of && data["reach"]["state"] == wanted).then(|| data.clone())
        }
    };
    stream.until("b is up", reach("b", "up"));
    b.circusd.as_mut().unwrap().kill();
    let down = stream.until("b is down", reach("b", "down"));
    assert!(down["reach"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{down}");
    assert_eq!(act("b", "stop").0, 503);
    assert_eq!(act("a", "restart").0, 200);
    eventually("a has another process", || (pids(&rig, "a").len() == 1 && pids(&rig, "a") != of_a).then_some(()));
    assert_eq!(rig.get("/api/machines/a")["machine"]["reach"]["state"], "up");
    b.start_circusd(&rig);
    stream.until("b is up again", reach("b", "up"));
    eventually("b runs as its file says", || (pids(&rig, "b").len() == 1).then_some(()));
    drop(a);
}
