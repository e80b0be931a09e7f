//! Branches, circusd and Celery's workers on one machine, over each broker: everything real.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::{self, Kind, Rig, Signal, eventually, needs, program, same, signal};
use serde_json::{Value, json};

/// A web server that answers with what it was asked. Its address.
fn target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut lines = Vec::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                lines.push(std::mem::take(&mut line).trim().to_owned());
            }
            let length =
                lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            drop(reader.read_exact(&mut body));
            let head = lines.first().cloned().unwrap_or_default();
            let said = format!("{head} {}", String::from_utf8_lossy(&body));
            let length = said.len();
            let said = if head.starts_with("HEAD") { String::new() } else { said };
            let answer = format!("HTTP/1.1 203 Fine\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}");
            drop(reader.get_mut().write_all(answer.as_bytes()));
        }
    });
    address
}

fn owner(rig: &Rig, name: &str) -> usize {
    let args = rig.circus("get", json!({"name": format!("cyme-{name}"), "keys": ["env"]}));
    let id = args["options"]["env"]["CYME_BRANCH"].as_str().unwrap().to_owned();
    id.strip_prefix("branch").unwrap().parse().unwrap()
}

fn consumes(rig: &Rig, path: &str) -> Vec<String> {
    let (_, queues) = rig.ask(0, "GET", &format!("{path}/queues/"));
    queues.as_object().map(|queues| queues.keys().cloned().collect()).unwrap_or_default()
}

fn bounds(rig: &Rig, path: &str) -> Value {
    let (_, stats) = rig.ask(0, "GET", &format!("{path}/stats/"));
    json!([stats["autoscaler"]["max"], stats["autoscaler"]["min"]])
}

#[test]
fn over_redis() {
    the_life_of_an_application("over_redis", Kind::Redis);
}

#[test]
fn over_rabbitmq_with_results_over_redis() {
    the_life_of_an_application("over_rabbitmq_with_results_over_redis", Kind::RabbitAndRedis);
}

#[test]
fn over_rabbitmq_alone() {
    the_life_of_an_application("over_rabbitmq_alone", Kind::Rabbit);
}

/// The life of an application: made, used, broken in every way, deleted.
fn the_life_of_an_application(test: &str, kind: Kind) {
    let Some(celery) = needs(test, kind) else { return };
    let mut rig = Rig::new(celery, kind, 2);

    // Two branches see each other.
    for branch in 0..2 {
        eventually("both branches", || same(rig.ask(branch, "GET", "/branches/").1, json!(["branch0", "branch1"])));
    }
    assert_eq!(rig.get(0, 200, "GET", "/branches/branch1/")["port"], rig.ports[1]);
    rig.get(0, 404, "GET", "/branches/other/");

    // An application and an instance; the other branch knows them.
    let app = rig.post(0, 201, "/foo/", "");
    assert_eq!((&app["name"], &app["broker_info"]["hostname"]), (&json!("foo"), &json!("127.0.0.1")));
    let made = rig.post(0, 201, "/foo/instances/i1/", "");
    assert_eq!((&made["is_enabled"], &made["queues"], &made["max_concurrency"]), (&json!(true), &json!([]), &json!(1)));
    for branch in 0..2 {
        assert_eq!(rig.get(branch, 200, "GET", "/foo/instances/"), json!(["i1"]));
        assert_eq!(rig.get(branch, 200, "GET", "/foo/instances/i1/")["name"], "i1");
    }
    // What the machines use is told with the next announcement.
    eventually("the load of the machines", || {
        rig.get(1, 200, "GET", "/machines/").as_array()?.iter().all(|one| one["cpu"].is_number()).then_some(())
    });
    rig.post(1, 409, "/foo/instances/I1/", "");
    rig.get(1, 200, "PUT", "/foo/instances/i1/");
    rig.get(0, 404, "GET", "/foo/instances/i2/");
    rig.post(0, 404, "/bar/instances/", "");

    // A queue, and a worker that consumes from it.
    let queue = rig.post(0, 201, "/foo/queues/tasks/", "exchange=tasks&routing_key=tasks");
    assert_eq!((&queue["exchange"], &queue["exchange_type"]), (&json!("tasks"), &Value::Null));
    assert_eq!(rig.get(1, 200, "GET", "/foo/queues/"), json!(["tasks"]));
    rig.get(0, 404, "PUT", "/foo/instances/i1/queues/other/");
    assert_eq!(rig.get(1, 201, "PUT", "/foo/instances/i1/queues/tasks"), json!({"ok": "ok"}));
    eventually("the worker consumes", || {
        consumes(&rig, "/foo/instances/i1").contains(&"tasks".to_owned()).then_some(())
    });
    assert!(rig.log_of(owner(&rig, "i1")).contains("i1: instance.consume_from: tasks"));

    tasks(&rig);

    // Other bounds, up and down.
    for (max, min) in [(3, 2), (1, 1)] {
        let path = format!("/foo/instances/i1/autoscale/?max={max}&min={min}");
        assert_eq!(rig.get(1, 200, "POST", &path), json!({"max": max, "min": min}));
        eventually("the worker has the bounds", || same(bounds(&rig, "/foo/instances/i1"), json!([max, min])));
    }
    rig.post(0, 400, "/foo/instances/i1/autoscale/", "min=2");
    rig.get(1, 200, "POST", "/foo/instances/i1/autoscale/?max=2");

    // A worker that is killed is back, with the same queues and bounds.
    let pid = rig.pid("i1").unwrap();
    signal(pid, Signal::SIGKILL);
    eventually("another process", || rig.pid("i1").filter(|new| *new != pid));
    eventually("the same queues", || consumes(&rig, "/foo/instances/i1").contains(&"tasks".to_owned()).then_some(()));
    eventually("the same bounds", || same(bounds(&rig, "/foo/instances/i1"), json!([2, 1])));

    machines(&rig);
    broker(&mut rig);
    branches(&mut rig);
    hangs(&rig);

    // The end of everything.
    assert_eq!(rig.get(0, 200, "DELETE", "/foo/instances/i1/queues/tasks"), json!({"ok": "ok"}));
    assert_eq!(rig.get(1, 200, "DELETE", "/foo/queues/tasks/"), json!({"ok": "ok"}));
    rig.get(0, 404, "GET", "/foo/queues/tasks/");
    rig.get(0, 409, "DELETE", "/foo/");
    assert_eq!(rig.get(1, 200, "DELETE", "/foo/instances/i1/"), json!({"ok": "ok"}));
    eventually("the watcher is gone", || same(rig.circus("list", json!({}))["watchers"].clone(), json!([])));
    rig.get(0, 404, "GET", "/foo/instances/i1/");
    assert_eq!(rig.get(0, 200, "DELETE", "/foo/"), json!([{"ok": "ok"}, {"ok": "ok"}]));
    assert_eq!(rig.get(1, 200, "GET", "/"), json!([]));
}

/// URLs are requested by the worker, with every verb.
fn tasks(rig: &Rig) {
    let target = target();
    for (verb, data) in
        [("GET", None), ("POST", Some("a=b+c")), ("PUT", None), ("PATCH", None), ("DELETE", None), ("HEAD", None)]
    {
        let url = format!("http://127.0.0.1:{}/foo/queue/tasks/{target}/x//y?user=133", rig.ports[0]);
        let (status, queued) = rig::ask(&url, verb, data);
        assert_eq!(status, 202, "{verb} {queued}");
        if verb == "HEAD" {
            continue;
        }
        assert_eq!((&queued["method"], &queued["queue"]["name"]), (&json!(verb), &json!("tasks")));
        let path = format!("/foo/query/{}", queued["uuid"].as_str().unwrap());
        let result = rig.get(1, 200, "GET", &format!("{path}/wait/?timeout=60"))["result"].clone();
        assert_eq!(result["status_code"], 203, "{result}");
        let said = result["content"].as_str().unwrap();
        assert!(said.starts_with(&format!("{verb} /x//y?user=133")), "{said}");
        assert_eq!(data.is_some(), said.ends_with("a=b+c"), "{said}");
        assert_eq!(rig.get(0, 200, "GET", &format!("{path}/state/")), json!({"state": "SUCCESS"}));
        assert_eq!(rig.get(0, 200, "GET", &format!("{path}/result/"))["result"], result);
    }
    let (_, unknown) = rig.ask(0, "GET", "/foo/query/1-2-3/state/");
    assert_eq!(unknown, json!({"state": "PENDING"}));
    rig.get(0, 403, "GET", "/foo/queue/tasks/http://example.org/");
    rig.get(0, 404, "GET", &format!("/foo/queue/other/{target}/"));
}

/// Any branch shows and steers the watchers of each machine.
fn machines(rig: &Rig) {
    // The file of circusd does not have the watcher of the instance, and has no say in it.
    let pid = rig.pid("i1");
    assert_eq!(rig.circus("reloadconfig", json!({"waiting": true}))["status"], "ok");
    assert_eq!(rig.pid("i1"), pid);
    let ids: Vec<Value> = rig.get(0, 200, "GET", "/machines/").as_array().unwrap().clone();
    assert_eq!(ids.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(), ["branch0", "branch1"]);
    let added = json!({"name": "other", "cmd": "sleep", "args": ["600"], "start": true, "waiting": true});
    rig.circus("add", added);
    for branch in 0..2 {
        let watchers = rig.get(branch, 200, "GET", "/machines/branch0/watchers/");
        assert_eq!(watchers["other"], "active");
        assert_eq!(rig.get(branch, 200, "POST", "/machines/branch1/watchers/other/incr/")["status"], "ok");
    }
    assert_eq!(rig.circus("list", json!({"name": "other"}))["pids"].as_array().unwrap().len(), 3);
    rig.get(0, 404, "GET", "/machines/branch1/watchers/none/");
    rig.get(0, 404, "GET", "/machines/branch9/watchers/");

    let cyme = |arguments: &[&str]| {
        let url = format!("http://127.0.0.1:{}", rig.ports[1]);
        let done =
            Command::new(program("cyme")).args(["--format", "json", "-u", &url]).args(arguments).output().unwrap();
        (done.status.code().unwrap(), serde_json::from_slice::<Value>(&done.stdout).unwrap_or_default())
    };
    let stopped = cyme(&["fleet", "stop", "--machines", "branch0", "--watchers", "oth*"]);
    assert_eq!(stopped, (0, json!({"branch0": {"other": "stopped"}})));
    assert_eq!(
        cyme(&["fleet", "reload", "--rolling", "--watchers", "none"]),
        (0, json!({"branch0": {}, "branch1": {}}))
    );
    assert_eq!(cyme(&["instances", "-a", "foo"]), (0, json!(["i1"])));
    assert_eq!(cyme(&["apps.get", "none"]).0, 1);
    let events = listen(rig, "/machines/branch0/watchers/other/events/");
    rig.circus("rm", json!({"name": "other", "waiting": true}));
    let file = rig.path("printer.log");
    let options = json!({"stdout_stream": {"class": "FileStream", "filename": file}});
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";
    rig.circus(
        "add",
        json!({"name": "printer", "cmd": "sh", "args": ["-c", script], "options": options, "start": true}),
    );
    hears(&events, "event: remove");
    let lines = listen(rig, "/machines/branch0/watchers/printer/tail/?lines=1");
    for number in [5, 30] {
        hears(&lines, &format!("\"line\":\"line {number}\""));
    }
    rig.get(1, 404, "GET", "/machines/branch0/watchers/none/tail/");
    rig.circus("rm", json!({"name": "printer", "waiting": true}));
}

/// What the other branch tells as long as it is listened to, line by line.
fn listen(rig: &Rig, path: &str) -> mpsc::Receiver<String> {
    let url = format!("http://127.0.0.1:{}{path}", rig.ports[1]);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut answer = ureq::get(&url).header("Accept", "text/event-stream").call().unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        for line in BufReader::new(answer.body_mut().as_reader()).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn hears(lines: &mpsc::Receiver<String>, wanted: &str) {
    let mut heard = Vec::new();
    while let Ok(line) = lines.recv_timeout(rig::LIMIT) {
        if line.contains(wanted) {
            return;
        }
        heard.push(line);
    }
    panic!("not heard: {wanted}: {heard:?}");
}

/// The broker dies, and comes back without what it knew: no worker is restarted, and everything is known again.
fn broker(rig: &mut Rig) {
    let pid = rig.pid("i1").unwrap();
    rig.broker.stop();
    eventually("the branch misses its broker", || (rig.ask(0, "GET", "/healthz").0 == 503).then_some(()));
    // Requests that need the broker fail, and say so; they are not refused for ever.
    rig.post(0, 503, "/foo/instances/i9/", "");
    stays(rig, pid, Duration::from_secs(20));
    rig.broker.start_again();
    for branch in 0..2 {
        eventually("the instance is known again", || same(rig.ask(branch, "GET", "/foo/instances/").1, json!(["i1"])));
    }
    // Workers have so long to find the broker again.
    stays(rig, pid, Duration::from_secs(35));
    eventually("the worker answers again", || (rig.ask(0, "GET", "/foo/instances/i1/stats/").0 == 200).then_some(()));
    assert_eq!(rig.pid("i1"), Some(pid));
    assert_eq!(rig.get(1, 200, "GET", "/foo/queues/"), json!(["tasks"]));
}

/// The worker is the same process for so long.
fn stays(rig: &Rig, pid: u32, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert_eq!(rig.pid("i1"), Some(pid), "after {:?}\n{}", begun.elapsed(), rig.logs());
        thread::sleep(Duration::from_millis(500));
    }
}

/// A branch is killed: its worker goes on, and it takes it up again. While it is away, its instances are not there.
fn branches(rig: &mut Rig) {
    let (number, pid) = (owner(rig, "i1"), rig.pid("i1").unwrap());
    let before = rig.get(number, 200, "GET", "/foo/instances/i1/");
    rig.branches[number].take().unwrap().kill();
    let begun = Instant::now();
    eventually("its instances are gone", || (rig.ask(1 - number, "GET", "/foo/instances/i1/").0 == 404).then_some(()));
    assert!(begun.elapsed() > Duration::from_secs(10), "before it could be known to be dead");
    assert_eq!(rig.get(1 - number, 200, "GET", "/branches/"), json!([format!("branch{}", 1 - number)]));
    rig.start_branch(number);
    assert_eq!(rig.get(number, 200, "GET", "/foo/instances/i1/"), before);
    eventually("the other knows it again", || {
        (rig.ask(1 - number, "GET", "/foo/instances/i1/").0 == 200).then_some(())
    });
    assert_eq!(rig.pid("i1"), Some(pid));
}

/// A worker that hangs is restarted; one that hangs again within the minute is disabled.
fn hangs(rig: &Rig) {
    let pid = rig.pid("i1").unwrap();
    signal(pid, Signal::SIGSTOP);
    let number = owner(rig, "i1");
    eventually("the branch has it restarted", || rig.log_of(number).contains("i1: instance.restart").then_some(()));
    // A stopped process does not end by SIGTERM.
    signal(pid, Signal::SIGCONT);
    let new = eventually("another process", || rig.pid("i1").filter(|new| *new != pid));
    eventually("it answers", || (rig.ask(0, "GET", "/foo/instances/i1/stats/").0 == 200).then_some(()));
    signal(new, Signal::SIGSTOP);
    eventually("the instance is disabled", || {
        same(rig.ask(0, "GET", "/foo/instances/i1/").1["is_enabled"].clone(), json!(false))
    });
    assert_eq!(rig.get(0, 200, "GET", "/foo/instances/i1/")["note"], "restarted too often");
    signal(new, Signal::SIGCONT);
    eventually("its worker ends", || rig.pid("i1").is_none().then_some(()));
    rig.get(1, 200, "POST", "/foo/instances/i1/enable/");
    eventually("it runs again", || (rig.ask(0, "GET", "/foo/instances/i1/stats/").0 == 200).then_some(()));
}
