//! Every question and every action, with a real circusd.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::rig::{ADMIN, OPERATE, Rig, bearer, eventually, has_circusd};

const INI: &str = "statsd = yes\nstats_interval = 0.2\n\
    [socket:web]\nhost = 127.0.0.1\nport = 0\n\
    [watcher:web]\ncmd = sh -c 'echo started; echo trouble >&2; exec sleep 1000' --password hidden\nnumprocesses = 2\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/web.log\n\
    stderr_stream.class = FileStream\nstderr_stream.filename = FOLDER/web.err\nsockets = web\n\
    [watcher:other]\ncmd = sleep 1000\ngraceful_timeout = 2\n\
    [watcher:job]\ncmd = true\nkind = oneshot\nautostart = no\n";

const WEB: &str = "/api/machines/box/watchers/web";

fn row(rig: &Rig, watcher: &str) -> Value {
    rig.get(&format!("/api/machines/box/watchers/{watcher}"))
}

fn pids(rig: &Rig, watcher: &str) -> Vec<u64> {
    let shown = row(rig, watcher);
    shown["processes"].as_array().unwrap().iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

#[test]
fn what_is_known_is_shown() {
    if !has_circusd("what_is_known_is_shown") {
        return;
    }
    let rig = Rig::new(INI);
    eventually("the watchers run", || (pids(&rig, "web").len() == 2 && pids(&rig, "other").len() == 1).then_some(()));
    let machines = rig.get("/api/machines");
    assert_eq!((&machines[0]["name"], &machines[0]["reach"]["state"]), (&json!("box"), &json!("up")));
    assert_eq!(machines[0]["sockets"][0]["name"], "web");
    let machine = rig.get("/api/machines/box");
    let names: Vec<_> = machine["watchers"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, [json!("circusd-stats"), json!("job"), json!("other"), json!("web")]);
    let web = row(&rig, "web");
    assert_eq!((&web["state"], &web["health"], &web["wanted"]), (&json!("active"), &json!("ready"), &json!(2)));
    assert_eq!(rig.get("/api/machines/box/watchers").as_array().unwrap().len(), 4);
    // The queue is the kernel's: it comes while somebody looks.
    let _look = crate::rig::Stream::open(rig.port, "/api/stream", &[("Authorization", &bearer(ADMIN))]);
    eventually("the accept queue", || rig.get("/api/machines/box/sockets")[0]["queue"].as_u64());
    let rss = eventually("figures", || row(&rig, "web")["rss"].as_u64().filter(|rss| *rss > 0));
    assert!(rss > 0);
    let points = eventually("history", || {
        let history = rig.get(&format!("{WEB}/history"));
        history["points"].as_array().filter(|points| !points.is_empty()).cloned()
    });
    assert!(points[0][2].as_u64().unwrap() > 0, "{points:?}");

    let why = rig.get(&format!("{WEB}/why"));
    assert_eq!((&why["name"], &why["events"]), (&json!("web"), &json!([])));
    let options = rig.get(&format!("{WEB}/options"));
    assert_eq!(options["options"]["numprocesses"], 2);
    assert!(
        rig.get(&format!("{WEB}/options?all=1"))["options"].as_object().unwrap().len()
            > options["options"].as_object().unwrap().len()
    );
    let lines = |query: &str| {
        let tail = rig.get(&format!("{WEB}/tail?{query}"));
        tail["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["line"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("output", || (lines("").len() == 2 && lines("stream=stderr").len() == 2).then_some(()));
    assert_eq!(lines("stream=stderr&lines=1"), ["trouble"]);
    assert_eq!((lines("search=START").len(), lines("search=none").len(), lines("wid=1").len()), (2, 0, 1));
    let file = rig.ask("GET", &format!("{WEB}/tail/download?stream=stderr"), &[("Authorization", &bearer(ADMIN))], "");
    assert_eq!((file.status, file.body.as_str()), (200, "trouble\ntrouble\n"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"web-stderr.log\""));
    let events = rig.get("/api/machines/box/events");
    assert!(events["missed"] == 0 && events["last"].is_u64(), "{events}");
    assert_eq!(rig.get("/api/session")["role"], "admin");
    assert!(rig.get("/api/actions").as_array().unwrap().len() > 20);
    let ask = |target: &str| rig.ask("GET", target, &[("Authorization", &bearer(ADMIN))], "").status;
    for missing in [
        "/api/machines/none",
        "/api/machines/box/watchers/none",
        "/api/machines/box/watchers/none/why",
        "/api/machines/box/watchers/none/options",
        "/api/machines/box/watchers/none/tail",
        "/api/machines/box/watchers/none/history",
        "/api/zork",
        "/api/machines/box/watchers/web/zork",
    ] {
        assert_eq!(ask(missing), 404, "{missing}");
    }
    for wrong in ["/tail?stream=stdin", "/tail?lines=x", "/tail?wid=-1"] {
        assert_eq!(ask(&format!("{WEB}{wrong}")), 400, "{wrong}");
    }
}

/// Each path of the description is answered, and is a path of the interface.
#[test]
fn every_path_of_the_description_is_answered() {
    if !has_circusd("every_path_of_the_description_is_answered") {
        return;
    }
    let rig = Rig::new(INI);
    eventually("the watchers run", || (pids(&rig, "web").len() == 2).then_some(()));
    let document = rig.ask("GET", "/api/openapi.json", &[], "").json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let target = path.replace("{machine}", "box").replace("{watcher}", "web");
        if methods.get("get").is_some() && path != "/api/stream" {
            let reply = rig.ask("GET", &target, &[("Authorization", &bearer(ADMIN))], "");
            assert_eq!(reply.status, 200, "{path}: {}", reply.body);
            asked += 1;
        }
        if methods.get("post").is_some() && path != "/api/login" {
            // A property that no action has.
            let (status, _) = rig.post(ADMIN, &target, &json!({"zork": 1}));
            assert_eq!(status, if path == "/api/logout" { 200 } else { 400 }, "{path}");
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn watchers_are_steered() {
    if !has_circusd("watchers_are_steered") {
        return;
    }
    let rig = Rig::new(INI);
    eventually("the watchers run", || (pids(&rig, "web").len() == 2).then_some(()));
    let act = |name: &str, body: Value| {
        let (status, answer) = rig.post(OPERATE, &format!("{WEB}/actions/{name}"), &body);
        assert_eq!(status, 200, "{name}: {answer}");
        answer
    };
    let state = |watcher: &str| row(&rig, watcher)["state"].clone();
    act("stop", json!({}));
    assert_eq!((state("web"), state("other")), (json!("stopped"), json!("active")));
    act("start", json!({}));
    assert_eq!(pids(&rig, "web").len(), 2);
    let mut before = pids(&rig, "web");
    for name in ["restart", "reload", "rolling-reload"] {
        act(name, json!({}));
        let after = pids(&rig, "web");
        assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)), "{name}: {before:?} {after:?}");
        before = after;
    }
    assert_eq!(act("incr", json!({"nb": 2}))["numprocesses"], 4);
    assert_eq!(act("decr", json!({"nb": 2}))["numprocesses"], 2);
    let first = pids(&rig, "web")[0];
    act("kill", json!({"pid": first}));
    eventually("the process was replaced", || {
        let now = pids(&rig, "web");
        (now.len() == 2 && !now.contains(&first)).then_some(())
    });
    let second = pids(&rig, "web")[0];
    act("signal", json!({"pid": second, "signum": "KILL"}));
    eventually("the process was replaced", || {
        let now = pids(&rig, "web");
        (now.len() == 2 && !now.contains(&second)).then_some(())
    });
    // What circusd was asked for went not wrong; this does.
    let third = pids(&rig, "web")[0].to_string();
    assert!(Command::new("kill").args(["-KILL", &third]).status().unwrap().success());
    let why = eventually("why", || {
        let why = rig.get(&format!("{WEB}/why"));
        (!why["events"].as_array().unwrap().is_empty()).then_some(why)
    });
    assert!(why["events"][0]["text"].as_str().unwrap().contains("SIGKILL"), "{why}");
    act("disable", json!({}));
    assert_eq!(row(&rig, "web")["enabled"], false);
    act("enable", json!({}));
    assert_eq!(row(&rig, "web")["enabled"], true);
    let (status, run) = rig.post(OPERATE, "/api/machines/box/watchers/job/actions/run", &json!({}));
    assert_eq!((status, &run["info"]["run"]["result"]), (200, &json!("success")), "{run}");

    let boss = |target: &str, body: Value| rig.post(ADMIN, target, &body);
    assert_eq!(boss(&format!("{WEB}/actions/set"), json!({"options": {"numprocesses": "3"}})).0, 200);
    eventually("three processes", || (pids(&rig, "web").len() == 3).then_some(()));
    let added = json!({"name": "new", "cmd": "sleep 1000", "start": true, "options": {"graceful_timeout": "1"}});
    assert_eq!(boss("/api/machines/box/actions/add", added.clone()).0, 200);
    assert_eq!(state("new"), "active");
    assert_eq!(boss("/api/machines/box/actions/add", added).0, 409);
    assert_eq!(boss("/api/machines/box/watchers/new/actions/rm", json!({})).0, 200);
    let gone = rig.ask("GET", "/api/machines/box/watchers/new", &[("Authorization", &bearer(ADMIN))], "");
    assert_eq!(gone.status, 404);
    for (name, body) in [("none/actions/stop", json!({})), ("w*/actions/stop", json!({}))] {
        let (status, answer) = boss(&format!("/api/machines/box/watchers/{name}"), body);
        assert!(status == 404 || status == 409, "{name}: {status} {answer}");
        assert_eq!(state("web"), "active");
    }
    // The log tells who has done what.
    let log = fs::read_to_string(rig.path("console.log")).unwrap();
    for line in ["worker (operate) box: stop web: ok", "boss (admin) box: rm new: ok", "boss (admin) box: stop none: 4"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn circusd_itself_is_steered() {
    if !has_circusd("circusd_itself_is_steered") {
        return;
    }
    let mut rig = Rig::new(INI);
    eventually("the watchers run", || (pids(&rig, "other").len() == 1).then_some(()));
    let place = |name: &str| format!("/api/machines/box/actions/{name}");
    let ok = |rig: &Rig, name: &str, body: Value| {
        let (status, answer) = rig.post(ADMIN, &place(name), &body);
        assert_eq!(status, 200, "{name}: {answer}");
    };
    ok(&rig, "stop", json!({}));
    assert_eq!(row(&rig, "other")["state"], "stopped");
    ok(&rig, "start", json!({}));
    let before = pids(&rig, "other");
    for name in ["reload", "rolling-reload"] {
        ok(&rig, name, json!({}));
    }
    eventually("another process", || (pids(&rig, "other") != before).then_some(()));
    ok(&rig, "reopenlogs", json!({}));

    // A plan, and what it becomes when the file changes meanwhile.
    assert_eq!(rig.get("/api/machines/box/plan")["valid"], true);
    rig.configure(&INI.replace("numprocesses = 2", "numprocesses = 1"));
    let plan = rig.get("/api/machines/box/plan");
    let web = plan["watchers"].as_array().unwrap().iter().find(|watcher| watcher["name"] == "web").unwrap();
    assert_eq!((&web["change"], &web["to"]), (&json!("scaled"), &json!(1)));
    assert_eq!(pids(&rig, "web").len(), 2, "a plan changes nothing");
    rig.configure(&INI.replace("numprocesses = 2", "numprocesses = 5"));
    let (status, answer) = rig.post(ADMIN, &place("reloadconfig"), &json!({"plan": plan["digest"]}));
    assert_eq!(status, 409, "{answer}");
    assert_eq!(pids(&rig, "web").len(), 2, "another plan is not applied");
    let plan = rig.get("/api/machines/box/plan");
    ok(&rig, "reloadconfig", json!({"plan": plan["digest"]}));
    eventually("five processes", || (pids(&rig, "web").len() == 5).then_some(()));
    rig.configure("[watcher:bad]\ncmd = sleep 1\nnumprocesses = many\n");
    let plan = rig.get("/api/machines/box/plan");
    assert!(plan["valid"] == false && plan["details"].to_string().contains("numprocesses"), "{plan}");
    rig.configure(INI);

    let pid = rig.circusd.as_ref().unwrap().pid();
    ok(&rig, "upgrade", json!({}));
    let machines = eventually("circusd is back", || {
        let machines = rig.get("/api/machines");
        (machines[0]["reach"]["state"] == "up").then_some(machines)
    });
    assert!(machines[0]["circusd"]["pid"].is_null() || machines[0]["circusd"]["pid"] == pid);
    assert_eq!(pids(&rig, "web").len(), 5, "workers go on");
    ok(&rig, "restart", json!({}));
    eventually("the file was read again", || (pids(&rig, "web").len() == 2).then_some(()));
    ok(&rig, "quit", json!({}));
    eventually("circusd has ended", || rig.circusd.as_mut().unwrap().has_ended().then_some(()));
    let reply = rig.ask("GET", "/api/machines/box/watchers/web/why", &[("Authorization", &bearer(ADMIN))], "");
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert_eq!(rig.get("/api/machines")[0]["reach"]["state"], "down");
}
