//! Processes that cannot be started: the log says at which step and why, and the tries end.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use serde_json::json;

use crate::rig::{Circusd, Process, Site, wait_until};

/// A watcher that cannot start: it stops after the tries it is allowed, and the log says why. Another one is unharmed.
#[track_caller]
fn assert_fails(options: &str, expected: &[&str]) -> Circusd {
    let site = Site::new();
    site.write("not-executable", "#!/bin/sh\n");
    let executable = |name: &str, text: &str| {
        std::fs::set_permissions(site.write(name, text), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    std::fs::DirBuilder::new().mode(0o700).create(site.path("private")).unwrap();
    executable("no-interpreter", "#!/nonexistent/interpreter\n");
    executable("no-program", "\u{7f}neither a script nor a program\n");
    let circusd = site.start(&format!(
        "[watcher:bad]
         numprocesses = 2
         max_retry = 3
         {options}
         [watcher:good]
         cmd = {{knobs}}"
    ));
    circusd.wait_for_log("bad stopped");
    let log = circusd.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("error in 'bad'")).collect();
    assert!(!errors.is_empty() && errors.len() <= 2 * (3 + 1), "as often as it may, not more: {log}");
    for part in expected {
        assert!(errors.iter().all(|line| line.contains(part)), "{part:?} is missing in {errors:#?}");
    }
    assert_eq!(circusd.status("bad"), "stopped");
    circusd.wait_for_workers("good", 1);
    // Of a launch that failed is heard before its process has gone.
    wait_until("only the good one is left", || circusd.process().children().len() == 1);
    // Asked for by a client that waits, it fails again, and the client is told why.
    let reply = circusd.ask("start", json!({"name": "bad", "waiting": true}));
    assert_eq!(reply["status"], "error", "{reply}");
    for part in expected {
        assert!(reply["reason"].as_str().is_some_and(|reason| reason.contains(part)), "{part:?} is missing in {reply}");
    }
    assert_eq!(circusd.status("bad"), "stopped");
    circusd
}

#[test]
fn a_program_that_does_not_exist() {
    assert_fails("cmd = /nonexistent/program", &["execute the program", "/nonexistent/program", "[Errno 2]"]);
    assert_fails("cmd = no-such-name", &["execute the program", "no-such-name", "[Errno 2]"]);
}

#[test]
fn a_file_that_is_no_program() {
    assert_fails("cmd = {dir}/not-executable", &["execute the program", "[Errno 13]"]);
    assert_fails("cmd = {dir}", &["execute the program", "[Errno 13]"]);
    assert_fails("cmd = {dir}/no-interpreter", &["execute the program", "no-interpreter", "[Errno 2]"]);
    assert_fails("cmd = {dir}/no-program", &["execute the program", "no-program", "[Errno 8]"]);
}

/// A command line that cannot be split is known before anything starts: its watcher is skipped, and the others start.
#[test]
fn unreadable_command_is_skipped() {
    for (cmd, reason) in [("", "cmd is empty"), ("'quotes that do not close", "is never closed")] {
        let circusd = Site::new().start(&format!("[watcher:bad]\ncmd = {cmd}\n[watcher:good]\ncmd = {{knobs}}"));
        circusd.wait_for_workers("good", 1);
        let log = circusd.log();
        let told = log.lines().any(|line| line.contains("[watcher:bad]") && line.contains(reason));
        assert!(told, "{log}");
        assert_eq!(circusd.ask("list", json!({}))["watchers"], json!(["good"]));
    }
}

#[test]
fn a_directory_that_does_not_exist() {
    let expected = ["change to the working directory", "{dir}/gone", "[Errno 2]"];
    let circusd = assert_fails("cmd = {knobs}\nworking_dir = {dir}/gone", &expected[..1]);
    circusd.wait_for_log(&circusd.named(expected[1]));
    circusd.wait_for_log(expected[2]);
}

#[test]
fn a_user_or_group_that_does_not_exist() {
    assert_fails("cmd = {knobs}\nuid = nobody-of-this-name", &["look up the user", "nobody-of-this-name"]);
    assert_fails("cmd = {knobs}\ngid = nobody-of-this-name", &["nobody-of-this-name"]);
}

#[test]
fn a_limit_that_cannot_be_set() {
    assert_fails("cmd = {knobs}\nrlimit_nofile = 99999999999999", &["set a resource limit", "nofile", "[Errno 1]"]);
}

#[test]
fn a_file_for_the_output_that_cannot_be_opened() {
    assert_fails("cmd = {knobs}\nstdout_stream.filename = {dir}", &["open pipes for the output"]);
}

#[test]
#[ignore = "needs root"]
fn a_user_that_cannot_execute_the_program() {
    // In another user's directory: found out after the change of user, and told through the status pipe.
    assert_fails("cmd = {dir}/private/knobs\nuid = nobody\nworking_dir = /", &["execute the program", "[Errno 13]"]);
}

#[test]
#[ignore = "needs root"]
fn worker_of_another_user_gets_no_file_of_circusd() {
    let circusd = Site::new().start(
        "[watcher:other]
         cmd = sh -c 'readlink /proc/self/fd/1 /proc/self/fd/2 >&2; exec sleep 1000'
         uid = nobody
         working_dir = /
         [watcher:own]
         cmd = sleep 1000",
    );
    wait_until("it has told", || circusd.log().matches("pipe:[").count() == 2);
    let own = circusd.wait_for_workers("own", 1)[0].fds();
    assert!(own[&2].ends_with("circusd.log"), "{own:?}");
}

#[test]
#[ignore = "needs root"]
fn a_worker_of_another_user() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         uid = nobody
         working_dir = /
         numprocesses = 3",
    );
    let workers = circusd.wait_for_workers("w", 3);
    assert!(workers.iter().all(|worker| worker.status("Uid") == 65534 && worker.status("Gid") == 65534));
    circusd.tell("restart", json!({"name": "w", "waiting": true}));
    assert!(workers.iter().all(|worker| !worker.lives()));
    assert_eq!(circusd.wait_for_workers("w", 3).len(), 3);
}

#[test]
fn who_may_try_for_ever_waits_between_the_tries() {
    let circusd = Site::new().start("[watcher:w]\ncmd = {dir}/later say here\nmax_retry = -1\n");
    let tries = || circusd.log().matches("error in 'w'").count();
    wait_until("it has been tried three times", || tries() >= 3);
    assert_eq!(circusd.status("w"), "starting");
    // It is there after all.
    std::os::unix::fs::symlink(circusd.named("{knobs}"), circusd.path("later")).unwrap();
    wait_until("it runs", || circusd.status("w") == "active");
    assert!(tries() < 12, "{}", circusd.log());
}

#[test]
fn limits_directories_and_environments_are_what_they_are_said_to_be() {
    let site = Site::new();
    std::fs::create_dir(site.path("home")).unwrap();
    let circusd = site.start(
        "[watcher:w]
         cmd = {knobs} say ready
         stdout_stream.filename = {dir}/ready
         working_dir = {dir}/home
         rlimit_nofile = 500
         rlimit_core = 0
         [env:w]
         NAME = $(circus.env.PATH) and more
         [watcher:plain]
         cmd = {knobs} say ready
         stdout_stream.filename = {dir}/ready",
    );
    wait_until("both programs are up", || circusd.read("ready") == "ready\nready\n");
    let [worker, plain] = ["w", "plain"].map(|name| circusd.wait_for_workers(name, 1)[0]);
    assert_eq!(worker.open_files(), (500, 500));
    assert_eq!(plain.open_files(), (1024, Process(std::process::id() as i32).open_files().1));
    assert_eq!(
        worker.environment().into_iter().collect::<Vec<_>>(),
        [("NAME".to_owned(), "/usr/local/bin:/usr/bin:/bin and more".to_owned())]
    );
    assert!(plain.environment().is_empty());
    assert_eq!(Process::in_directory(&circusd.path("home")), [worker]);
    // In hexadecimal, 0x1000 is SIGPIPE: Rust's runtime ignores it in every program, this worker too.
    assert_eq!((worker.status("SigBlk"), worker.status("SigIgn")), (0, 1000));
}

/// What a process has of circusd that it was not given: variables and descriptors.
fn inherited(process: &crate::rig::Process) -> Vec<String> {
    let variables = process.environment();
    let secret = variables.keys().filter(|name| name.starts_with("CIRCUS_") || *name == "NOTIFY_SOCKET");
    let fds = process.fds();
    let beyond = fds.iter().filter(|(number, _)| **number > 2).map(|(number, path)| format!("{number}: {path:?}"));
    secret.map(|name| format!("{name:?}")).chain(beyond).collect()
}

#[test]
fn workers_inherit_nothing_that_they_were_not_given() {
    let site = Site::new();
    let ini = site.ini(
        "circus.ini",
        "[circus]\nstate_file = {dir}/state\naudit_log = {dir}/audit\nlogoutput = {dir}/log\n
        [watcher:plain]\ncmd = {knobs}\nuse_sockets = no
        [watcher:confined]\ncmd = {knobs}\nno_new_privs = yes\nstdout_stream.class = FileStream\n\
        stdout_stream.filename = {dir}/out",
    );
    let mut command = site.circusd();
    command.arg(ini).env("CIRCUS_CURVE_KEY", "/secret").env("CIRCUS_CURVE_SERVER_KEY", "/server").env("CIRCUS_X", "1");
    let mut circusd = crate::rig::Circusd::launch_by(site, command);
    circusd.wait_for_text("log", "Arbiter now waiting for commands");
    let status =
        |process: &crate::rig::Process| std::fs::read_to_string(format!("/proc/{}/status", process.0)).unwrap();
    for (watcher, confined) in [("plain", false), ("confined", true)] {
        let workers = circusd.wait_for_workers(watcher, 1);
        assert_eq!(inherited(&workers[0]), [""; 0], "{watcher}");
        assert_eq!(status(&workers[0]).contains("NoNewPrivs:\t1"), confined, "{watcher}");
    }
    circusd.quit();
}

#[test]
fn workers_have_the_priorities_that_their_watcher_names() {
    let cpus = std::fs::read_to_string("/proc/self/status").unwrap();
    let cpus = cpus.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let cpu = cpus.split([',', '-']).next().unwrap();
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}}
         nice = 9
         ionice = best-effort:6
         cpu_affinity = {cpu}
         oom_score_adj = 432"
    ));
    let [worker] = circusd.wait_for_workers("w", 1)[..] else { unreachable!() };
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", worker.0)).unwrap();
    assert_eq!(read("stat").rsplit(") ").next().unwrap().split(' ').nth(16), Some("9"));
    assert_eq!(read("oom_score_adj"), "432\n");
    let allowed = read("status").lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:").map(str::to_owned));
    assert_eq!(allowed.unwrap().trim(), cpu);
    let shown = circusd.tell("options", json!({"name": "w"}))["options"].take();
    assert_eq!(
        (&shown["nice"], &shown["ionice"], &shown["cpu_affinity"]),
        (&json!(9), &json!("best-effort:6"), &json!(cpu))
    );
    let answer = circusd.ask("set", json!({"name": "w", "options": {"nice": 20}}));
    assert_eq!(answer["reason"], "'nice' is not from -20 to 19");
    circusd.tell("set", json!({"name": "w", "options": {"nice": 11}, "waiting": true}));
    let [worker] = circusd.wait_for_workers("w", 1)[..] else { unreachable!() };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.0)).unwrap();
    assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(16), Some("11"));
}

#[test]
fn processors_that_the_machine_lacks() {
    assert_fails("cmd = {knobs}\ncpu_affinity = 8191", &["choose the processors", "8191", "[Errno 22]"]);
}
