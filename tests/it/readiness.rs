//! `ready` and `health` with real programs: requests wait for workers that are ready, and workers that hang are replaced.

use serde_json::json;

use crate::rig::{Circusd, Site, built, python, wait_until};

/// What a worker does, in the words of sd_notify(3). It runs until it is told to stop.
const NOTIFY: &str = r#"
import array, os, socket, sys, time
address = os.environ["NOTIFY_SOCKET"]
address = "\0" + address[1:] if address.startswith("@") else address
notifier = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    notifier.sendmsg([text.encode()], rights, 0, address)
def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.01)
"#;

/// A site with a `python3`, if there is one for tests.
fn with_python(test: &str) -> Option<Site> {
    let python = python(&format!("readiness::{test}"))?;
    let site = Site::new();
    std::os::unix::fs::symlink(python.canonicalize().unwrap(), site.path("python3")).unwrap();
    Some(site)
}

/// A site whose `worker.py` begins with [`NOTIFY`].
fn site(test: &str, worker: &str) -> Option<Site> {
    let site = with_python(test)?;
    site.write("worker.py", &format!("{NOTIFY}\n{worker}\n"));
    Some(site)
}

#[test]
fn worker_that_says_when_it_is_ready_is_waited_for() {
    let Some(site) = site(
        "worker_that_says_when_it_is_ready_is_waited_for",
        "say('STATUS=loading'); wait_for('go'); say('READY=1\\nSTATUS=serving'); time.sleep(1000)",
    ) else {
        return;
    };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify
         [watcher:next]
         cmd = {knobs}
         priority = -1",
    );
    wait_until("it says what it does", || circusd.details("web")["processes"][0]["status"] == "loading");
    let web = circusd.details("web");
    assert_eq!((&web["state"], &web["health"]), (&json!("starting"), &json!("starting")));
    assert_eq!(web["processes"][0]["ready"], false);
    assert_eq!(circusd.status("next"), "stopped", "the next one waits");
    let mut events = circusd.events();
    circusd.write("go", "");
    let ready = events.until("web", "ready").pop().unwrap();
    assert_eq!(ready.pid(), circusd.workers("web")[0].0);
    circusd.wait_for_workers("next", 1);
    let (text, _) = (circusd.command(built("circusctl")).args(["status", "web", "--verbose"]).output().unwrap(), 0);
    assert!(String::from_utf8_lossy(&text.stdout).contains("(serving)"), "{text:?}");
    circusd.wait_for_log("web: worker ready wid=1 pid=");
}

#[test]
fn slow_server_is_ready_when_it_accepts() {
    let Some(site) = with_python("slow_server_is_ready_when_it_accepts") else { return };
    site.write(
        "slow.py",
        "import socket, time\n\
         time.sleep(0.3)\n\
         listener = socket.socket(socket.AF_UNIX)\n\
         listener.bind('{dir}/slow.sock')\n\
         listener.listen()\n\
         time.sleep(1000)\n",
    );
    let circusd = site.start(
        "[watcher:slow]
         cmd = {dir}/python3 slow.py
         working_dir = {dir}
         ready = unix:{dir}/slow.sock
         ready_interval = 0.05
         autostart = no",
    );
    assert_eq!(circusd.ctl(&["start", "slow", "--waiting"]), (String::new(), Some(0)));
    assert!(circusd.path("slow.sock").exists(), "it was not waited for");
    assert_eq!(circusd.details("slow")["health"], "ready");
    std::fs::remove_file(circusd.path("slow.sock")).unwrap();
}

#[test]
fn answers_of_http_and_commands_show_readiness() {
    let Some(site) = with_python("answers_of_http_and_commands_show_readiness") else { return };
    site.write(
        "web.py",
        "import http.server, os, threading\n\
         class Handler(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(200 if os.path.exists('warm') else 503)\n\
        \x20       self.end_headers()\n\
         server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n\
         open('port.new', 'w').write(str(server.server_port))\n\
         os.rename('port.new', 'port')\n\
         server.serve_forever()\n",
    );
    site.write("ready.sh", "#!/bin/sh\ntest -f warm && echo \"$CIRCUS_PID\" > asked\n");
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 web.py
         working_dir = {dir}
         priority = 1
         [watcher:command]
         cmd = {knobs}
         working_dir = {dir}
         ready = exec:/bin/sh ready.sh
         ready_interval = 0.05",
    );
    wait_until("it serves", || circusd.path("port").exists());
    let port: u16 = circusd.read("port").parse().unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    // The one that serves stands for what another one waits for.
    let options = json!({"ready": url, "ready_interval": 0.05});
    circusd.tell("add", json!({"name": "http", "cmd": "/bin/sleep 1000", "start": true, "options": options}));
    wait_until("it is asked", || {
        circusd.details("http")["processes"][0]["check_error"] == "status 503 Service Unavailable"
    });
    assert_eq!(circusd.details("command")["processes"][0]["check_error"], "exit status 1");
    circusd.write("warm", "");
    wait_until("both are ready", || ["http", "command"].iter().all(|name| circusd.details(name)["health"] == "ready"));
    assert_eq!(circusd.read("asked").trim(), circusd.workers("command")[0].0.to_string());
}

#[test]
fn worker_that_is_never_ready_is_told_to_stop_and_given_up() {
    let circusd = Site::new().start(
        "[watcher:deaf]
         cmd = {knobs}
         ready = tcp:127.0.0.1:1
         ready_timeout = 0.3
         max_retry = 2
         autostart = no",
    );
    let (error, status) = circusd.ctl(&["start", "deaf", "--waiting"]);
    let reason = "worker 1 was not ready after 300 ms (tcp:127.0.0.1:1: connection refused)";
    assert_eq!((error.trim(), status), (format!("error: deaf: {reason}").as_str(), Some(3)));
    wait_until("it is given up", || circusd.details("deaf")["health"] == "failed");
    assert_eq!(circusd.details("deaf")["reason"], reason);
    assert!(circusd.workers("deaf").is_empty());
}

#[test]
fn reload_to_a_version_that_is_never_ready_keeps_the_old_workers() {
    let Some(site) = site(
        "reload_to_a_version_that_is_never_ready_keeps_the_old_workers",
        "'fail' if os.path.exists('bad') else say('READY=1'); time.sleep(1000)",
    ) else {
        return;
    };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         numprocesses = 2
         ready = notify
         ready_timeout = 2",
    );
    wait_until("it is ready", || circusd.details("web")["health"] == "ready");
    let old = circusd.workers("web");
    circusd.write("bad", "");
    let (error, status) = circusd.ctl(&["reload", "web", "--waiting"]);
    assert!(error.contains("not ready after 2.0 s (notify)"), "{error}");
    assert_eq!(status, Some(3));
    wait_until("the new ones are gone", || circusd.workers("web") == old);
    std::fs::remove_file(circusd.path("bad")).unwrap();
    assert_eq!(circusd.ctl(&["reload", "web", "--waiting"]), (String::new(), Some(0)));
    let new = circusd.workers("web");
    assert!(new.len() == 2 && !new.iter().any(|pid| old.contains(pid)), "{old:?} {new:?}");
}

#[test]
fn descriptors_that_a_worker_keeps_are_its_successor_s() {
    let worker = "
stored = os.environ.get('LISTEN_FDNAMES', '')
if stored:
    assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1'
    open('kept', 'w').write(stored + ' ' + os.read(3, 100).decode())
else:
    read, write = os.pipe()
    os.write(write, b'memory')
    say('FDSTORE=1\\nFDNAME=cache', [read])
say('READY=1')
time.sleep(1000)";
    let Some(site) = site("descriptors_that_a_worker_keeps_are_its_successor_s", worker) else { return };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify
         graceful_timeout = 5",
    );
    wait_until("it is ready", || circusd.details("web")["health"] == "ready");
    assert_eq!(circusd.ctl(&["restart", "web", "--waiting"]), (String::new(), Some(0)));
    assert_eq!(circusd.read("kept"), "cache memory");
    // A stop ends it.
    std::fs::remove_file(circusd.path("kept")).unwrap();
    assert_eq!(circusd.ctl(&["stop", "web", "--waiting"]), (String::new(), Some(0)));
    assert_eq!(circusd.ctl(&["start", "web", "--waiting"]), (String::new(), Some(0)));
    assert!(!circusd.path("kept").exists());
}

/// Sends a datagram from a process that is no worker's, as this user.
fn notify_from_outside(circusd: &Circusd, address: &str, uid: Option<u32>) {
    let become_user = uid.map_or_else(String::new, |uid| format!("os.setgid({uid})\nos.setuid({uid})\n"));
    let code = format!(
        "import os, socket\n{become_user}s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'READY=1', \
        '\\0' + '{}')",
        &address[1..]
    );
    let mut command = circusd.command(circusd.path("python3"));
    command.args(["-c", &code]);
    assert!(command.status().unwrap().success());
}

#[test]
fn datagrams_of_strangers_mean_nothing() {
    let Some(site) = site(
        "datagrams_of_strangers_mean_nothing",
        "open('address', 'w').write(os.environ['NOTIFY_SOCKET']); wait_for('go'); say('MAINPID=1\\nREADY=1'); \
        time.sleep(1000)",
    ) else {
        return;
    };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify",
    );
    wait_until("it runs", || circusd.read("address").starts_with('@'));
    let address = circusd.read("address");
    notify_from_outside(&circusd, &address, None);
    circusd.wait_for_log("notification from a process that belongs to no worker, ignored pid=");
    if nix::unistd::getuid().is_root() {
        notify_from_outside(&circusd, &address, Some(65534));
    }
    assert_eq!(circusd.details("web")["processes"][0]["ready"], false);
    circusd.write("go", "");
    wait_until("it is ready", || circusd.details("web")["health"] == "ready");
    circusd.wait_for_log("web: notification refused wid=1");
}

#[test]
fn worker_that_hangs_is_replaced() {
    let worker = "
assert os.environ['WATCHDOG_USEC'] == '400000'
say('READY=1')
while not os.path.exists('hang'):
    say('WATCHDOG=1')
    time.sleep(0.05)
os.unlink('hang')
time.sleep(1000)";
    let Some(site) = site("worker_that_hangs_is_replaced", worker) else { return };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify
         health = watchdog
         health_interval = 0.4",
    );
    wait_until("it is ready", || circusd.details("web")["health"] == "ready");
    let [old] = circusd.workers("web")[..] else { panic!("one worker") };
    let mut events = circusd.events();
    circusd.write("hang", "");
    let unhealthy = events.until("web", "unhealthy").pop().unwrap();
    assert_eq!(unhealthy.body["reason"], "unhealthy (watchdog: silent for 0.4 s)");
    assert_eq!(unhealthy.pid(), old.0);
    let ready = events.until("web", "ready").pop().unwrap();
    assert_ne!(ready.pid(), old.0);
}

#[test]
fn check_that_cannot_run_ends_no_worker() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs}
         health = exec:/nonexistent/check
         health_interval = 0.05
         health_retries = 1",
    );
    let [worker] = circusd.wait_for_workers("w", 1)[..] else { panic!("one worker") };
    circusd.wait_for_log("w: health check cannot run, the worker is kept wid=1");
    circusd.tell("set", json!({"name": "w", "options": {"health_retries": 2}}));
    assert_eq!(circusd.workers("w"), [worker]);
    assert_eq!(circusd.log().matches("health check cannot run").count(), 1);
}

#[test]
fn reports_and_kept_descriptors_survive_an_upgrade() {
    let worker = "
stored = os.environ.get('LISTEN_FDNAMES', '')
if stored:
    open('kept', 'w').write(stored + ' ' + os.read(3, 100).decode())
else:
    read, write = os.pipe()
    os.write(write, b'memory')
    say('FDSTORE=1\\nFDNAME=cache', [read])
say('STATUS=before')
wait_for('go')
say('READY=1\\nSTATUS=after')
time.sleep(1000)";
    let Some(site) = site("reports_and_kept_descriptors_survive_an_upgrade", worker) else { return };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify
         [watcher:slow]
         cmd = {knobs}
         ready = unix:{dir}/slow.sock
         ready_interval = 0.05
         priority = -1",
    );
    wait_until("it runs", || circusd.details("web")["processes"][0]["status"] == "before");
    let [worker] = circusd.workers("web")[..] else { panic!("one worker") };
    assert_eq!(circusd.ctl(&["upgrade"]), (String::new(), Some(0)));
    assert_eq!(circusd.details("web")["processes"][0]["ready"], false);
    circusd.write("go", "");
    wait_until("it is ready", || circusd.details("web")["health"] == "ready");
    assert_eq!(circusd.workers("web"), [worker]);
    wait_until("the next one is looked at", || circusd.details("slow")["processes"][0]["check_error"].is_string());
    assert_eq!(circusd.ctl(&["upgrade"]), (String::new(), Some(0)));
    let _listener = std::os::unix::net::UnixListener::bind(circusd.path("slow.sock")).unwrap();
    wait_until("the other is ready", || circusd.details("slow")["health"] == "ready");
    assert_eq!(circusd.ctl(&["restart", "web", "--waiting"]), (String::new(), Some(0)));
    assert_eq!(circusd.read("kept"), "cache memory");
    std::fs::remove_file(circusd.path("slow.sock")).unwrap();
}

#[test]
fn scripts_wait_for_what_they_need() {
    let Some(site) = site("scripts_wait_for_what_they_need", "wait_for('go'); say('READY=1'); time.sleep(1000)") else {
        return;
    };
    let circusd = site.start(
        "[watcher:web]
         cmd = {dir}/python3 worker.py
         working_dir = {dir}
         ready = notify
         [watcher:once]
         cmd = /bin/sh -c \"while ! test -f {dir}/end; do sleep 0.01; done\"
         respawn = no
         [watcher:false]
         cmd = /bin/false
         respawn = no",
    );
    let (error, status) = circusd.ctl(&["wait", "web", "--timeout", "1"]);
    assert_eq!((error.as_str(), status), ("error: web is not ready: starting: in progress: start\n", Some(3)));
    let waits = |args: &[&str]| {
        let mut child =
            circusd.command(built("circusctl")).args(["wait", "--timeout", "30"]).args(args).spawn().unwrap();
        move || child.wait().unwrap().code()
    };
    let mut ready = waits(&["web"]);
    circusd.write("go", "");
    assert_eq!(ready(), Some(0));
    let mut exited = waits(&["once", "--for", "exited"]);
    circusd.write("end", "");
    assert_eq!(exited(), Some(0));
    let mut stopped = waits(&["web", "--for", "stopped"]);
    circusd.tell("stop", json!({"name": "web"}));
    assert_eq!(stopped(), Some(0));
    let (error, status) = circusd.ctl(&["wait", "false", "--timeout", "30"]);
    assert!(error.starts_with("error: false is not ready: failed: worker 1 exited with status 1"), "{error}");
    assert_eq!(status, Some(3));
    assert_eq!(circusd.ctl(&["wait", "nope"]).1, Some(3));
    assert_eq!(circusd.ctl(&["wait", "web", "--for", "lunch"]).1, Some(1));
}

#[test]
fn line_in_the_output_shows_readiness_also_over_an_upgrade() {
    let site = Site::new();
    site.write(
        "worker.sh",
        "#!/bin/sh\necho not listening on 80 yet\nwhile ! test -f go; do sleep 0.01; done\n\
         echo 'still not listening on 80'; echo 'listening on 80'\nexec sleep 1000\n",
    );
    let circusd = site.start(
        "[watcher:web]
         cmd = /bin/sh worker.sh
         working_dir = {dir}
         ready = log:^listening on [0-9]+$
         stdout_stream.class = MemoryStream
         [watcher:blind]
         cmd = /bin/true
         autostart = no",
    );
    wait_until("it prints", || !circusd.tell("tail", json!({"name": "web"}))["lines"].as_array().unwrap().is_empty());
    assert_eq!(circusd.details("web")["processes"][0]["ready"], false);
    assert_eq!(circusd.ctl(&["upgrade"]), (String::new(), Some(0)));
    assert_eq!(circusd.details("web")["processes"][0]["ready"], false);
    circusd.write("go", "");
    assert_eq!(circusd.ctl(&["wait", "web", "--timeout", "30"]), (String::new(), Some(0)));
    let refused = circusd.ask("set", json!({"name": "blind", "options": {"ready": "log:x"}}));
    assert_eq!(refused["reason"], "ready = log: needs stdout_stream or stderr_stream: circusd reads no other output");
}
