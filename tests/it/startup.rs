//! How circusd refuses to start: with status 1 and words that say what, where and what to do; and with no harm to others.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Answer, Circusd, Http, Output, Process, Site, built, free_port, run, spawn, wait_until};

/// Starts circusd with these sections; it has to refuse.
#[track_caller]
fn refusal(site: &Site, sections: &str) -> String {
    let ini = site.ini("refused.ini", sections);
    refused(&site.run_circusd(&[ini.to_str().unwrap()]))
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    output.stderr.clone()
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let site = Site::new();
    let says = |name: &str, parts: &[&str]| {
        let output = site.run_circusd(&[name]);
        assert_says(&refused(&output), parts);
        let checked = site.run_circusd(&["--check", name]);
        assert_eq!(checked.status, Some(1));
        assert_says(&checked.stdout, parts);
    };
    says("missing.ini", &["missing.ini", "No such file"]);
    says(".", &[".: error: is a directory"]);
    std::fs::write(site.path("latin.ini"), b"[watcher:a]\ncmd = caf\xe9\n").unwrap();
    says("latin.ini", &["latin.ini", "not UTF-8", "line 2"]);
    site.write("headless.ini", "cmd = x\n");
    says("headless.ini", &["headless.ini:1: "]);
    std::fs::write(site.path("nul.ini"), b"[watcher:a]\ncmd = a\0b\n").unwrap();
    assert!(matches!(site.run_circusd(&["--check", "nul.ini"]).status, Some(0 | 1)));
}

#[test]
fn a_file_of_another_user_is_named() {
    const NOBODY: u32 = 65534;
    let site = Site::new();
    site.write("secret.ini", "[watcher:a]\ncmd = x\n");
    let mode = |path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(site.path("secret.ini"), 0o600);
    mode(site.path("."), 0o755);
    // A copy, since the checkout may be in a folder that only its owner may enter.
    std::fs::copy(env!("CARGO_BIN_EXE_circusd"), site.path("circusd-copy")).unwrap();
    let mut command = site.command(site.path("circusd-copy"));
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        mode(site.path("secret.ini"), 0o000);
    }
    let output = run(command.arg("secret.ini"));
    assert_says(&refused(&output), &["secret.ini", "Permission denied"]);
}

#[test]
fn all_errors_are_told_at_once_with_their_places() {
    let site = Site::new();
    site.write(
        "bad.ini",
        "[circus]
check_delay = soon
[watcher:a]
cmd = x
numprocesses = many
[watcher:b]
cmd = x
stop_signal = SIGNOTHING
[watcher:c]
cmd = x
singleton = perhaps
[socket:s]
port = http
",
    );
    let places = ["bad.ini:2: ", "bad.ini:5: ", "bad.ini:8: ", "bad.ini:11: ", "bad.ini:13: "];
    assert_says(&refused(&site.run_circusd(&["bad.ini"])), &places);
    assert_says(&site.run_circusd(&["--check", "bad.ini"]).stdout, &places);
}

#[test]
fn a_check_starts_nothing() {
    let site = Site::new();
    let good = site.ini("good.ini", "[watcher:a]\ncmd = {knobs} write {dir}/ran yes");
    let output = site.run_circusd(&["--check", good.to_str().unwrap()]);
    let all_well = (Some(0), "ok: 1 watcher, 0 sockets\n", "");
    assert_eq!((output.status, output.stdout.as_str(), output.stderr.as_str()), all_well);
    let odd = site.ini("odd.ini", "[watcher:a]\ncmd = {knobs}\nnumproceses = 3");
    let output = site.run_circusd(&["--check", odd.to_str().unwrap()]);
    assert_eq!(output.status, Some(3));
    assert_says(&output.stdout, &["odd.ini:3: ", "numproceses", "numprocesses"]);
    assert!(!site.path("ran").exists());
}

#[test]
fn one_bad_watcher_is_left_out() {
    let circusd = Site::new().start(
        "[watcher:good]
         cmd = {knobs}
         [watcher:bad]
         cmd = {knobs}
         numprocesses = many
         [watcher:limited]
         cmd = {knobs}
         rlimit_nosuch = 3
         [watcher:connected]
         cmd = {knobs}
         stdin_socket = nowhere
         [watcher:passed]
         cmd = {knobs}
         sockets = nowhere
         [watcher:stranger]
         cmd = {knobs}
         uid = nobody-of-this-name",
    );
    circusd.wait_for_workers("good", 1);
    circusd.wait_for_log("stranger stopped");
    let places = ["circus.ini:5: ", "circus.ini:8: ", "circus.ini:11: ", "circus.ini:14: ", "nobody-of-this-name"];
    assert_says(&circusd.log(), &places);
    // A faulty watcher is left out; an account may be made while circusd runs.
    assert_eq!(circusd.tell("status", json!({}))["statuses"], json!({"good": "active", "stranger": "stopped"}));
}

#[test]
fn an_address_in_use_is_told_with_its_holder() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let us = format!("pid {}", std::process::id());
    let told = refusal(&site, &format!("[socket:web]\nhost = 127.0.0.1\nport = {port}\n[watcher:w]\ncmd = {{knobs}}"));
    assert_says(&told, &["'web'", &format!("127.0.0.1:{port}"), &us]);
    for key in ["endpoint", "pubsub_endpoint"] {
        let told = refusal(&site, &format!("[circus]\n{key} = tcp://127.0.0.1:{port}\n[watcher:w]\ncmd = {{knobs}}"));
        assert_says(&told, &[&format!("tcp://127.0.0.1:{port}"), &us]);
    }
}

#[test]
fn sockets_that_cannot_be_bound_are_named() {
    let site = Site::new();
    std::fs::write(site.path("taken"), "precious").unwrap();
    for (socket, reason) in [
        ("path = {dir}/taken", "is not a socket"),
        ("path = {dir}/nowhere/sock", "does not exist"),
        ("host = 192.0.2.1\nport = 0", "has no address 192.0.2.1"),
        ("host = no-such-host.invalid\nport = 0", "cannot be resolved"),
        ("host = 127.0.0.1\nport = 0\nproto = nonsense", "nonsense"),
    ] {
        // The other one can be opened, and is closed again.
        let sections = format!("[socket:web]\n{socket}\n[socket:a]\npath = {{dir}}/a\n[watcher:w]\ncmd = {{knobs}}");
        assert_says(&refusal(&site, &sections), &["'web'", reason]);
        assert!(!site.path("a").exists() && !site.path("control").exists(), "{socket}");
    }
    assert_eq!(site.read("taken"), "precious");
}

#[test]
fn strangers_are_kept_out_unless_they_are_asked_in() {
    let site = Site::new();
    let port = free_port();
    let open = format!("[circus]\nendpoint = tcp://0.0.0.0:{port}\n[watcher:w]\ncmd = {{knobs}}\n");
    let told = refusal(&site, &open);
    assert_says(&told, &["tcp://0.0.0.0:", "allow_anyone_on_the_network_to_control_this_machine"]);
    let yes = "[circus]\nallow_anyone_on_the_network_to_control_this_machine = True\n";
    let circusd = site.start(&(open + yes));
    circusd.wait_for_log("w started");
    let output = circusd.circusctl(&["--endpoint", &format!("tcp://127.0.0.1:{port}"), "status"]);
    assert_eq!(output.stdout, "w: active\n", "{output:?}");
}

/// A circusd that serves on a socket that any other circusd would take from it.
struct First {
    circusd: Circusd,
    http: Http,
}

const SERVING: &str = "[socket:mine]
    path = {dir}/mine
    replace = True
    [socket:web]
    host = 127.0.0.1
    port = 0
    [watcher:w]
    cmd = {knobs} serve $(circus.sockets.mine)
    use_sockets = True
    [watcher:web]
    cmd = {knobs} serve $(circus.sockets.web)
    use_sockets = True
    ";

impl First {
    fn start(also: &str) -> Self {
        let circusd = Site::new().start(&(also.to_owned() + SERVING));
        let workers = [circusd.wait_for_workers("w", 1), circusd.wait_for_workers("web", 1)].concat();
        assert_eq!(workers.len(), 2);
        let http = crate::web::http(&circusd, "web");
        let first = Self { circusd, http };
        first.assert_serves();
        first
    }

    /// The second one, with `also`, names the first one and leaves it alone.
    #[track_caller]
    fn assert_withstands(&self, also: &str, endpoint: Option<&str>) {
        let inode = |name: &str| std::fs::metadata(self.circusd.path(name)).map(|file| file.permissions().mode()).ok();
        let before = ["mine", "control", "events", "circusd.pid"].map(inode);
        let told = refusal(&self.circusd, &(also.to_owned() + SERVING));
        assert_says(&told, &[&format!("pid {}", self.circusd.process().0)]);
        assert_eq!(["mine", "control", "events", "circusd.pid"].map(inode), before);
        assert_eq!(self.circusd.read("circusd.pid"), format!("{}\n", self.circusd.process().0));
        self.assert_serves();
        if let Some(endpoint) = endpoint {
            let output = self.circusd.circusctl(&["--endpoint", endpoint, "status", "w"]);
            assert_eq!(output.stdout, "active\n", "{output:?}");
        }
    }

    #[track_caller]
    fn assert_serves(&self) {
        assert!(matches!(self.http.get(), Answer::Body(_)));
        let (worker, mine) = (self.circusd.workers("w")[0], self.circusd.path("mine"));
        assert_eq!(Http::get_at(&mine), Answer::Body(format!("{}\n", worker.0)));
    }
}

#[test]
fn a_second_one_on_the_same_pidfile() {
    let first = First::start("");
    // Endpoints of its own, so that only the pidfile is in the way.
    let other = "[circus]\nendpoint = ipc://{dir}/other\npubsub_endpoint = ipc://{dir}/others\n";
    first.assert_withstands(other, None);
    assert!(!first.circusd.path("other").exists());
}

#[test]
fn a_second_one_on_the_same_ipc_endpoints() {
    let first = First::start("");
    let endpoint = first.circusd.endpoint();
    first.assert_withstands("[circus]\npidfile = {dir}/second.pid\n", Some(&endpoint));
    let control = "[circus]\nendpoint = ipc://{dir}/second\npidfile = {dir}/second.pid\n";
    first.assert_withstands(control, Some(&endpoint));
    let events = "[circus]\npubsub_endpoint = ipc://{dir}/second\npidfile = {dir}/second.pid\n";
    first.assert_withstands(events, Some(&endpoint));
    assert!(!first.circusd.path("second.pid").exists() && !first.circusd.path("second").exists());
}

#[test]
fn a_second_one_on_the_same_tcp_endpoint() {
    let port = free_port();
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let circus = format!("[circus]\nendpoint = {endpoint}\n");
    let site = Site::new();
    let circusd = site.start(&(circus.clone() + SERVING));
    let status = || circusd.circusctl(&["--endpoint", &endpoint, "status", "w"]).stdout;
    wait_until("it serves", || status() == "active\n");
    let told = refusal(&circusd, &format!("{circus}pidfile = {{dir}}/second.pid\n{SERVING}"));
    assert_says(&told, &[&format!("pid {}", circusd.process().0), &endpoint]);
    assert_eq!(status(), "active\n");
    assert!(matches!(Http::get_at(&circusd.path("mine")), Answer::Body(_)));
}

#[test]
fn a_pidfile_that_means_nobody_is_taken_over() {
    for text in ["", "nonsense\n", "999999999\n"] {
        let site = Site::new();
        site.write("circusd.pid", text);
        let circusd = site.start("[watcher:w]\ncmd = {knobs}");
        assert_eq!(circusd.read("circusd.pid"), format!("{}\n", circusd.process().0));
    }
}

#[test]
fn pid_file_of_a_living_circusd_is_respected() {
    let first = Site::new().start("[watcher:w]\ncmd = {knobs}");
    let pid = first.read("circusd.pid");
    let path = first.path("circusd.pid");
    let site = Site::new();
    let told = refusal(&site, &format!("[circus]\npidfile = {}\n[watcher:w]\ncmd = {{knobs}}", path.display()));
    assert_says(&told, &["circusd.pid", pid.trim()]);
    let mut at_a_terminal = site.command("/bin/sh");
    let line = format!("exec {} {} 2>&1", built("circusd").display(), site.path("refused.ini").display());
    let seen = run(at_a_terminal.args(["-c", &line]));
    assert_eq!(seen.stdout.matches("belongs to a running circusd").count(), 1, "{seen:?}");
    assert_eq!(first.read("circusd.pid"), pid);
    assert_says(&refusal(&site, "[circus]\npidfile = {dir}/no/dir/x\n[watcher:w]\ncmd = {knobs}"), &["no/dir"]);
}

#[test]
fn with_nothing_to_do_it_says_so() {
    let site = Site::new();
    let usage = site.run_circusd(&[]);
    assert_eq!(usage.status, Some(0));
    assert!(usage.stdout.to_lowercase().starts_with("usage: circusd"), "{usage:?}");
    assert_eq!(site.run_circusd(&["--no-such-option"]).status, Some(2));
    let version = site.run_circusd(&["--version"]);
    assert_eq!((version.status, version.stdout.lines().next()), (Some(0), Some(env!("CARGO_PKG_VERSION"))));
    assert_says(&version.stdout, &["circusd, a process and socket manager", "libzmq 4.", "CURVE"]);
    assert_says(&site.run_circusd(&["--help"]).stdout, &["Starts the fleet that a configuration file describes"]);
}

#[test]
fn workers_of_a_killed_circusd_are_named_by_the_next() {
    let mut circusd = Site::new().start("[watcher:web]\ncmd = {knobs}\nnumprocesses = 2");
    let before = circusd.wait_for_workers("web", 2);
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    circusd.restart();
    let log = circusd.wait_for_text(
        "circusd.log",
        "web: its command already runs in a process that a killed circusd has probably left behind",
    );
    let line = log.lines().find(|line| line.contains("already runs")).unwrap();
    assert!(before.iter().all(|worker| line.contains(&worker.0.to_string())), "{line}");
    before.into_iter().for_each(|worker| worker.send(Signal::SIGKILL));
    circusd.quit();
}

#[test]
fn workers_end_with_a_circusd_that_aborts() {
    let mut circusd = Site::new().start("[watcher:web]\ncmd = {knobs}\nnumprocesses = 3");
    let workers = circusd.wait_for_workers("web", 3);
    circusd.send(Signal::SIGABRT);
    circusd.wait_for_end();
    wait_until("its workers have ended", || workers.iter().all(|worker| !worker.lives()));
    circusd.restart();
    circusd.quit();
}

#[test]
#[ignore = "needs root"]
fn root_is_warned_of_an_endpoint_that_all_users_reach() {
    let words = "every user of this machine can reach tcp://127.0.0.1:0 and so run any command as root";
    let site = Site::new();
    let ini = site.write(
        "open.ini",
        "[circus]\nendpoint = tcp://127.0.0.1:0\npubsub_endpoint = ipc://{dir}/events\n[watcher:w]\ncmd = {knobs}\n",
    );
    let checked = site.run_circusd(&["--check", ini.to_str().unwrap()]);
    assert_eq!(checked.status, Some(0));
    assert_says(&checked.stdout, &[words, "endpoint = ipc:///run/circusd.sock"]);
    let mut circusd = Circusd::start(site, &[ini.to_str().unwrap()]);
    assert_eq!(circusd.log().matches(words).count(), 1);
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}

/// Runs circusd as a user that owns the site and no more.
fn as_nobody(site: &Site, args: &[&str]) -> std::process::Command {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::chown(&site.path(""), Some(nobody.uid), Some(nobody.gid)).unwrap();
    let mut command = site.circusd();
    command.args(args).uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    command
}

/// The kernel counts the processes of a user, so circusd's own threads count, too.
#[test]
#[ignore = "needs root"]
fn more_processes_than_a_user_may_have_are_refused() {
    let site = Site::new();
    site.open_to_all();
    let ini = site.ini("circus.ini", "[watcher:w]\ncmd = /bin/sleep 1000\n");
    let plain = as_nobody(&site, &[ini.to_str().unwrap()]);
    let nobody = crate::rig::Account::named("nobody");
    let mut command = site.command("prlimit");
    command.arg("--nproc=400").arg(plain.get_program()).args(plain.get_args());
    command.uid(nobody.uid).gid(nobody.gid);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    let reply = circusd.ask("incr", json!({"name": "w", "nb": 400}));
    let reason = "w: 401 workers cannot be started: 401 processes are wanted in all, and RLIMIT_NPROC allows 400";
    assert_eq!(reply["reason"], reason);
    circusd.quit();
}

#[test]
#[ignore = "needs root"]
fn circusd_that_is_not_root_says_that_it_becomes_no_other_user() {
    let site = Site::new();
    let words = "[watcher:w] uid: circusd is not root, so its workers keep its own uid";
    let ini = site.ini("user.ini", "[watcher:w]\ncmd = {knobs}\nuid = root\n");
    let ini = ini.to_str().unwrap();
    let checked = run(&mut as_nobody(&site, &["--check", ini]));
    assert_eq!(checked.status, Some(3), "{checked:?}");
    assert_says(&checked.stdout, &["warning: ", words]);
    let command = as_nobody(&site, &[ini]);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    assert_eq!(circusd.log().matches(words).count(), 1, "{}", circusd.log());
    circusd.quit();
}

#[test]
fn standard_descriptors_that_are_closed_are_nobodys() {
    let site = Site::new();
    let ini = site.ini("circus.ini", "[socket:s]\npath = {dir}/s\n[watcher:w]\ncmd = {knobs} say hello warn oh");
    let mut command = site.command("/bin/sh");
    command.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-", env!("CARGO_BIN_EXE_circusd"), ini.to_str().unwrap()]);
    let mut child = spawn(&mut command);
    wait_until("it listens", || site.circusctl(&["status", "w"]).stdout == "active\n");
    let fds = Process(child.id() as i32).fds();
    assert!((0..=2).all(|fd| fds[&fd].to_str() == Some("/dev/null")), "{fds:?}");
    assert_eq!(site.circusctl(&["listsockets"]).stdout.split(':').next(), Some("3"));
    assert_eq!(site.circusctl(&["quit"]).status, Some(0));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
