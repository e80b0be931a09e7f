//! A branch alone, without a broker and a circusd, under requests of every kind: none gives a 500, and none ends it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use circus_cyme::core::{Random, openapi};
use circus_test_support::{Process, Reply, eventually};

/// The address that the branch says it listens at.
fn start(folder: &std::path::Path) -> (Process, String) {
    start_with(folder, &["-l", "ERROR"])
}

/// The same, with further arguments.
fn start_with(folder: &std::path::Path, arguments: &[&str]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
    command.args(["127.0.0.1:0", "-i", "alone", "-b", "memory://", "--circus-endpoint", "ipc:///nowhere/control"]);
    command.args(["--circus-pubsub", "ipc:///nowhere/events", "-D"]).arg(folder).args(arguments);
    let log = folder.join("said");
    let branch = Process::start(&mut command, &log);
    let address = eventually("it says where it listens", || {
        let said = std::fs::read_to_string(&log).unwrap();
        Some(said.split_once("http://")?.1.split_once('/')?.0.to_owned())
    });
    (branch, address)
}

/// The status of an answer, and its body.
fn ask(connection: &mut BufReader<TcpStream>, method: &str, target: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    connection.get_mut().write_all(format!("{head}{kind}{body}").as_bytes()).unwrap();
    let reply = Reply::read(connection, method).unwrap();
    assert_ne!(reply.status, 0, "no answer: {method} {target}");
    (reply.status, reply.body)
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    BufReader::new(stream)
}

/// Parts of paths and values: those that mean something, and those that do not. What waits for a worker is left out.
const PARTS: &[&str] = &[
    "foo",
    "cyme",
    "queues",
    "instances/!",
    "queue",
    "query",
    "branches",
    "machines",
    "alone",
    "autoscale",
    "state",
    "result",
    "tasks",
    "i1",
    "%00",
    "%",
    "%ff%fe",
    "..",
    ".",
    "-",
    "!",
    "http://localhost/",
    "http:/",
    "://",
    "a%20b",
    "xxxxxxxxxx",
    "é",
    "watchers",
    "1-2",
    "admin",
    "metrics",
    "healthz",
    "openapi.json",
    "ping",
];
const PARAMS: &[&str] = &[
    "broker=redis://h/1",
    "broker=x",
    "broker=redis://[",
    "options={}",
    "options=[",
    "max=0",
    "max=99999999999",
    "min=-1",
    "max=2",
    "pool=solo",
    "pool=",
    "arguments='",
    "extra_config=a=b",
    "extra_config==",
    "exchange=%00",
    "exchange_type=topic",
    "hostname=h",
    "hostname=h&port=-1",
    "nb=1",
    "signum=9",
    "force=1",
    "timeout=nan",
    "branch=alone",
    "label=x",
    "=",
    "&&&",
    "%",
];

#[test]
fn no_request_gives_a_500() {
    let folder = tempfile::tempdir().unwrap();
    let (_branch, address) = start(folder.path());
    let mut connection = connect(&address);
    let mut random = Random::new(3);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..3000 {
        let mut pick = |list: &[&'static str]| list[random.below(list.len())];
        let method = pick(&["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]);
        let path: Vec<&str> = (0..random.below(6)).map(|_| PARTS[random.below(PARTS.len())]).collect();
        let query: Vec<&str> = (0..random.below(3)).map(|_| PARAMS[random.below(PARAMS.len())]).collect();
        let body: Vec<&str> = (0..random.below(3)).map(|_| PARAMS[random.below(PARAMS.len())]).collect();
        // Not everything can stand in a request as it is.
        let target = format!("/{}?{}", path.join("/"), query.join("&"));
        let target = target.replace('é', "%C3%A9").replace('[', "%5B").replace('{', "%7B").replace('}', "%7D");
        let asks_circusd = target.contains("/watchers");
        if asks_circusd || (target.contains("/queues/") && target.contains("/instances")) {
            continue;
        }
        let (status, body) = ask(&mut connection, method, &target, &body.join("&"));
        *seen.entry(status).or_insert(0) += 1;
        assert!(status < 500 || matches!(status, 501 | 503), "{method} {target}: {status} {body}");
        if status == 400 {
            assert!(method == "HEAD" || body.contains("\"field\":\""), "{method} {target}: {body}");
        }
    }
    for status in [200, 201, 400, 404, 405, 501] {
        assert!(seen.contains_key(&status), "no {status}: {seen:?}");
    }
    assert_eq!(ask(&mut connection, "GET", "/ping/", ""), (200, "{\"ok\":\"pong\"}".into()));
}

/// Whatever is asked of something that there is not is answered with 404, at every route whose path names something.
#[test]
fn unknown_things_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let (_branch, address) = start(folder.path());
    let mut connection = connect(&address);
    assert_eq!(ask(&mut connection, "PUT", "/foo/", "").0, 201);
    let mut tried = 0;
    for route in openapi::ROUTES.iter().filter(|route| route.path.contains('{')) {
        // What makes something, and lists of what anything may have none of.
        let makes = matches!((route.method, route.path), ("PUT" | "POST", "/{app}/" | "/{app}/queues/{queue}/"));
        if makes || route.path.starts_with("/leases/") || route.path == "/{app}/queues/" {
            continue;
        }
        // An application that there is, where something else is unknown. A task is pending until it is done, as Celery has it.
        let last = route.path.rsplit(['{', '}']).nth(1).unwrap();
        let makes = matches!(route.method, "PUT" | "POST") && route.path == "/{app}/instances/{instance}/";
        let unknown_app = makes || last == "app" || last == "task";
        let path = if unknown_app { route.path.to_owned() } else { route.path.replace("{app}", "foo") };
        let path: String =
            path.split(['{', '}']).map(|part| if part.contains('/') { part } else { "unknown" }).collect();
        let paths = match route.asynchronous {
            true => vec![path.clone(), openapi::asynchronous(&path)],
            false => vec![path],
        };
        for path in paths {
            let target = format!("{path}?signum=1");
            let (status, body) = ask(&mut connection, route.method, &target, "");
            assert_eq!(status, 404, "{} {target}: {body}", route.method);
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

/// With `--log-json` each line of the log is an object with the time, the level and the text.
#[test]
fn the_log_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (_branch, address) = start_with(folder.path(), &["--log-json", "-l", "INFO", "-f", log.to_str().unwrap()]);
    assert_eq!(ask(&mut connect(&address), "PUT", "/foo/", "").0, 201);
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.lines().count() > 1, "{text}");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
}

#[test]
fn a_request_that_is_no_http_ends_its_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let (_branch, address) = start(folder.path());
    for garbage in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
    {
        let mut connection = connect(&address);
        connection.get_mut().write_all(garbage).unwrap();
        connection.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(connection.read_to_end(&mut answer));
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{garbage:?}");
    }
    assert_eq!(ask(&mut connect(&address), "GET", "/ping/", "").0, 200);
}

/// Another program locks the branch's database: what cannot be stored is not answered as done, and is stored later.
#[test]
fn changes_are_stored_once_they_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let (_branch, address) = start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lock = async |statement: &'static str, connection: &mut sqlx::SqliteConnection| {
        sqlx::query(statement).execute(connection).await.unwrap();
    };
    let path = folder.path().join("branch.db");
    let open = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = runtime.block_on(sqlx::ConnectOptions::connect(&open)).unwrap();
    runtime.block_on(lock("BEGIN EXCLUSIVE", &mut other));
    let mut connection = connect(&address);
    let (status, body) = ask(&mut connection, "POST", "/foo/", "");
    assert!(status == 503 && body.contains("not stored yet"), "{status} {body}");
    let unsaved = |connection: &mut _| {
        let (_, text) = ask(connection, "GET", "/metrics", "");
        text.lines().find_map(|line| line.strip_prefix("cyme_changes_unsaved{branch=\"alone\"} ")?.parse::<u32>().ok())
    };
    assert_eq!(unsaved(&mut connection), Some(1));
    runtime.block_on(lock("ROLLBACK", &mut other));
    eventually("it is stored", || (unsaved(&mut connection) == Some(0)).then_some(()));
    assert_eq!(ask(&mut connection, "POST", "/bar/", "").0, 201);
    let names = runtime.block_on(
        sqlx::query_scalar("SELECT name FROM cyme_thing WHERE kind = 'app' ORDER BY name").fetch_all(&mut other),
    );
    let names: Vec<String> = names.unwrap();
    assert_eq!(names, ["bar", "foo"]);
}
