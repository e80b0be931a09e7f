//! The plugin prometheus with the real circusd: its metrics, and that Prometheus can parse them.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Site, observe_for, python, run, wait_for, wait_until};

/// An answer: its head and its body.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    /// The value of this sample, as it is written.
    fn value(&self, sample: &str) -> Option<f64> {
        let line = self.body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

/// Where the plugin listens.
fn address(circusd: &Circusd) -> String {
    wait_for("the plugin listens", || {
        let log = circusd.log();
        let rest = log.split("the metrics are at http://").nth(1)?;
        Some(rest.split_once("/metrics")?.0.to_owned())
    })
}

fn exchange(mut connection: impl std::io::Read + std::io::Write, request: &str) -> Answer {
    connection.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer { head: head.to_owned(), body: body.to_owned() }
}

fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

fn get(address: &str) -> Answer {
    let answer = exchange(connect(address), GET);
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    answer
}

const SECTIONS: &str = "
    [socket:front]
    host = 127.0.0.1
    port = 0
    [watcher:My \"Web\"]
    cmd = /bin/sleep 1000
    numprocesses = 2
    [watcher:busy]
    cmd = {knobs} burn 50
    [watcher:idle]
    cmd = /bin/sleep 1000
    autostart = no
    [plugin:figures]
    use = circus.plugins.prometheus
    listen = 127.0.0.1:0
";

#[test]
fn figures_of_everything() {
    let circusd = Site::new().start(SECTIONS);
    let at = address(&circusd);
    circusd.wait_for_workers("busy", 1);
    let first = get(&at);
    assert!(first.head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{}", first.head);
    let of = |sample: &str| first.value(sample);
    assert_eq!(
        (of("circus_watchers{state=\"active\"}"), of("circus_watchers{state=\"stopped\"}")),
        (Some(3.0), Some(1.0))
    );
    assert_eq!(of("circus_watcher_state{watcher=\"idle\",circus_watcher_state=\"stopped\"}"), Some(1.0));
    assert_eq!(of("circus_watcher_health{watcher=\"idle\",circus_watcher_health=\"disabled\"}"), Some(1.0));
    assert_eq!(of("circus_watcher_health{watcher=\"idle\",circus_watcher_health=\"failed\"}"), Some(0.0));
    let web = |name: &str| format!("{name}{{watcher=\"My \\\"Web\\\"\"}}");
    assert!(of(&web("circus_watcher_open_fds")) >= Some(6.0) && of(&web("circus_watcher_threads")) == Some(2.0));
    assert!(of(&web("circus_watcher_resident_memory_bytes")) > Some(0.0));
    assert!(of("circus_daemon_resident_memory_bytes") > Some(0.0) && of("circus_daemon_threads") >= Some(1.0));
    wait_until("processor time passes", || {
        get(&at).value("circus_watcher_cpu_seconds_total{watcher=\"busy\"}") > Some(0.2)
    });
    // Processor time stays when its process has gone.
    circusd.tell("stop", json!({"name": "busy", "waiting": true}));
    assert!(get(&at).value("circus_watcher_cpu_seconds_total{watcher=\"busy\"}") > Some(0.2));
}

#[test]
fn events_are_counted() {
    let circusd = Site::new().start(&SECTIONS.replace("numprocesses = 2", "numprocesses = 2\nmin_uptime = 0"));
    let at = address(&circusd);
    let watcher = "My \"Web\"";
    let web = |name: &str, more: &str| format!("{name}{{watcher=\"My \\\"Web\\\"\"{more}}}");
    let killed = web("circus_watcher_exits_total", ",signal=\"SIGKILL\"");
    // It is not known when the plugin's subscription stands.
    wait_until("a death is counted", || {
        circusd.workers(watcher)[0].send(Signal::SIGKILL);
        observe_for(Duration::from_millis(100));
        get(&at).value(&killed).is_some()
    });
    wait_until("all are replaced", || {
        let page = get(&at);
        page.value(&killed) == page.value(&web("circus_watcher_respawn_seconds_count", ""))
    });
    let before = get(&at);
    assert!(before.value(&web("circus_watcher_restarts_total", "")) >= before.value(&killed));
    for (command, properties) in
        [("reload", json!({"name": watcher, "waiting": true})), ("restart", json!({"name": watcher, "waiting": true}))]
    {
        circusd.tell(command, properties);
    }
    let asked = web("circus_watcher_exits_total", ",signal=\"SIGTERM\"");
    wait_until("what was commanded is counted", || get(&at).value(&asked) == Some(4.0));
    let after = get(&at);
    assert_eq!(after.value(&web("circus_watcher_reloads_total", "")), Some(1.0));
    let count = web("circus_watcher_respawn_seconds_count", "");
    assert_eq!(after.value(&count), before.value(&count), "what was commanded is no respawn");
}

#[test]
fn connections_that_nobody_accepts_are_seen() {
    let circusd = Site::new().start(SECTIONS);
    let at = address(&circusd);
    let front = circusd.ask("listsockets", json!({}))["sockets"][0]["port"].as_u64().unwrap();
    let queue = "circus_socket_queue_length{socket=\"front\"}";
    assert_eq!(get(&at).value(queue), Some(0.0));
    let _waiting: Vec<_> = (0..3).map(|_| connect(&format!("127.0.0.1:{front}"))).collect();
    assert_eq!(get(&at).value(queue), Some(3.0));
}

#[test]
fn other_requests_and_slow_clients() {
    let circusd = Site::new().start(SECTIONS);
    let at = address(&circusd);
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut client = connect(&at);
            client.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
            client
        })
        .collect();
    for (request, status) in [
        ("GET / HTTP/1.0\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        ("nonsense\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = exchange(connect(&at), request);
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{}", answer.head);
    }
    get(&at);
    let plugin = circusd.workers("plugin:figures")[0];
    assert!(plugin.fds().len() < 120, "connections are bounded");
    drop(slow);
    get(&at);
    assert_eq!(circusd.workers("plugin:figures"), [plugin]);
}

#[test]
fn a_socket_of_circusd() {
    let plugin = "listen = 127.0.0.1:0";
    for (socket, at) in [("host = 127.0.0.1\nport = 0", None), ("path = {dir}/page", Some("page"))] {
        let sections = format!("[socket:Page]\n{socket}\n{}", SECTIONS.replace(plugin, "socket = Page"));
        let circusd = Site::new().start(&sections.replace("[socket:front]\n    host = 127.0.0.1\n    port = 0", ""));
        let visit = || match at {
            Some(path) => exchange(UnixStream::connect(circusd.path(path)).unwrap(), GET),
            None => {
                let port = circusd.ask("listsockets", json!({}))["sockets"][0]["port"].clone();
                exchange(connect(&format!("127.0.0.1:{port}")), GET)
            }
        };
        assert!(visit().body.ends_with("# EOF\n"));
        // A client that connects while the plugin is away waits for it.
        circusd.tell("restart", json!({"name": "plugin:figures", "waiting": true}));
        assert!(visit().body.contains("circus_watchers{state=\"active\"} 3\n"));
    }
}

#[test]
fn the_parser_of_prometheus_accepts_it() {
    let Some(python) = python("prometheus::the_parser_of_prometheus_accepts_it") else { return };
    let circusd = Site::new().start(&SECTIONS.replace("numprocesses = 2", "numprocesses = 2\nmin_uptime = 0"));
    let at = address(&circusd);
    let body = wait_for("a histogram", || {
        circusd.workers("my \"web\"").first().inspect(|worker| worker.send(Signal::SIGKILL));
        observe_for(Duration::from_millis(100));
        Some(get(&at).body).filter(|body| body.contains("circus_watcher_respawn_seconds_bucket"))
    });
    let page = Site::new();
    let (file, script) =
        (page.write("page", &body), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plugins/openmetrics.py"));
    let output = run(page.command(python).arg("-B").arg(script).stdin(std::fs::File::open(file).unwrap()));
    assert_eq!(output.status, Some(0), "{}\n{body}", output.stderr);
    let read: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(read["samples"].as_array().unwrap().len(), body.lines().filter(|line| !line.starts_with('#')).count());
    for (family, kind) in [
        ("circus_watcher_state", "stateset"),
        ("circus_watcher_exits", "counter"),
        ("circus_watcher_respawn_seconds", "histogram"),
        ("circus_socket_queue_length", "gauge"),
        ("circus_daemon_cpu_seconds", "counter"),
    ] {
        assert_eq!(read["families"][family], kind, "{family}");
    }
    let name = json!(["circus_watcher_processes_wanted", {"watcher": "My \"Web\""}, 2]);
    assert!(read["samples"].as_array().unwrap().contains(&name), "{read}");
}
