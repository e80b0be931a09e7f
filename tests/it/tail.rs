//! What workers print, shown from afar.

use std::fs::File;
use std::process::Child;

use circus::net::{Context, Subscriber};
use circus::proto::{OUTPUT_GREETING, OutputEvent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Site, built, wait_until};

/// circusctl tail -f, whose output goes into files.
struct Follower<'c> {
    circusd: &'c Circusd,
    child: Child,
    name: &'static str,
}

impl<'c> Follower<'c> {
    /// Waits until this line is shown: from then on nothing that comes is missed.
    fn start(circusd: &'c Circusd, name: &'static str, args: &[&str], shown: &str) -> Self {
        let file = |end: &str| File::create(circusd.path(&format!("{name}.{end}"))).unwrap();
        let mut command = circusd.command(built("circusctl"));
        command.args(["tail", "-f"]).args(args).stdout(file("out")).stderr(file("err"));
        let follower = Self { circusd, child: command.spawn().unwrap(), name };
        wait_until("the last lines are shown", || follower.shown().lines().any(|line| line == shown));
        follower
    }

    fn shown(&self) -> String {
        self.circusd.read(&format!("{}.out", self.name))
    }

    fn complaints(&self) -> String {
        self.circusd.read(&format!("{}.err", self.name))
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Lines that `tail` answers, of a watcher.
fn kept(circusd: &Circusd, properties: Value) -> Vec<String> {
    let reply = circusd.tell("tail", properties);
    reply["lines"].as_array().unwrap().iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn go(circusd: &Circusd, name: &str) {
    drop(File::create(circusd.path(name)).unwrap());
}

#[test]
fn the_last_lines_of_a_watcher_a_worker_and_a_stream() {
    let circusd = Site::new().start(
        "[watcher:two words]
         cmd = {knobs} lines 30 $(circus.wid) warn oh-$(circus.wid)
         numprocesses = 2
         stdout_stream.class = MemoryStream
         stderr_stream.filename = {dir}/err.log",
    );
    wait_until("both have printed", || kept(&circusd, json!({"name": "Two Words", "lines": 1000})).len() == 60);
    let ctl = |args: &[&str]| circusd.circusctl(args);
    assert_eq!(ctl(&["tail", "-n", "2", "two words", "2"]).stdout, "2 28\n2 29\n");
    assert_eq!(ctl(&["tail", "TWO WORDS"]).stdout.lines().count(), 10);
    assert_eq!(ctl(&["tail", "two words", "9"]).stdout, "");
    assert_eq!(ctl(&["tail", "--lines", "0", "two words"]).stdout, "");
    wait_until("the complaints are there", || circusd.read("err.log").lines().count() == 2);
    assert_eq!(ctl(&["tail", "--stderr", "two words", "1"]).stdout, "oh-1\n");
    let reply: Value = serde_json::from_str(&ctl(&["--json", "tail", "-n", "1", "two words", "1"]).stdout).unwrap();
    let pids = circusd.workers("two words");
    assert!(pids.iter().any(|process| reply["lines"][0]["pid"] == process.0), "{reply}");
    assert_eq!((&reply["lines"][0]["wid"], &reply["lines"][0]["line"]), (&json!(1), &json!("1 29")));
    assert_eq!(reply["cursor"], kept(&circusd, json!({"name": "two words", "lines": 99})).join("\n").len() + 1);
}

#[test]
fn output_without_a_stream_is_refused() {
    let circusd = Site::new().start(
        "[watcher:bare]
         cmd = {knobs} say hello
         [watcher:off]
         cmd = {knobs} say hello
         stdout_stream.class = MemoryStream
         tail_bytes = 0
         [watcher:later]
         cmd = {knobs} say hello
         autostart = False
         stdout_stream.class = MemoryStream",
    );
    let refused = |args: &[&str]| {
        let output = circusd.circusctl(args);
        assert_eq!((output.status, output.stdout.as_str()), (Some(3), ""), "{args:?}");
        output.stderr
    };
    assert_eq!(refused(&["tail", "nope"]), "error: program nope not found\n");
    assert_eq!(refused(&["tail", "-f", "nope"]), "error: program nope not found\n");
    assert!(refused(&["tail", "bare"]).contains("has no stdout_stream"));
    assert!(refused(&["tail", "--stderr", "later"]).contains("has no stderr_stream"));
    assert!(refused(&["tail", "off"]).contains("tail_bytes is 0"));
    assert_eq!(kept(&circusd, json!({"name": "later"})), [""; 0]);
}

#[test]
fn every_line_of_a_chatty_worker_is_seen_by_who_reads() {
    const LINES: usize = 100_000;
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}} say ready until {{dir}}/go lines {LINES} a-line say done
         stdout_stream.filename = {{dir}}/w.log
         [watcher:w.stdout]
         cmd = {{knobs}} until {{dir}}/go lines 1000 of-another
         stdout_stream.class = MemoryStream"
    ));
    let follower = Follower::start(&circusd, "one", &["w"], "ready");
    let another = Follower::start(&circusd, "two", &["-n", "1", "w"], "ready");
    go(&circusd, "go");
    for follower in [&follower, &another] {
        wait_until("the last line is shown", || follower.shown().ends_with("done\n"));
        assert_eq!(follower.complaints(), "");
        let shown = follower.shown();
        let numbers = shown.lines().filter_map(|line| line.strip_prefix("a-line ")?.parse::<usize>().ok());
        assert!(numbers.eq(0..LINES), "lines are missing, twice there or in the wrong order");
        assert_eq!(shown.lines().count(), LINES + 2);
    }
    assert!(circusd.read("w.log").ends_with("done\n"), "the file gets what it always got");
}

#[test]
fn worker_killed_within_a_line_and_its_successor() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say begin until {dir}/go raw last-wor until {dir}/done
         min_uptime = 0
         stdout_stream.class = MemoryStream",
    );
    let [first] = circusd.wait_for_workers("w", 1)[..] else { panic!("one worker") };
    let follower = Follower::start(&circusd, "f", &["w"], "begin");
    go(&circusd, "go");
    first.send(Signal::SIGKILL);
    wait_until("there is another", || follower.shown().matches("begin").count() == 2);
    let shown = follower.shown();
    // It may have been killed before it got so far; what it printed is a line of its own.
    assert!(shown == "begin\nlast-wor\nbegin\n" || shown == "begin\nbegin\n", "{shown}");
    let [second] = circusd.wait_for_workers("w", 1)[..] else { panic!("one worker") };
    wait_until("it is in its line", || {
        // The sink writes the beginning of a line after a while; here it is no line yet.
        second.send(Signal::SIGKILL);
        follower.shown().contains("last-wor\nbegin\n")
    });
    let reply = circusd.tell("tail", json!({"name": "w", "lines": 100}));
    let lines = reply["lines"].as_array().unwrap();
    let words = lines.iter().position(|line| line["line"] == "last-wor").unwrap();
    assert_eq!(lines[words]["pid"], lines[words - 1]["pid"], "whose words they were");
    assert_ne!(lines[words]["pid"], lines[words + 1]["pid"]);
    assert!(lines.iter().all(|line| line["wid"] == 1));
}

#[test]
fn the_past_outlives_a_stop_and_not_the_watcher() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} polite goodbye say hello
         stdout_stream.class = MemoryStream",
    );
    wait_until("it speaks", || kept(&circusd, json!({"name": "w"})) == ["hello"]);
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    wait_until("its last words", || kept(&circusd, json!({"name": "w"})) == ["hello", "goodbye"]);
    circusd.tell("start", json!({"name": "w", "waiting": true}));
    wait_until("it goes on", || kept(&circusd, json!({"name": "w"})) == ["hello", "goodbye", "hello"]);
    circusd.tell("rm", json!({"name": "w", "waiting": true}));
    let options = json!({"stdout_stream": {"class": "MemoryStream"}});
    circusd.tell("add", json!({"name": "w", "cmd": "sleep 1", "options": options}));
    assert_eq!(kept(&circusd, json!({"name": "w"})), [""; 0]);
}

#[test]
fn slow_reader_misses_counted_lines_delays_none() {
    /// More than the publisher keeps for one subscriber, and than the kernel does.
    const EVENTS: usize = 25_000;
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say ready until {dir}/go drip 1000000
         numprocesses = 30
         min_uptime = 0
         stdout_stream.class = MemoryStream",
    );
    circusd.wait_for_workers("w", 30);
    let follower = Follower::start(&circusd, "f", &["w"], "ready");
    let context = Context::new().unwrap();
    let topic = ["output.w.stdout"];
    let mut reader = Subscriber::connect(&context, &circusd.pubsub_endpoint(), None, &topic).unwrap();
    assert_eq!(reader.recv(DEADLINE).unwrap().1, OUTPUT_GREETING);
    follower.send(Signal::SIGSTOP);
    go(&circusd, "go");
    let mut next = None;
    for _ in 0..EVENTS {
        let (_, body) = reader.recv(DEADLINE).unwrap();
        let event: OutputEvent = serde_json::from_slice(&body).unwrap();
        assert_eq!(event.first, next.unwrap_or(event.first), "a client that keeps up misses nothing");
        next = Some(event.first + event.lines.len() as u64);
    }
    drop(reader);
    std::fs::remove_file(circusd.path("go")).unwrap();
    circusd.workers("w").iter().for_each(|worker| worker.send(Signal::SIGKILL));
    follower.send(Signal::SIGCONT);
    let missed = || -> u64 {
        let complaints = follower.complaints();
        let counts = complaints.lines().map(|line| {
            let count = line.strip_prefix("circusctl: missed ").and_then(|rest| rest.split(' ').next());
            count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_else(|| panic!("{line}"))
        });
        counts.sum()
    };
    let mut looks = 0;
    wait_until("each line was shown or counted", || {
        looks += 1;
        if looks % 50 == 0 {
            // If there was no room for the last line, that shows with the next one only.
            circusd.workers("w").iter().take(1).for_each(|worker| worker.send(Signal::SIGKILL));
        }
        let next = circusd.tell("tail", json!({"name": "w", "lines": 0}))["next"].as_u64().unwrap();
        // The numbers begin with the first line that is published: what was shown before that was not counted.
        let shown = follower.shown();
        let before = shown.lines().take_while(|line| *line == "ready").count() as u64;
        missed() > 0 && (next + 1..=next + before).contains(&(shown.lines().count() as u64 + missed()))
    });
}

#[test]
fn nothing_is_published_where_nobody_names_output() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = {knobs} say ready until {dir}/go lines 1000 x say done
         stdout_stream.class = MemoryStream",
    );
    let mut everything = circusd.events();
    wait_until("it is ready", || kept(&circusd, json!({"name": "w"})) == ["ready"]);
    let follower = Follower::start(&circusd, "f", &["w"], "ready");
    go(&circusd, "go");
    wait_until("the last line is shown", || follower.shown().ends_with("done\n"));
    drop(follower);
    circusd.tell("incr", json!({"name": "w", "waiting": true}));
    // Every event is one of a watcher: the rig takes no other.
    everything.until("w", "spawn");
}
