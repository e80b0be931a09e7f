//! circusd is killed, and the next one deals with the workers that it has left.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Answer, Circusd, Process, Site, wait_until};

/// Kills circusd when its state file names these workers, and starts it again.
#[track_caller]
fn kill_and_restart(circusd: &mut Circusd, workers: &[Process]) {
    wait_until("the state file names the workers", || {
        let state = circusd.read("state");
        workers.iter().all(|worker| state.contains(&format!("\"pid\":{},", worker.0)))
    });
    circusd.send(Signal::SIGKILL);
    assert_eq!(circusd.wait_for_end().status, None);
    assert!(workers.iter().all(|worker| worker.lives()));
    circusd.restart();
}

#[test]
fn survivors_are_ended_before_anything_is_started() {
    let mut circusd = Site::new().start(
        "[circus]
         state_file = {dir}/state
         [socket:web]
         path = {dir}/web
         [watcher:polite]
         cmd = {knobs} polite bye say ready
         stdout_stream.filename = {dir}/polite.log
         [watcher:stubborn]
         cmd = {knobs} ignore serve $(circus.sockets.web)
         use_sockets = True
         graceful_timeout = 0.5",
    );
    circusd.wait_for_text("polite.log", "ready");
    let before = [circusd.wait_for_workers("polite", 1), circusd.wait_for_workers("stubborn", 1)].concat();
    kill_and_restart(&mut circusd, &before);
    assert!(!before.iter().any(|worker| worker.lives()), "{}", circusd.log());
    circusd.wait_for_log("ending workers that a killed circusd has left");
    let after = circusd.wait_for_workers("polite", 1);
    assert!(!before.contains(&after[0]));
    circusd.quit();
    assert!(!circusd.path("state").exists());
}

const ADOPT: &str = "
    [circus]
    state_file = {dir}/state
    on_orphans = adopt
    [socket:web]
    host = 127.0.0.1
    port = 0
    [watcher:web]
    cmd = {knobs} serve $(circus.sockets.web)
    use_sockets = True
    numprocesses = 2
    [watcher:log]
    cmd = {knobs} say before until {dir}/go say after
    stdout_stream.filename = {dir}/log.log
    graceful_timeout = 1";

#[test]
fn survivors_go_on_with_their_sockets_and_their_output() {
    let mut circusd = Site::new().start(ADOPT);
    circusd.wait_for_text("log.log", "before\n");
    let web = circusd.wait_for_workers("web", 2);
    let log = circusd.wait_for_workers("log", 1);
    let http = crate::web::http(&circusd, "web");
    kill_and_restart(&mut circusd, &[web.clone(), log.clone()].concat());
    assert_eq!((circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)), (web.clone(), log.clone()));
    assert!(matches!(http.get(), Answer::Body(_)));
    circusd.write("go", "");
    assert_eq!(circusd.wait_for_text("log.log", "after\n"), "before\nafter\n");
    // One that ends is replaced, at the same socket.
    web[0].send(Signal::SIGKILL);
    wait_until("another takes its place", || {
        let now = circusd.workers("web");
        now.len() == 2 && now.contains(&web[1]) && !now.contains(&web[0])
    });
    assert_told(&circusd, web[0], "signal=SIGKILL");
    assert!(matches!(http.get(), Answer::Body(_)));
    // And one that is told to stop does.
    circusd.tell("stop", json!({"name": "web", "waiting": true}));
    assert!(!web[1].lives());
}

/// How a worker that is no child of circusd ended: as far as the kernel tells it (from Linux 6.15 on always).
#[track_caller]
fn assert_told(circusd: &Circusd, worker: Process, how: &str) {
    let line = format!("pid={} {how}", worker.0);
    let unknown = format!("its exit status is not known pid={}", worker.0);
    wait_until("its end is in the log", || {
        let log = circusd.log();
        log.contains(&line) || kernel() < (6, 15) && log.contains(&unknown)
    });
}

/// The version of the kernel.
pub(crate) fn kernel() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map(|number| number.trim().parse().unwrap_or_default());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn adopted_run_goes_on_and_its_result_is_known() {
    const RUNS: &str = "
        [circus]
        state_file = {dir}/state
        on_orphans = adopt
        [watcher:good]
        cmd = {knobs} until {dir}/go exit 0
        kind = oneshot
        [watcher:bad]
        cmd = {knobs} until {dir}/go exit 7
        kind = oneshot
        respawn = no
        [watcher:next]
        cmd = {knobs}
        after = good";
    let mut circusd = Site::new().start(RUNS);
    let runs = ["good", "bad"].map(|name| circusd.wait_for_workers(name, 1)[0]);
    kill_and_restart(&mut circusd, &runs);
    assert_eq!(["good", "bad"].map(|name| circusd.wait_for_workers(name, 1)[0]), runs);
    // Also over an upgrade of the circusd that has adopted them.
    circusd.tell("upgrade", json!({}));
    assert_eq!(circusd.details("next")["health"], "held back");
    circusd.write("go", "");
    if kernel() < (6, 15) {
        return crate::rig::skipped(
            "survivors::adopted_run_goes_on_and_its_result_is_known",
            "Linux is older than 6.15",
        );
    }
    let good = circusd.circusctl(&["wait", "good", "--for", "exited", "--timeout", "30"]);
    assert!(
        good.status == Some(0) && good.stdout.starts_with("good: success: exited with status 0 after "),
        "{good:?}"
    );
    let bad = circusd.circusctl(&["wait", "bad", "--for", "exited", "--timeout", "30"]);
    assert!(bad.stdout.starts_with("bad: failure: exited with status 7 after "), "{bad:?}");
    assert_eq!(circusd.details("bad")["last_run"]["exit_code"], 7);
    assert_eq!(circusd.details("good")["last_run"]["attempts"], 1);
    circusd.wait_for_workers("next", 1);
}

#[test]
fn worker_that_prints_while_no_circusd_reads_lives_and_loses_no_line() {
    let mut circusd = Site::new().start(
        "[circus]
         state_file = {dir}/state
         on_orphans = adopt
         [watcher:log]
         cmd = {knobs} say before until {dir}/go say meanwhile write {dir}/printed x until {dir}/end say after
         stdout_stream.filename = {dir}/log.log",
    );
    circusd.wait_for_text("log.log", "before\n");
    let log = circusd.wait_for_workers("log", 1);
    wait_until("the state file names it", || circusd.read("state").contains(&format!("\"pid\":{},", log[0].0)));
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    circusd.write("go", "");
    wait_until("it has printed", || circusd.path("printed").exists());
    circusd.restart();
    assert_eq!(circusd.wait_for_workers("log", 1), log);
    circusd.write("end", "");
    assert_eq!(circusd.wait_for_text("log.log", "after\n"), "before\nmeanwhile\nafter\n");
}

/// The service manager is a circusd here, which keeps descriptors as systemd does. The one that it runs stores its managed
/// sockets there, is killed with its workers, and gets them back with what waits in their queues.
#[test]
fn sockets_that_a_service_manager_keeps_come_back_after_a_crash() {
    let site = Site::new();
    let inner = "[circus]
        endpoint = ipc://{dir}/inner
        pubsub_endpoint = ipc://{dir}/inner-events
        [socket:web]
        host = 127.0.0.1
        port = 0
        [socket:local]
        path = {dir}/local
        [watcher:web]
        cmd = {knobs} serve $(circus.sockets.web)
        use_sockets = True
        numprocesses = 2";
    let lines = |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let write = |site: &Site, text: &str| site.write("inner.ini", &lines(text));
    write(&site, inner);
    let program = env!("CARGO_BIN_EXE_circusd");
    let circusd = site.start(&format!(
        "[watcher:inner]
         cmd = {program} {{dir}}/inner.ini
         ready = notify
         working_dir = {{dir}}
         stderr_stream.filename = {{dir}}/inner.log"
    ));
    let ctl = |args: &[&str]| {
        let endpoint = format!("ipc://{}", circusd.path("inner").display());
        let output = circusd.circusctl(&[&["--endpoint", &endpoint], args].concat());
        assert_eq!(output.status, Some(0), "{output:?}");
        output.stdout
    };
    let up = || wait_until("the inner one is up", || circusd.details("inner")["health"] == "ready");
    let sockets = || -> serde_json::Value { serde_json::from_str(&ctl(&["--json", "listsockets"])).unwrap() };
    let port = |sockets: &serde_json::Value| {
        let rows = sockets["sockets"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == "web").unwrap()["port"].as_u64().unwrap() as u16
    };
    // As systemd does, which ends the control group.
    let kill = |inner: Process| {
        let workers: serde_json::Value = serde_json::from_str(&ctl(&["--json", "list", "web"])).unwrap();
        inner.send(Signal::SIGKILL);
        let pids = workers["pids"].as_array().unwrap().iter().map(|pid| Process(pid.as_i64().unwrap() as i32));
        pids.for_each(|worker| worker.send(Signal::SIGKILL));
    };
    up();
    let before = port(&sockets());
    let [first] = circusd.workers("inner")[..] else { panic!("one") };
    let inode = |process: Process| -> Vec<_> {
        let mut all: Vec<_> =
            process.fds().into_values().filter(|path| path.to_string_lossy().starts_with("socket:")).collect();
        all.sort();
        all
    };
    let old = inode(first);
    // A client of a socket that no worker accepts at waits through it all.
    let waiting = std::os::unix::net::UnixStream::connect(circusd.path("local")).unwrap();
    kill(first);
    wait_until("another is there", || {
        let now = circusd.workers("inner");
        now.len() == 1 && now[0] != first
    });
    up();
    circusd.wait_for_text("inner.log", "sockets taken back from the service manager: ");
    assert_eq!(port(&sockets()), before);
    let [second] = circusd.workers("inner")[..] else { panic!("one") };
    assert!(inode(second).iter().filter(|socket| old.contains(socket)).count() >= 2, "{old:?}");
    wait_until("a worker answers", || matches!(crate::rig::Http(before).get(), Answer::Body(_)));
    waiting.set_nonblocking(true).unwrap();
    let end = std::io::Read::read(&mut &waiting, &mut [0]);
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the connection still waits");
    // A socket that the file has no more is not kept, and one of another address is opened anew.
    write(
        &circusd,
        &inner.replace("[socket:local]\n        path = {dir}/local\n", "").replace("port = 0", "port = 0\nbacklog = 9"),
    );
    ctl(&["reloadconfig", "--waiting"]);
    kill(second);
    wait_until("a third is there", || {
        let now = circusd.workers("inner");
        now.len() == 1 && now[0] != second
    });
    up();
    wait_until("it has taken back one", || circusd.read("inner.log").contains("from the service manager: web\n"));
    let third = sockets();
    assert_eq!((third["sockets"].as_array().unwrap().len(), port(&third)), (1, before));
    // At a proper end nothing is kept, so that clients are refused.
    circusd.tell("stop", json!({"name": "inner", "waiting": true}));
    assert!(std::net::TcpStream::connect(("127.0.0.1", before)).is_err());
}

#[test]
fn adopted_workers_survive_an_upgrade_and_another_kill() {
    let mut circusd = Site::new().start(ADOPT);
    let all = [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    let now = |circusd: &Circusd| [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    kill_and_restart(&mut circusd, &all);
    circusd.tell("upgrade", json!({}));
    assert_eq!(now(&circusd), all);
    kill_and_restart(&mut circusd, &all);
    circusd.tell("upgrade", json!({}));
    assert_eq!(now(&circusd), all);
    all[2].send(Signal::SIGKILL);
    wait_until("its end is noticed", || {
        let log = circusd.workers("log");
        log.len() == 1 && log[0] != all[2]
    });
}

#[test]
fn survivor_that_is_not_wanted_any_more_ends() {
    let mut circusd = Site::new().start(ADOPT);
    let all = [circusd.wait_for_workers("web", 2), circusd.wait_for_workers("log", 1)].concat();
    wait_until("the state file is there", || circusd.read("state").contains(&format!("\"pid\":{},", all[2].0)));
    circusd.ini("circus.ini", &ADOPT.replace("numprocesses = 2", "numprocesses = 1"));
    kill_and_restart(&mut circusd, &all);
    assert_eq!(circusd.wait_for_workers("web", 1), all[..1]);
    wait_until("the second has ended", || !all[1].lives());
}

/// pitchfork 632: a later process with the pid of a worker was taken for it.
#[test]
fn recycled_pid_is_never_touched() {
    let mut circusd = Site::new().start("[circus]\nstate_file = {dir}/state\n[watcher:w]\ncmd = {knobs}");
    let worker = circusd.wait_for_workers("w", 1)[0];
    let named = format!("\"pid\":{},", worker.0);
    wait_until("the state file names it", || circusd.read("state").contains(&named));
    circusd.send(Signal::SIGKILL);
    circusd.wait_for_end();
    // As if the worker had started at another time: it is another process.
    let state = circusd.read("state");
    let (before, after) = state.split_once(&named).unwrap();
    let after = after.replacen("\"started\":", "\"started\":1", 1);
    std::fs::write(circusd.path("state"), format!("{before}{named}{after}")).unwrap();
    circusd.restart();
    circusd.wait_for_workers("w", 1);
    assert!(worker.lives());
    worker.send(Signal::SIGKILL);
}
