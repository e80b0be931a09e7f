//! circusd-stats: what it publishes, about which processes, and when it works.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use circus::net::{Context, Subscriber};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Process, Site, built, observe_for, python, run, wait_for, wait_until};

/// Messages, among which the one that is waited for has to be.
const MANY: usize = 600;

/// A message: what comes after `stat.`, and its body.
type Message = (String, Value);

/// A subscriber to the figures.
struct Figures {
    subscriber: Subscriber,
    _context: Context,
}

impl Figures {
    fn of(circusd: &Circusd, topic: &str) -> Self {
        let context = Context::new().unwrap();
        let endpoint = format!("ipc://{}", circusd.path("stats").display());
        Self { subscriber: Subscriber::connect(&context, &endpoint, None, &[topic]).unwrap(), _context: context }
    }

    /// The next message, in whichever form.
    #[track_caller]
    fn next(&mut self) -> Message {
        let (topic, body) = self.subscriber.recv(DEADLINE).expect("figures");
        let topic = String::from_utf8(topic).unwrap();
        match topic.strip_prefix("msgpack:stat.") {
            Some(topic) => (topic.to_owned(), rmp_serde::from_slice(&body).unwrap()),
            None => (topic.strip_prefix("stat.").unwrap().to_owned(), serde_json::from_slice(&body).unwrap()),
        }
    }

    /// The next message of this topic for which this holds.
    #[track_caller]
    fn until(&mut self, topic: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..MANY {
            let (found, body) = self.next();
            if found == topic && holds(&body) {
                return body;
            }
        }
        panic!("no such message of {topic}");
    }
}

fn start(circus: &str, sections: &str) -> Circusd {
    let circusd = Site::new().start(&format!("[circus]\nstats_endpoint = ipc://{{dir}}/stats\n{circus}\n{sections}"));
    circusd.wait_for_workers("circusd-stats", 1);
    circusd
}

/// Whether a figure is this one, within 5 %.
#[track_caller]
fn assert_close(what: &str, figure: f64, truth: f64) {
    assert!((figure - truth).abs() <= 0.05 * truth, "{what}: {figure} is not {truth}");
}

#[test]
fn worker_keeps_its_name_however_often_it_dies() {
    let circusd = start("stats_interval = 0.1", "[watcher:My App]\ncmd = {knobs} burn 50");
    let first = circusd.wait_for_workers("my app", 1)[0];
    let mut figures = Figures::of(&circusd, "stat.my");
    let used = figures.until(&format!("my app.{}", first.0), |body| body["cpu_time"].as_f64() > Some(0.5));
    assert_eq!((used["wid"].as_u64(), &used["name"], &used["subtopic"]), (Some(1), &Value::Null, &json!(first.0)));
    first.send(Signal::SIGKILL);
    let sum = figures.until("my app", |body| body["restarts"] == 1 && body["pid"][0].as_i64() != Some(first.0.into()));
    assert_eq!((&sum["state"], sum["pid"].as_array().unwrap().len()), (&json!("active"), 1));
    let second = sum["pid"][0].as_i64().unwrap();
    let begun = figures.until(&format!("my app.{second}"), |_| true);
    assert!(begun["cpu_time"].as_f64() < used["cpu_time"].as_f64(), "from zero: {begun}");
    assert!(sum["uptime"].as_f64() > begun["uptime"].as_f64(), "the watcher has been up for longer");
    // The dead one is not spoken of any more.
    for _ in 0..20 {
        let (topic, body) = figures.next();
        assert!(topic == "my app" || topic == format!("my app.{second}"), "{topic}");
        assert!(body["cpu"].as_f64().unwrap() >= 0.0 && !body.to_string().contains("N/A"), "{body}");
    }
}

#[test]
fn figures_are_right() {
    let circusd = start(
        "",
        "[watcher:w]
         cmd = {knobs} open 100 hold 200 child \"burn 20\" burn 30
         stop_children = True",
    );
    let worker = circusd.wait_for_workers("w", 1)[0];
    let topic = format!("w.{}", worker.0);
    let mut figures = Figures::of(&circusd, "stat.w");
    // Both burners are at it.
    let first = figures.until(&topic, |body| body["tree"]["processes"] == 2 && body["fds"].as_u64() >= Some(100));
    let child = worker.children()[0];
    // What it burns where the machine lets it: the truth is what the kernel counts meanwhile.
    let before = (worker.busy(), child.busy());
    let (mut shares, mut trees) = (Vec::new(), Vec::new());
    let mut last = Value::Null;
    for _ in 0..10 {
        last = figures.until(&topic, |_| true);
        shares.push(last["cpu"].as_f64().unwrap());
        trees.push(last["tree"]["cpu"].as_f64().unwrap());
    }
    let passed = last["age"].as_f64().unwrap() - first["age"].as_f64().unwrap();
    let own = (worker.busy() - before.0) as f64 / passed;
    let both = own + (child.busy() - before.1) as f64 / passed;
    assert!(own > 5.0 && both > own + 3.0, "they burn: {own} and {both} %");
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    assert_close("cpu", mean(&shares), own);
    assert_close("cpu of the tree", mean(&trees), both);
    let used = |time: &dyn Fn(&Value) -> f64| 100.0 * (time(&last) - time(&first)) / passed;
    assert_close("cpu_time", used(&|body| body["cpu_time"].as_f64().unwrap()), own);
    assert_close("cpu_time of the tree", used(&|body| body["tree"]["cpu_time"].as_f64().unwrap()), both);
    assert_eq!(last["fds"].as_u64(), Some(worker.fds().len() as u64));
    let mebibytes = |bytes: &Value| bytes.as_f64().unwrap() / f64::from(1 << 20);
    assert_close("rss", mebibytes(&last["rss"]), 203.0);
    assert_close("pss", mebibytes(&last["pss"]), 202.0);
    assert_eq!(last["tree"]["processes"], 2, "each is counted once");
    assert!(last["tree"]["fds"].as_u64() > last["fds"].as_u64());
    let sum = figures.until("w", |_| true);
    assert_eq!(sum["tree"]["processes"], 2);
}

#[test]
fn messagepack_on_request_json_otherwise() {
    let circusd = start("stats_interval = 0.1", "[watcher:w]\ncmd = /bin/sleep 1000");
    circusd.wait_for_workers("w", 1);
    let mut all = Figures::of(&circusd, "");
    all.until("w", |_| true);
    let mut packed = Figures::of(&circusd, "msgpack:stat.w");
    let (topic, body) = packed.next();
    let json = all.until(&topic, |_| true);
    let keys = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&body), keys(&json));
    assert_eq!(body["pid"], json["pid"]);
}

#[test]
fn stats_sleep_without_a_subscriber() {
    let circusd = start("stats_interval = 0.1", "[watcher:w]\ncmd = /bin/sleep 1000");
    let stats = circusd.workers("circusd-stats")[0];
    let looks = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stats.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t")).unwrap();
        line.parse::<u64>().unwrap()
    };
    for _ in 0..2 {
        let mut figures = Figures::of(&circusd, "stat.w");
        figures.until("w", |_| true);
        let before = looks();
        figures.until("w", |_| true);
        figures.until("w", |_| true);
        assert!(looks() > before);
        drop(figures);
        wait_for("it sleeps", || {
            let before = looks();
            observe_for(Duration::from_millis(500));
            (looks() == before).then_some(())
        });
    }
}

#[test]
fn it_ends_with_circusd_however_that_ends() {
    let mut circusd = start("", "[watcher:w]\ncmd = {knobs}");
    let (stats, orphan) = (circusd.workers("circusd-stats")[0], circusd.wait_for_workers("w", 1)[0]);
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    wait_until("it has ended", || !stats.lives());
    orphan.send(Signal::SIGKILL);
    circusd.restart();
    let stats = circusd.wait_for_workers("circusd-stats", 1)[0];
    let mut figures = Figures::of(&circusd, "stat.w");
    figures.until("w", |_| true);
    // A new life in the same process, and the same subscriber.
    circusd.tell("restart", json!({"waiting": true}));
    wait_until("there is a new one", || {
        let now = circusd.ask("list", json!({"name": "circusd-stats"}));
        now["pids"].as_array().is_some_and(|pids| !pids.is_empty() && pids[0] != stats.0)
    });
    let worker = circusd.wait_for_workers("w", 1)[0];
    figures.until(&format!("w.{}", worker.0), |_| true);
    circusd.tell("stop", json!({"name": "circusd-stats", "waiting": true}));
    assert!(!circusd.path("stats").exists());
}

#[test]
fn sockets_are_followed_when_they_change() {
    let sections = "[socket:one]\npath = {dir}/one\n[watcher:w]\ncmd = /bin/sleep 1000\n";
    let circusd = start("stats_interval = 0.2", sections);
    let mut figures = Figures::of(&circusd, "stat.");
    let one = circusd.path("one").to_str().unwrap().to_owned();
    let sum = figures.until("sockets", |_| true);
    assert_eq!(sum, json!({"addresses": [one], "reads": 0}));
    // It is not accepted, so it waits.
    let _visitor = std::os::unix::net::UnixStream::connect(circusd.path("one")).unwrap();
    assert!(figures.until("sockets", |body| body["reads"] != 0)["reads"].as_u64() > Some(0));
    let circus = "[circus]\nstats_endpoint = ipc://{dir}/stats\nstats_interval = 0.2\n";
    circusd.ini("circus.ini", &format!("{circus}{sections}[socket:two]\npath = {{dir}}/two\n"));
    circusd.tell("reloadconfig", json!({"waiting": true}));
    figures.until("sockets", |body| body["addresses"].as_array().map(Vec::len) == Some(2));
    let _visitor = std::os::unix::net::UnixStream::connect(circusd.path("two")).unwrap();
    let two = circusd.path("two").to_str().unwrap().to_owned();
    let row = figures.subscriber_row(&two);
    assert_eq!((&row["address"], &row["fd"]), (&json!(two), &row["subtopic"]));
}

impl Figures {
    /// The next message about a socket of this address that was hit.
    #[track_caller]
    fn subscriber_row(&mut self, address: &str) -> Value {
        for _ in 0..MANY {
            let (topic, body) = self.next();
            if topic.starts_with("sockets.") && body["address"] == address && body["reads"] != 0 {
                return body;
            }
        }
        panic!("{address} was never hit");
    }
}

#[test]
fn it_comes_and_goes_with_the_file() {
    let site = Site::new();
    let sections = "[watcher:w]\ncmd = /bin/sleep 1000\n";
    let circusd = site.start(sections);
    let names = || circusd.tell("list", json!({}))["watchers"].clone();
    assert_eq!(names(), json!(["w"]));
    let worker = circusd.wait_for_workers("w", 1)[0];
    circusd.ini("circus.ini", &format!("[circus]\nstats_endpoint = ipc://{{dir}}/stats\n{sections}"));
    circusd.tell("reloadconfig", json!({"waiting": true}));
    assert_eq!(names(), json!(["circusd-stats", "w"]));
    let mut figures = Figures::of(&circusd, "stat.");
    let topics: BTreeSet<String> = (0..6).map(|_| figures.next().0).collect();
    assert!(topics.contains("w") && topics.contains("circus"), "{topics:?}");
    circusd.ini("circus.ini", sections);
    circusd.tell("reloadconfig", json!({"waiting": true}));
    assert_eq!((names(), circusd.workers("w")), (json!(["w"]), vec![worker]));
    assert!(!circusd.path("stats").exists());
}

#[test]
fn the_originals_client_and_circus_top() {
    let Some(python) = python("stats::the_originals_client_and_circus_top") else { return };
    let circusd = start(
        "",
        "[watcher:w]
         cmd = /bin/sleep 1000
         numprocesses = 3
         [watcher:My App]
         cmd = {knobs} burn 10
         [socket:s]
         path = {dir}/s",
    );
    circusd.wait_for_workers("w", 3);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/circus/stats.py");
    let endpoint = format!("ipc://{}", circusd.path("stats").display());
    let output = run(circusd.command(python).arg(program).arg(endpoint));
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), "all is well\n"), "{}", output.stderr);
}

#[test]
fn refusals_are_explained() {
    let site = Site::new();
    let stats = built("circusd-stats");
    let version = run(site.command(&stats).arg("--version"));
    assert_eq!((version.status, version.stdout.trim()), (Some(0), env!("CARGO_PKG_VERSION")));
    let refused = run(site.command(&stats).args(["--ssh", "me@there"]));
    assert!(refused.status == Some(1) && refused.stderr.contains("another machine"), "{refused:?}");
    let nowhere = run(site.command(&stats).args(["--statspoint", "ipc:///nowhere/at/all"]));
    assert!(nowhere.status == Some(1) && nowhere.stderr.contains("ipc:///nowhere/at/all"), "{nowhere:?}");
    assert_eq!(run(site.command(&stats).arg("--interval=0.01")).status, Some(2));
    assert_eq!(Vec::<Process>::new(), site.inhabitants());
}
