//! What workers print: whole lines, all of them, without making anything wait.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::rig::{Circusd, Process, Site, observe_for, wait_for, wait_until};

/// A line of `chatter`.
fn line(pid: i32, number: u64) -> String {
    format!("<{pid} {number} {}>", "x".repeat((number * 37 % 300) as usize))
}

/// Checks the lines of `chatter`: for each pid how many there are.
#[track_caller]
pub(crate) fn count_whole_lines(text: &str) -> BTreeMap<i32, u64> {
    let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
    for found in text.lines() {
        let pid: Option<i32> = found.trim_start_matches('<').split(' ').next().and_then(|pid| pid.parse().ok());
        let Some(pid) = pid else { panic!("torn: {found:?}") };
        let count = counts.entry(pid).or_default();
        assert_eq!(found, line(pid, *count), "torn, missing or in the wrong place");
        *count += 1;
    }
    counts
}

#[test]
fn lines_of_eight_chatty_workers_in_one_file_are_whole() {
    const LINES: u64 = 12345;
    let circusd = Site::new().start(&format!(
        "[watcher:a]
         cmd = {{knobs}} chatter {LINES}
         numprocesses = 4
         stdout_stream.filename = {{dir}}/all.log
         [watcher:b]
         cmd = {{knobs}} chatter {LINES}
         numprocesses = 4
         stdout_stream.filename = {{dir}}/all.log"
    ));
    let mut workers = circusd.wait_for_workers("a", 4);
    workers.extend(circusd.wait_for_workers("b", 4));
    let expected: u64 = workers.iter().flat_map(|worker| (0..LINES).map(|n| line(worker.0, n).len() as u64 + 1)).sum();
    wait_until("everything is written", || {
        std::fs::metadata(circusd.path("all.log")).is_ok_and(|file| file.len() >= expected)
    });
    let text = circusd.read("all.log");
    assert_eq!(count_whole_lines(&text), workers.iter().map(|worker| (worker.0, LINES)).collect());
}

#[test]
fn files_are_rotated_between_lines() {
    const MOST: u64 = 100_000;
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}} lines 20000 a-line-of-some-length
         stdout_stream.class = FileStream
         stdout_stream.filename = {{dir}}/w.log
         stdout_stream.max_bytes = {MOST}
         stdout_stream.backup_count = 3"
    ));
    wait_until("the last line is there", || circusd.read("w.log").ends_with(" 19999\n"));
    let names = ["w.log.3", "w.log.2", "w.log.1", "w.log"];
    assert!(!circusd.path("w.log.4").exists());
    let mut text = String::new();
    for name in names {
        let one = circusd.read(name);
        assert!((one.len() as u64) < MOST + 40, "{name}: {}", one.len());
        assert!(one.ends_with('\n') && one.starts_with("a-line"), "{name}");
        text += &one;
    }
    let numbers: Vec<u32> = text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "nothing is missing in what was kept");
    assert!(numbers.len() > 10_000);
}

#[test]
fn the_last_words_are_written() {
    let circusd = Site::new().start(
        "[watcher:polite]
         cmd = {knobs} polite goodbye say ready
         numprocesses = 5
         stdout_stream.filename = {dir}/polite.log
         [watcher:short]
         cmd = {knobs} lines 3000 x raw end warn alas exit 1
         respawn = False
         stdout_stream.filename = {dir}/short.log
         stderr_stream.filename = {dir}/short-errors.log",
    );
    wait_until("they are ready", || circusd.read("polite.log").matches("ready").count() == 5);
    circusd.tell("stop", json!({"name": "polite", "waiting": true}));
    // The thread that writes them may take a moment longer than the answer.
    wait_until("all have said goodbye", || circusd.read("polite.log").matches("goodbye").count() == 5);
    wait_until("the short one is gone", || circusd.workers("short").is_empty());
    circusd.tell("stop", json!({"name": "short", "waiting": true}));
    wait_until("its last words are there", || circusd.read("short.log").ends_with("x 2999\nend"));
    wait_until("its complaint is there", || circusd.read("short-errors.log") == "alas\n");
}

#[test]
fn standard_output_is_circusds() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say hello warn oh
         numprocesses = 2
         stdout_stream.class = StdoutStream
         [watcher:inherited]
         cmd = {knobs} say directly
         [watcher:closed]
         cmd = {knobs} say never
         close_child_stdout = True",
    );
    let complete = || circusd.read("circusd.out").matches("hello\n").count() == 2;
    wait_until("both have said hello", complete);
    circusd.wait_for_text("circusd.out", "directly\n");
    // Without a stream, standard error is inherited too.
    circusd.wait_for_text("circusd.log", "oh\n");
    let closed = circusd.workers("closed")[0].fds();
    assert_eq!(closed[&1].to_str(), Some("/dev/null"));
    assert!(!circusd.read("circusd.out").contains("never"));
}

/// A watcher that floods a FIFO.
fn flood_into_fifo() -> Circusd {
    let site = Site::new();
    mkfifo(&site.path("fifo"), Mode::S_IRWXU).unwrap();
    site.start(
        "[watcher:flood]
         cmd = {knobs} chatter 1000000000
         autostart = False
         stdout_stream.filename = {dir}/fifo
         [watcher:other]
         cmd = {knobs} say hello
         stdout_stream.filename = {dir}/other.log",
    )
}

/// All other watchers and clients are served, and the flood ends when it is told to.
fn assert_goes_on(circusd: &Circusd) {
    // It may not have come to it yet, and a restart would not let it.
    wait_until("the first of the others has said its word", || circusd.read("other.log") == "hello\n");
    circusd.tell("restart", json!({"name": "other", "waiting": true}));
    wait_until("others' output is written", || circusd.read("other.log") == "hello\nhello\n");
    assert_eq!(circusd.status("other"), "active");
    circusd.tell("stop", json!({"name": "flood", "waiting": true}));
    assert_eq!(circusd.status("flood"), "stopped");
}

#[test]
fn a_fifo_that_is_open_and_not_read_delays_nobody() {
    let circusd = flood_into_fifo();
    let reader = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(circusd.path("fifo")).unwrap();
    circusd.tell("start", json!({"name": "flood", "waiting": true}));
    let worker = circusd.wait_for_workers("flood", 1)[0];
    wait_until("the worker waits for its reader", || worker.state() == Some('S'));
    let before = circusd.process().status("VmRSS");
    observe_for(Duration::from_millis(500));
    let after = circusd.process().status("VmRSS");
    assert!(after < before + 8 * 1024, "what nobody reads is kept in memory: {before} KiB, then {after}");
    assert_goes_on(&circusd);
    drop(reader);
}

#[test]
fn a_fifo_that_nobody_opens_delays_nobody() {
    let circusd = flood_into_fifo();
    circusd.tell("start", json!({"name": "flood"}));
    assert_goes_on(&circusd);
}

/// The other process that has this one's standard output.
fn holder_of_output(circusd: &Circusd, worker: Process) -> Process {
    let output = worker.fds()[&1].clone();
    let has = |other: &Process| *other != worker && other.fds().get(&1) == Some(&output);
    wait_for("the grandchild holds the pipe", || circusd.inhabitants().into_iter().find(has))
}

#[test]
fn a_grandchild_that_holds_the_pipe_delays_neither_reaping_nor_stopping() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} child session say ready
         min_uptime = 0
         orphans = keep
         stdout_stream.filename = {dir}/w.log",
    );
    let worker = circusd.wait_for_workers("w", 1)[0];
    let first = holder_of_output(&circusd, worker);
    circusd.wait_for_text("w.log", "ready\n");
    worker.send(Signal::SIGKILL);
    wait_until("the worker is replaced", || circusd.workers("w").first().is_some_and(|other| *other != worker));
    let second = holder_of_output(&circusd, circusd.workers("w")[0]);
    wait_until("both have said it", || circusd.read("w.log") == "ready\nready\n");
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    // Processes that workers leave behind are kept, as in Circus.
    assert!(first.lives() && second.lives());
    let before = circusd.process().fds().len();
    [first, second].iter().for_each(|process| process.send(Signal::SIGKILL));
    wait_until("their pipes are closed", || circusd.process().fds().len() < before);
}

#[test]
fn each_line_says_whose_it_is_also_on_the_output_of_circusd() {
    let mut circusd = Site::new().start(
        "[watcher:web]
         cmd = {knobs} say hello warn oh
         numprocesses = 2
         stdout_stream.prefix = $(name)[$(wid)]
         stderr_stream.prefix = $(stream) of $(name):
         [watcher:db]
         cmd = {knobs} say ready raw unfinished
         stdout_stream.format = json",
    );
    let told = |circusd: &Circusd, text: &str| circusd.read("circusd.out").lines().any(|line| line == text);
    for wid in 1..=2 {
        wait_until("both have said so", || told(&circusd, &format!("web[{wid}] hello")));
    }
    circusd.wait_for_log("\nstderr of web: oh\n");
    wait_until("the prompt is there", || circusd.read("circusd.out").contains("unfinished"));
    let objects = || -> Vec<serde_json::Value> {
        let text = circusd.read("circusd.out");
        text.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let [ready, prompt] = &objects()[..] else { panic!("{}", circusd.read("circusd.out")) };
    assert_eq!(
        (&ready["watcher"], &ready["stream"], &ready["wid"], &ready["line"]),
        (&json!("db"), &json!("stdout"), &json!(1), &json!("ready"))
    );
    assert_eq!(ready["pid"], circusd.workers("db")[0].0);
    assert_eq!((&prompt["line"], &prompt["partial"]), (&json!("unfinished"), &json!(true)));
    // It can be changed while the workers run.
    circusd
        .tell("set", json!({"name": "db", "options": {"stdout_stream.format": "text", "stdout_stream.prefix": "db>"}}));
    circusd.tell("restart", json!({"name": "db", "waiting": true}));
    wait_until("it has another prefix", || told(&circusd, "db> ready"));
    circusd.quit();
}

#[test]
fn files_are_opened_again_by_a_command_and_by_a_signal() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sh -c 'while :; do echo line; sleep 0.02; done'
         stdout_stream.filename = {dir}/w.log",
    );
    let is_written = || !circusd.read("w.log").is_empty();
    wait_until("it writes", is_written);
    let reopen: [&dyn Fn(); 2] =
        [&|| assert_eq!(circusd.ctl(&["reopenlogs"]), (String::new(), Some(0))), &|| circusd.send(Signal::SIGUSR1)];
    for again in reopen {
        std::fs::rename(circusd.path("w.log"), circusd.path("w.old")).unwrap();
        assert!(!circusd.path("w.log").exists());
        again();
        wait_until("it writes to the new file", is_written);
    }
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
}
