//! Texts that would drive a terminal: from a circusd that is not one, from workers, names and options. None reaches a
//! terminal or a log as it is, unless bytes were asked for.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use circus::commands::{Action, COMMANDS};
use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

use crate::rig::{Site, built, run, wait_for, wait_until};

/// A title, a colour of eight bits, a line over this one, and a turn of the direction.
const HOSTILE: &str = "a\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\u{1b}[1A\u{8}\u{7f}\u{2028}z";

/// Whether a terminal or a reader of lines would obey a character; what circusctl prints itself apart.
fn is_order(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')
}

#[track_caller]
fn is_tame(what: &str, text: &str) {
    assert!(!text.contains(is_order) && !text.contains('\u{fffd}'), "{what}: {text:?}");
}

/// What a hostile daemon answers to everything: each field that any client reads, with hostile texts in it.
fn reply(id: &Value, refuses: bool, events: &str) -> Value {
    let h = HOSTILE;
    let line = json!({"pid": 7, "wid": 1, "time": 1.5, "line": h});
    let options = json!({
        h: h, "cmd": h, "args": [h], "env": {h: h}, "uid": h, "pubsub_endpoint": events, "stats_endpoint": events,
        "numprocesses": 1, "priority": h,
    });
    let process = json!({"pid": 7, "wid": 1, "state": h, "cmdline": h, "username": h, "name": h, "cpu": h, "mem": h,
        "mem_info1": h, "mem_info2": h, "ctime": h, "age": 1.0, "nice": h, "children": [], "started": 1.5});
    let details = json!({
        "name": h, "state": h, "health": "failed", "reason": h, "note": h, "wanted": 1, "running": 1, "restarts": 1,
        "uptime": 1.5, "processes": [process], "pids": [7], "schedule": h, "kind": h, "hooks": [{"name": h, "error": h}],
        "run": {"outcome": h, "reason": h, "status": h},
    });
    let mut reply = json!({
        "id": id, "status": "ok", "time": 1.5, "watchers": [h, "x"], "pids": [7], "numprocesses": h, "numwatchers": h,
        "options": options, "statuses": {h: h, "x": h}, "info": {h: process, "7": process},
        "infos": {h: {"7": process}, "x": {"7": process}}, "sockets": [{"fd": 5, "name": h, "address": h, "host": h,
        "port": 1, "path": h, "backlog": 5, "watchers": [h]}], "lines": [line], "cursor": 1, "missed": 0, "next": 1,
        "began": 1.0, "singleton": h, "changes": [h], "name": h, "version": h, "runs": [{"id": 1, "watcher": h,
        "outcome": h, "reason": h, "started": 1.5, "ended": 2.5, "cmd": h}], "processes": [process],
        "details": {h: details, "x": details, "state": h, "health": "failed", "reason": h, "note": h, "processes": [process]},
    });
    if refuses {
        let failed =
            json!([{"watcher": h, "wid": 1, "reason": h, "lines": [h]}, {"watcher": "x", "wid": 2, "reason": h}]);
        let refusal = json!({"status": "error", "reason": h, "tb": h, "errno": 3, "details": [h], "failed": failed});
        let object = reply.as_object_mut().unwrap();
        object.extend(refusal.as_object().unwrap().clone());
    }
    reply
}

/// A daemon that is not circusd, at the endpoints of a site.
struct Impostor {
    site: Site,
    refuses: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    fn start() -> Self {
        let site = Site::new();
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).unwrap();
        router.bind(&site.endpoint()).unwrap();
        let events = context.socket(zmq::XPUB).unwrap();
        events.bind(&site.pubsub_endpoint()).unwrap();
        let (refuses, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (told, ended, named) = (Arc::clone(&refuses), Arc::clone(&over), site.pubsub_endpoint());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let mut items = [router.as_poll_item(zmq::POLLIN), events.as_poll_item(zmq::POLLIN)];
                zmq::poll(&mut items, 50).unwrap();
                if items[0].is_readable() {
                    let frames = router.recv_multipart(0).unwrap();
                    let request: Value = serde_json::from_slice(frames.last().unwrap()).unwrap();
                    let reply = reply(&request["id"], told.load(Ordering::Relaxed), &named).to_string();
                    router.send_multipart([&frames[0], reply.as_bytes()], 0).unwrap();
                }
                while let Ok(message) = events.recv_bytes(zmq::DONTWAIT) {
                    let Some(topic) = message.strip_prefix(b"\x01") else { continue };
                    let topic = std::str::from_utf8(topic).unwrap_or_default();
                    let send = |topic: &str, body: &str| events.send_multipart([topic.as_bytes(), body.as_bytes()], 0);
                    if let Some((plain, _)) = topic.split_once('?') {
                        send(topic, r#"{"subscribed": true}"#).unwrap();
                        let body = json!({"watcher": "x", "stream": "stdout", "pid": 1, "wid": 1, "time": 1.5,
                            "first": 1, "lines": [HOSTILE, HOSTILE], "more": false, "cursor": 9, "began": 1.0});
                        send(plain, &body.to_string()).unwrap();
                    } else {
                        let body = json!({"time": 1.5, "process_pid": 1, "reason": HOSTILE, HOSTILE: HOSTILE});
                        send(&format!("watcher.x{HOSTILE}.spawn"), &format!("{body} {HOSTILE}")).unwrap();
                    }
                }
            }
        });
        Self { site, refuses, over, thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
        for name in ["control", "events"] {
            drop(std::fs::remove_file(self.site.path(name)));
        }
    }
}

/// What a program prints at a terminal until it ends, or, for one that follows, until this holds.
fn at_terminal(mut command: Command, enough: Option<&str>) -> String {
    let terminal = openpty(Some(&Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 }), None).unwrap();
    let end = || terminal.slave.try_clone().unwrap();
    command.env("TERM", "xterm").env("NO_COLOR", "1").stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(terminal.slave);
    let mut master = File::from(terminal.master);
    let (sender, receiver) = std::sync::mpsc::channel::<Vec<u8>>();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            drop(sender.send(bytes[..count].to_vec()));
        }
    });
    let mut all = Vec::new();
    wait_until("the program at the terminal is done", || {
        all.extend(receiver.try_iter().flatten());
        let text = String::from_utf8_lossy(&all);
        enough.is_some_and(|enough| text.contains(enough)) || child.try_wait().unwrap().is_some()
    });
    drop(child.kill());
    child.wait().unwrap();
    reader.join().unwrap();
    all.extend(receiver.try_iter().flatten());
    String::from_utf8_lossy(&all).replace("\r\n", "\n")
}

/// Words for a command, so that its request is sent.
fn words(form: &str, name: &str) -> Vec<&'static str> {
    match name {
        "signal" => vec!["x", "HUP"],
        "set" => vec!["x", "numprocesses", "1"],
        "get" => vec!["x", "numprocesses"],
        "add" => vec!["new", "sleep", "1"],
        "globaloptions" => vec!["endpoint"],
        _ if form.contains("NAME") => vec!["x"],
        _ => Vec::new(),
    }
}

#[test]
fn no_answer_drives_the_terminal_of_circusctl() {
    let impostor = Impostor::start();
    let site = &impostor.site;
    let mut shown = 0;
    for refuses in [false, true] {
        impostor.refuses.store(refuses, Ordering::Relaxed);
        for spec in COMMANDS.iter().filter(|spec| !matches!(spec.console.action, Action::Subscribe | Action::Await)) {
            let named = words(spec.console.form, spec.name);
            for options in [&[][..], &["--json"], &["--json", "--prettify"]] {
                let mut lines = vec![named.clone()];
                // Without a name, where that may be, and with a pattern, whose names the daemon tells.
                if !named.is_empty() {
                    lines.extend([vec!["*"], Vec::new()]);
                }
                for words in lines {
                    let line = [&[spec.name], options, &words].concat();
                    let output = run(site.command(built("circusctl")).args(&line));
                    is_tame(&format!("{line:?}"), &(output.stdout + &output.stderr));
                }
            }
            let mut command = site.command(built("circusctl"));
            command.arg(spec.name).args(&named);
            let seen = at_terminal(command, None);
            is_tame(spec.name, &seen);
            shown += usize::from(seen.contains("\\u001b]0;owned\\u0007"));
        }
    }
    assert!(shown >= COMMANDS.len(), "hostile texts are shown, written out: by {shown}");
    // An event and a line that come.
    for words in [&["listen"][..], &["tail", "x", "--follow"], &["tail", "x", "--follow", "--json"]] {
        impostor.refuses.store(false, Ordering::Relaxed);
        let mut command = site.command(built("circusctl"));
        command.args(words);
        let seen = at_terminal(command, Some("u2028z"));
        assert!(seen.contains("\\u001b]0;owned"), "{words:?}: {seen:?}");
        is_tame(&format!("{words:?}"), &seen);
    }
    let wait = run(site.command(built("circusctl")).args(["wait", "x"]));
    is_tame("wait", &(wait.stdout + &wait.stderr));
    // With --raw, the bytes are printed as they are.
    let raw = run(site.command(built("circusctl")).args(["tail", "x", "--raw"]));
    assert!(raw.stdout.contains(HOSTILE), "{raw:?}");
    // Completions reach the terminal of a shell.
    let completed = run(site.command(built("circusctl")).args(["completion", "words", "stop", ""]));
    assert_eq!(completed.stdout, "x\n", "{completed:?}");
    let shell = site.write("lines", "list\nstop x\nstatus\n");
    let mut command = site.command(built("circusctl"));
    let output = run(command.stdin(Stdio::from(File::open(shell).unwrap())));
    is_tame("the shell", &(output.stdout + &output.stderr));
}

#[test]
fn no_answer_drives_the_terminal_of_circus_top() {
    let impostor = Impostor::start();
    let top = |args: &[&str]| {
        let mut command = impostor.site.command(built("circus-top"));
        let events = impostor.site.pubsub_endpoint();
        command.args(["--pubsub", &events, "--endpoint", &events]).args(args);
        command
    };
    std::thread::scope(|scope| {
        for format in ["--once", "--json"] {
            let mut command = top(&[format]);
            scope.spawn(move || {
                let output = run(&mut command);
                is_tame(format, &(output.stdout + &output.stderr));
            });
        }
    });
    // It draws with orders of its own, of which none is one of these.
    let seen = at_terminal(top(&[]), Some("owned"));
    for order in ["\u{1b}]", "\u{9b}", "\u{202e}", "\u{7}", "\u{2028}", "\u{1b}[1A"] {
        assert!(!seen.contains(order), "{order:?} in {seen:?}");
    }
}

#[test]
fn workers_names_and_options_drive_no_terminal_and_no_log() {
    let circusd = Site::new().start(&format!(
        "[watcher:web]
        cmd = {{knobs}} say \"{esc}\" sleep 100000
        stdout_stream.class = FileStream
        stdout_stream.filename = {{dir}}/out
        [env:web]
        TITLE = {esc}
        [watcher:dies]
        cmd = {{knobs}} warn \"{esc}\" exit 1
        stderr_stream.class = StdoutStream
        max_retry = 1",
        esc = "a\u{1b}]0;owned\u{7}z"
    ));
    wait_for("the worker has printed", || circusd.read("out").contains("owned").then_some(()));
    for args in [&["options", "web"][..], &["get", "web", "env"], &["--json", "options", "web"], &["tail", "web"]] {
        let output = circusd.circusctl(args);
        assert!(output.stdout.contains("\\u001b]0;owned\\u0007"), "{args:?}: {output:?}");
        is_tame(&format!("{args:?}"), &(output.stdout + &output.stderr));
    }
    for name in ["a\u{1b}[2J", "a\nb", "a\u{202e}b"] {
        let output = circusd.circusctl(&["add", name, "sleep", "1"]);
        assert_eq!(output.status, Some(3), "{output:?}");
        is_tame("add", &output.stderr);
        let output = circusd.circusctl(&["stop", name]);
        is_tame("stop", &(output.stdout + &output.stderr));
        let output = circusd.circusctl(&["set", "web", "working_dir", name]);
        is_tame("set", &(output.stdout + &output.stderr));
    }
    wait_for("the second watcher has ended", || circusd.log().contains("dies").then_some(()));
    is_tame("circusd's log", &circusd.log());
}
