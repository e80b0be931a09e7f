//! The original's own programs, unmodified: its clients, and the servers that its users put behind its sockets.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Answer, Circusd, Process, Site, python, run, spawn, wait_for, wait_until};

/// A program of `tests/it/circus`.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/circus").join(name)
}

/// A program that is told where circusd listens, and ends it.
#[track_caller]
fn assert_all_is_well(python: &Path, name: &str) {
    let mut circusd = Site::new().start("[watcher:w]\ncmd = /bin/sleep 1000");
    circusd.wait_for_workers("w", 1);
    let (control, events) = (circusd.endpoint(), circusd.pubsub_endpoint());
    let output = run(circusd.command(python).arg(program(name)).args([control, events]));
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), "all is well\n"), "{}", output.stderr);
    assert_eq!(circusd.wait_for_end().status, Some(0));
}

#[test]
fn its_client_and_its_consumer() {
    let Some(python) = python("circus::its_client_and_its_consumer") else { return };
    assert_all_is_well(&python, "client.py");
}

#[test]
fn its_asynchronous_client_and_programs_like_its_examples() {
    let Some(python) = python("circus::its_asynchronous_client_and_programs_like_its_examples") else { return };
    assert_all_is_well(&python, "async_client.py");
}

/// What is typed, in this order.
const LINES: &str = "
    list
    list w
    list nope
    list a b
    status
    status w
    numprocesses
    numprocesses w
    numwatchers
    options w
    options
    options nope
    get w cmd numprocesses graceful_timeout
    get w nope
    get w
    globaloptions check_delay
    globaloptions nope
    listsockets
    incr w --waiting
    incr w 2
    decr --waiting w 3
    incr solo
    decr nope
    set w numprocesses 2 --waiting
    set w graceful_timeout 3 stop_signal INT
    set w nope 1
    set w numprocesses two
    get w graceful_timeout stop_signal
    signal w USR1
    signal w 1 USR1
    signal w NOSUCH
    signal w
    kill w
    add new 'sleep 1000' --start
    add new sleep
    add
    status new
    rm new
    rm nope
    stop w --waiting
    status w
    start w --waiting
    start nope
    restart w --waiting
    restart --match regex 'w|solo' --waiting
    stop --waiting
    start --waiting
    status
    --json status w
    --json --prettify numwatchers
    listen
    nonsense
    --timeout 3 list
    --version
    restart --waiting
    quit --waiting
";

/// Where ours prints something else on purpose (`differences.md`).
const MENDED: [&str; 3] = [
    // The original's validation is a traceback.
    "set w numprocesses two",
    // Several names are taken.
    "list a b",
    // A pid that the watcher does not have is refused.
    "signal w 1 USR1",
];

#[derive(Debug, PartialEq)]
struct Printed {
    status: i64,
    stdout: String,
    stderr: String,
}

/// Errors without the usage line that ours add to them.
fn without_usage(errors: &str) -> String {
    errors.lines().filter(|line| !line.starts_with("usage: ")).map(|line| format!("{line}\n")).collect()
}

/// The text without what differs from run to run: pids, times, ids and directories.
fn plain(text: &str, site: &Site) -> String {
    let text = text.replace(site.path("").to_str().unwrap().trim_end_matches('/'), "DIR");
    let is_volatile = |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let is_id = bare.len() == 32 && bare.chars().all(|c| c.is_ascii_hexdigit());
        if is_volatile(bare) || is_id { out += &word.replace(bare, "N") } else { out += word }
    }
    // Our ids are such a number and a count.
    out.replace("N-1", "N")
}

fn fleet() -> Circusd {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         [watcher:solo]
         cmd = /bin/sleep 1000
         singleton = True
         [socket:local]
         path = {dir}/local",
    );
    wait_until("all are there", || circusd.tell("numprocesses", json!({}))["numprocesses"] == 2);
    circusd
}

#[test]
fn its_circusctl_prints_what_ours_prints() {
    let Some(python) = python("circus::its_circusctl_prints_what_ours_prints") else { return };
    let (mut theirs, mut ours) = (fleet(), fleet());
    let lines: Vec<&str> = LINES.trim().lines().map(str::trim).filter(|line| *line != "listen").collect();
    let mut child = spawn(
        theirs
            .command(python)
            .arg(program("ctl.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit()),
    );
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let printed = child.wait_with_output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let mut different = Vec::new();
    for (line, printed) in lines.iter().zip(printed.lines()) {
        let (status, stdout, stderr): (i64, String, String) = serde_json::from_str(printed).unwrap();
        let original =
            Printed { status, stdout: plain(&stdout, &theirs), stderr: without_usage(&plain(&stderr, &theirs)) };
        let output = ours.circusctl(&shlex::split(line).unwrap().iter().map(String::as_str).collect::<Vec<_>>());
        let mine = Printed {
            status: output.status.unwrap().into(),
            stdout: plain(&output.stdout, &ours),
            stderr: without_usage(&plain(&output.stderr, &ours)),
        };
        if (mine != original) != MENDED.contains(line) {
            different.push(format!("{line}\n  theirs: {original:?}\n  ours:   {mine:?}"));
        }
    }
    assert_eq!(printed.lines().count(), lines.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!((theirs.wait_for_end().status, ours.wait_for_end().status), (Some(0), Some(0)));
}

/// A Python server behind circusd's socket: it serves, its processes go with it, a killed one comes back.
#[track_caller]
fn assert_serves(python: &Path, options: &str) {
    let site = Site::new();
    std::fs::copy(program("app.py"), site.path("app.py")).unwrap();
    let circusd = site.start(&format!(
        "[socket:other]
         path = {{dir}}/other
         [socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:web]
         {options}
         ; gunicorn loses a SIGTERM that comes while it starts its processes, and then waits 30 s for them.
         graceful_timeout = 5
         stdout_stream.filename = {{dir}}/web.log
         stderr_stream.filename = {{dir}}/web.log
         [env:web]
         PYTHON = {python}
         PYTHONUNBUFFERED = 1
         PYTHONDONTWRITEBYTECODE = 1",
        python = python.display()
    ));
    let http = crate::web::http(&circusd, "web");
    let server = wait_for("it answers", || match http.get() {
        Answer::Body(body) => Some(body.trim().parse::<i32>().unwrap()),
        Answer::Refused(why) => panic!("{why}"),
        Answer::Cut | Answer::Silence => None,
    });
    let worker = circusd.workers("web")[0];
    assert!(Process(server) == worker || Process(server).parent() == Some(worker), "{}", circusd.read("web.log"));
    circusd.tell("restart", json!({"name": "web", "waiting": true}));
    let again = wait_for("another answers", || match http.get() {
        Answer::Body(body) => Some(body.trim().parse::<i32>().unwrap()),
        Answer::Refused(why) => panic!("{why}"),
        Answer::Cut | Answer::Silence => None,
    });
    assert_ne!(again, server);
}

#[test]
fn chaussette_serves_on_a_socket_of_circusd() {
    let Some(python) = python("circus::chaussette_serves_on_a_socket_of_circusd") else { return };
    assert_serves(
        &python,
        "cmd = $(circus.env.PYTHON) -m chaussette.server --fd $(circus.sockets.web) app.app
         use_sockets = True",
    );
}

/// The INI of the original's slides, one file: a dummy, the flapping plugin, and a server on a shared socket. What is
/// added says where this machine has Python, and takes a port that is free.
#[test]
fn the_ini_of_the_slides_runs() {
    let Some(python) = python("circus::the_ini_of_the_slides_runs") else { return };
    let site = Site::new();
    site.write("dummy.py", "import time\nwhile True:\n    print('dummy', flush=True)\n    time.sleep(.1)\n");
    let circusd = site.start(&format!(
        "[circus]
         check_delay = 5
         [watcher:dummy]
         cmd = python
         args = -u dummy.py
         numprocesses = 5
         warmup_delay = 0
         stdout_stream.class = FileStream
         stdout_stream.filename = {{dir}}/dummy.log
         [plugin:flapping]
         use = circus.plugins.flapping.Flapping
         retry_in = 3
         max_retry = 2
         [watcher:web]
         cmd = chaussette --fd ${{socket:web}}
         use_sockets = True
         numprocesses = 5
         [socket:web]
         host = 127.0.0.1
         port = 0
         [env]
         PATH = {}:/usr/bin:/bin
         PYTHONDONTWRITEBYTECODE = 1",
        python.parent().unwrap().display()
    ));
    let http = crate::web::http(&circusd, "web");
    let hello = wait_for("chaussette answers", || match http.get() {
        Answer::Body(body) => Some(body),
        Answer::Refused(why) => panic!("{why}"),
        Answer::Cut | Answer::Silence => None,
    });
    assert!(hello.to_lowercase().contains("hello"), "{hello}");
    circusd.wait_for_text("dummy.log", "dummy");
    let (dummies, servers) = (circusd.wait_for_workers("dummy", 5), circusd.wait_for_workers("web", 5));
    assert!(servers.iter().all(|server| server.argv().contains(&"--fd".to_owned())), "{:?}", servers[0].argv());
    // One that dies alone is replaced, and the plugin leaves it at that.
    dummies[0].send(Signal::SIGKILL);
    circusd.wait_for_workers("dummy", 5);
    assert_eq!((circusd.status("dummy"), circusd.status("plugin:flapping")), ("active".into(), "active".into()));
}

#[test]
fn gunicorn_serves_on_a_socket_of_circusd() {
    let Some(python) = python("circus::gunicorn_serves_on_a_socket_of_circusd") else { return };
    assert_serves(
        &python,
        "cmd = $(circus.env.PYTHON) -m gunicorn --no-control-socket --workers 2 --bind fd://$(circus.sockets.web) app:app
         use_sockets = True",
    );
}

#[test]
fn gunicorn_serves_by_listen_fds() {
    let Some(python) = python("circus::gunicorn_serves_by_listen_fds") else { return };
    assert_serves(
        &python,
        "cmd = $(circus.env.PYTHON) -m gunicorn --no-control-socket --workers 2 app:app
         sockets = web",
    );
}

#[test]
fn the_example_of_embedding() {
    let Some(python) = python("circus::the_example_of_embedding") else { return };
    let site = Site::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/embed.py");
    let mut command = site.command(python);
    command.env("CIRCUSD", env!("CARGO_BIN_EXE_circusd")).env("TMPDIR", site.path(""));
    let output = run(command.arg(example));
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(output.stdout.ends_with("5\ncircusd ended with 0\n"), "{output:?}");
}
