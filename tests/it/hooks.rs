//! Hooks: commands, waits and Python functions, and what happens when they hang, crash, flood or talk nonsense.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Circusd, Process, Site, observe_for, python, spawn, wait_until};

/// A script in the site; it is executable.
fn script(site: &Site, name: &str, text: &str) {
    let path = site.write(name, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes down what it is told, a line of JSON for each hook.
const SCRIBE: &str = "read -r brief; echo \"$CIRCUS_HOOK/$CIRCUS_WATCHER/$CIRCUS_WID/$CIRCUS_PID/$CIRCUS_SIGNUM/\
                      $CIRCUS_EXIT_CODE/$CIRCUS_ENDPOINT/$brief\" >> notes; \
                      if [ $CIRCUS_HOOK = extended_stats ]; then echo '{\"queue\": 7}'; fi";

#[test]
fn every_point_runs_its_command_which_is_told_what_happens() {
    let site = Site::new();
    script(&site, "scribe", SCRIBE);
    let points = circus::proto::HookPoint::ALL.map(|point| format!("hooks.{} = ./scribe\n", point.name())).concat();
    let circusd = site.start(&format!("[watcher:w]\ncmd = /bin/sleep 1000\n{points}"));
    wait_until("it is up", || circusd.status("w") == "active");
    let mut events = circusd.events();
    let pid = circusd.wait_for_workers("w", 1)[0].0;
    circusd.tell("signal", json!({"name": "w", "signum": 18}));
    let stats = circusd.tell("stats", json!({"name": "w", "extended": true}));
    assert_eq!(stats["info"][pid.to_string()]["queue"], 7, "{stats}");
    circusd.tell("stop", json!({"name": "w", "waiting": true}));

    let notes = circusd.read("notes");
    let endpoint = circusd.endpoint();
    let told: Vec<(String, Value)> = notes
        .lines()
        .map(|line| {
            let (told, brief) = line.split_once('{').unwrap();
            let told = told.replace(&endpoint, "@").trim_end_matches("/@/").to_owned();
            (told, serde_json::from_str(&format!("{{{brief}")).unwrap())
        })
        .collect();
    let names: Vec<&str> = told.iter().map(|(told, _)| told.as_str()).collect();
    // Nothing waits for after_signal: it writes when it gets there.
    let asked: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("after_signal")).collect();
    let expected = [
        "before_start/w////".to_owned(),
        "before_spawn/w/1///".to_owned(),
        format!("after_spawn/w/1/{pid}//"),
        "after_start/w////".to_owned(),
        format!("before_signal/w/1/{pid}/18/"),
        format!("extended_stats/w/1/{pid}//"),
        "before_stop/w////".to_owned(),
        format!("before_signal/w/1/{pid}/15/"),
        format!("before_reap/w/1/{pid}//-15"),
        format!("after_reap/w/1/{pid}//-15"),
        "after_stop/w////".to_owned(),
    ];
    assert_eq!(asked, expected.iter().map(String::as_str).collect::<Vec<_>>());
    for signal in [18, 15] {
        let told = format!("after_signal/w/1/{pid}/{signal}/");
        assert_eq!(names.iter().filter(|name| **name == told).count(), 1, "{names:?}");
    }
    let (_, brief) = told.iter().find(|(told, _)| told.starts_with("after_spawn")).unwrap();
    assert_eq!((&brief["hook"], &brief["pid"], &brief["wid"]), (&json!("after_spawn"), &json!(pid), &json!(1)));
    assert_eq!(brief["options"]["cmd"], "/bin/sleep 1000");
    assert_eq!(brief["endpoint"], endpoint);

    let heard: Vec<String> = events.until("w", "stop").into_iter().map(|event| event.what).collect();
    let reap = heard.iter().position(|what| what == "reap").unwrap();
    assert_eq!(&heard[reap - 1..=reap + 1], ["hook_success", "reap", "hook_success"]);
    let last = events.next();
    assert_eq!((last.what.as_str(), &last.body["name"]), ("hook_success", &json!("after_stop")));
}

#[test]
fn a_command_that_says_no_keeps_its_watcher_down_and_its_words_are_logged() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         hooks.before_start = exec:/bin/sh -c 'echo not today; echo never >&2; exit 3'
         [watcher:other]
         cmd = /bin/sleep 1000",
    );
    circusd.wait_for_workers("other", 1);
    circusd.wait_for_log("w: hook before_start returned false");
    for words in ["w: before_start: not today", "w: before_start: never", "w: before_start: exit status 3"] {
        circusd.wait_for_log(words);
    }
    assert_eq!(circusd.status("w"), "stopped");
    let answer = circusd.ask("start", json!({"name": "w", "waiting": true}));
    assert_eq!(answer["reason"], "w: hook before_start returned false");
    circusd.tell("set", json!({"name": "w", "options": {"hooks.before_start": "exec:/bin/true"}}));
    circusd.tell("start", json!({"name": "w", "waiting": true}));
    circusd.wait_for_workers("w", 1);
}

#[test]
fn a_hook_that_hangs_is_ended_with_its_tree_and_harms_nobody() {
    let site = Site::new();
    script(&site, "hang", "echo $$ >> hung; sleep 1000 & sleep 1000");
    let circusd = site.start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         hooks.before_start = ./hang
         hook_timeout = 1
         [watcher:x]
         cmd = /bin/sleep 1000
         [watcher:y]
         cmd = /bin/sleep 1000
         priority = -1",
    );
    circusd.wait_for_text("hung", "\n");
    assert_eq!(circusd.status("w"), "starting");
    circusd.tell("incr", json!({"name": "x"}));
    circusd.wait_for_log("w: hook before_start failed: it took longer than hook_timeout (1 s)");
    assert_eq!(circusd.status("w"), "stopped");
    circusd.wait_for_workers("x", 2);
    // It may need w: it waits until w comes up.
    circusd.wait_for_log("y: not started: w, which has a higher priority, has not come up");
    assert_eq!(circusd.status("y"), "stopped");
    let mine = || circusd.inhabitants().into_iter().filter(|who| who.argv().concat().contains("hang")).count();
    wait_until("the hook and what it started are gone", || mine() == 0 && circusd.inhabitants().len() == 3);
    // The next operation does not wait for a start that hangs.
    circusd.tell("set", json!({"name": "w", "options": {"hook_timeout": 1000}}));
    circusd.tell("start", json!({"name": "w"}));
    wait_until("it hangs again", || circusd.read("hung").lines().count() == 2);
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(circusd.status("w"), "stopped");
}

#[test]
fn hooks_that_crash_flood_or_never_read_harm_nobody() {
    let circusd = Site::new().start(
        "[watcher:crash]
         cmd = /bin/sleep 1000
         hooks.before_start = exec:/bin/sh -c 'kill -9 $$',True
         [watcher:flood]
         cmd = /bin/sleep 1000
         hooks.before_start = exec:/usr/bin/yes
         hook_timeout = 2
         [watcher:missing]
         cmd = /bin/sleep 1000
         hooks.before_start = /nonexistent/program
         [watcher:healthy]
         cmd = /bin/sleep 1000
         priority = 1
         [watcher:mute]
         cmd = /bin/sleep 1000
         hooks.before_start = exec:/bin/sh -c 'exec <&-; exit 0'",
    );
    circusd.wait_for_workers("healthy", 1);
    circusd.wait_for_workers("crash", 1);
    circusd.wait_for_log("crash: hook before_start failed: the command was ended by SIGKILL");
    circusd.wait_for_log("missing: hook before_start failed: it cannot be started: /nonexistent/program");
    circusd.wait_for_workers("mute", 1);
    circusd.wait_for_log("flood: hook before_start failed: it took longer");
    let lines = circusd.log().matches("flood: before_start: y\n").count();
    assert!((1..=2000).contains(&lines), "{lines}");
    assert_eq!(circusd.status("flood"), "stopped");
}

#[test]
fn flood_of_newlines_from_a_hook_does_not_burden_the_loop() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         hooks.before_start = exec:/bin/sh -c \"head -c 10000000 /dev/zero | tr '\\\\0' '\\\\n'; echo done\"
         hook_timeout = 100",
    );
    circusd.wait_for_workers("w", 1);
    let (main, output) = (circusd.process().busy_thread(None), circusd.process().busy_thread(Some("output")));
    // The loop has started and answered all this while; the lines are the other thread's work.
    assert!(main <= output + 20, "{main} ticks in the loop, {output} in the output thread");
}

#[test]
fn a_signal_is_kept_back_and_sigkill_is_not() {
    let site = Site::new();
    script(&site, "refuse", "echo $CIRCUS_SIGNUM >> asked; [ ! -e lenient ] && exit 1; exit 0");
    let circusd = site.start(
        "[watcher:w]
         cmd = {knobs}
         graceful_timeout = 1
         hooks.before_signal = ./refuse",
    );
    let worker = circusd.wait_for_workers("w", 1)[0];
    circusd.tell("signal", json!({"name": "w", "signum": 15}));
    assert!(worker.lives());
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    assert_eq!(circusd.read("asked"), "15\n15\n9\n");
}

#[test]
fn waits_hold_up_who_comes_next_until_somebody_answers() {
    let site = Site::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tcp, unix) = (free.local_addr().unwrap(), site.path("late.socket"));
    drop(free);
    let circusd = site.start(&format!(
        "[watcher:a]
         cmd = /bin/sleep 1000
         priority = 5
         hooks.after_start = wait_tcp:{tcp}
         [watcher:b]
         cmd = /bin/sleep 1000
         priority = 4
         hooks.after_start = wait_unix:{{dir}}/late.socket
         [watcher:c]
         cmd = /bin/sleep 1000
         priority = 3
         hooks.after_start = wait_cmd:/usr/bin/test -e {{dir}}/late.file
         [watcher:d]
         cmd = /bin/sleep 1000
         priority = 2
         hooks.after_start = wait_http:http://{tcp}/up
         [watcher:e]
         cmd = /bin/sleep 1000"
    ));
    let states = || ["a", "b", "c", "d", "e"].map(|name| circusd.status(name)).join(" ");
    wait_until("a waits", || states() == "starting stopped stopped stopped stopped");
    let server = TcpListener::bind(tcp).unwrap();
    wait_until("b waits", || states() == "active starting stopped stopped stopped");
    let late = UnixListener::bind(&unix).unwrap();
    wait_until("c waits", || states() == "active active starting stopped stopped");
    std::fs::remove_file(unix).unwrap();
    drop(late);
    circusd.write("late.file", "");
    wait_until("d waits", || states() == "active active active starting stopped");
    let answer = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        loop {
            let (mut stream, _) = server.accept().unwrap();
            let mut asked = [0; 1024];
            // The connection of wait_tcp asks nothing.
            let length = stream.read(&mut asked).unwrap();
            if length > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                return String::from_utf8_lossy(&asked[..length]).into_owned();
            }
        }
    });
    wait_until("every watcher is active", || states() == "active active active active active");
    assert!(answer.join().unwrap().starts_with("GET /up HTTP/1.0\r\n"));
}

#[test]
fn who_waits_costs_little() {
    let circusd = Site::new().start(
        "[watcher:a]
         cmd = /bin/sleep 1000
         hooks.after_start = wait_unix:{dir}/never",
    );
    circusd.wait_for_workers("a", 1);
    let process = circusd.process();
    let before = process.voluntary_switches();
    observe_for(Duration::from_secs(3));
    let woken = process.voluntary_switches() - before;
    println!("{woken} voluntary context switches in 3 s");
    // A try each 100 ms, and whatever is left of the client's connection.
    assert!((20..=100).contains(&woken), "{woken}");
    circusd.tell("stop", json!({"name": "a", "waiting": true}));
    assert_eq!(circusd.status("a"), "stopped");
}

// -- Python ------------------------------------------------------------------------------------------------------------

/// A circusd whose hooks are functions of this module.
fn with_module(python: &Path, module: &str, sections: &str) -> Circusd {
    let site = Site::new();
    site.write("hooks_of_test.py", module);
    site.start(&format!("[circus]\npython = {}\n[env]\nPYTHONPATH = {{dir}}\n{sections}", python.display()))
}

/// The Pythons that run hooks.
fn bridges(circusd: &Circusd) -> Vec<Process> {
    let is_bridge = |process: &Process| process.argv().iter().any(|word| word.contains("circus-hooks"));
    circusd.process().children().into_iter().filter(is_bridge).collect()
}

#[test]
fn python_functions_are_loaded_lazily_and_run_side_by_side() {
    let Some(python) = python("hooks::python_functions_are_loaded_lazily_and_run_side_by_side") else { return };
    let module = "
import time
print('imported')
def nothing(watcher, arbiter, hook_name, **kwargs):
    print('nothing', watcher.name)
def hang(watcher, arbiter, hook_name, **kwargs):
    time.sleep(1000)
def boom(watcher, arbiter, hook_name, **kwargs):
    raise ValueError('no luck')
def no(watcher, arbiter, hook_name, **kwargs):
    return False
";
    let circusd = with_module(
        &python,
        module,
        "[watcher:lazy]
         cmd = /bin/sleep 1000
         hooks.before_start = hooks_of_test.nothing
         autostart = False
         [watcher:hanging]
         cmd = /bin/sleep 1000
         hooks.before_start = hooks_of_test:hang
         hook_timeout = 3
         autostart = False
         [watcher:failing]
         cmd = /bin/sleep 1000
         hooks.before_start = hooks_of_test.boom
         autostart = False
         [watcher:lost]
         cmd = /bin/sleep 1000
         hooks.after_reap = nowhere.at_all
         autostart = False
         [watcher:plain]
         cmd = /bin/sleep 1000",
    );
    circusd.wait_for_workers("plain", 1);
    assert!(bridges(&circusd).is_empty());
    circusd.tell("start", json!({"name": "lazy", "waiting": true}));
    circusd.wait_for_workers("lazy", 1);
    circusd.wait_for_log("hooks: nothing lazy");
    let [bridge] = bridges(&circusd)[..] else { panic!("one Python") };

    circusd.tell("start", json!({"name": "hanging"}));
    circusd.tell("restart", json!({"name": "lazy", "waiting": true}));
    assert_eq!(bridges(&circusd), [bridge]);
    assert_eq!(circusd.log().matches("hooks: imported").count(), 1);

    let mut events = circusd.events();
    circusd.ask("start", json!({"name": "failing", "waiting": true}));
    let failed = events.until("failing", "hook_failure").pop().unwrap();
    assert_eq!((&failed.body["name"], &failed.body["error"]), (&json!("before_start"), &json!("no luck")));
    circusd.wait_for_log("hooks: ValueError: no luck");
    circusd.tell("set", json!({"name": "failing", "options": {"hooks.before_start": "hooks_of_test.boom,True"}}));
    circusd.tell("start", json!({"name": "failing", "waiting": true}));
    circusd.wait_for_workers("failing", 1);

    circusd.ask("start", json!({"name": "lost", "waiting": true}));
    circusd
        .wait_for_log("lost is not started: hooks.after_reap = nowhere.at_all cannot be loaded: ModuleNotFoundError");

    // Only the Python that runs it can be ended; the next hook gets another.
    wait_until("the one that hangs is given up", || circusd.status("hanging") == "stopped");
    wait_until("its Python is gone", || !bridge.lives());
    circusd.tell("restart", json!({"name": "lazy", "waiting": true}));
    circusd.wait_for_workers("lazy", 1);
    let [another] = bridges(&circusd)[..] else { panic!("one Python") };

    // One that dies takes no watcher with it.
    another.send(nix::sys::signal::Signal::SIGKILL);
    wait_until("it is gone", || !another.lives());
    circusd.tell("restart", json!({"name": "lazy", "waiting": true}));
    circusd.wait_for_workers("lazy", 1);
}

#[test]
fn a_python_that_dies_fails_the_hooks_that_it_ran() {
    let Some(python) = python("hooks::a_python_that_dies_fails_the_hooks_that_it_ran") else { return };
    let module = "
import os
def die(watcher, arbiter, hook_name, **kwargs):
    os._exit(7)
";
    let circusd = with_module(
        &python,
        module,
        "[watcher:w]
         cmd = /bin/sleep 1000
         hooks.after_start = hooks_of_test.die
         [watcher:x]
         cmd = /bin/sleep 1000
         hooks.after_start = exec:/bin/true",
    );
    circusd.wait_for_log("w: hook after_start failed: its Python process has ended");
    wait_until("it has stopped", || circusd.status("w") == "stopped");
    wait_until("the other one is up", || circusd.status("x") == "active");
}

#[test]
fn hook_whose_python_is_killed_runs_again() {
    let Some(python) = python("hooks::hook_whose_python_is_killed_runs_again") else { return };
    let module = "
import time
def slow(watcher, arbiter, hook_name, **kwargs):
    with open('{dir}/runs', 'a') as runs:
        runs.write('run\\n')
    while len(open('{dir}/runs').readlines()) < 2:
        time.sleep(1000)
";
    let circusd = with_module(
        &python,
        module,
        "[watcher:w]
         cmd = /bin/sleep 1000
         hooks.after_start = hooks_of_test.slow",
    );
    circusd.wait_for_text("runs", "run\n");
    bridges(&circusd)[0].send(nix::sys::signal::Signal::SIGKILL);
    wait_until("the hook has run again, and answered", || circusd.status("w") == "active");
    assert_eq!(circusd.read("runs"), "run\nrun\n");
}

#[test]
fn hook_modules_are_found_beside_the_file() {
    let Some(python) = python("hooks::hook_modules_are_found_beside_the_file") else { return };
    let site = Site::new();
    std::fs::create_dir(site.path("conf")).unwrap();
    site.write("conf/beside_the_file.py", "def yes(**kwargs):\n    print('found')\n");
    let sections = format!(
        "[circus]
         python = {}
         [watcher:w]
         cmd = /bin/sleep 1000
         hooks.before_start = beside_the_file.yes",
        python.display()
    );
    site.ini("conf/circus.ini", &sections);
    let circusd = Circusd::start(site, &["conf/circus.ini"]);
    circusd.wait_for_workers("w", 1);
}

#[test]
fn hook_that_stops_others_during_quit_joins_their_stop() {
    let site = Site::new();
    let ctl = crate::rig::built("circusctl");
    let mut circusd = site.start(&format!(
        "[watcher:front]
         cmd = /bin/sleep 1000
         hooks.before_stop = exec:/bin/sh -c \"{} --endpoint \
        $CIRCUS_ENDPOINT stop 'back-*' --waiting > answer 2>&1; echo $? > status\"
         hook_timeout = 60
         \
        [watcher:back-1]
         cmd = /bin/sleep 1000
         [watcher:back-2]
         cmd = /bin/sleep 1000",
        ctl.display()
    ));
    for name in ["front", "back-1", "back-2"] {
        circusd.wait_for_workers(name, 1);
    }
    circusd.quit();
    assert_eq!((circusd.read("answer").trim(), circusd.read("status").trim()), ("ok", "0"));
}

#[test]
fn without_a_python_only_its_hooks_fail() {
    let circusd = Site::new().start(
        "[circus]
         python = /nonexistent/python3
         [watcher:w]
         cmd = /bin/sleep 1000
         hooks.before_start = any.thing
         [watcher:x]
         cmd = /bin/sleep 1000",
    );
    circusd.wait_for_workers("x", 1);
    circusd.wait_for_log("w is not started: hooks that are Python functions need /nonexistent/python3");
    assert_eq!(circusd.status("w"), "stopped");
}

#[test]
fn before_spawn_gives_each_process_an_environment_of_its_own() {
    let Some(python) = python("hooks::before_spawn_gives_each_process_an_environment_of_its_own") else { return };
    let module = "
PORT = 8000
def number(watcher, arbiter, hook_name, **kwargs):
    global PORT
    PORT += 1
    watcher.env['PORT'] = PORT
";
    let circusd = with_module(
        &python,
        module,
        "[watcher:w]
         cmd = /bin/sleep 1000
         numprocesses = 3
         hooks.before_spawn = hooks_of_test.number",
    );
    let ports = |workers: &[Process]| {
        let mut ports: Vec<String> = workers.iter().map(|worker| worker.environment()["PORT"].clone()).collect();
        ports.sort();
        ports
    };
    assert_eq!(ports(&circusd.wait_for_workers("w", 3)), ["8001", "8002", "8003"]);
    assert_eq!(circusd.tell("get", json!({"name": "w", "keys": ["env"]}))["options"]["env"]["PORT"], "8003");
}

/// Everything that the table in the manual names, under the original and under ours.
#[test]
fn its_functions_find_what_the_original_gives_them() {
    let Some(python) = python("hooks::its_functions_find_what_the_original_gives_them") else { return };
    let points = circus::proto::HookPoint::ALL
        .map(|point| format!("hooks.{} = hook_facts.{}\n", point.name(), point.name()))
        .concat();
    let sections = |site: &Site| {
        format!(
            "[circus]
             python = {}
             check_delay = 1
             [watcher:w]
             cmd = /bin/sleep 1000
             working_dir = {{dir}}
             copy_env = False
             graceful_timeout = 5
             {points}
             [env:w]
             PYTHONPATH = {}
             WANTED_ENDPOINT = {}
             [watcher:other]
             cmd = /bin/sleep 1001
             priority = 1",
            python.display(),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/circus").display(),
            site.endpoint(),
        )
    };
    let facts = |theirs: bool| {
        let site = Site::new();
        let ini = site.ini("circus.ini", &sections(&site));
        let mut command = if theirs { site.command(&python) } else { site.circusd() };
        if theirs {
            command.args(["-c", "from circus.circusd import main; main()"]);
        }
        let log = std::fs::File::create(site.path("log")).unwrap();
        command.arg(ini).env("FACTS", site.path("facts")).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = spawn(&mut command);
        wait_until("it is up", || site.read("log").contains("w started"));
        let stats = site.circusctl(&["--json", "stats", "w", "--extended"]);
        assert!(stats.stdout.contains("\"more\""), "{stats:?}");
        assert_eq!(site.circusctl(&["stop", "w", "--waiting"]).status, Some(0));
        let more = ["extended_stats", "true"].iter().all(|word| stats.stdout.contains(word));
        assert_eq!(site.circusctl(&["quit", "--waiting"]).status, Some(0));
        child.wait().unwrap();
        if theirs {
            // It leaves them where they are.
            ["control", "events"].iter().for_each(|name| std::fs::remove_file(site.path(name)).unwrap());
        }
        let mut facts: Vec<String> = site
            .read("facts")
            .lines()
            .map(|line| line.replace(site.path("facts").parent().unwrap().to_str().unwrap(), "@"))
            .collect();
        facts.push(format!("extended_stats {more}"));
        facts.sort();
        facts
    };
    let (theirs, ours) = (facts(true), facts(false));
    assert_eq!(theirs, ours, "theirs, then ours");
    assert!(ours.len() > 11, "{ours:#?}");
}

// -- streams that a command reads --------------------------------------------------------------------------------------

#[test]
fn a_command_reads_whole_lines_and_is_started_again_when_it_dies() {
    let site = Site::new();
    script(
        &site,
        "upper",
        "while read -r line; do echo \"[$line]\" >> seen; [ \"$line\" = die ] && exit 1; done; echo end >> seen",
    );
    site.write("input", "");
    let circusd = site.start(
        "[watcher:w]
         cmd = /usr/bin/tail -n +1 -f {dir}/input
         stdout_stream.class = exec
         stdout_stream.command = ./upper",
    );
    circusd.wait_for_workers("w", 1);
    let say = |words: &str| {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).open(circusd.path("input")).unwrap();
        writeln!(file, "{words}").unwrap();
    };
    say("one two");
    circusd.wait_for_text("seen", "[one two]\n");
    say("die");
    circusd.wait_for_log("w: stdout_stream: its command has ended (exit status 1); it starts again in");
    say("three");
    circusd.wait_for_text("seen", "[die]\n[three]\n");
    circusd.tell("set", json!({"name": "w", "options": {"stdout_stream.command": "/usr/bin/tee -a other"}}));
    circusd.wait_for_text("seen", "end\n");
    say("four");
    circusd.wait_for_text("other", "four\n");
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    wait_until("the command has ended with its input", || circusd.inhabitants().len() == 1);
}

#[test]
fn a_command_that_never_reads_holds_nobody_up_and_what_is_lost_is_counted() {
    let site = Site::new();
    script(&site, "deaf", "[ -e awake ] && exec cat > heard; exec sleep 1000");
    let circusd = site.start(
        "[watcher:w]
         cmd = /bin/sh -c 'i=0; while [ $i -lt 40000 ]; do echo \"line $i of a watcher that has \
        a lot to say to nobody at all\"; i=$((i+1)); done; echo done > {dir}/done; exec sleep 1000'
         \
        stdout_stream.class = exec
         stdout_stream.command = ./deaf
         [watcher:other]
         cmd = \
        /bin/sleep 1000",
    );
    circusd.wait_for_text("done", "done");
    circusd.wait_for_workers("other", 1);
    circusd.wait_for_log("it does not read as fast as lines come");
    circusd.wait_for_log("the queue is full, lines are dropped");
    // Another one reads what was kept, and the count is told.
    circusd.write("awake", "");
    let deaf = circusd.inhabitants().into_iter().find(|who| {
        who.argv() == ["sleep", "1000"]
            && who.parent() == Some(circusd.process())
            && !circusd.workers("w").contains(who)
    });
    deaf.unwrap().send(nix::sys::signal::Signal::SIGKILL);
    circusd.wait_for_text("heard", "line 0 of");
    circusd.wait_for_log("is written again");
    circusd.tell("stop", json!({"waiting": true}));
}

#[test]
fn a_stream_whose_command_cannot_be_started_is_no_start() {
    let circusd = Site::new().start(
        "[watcher:w]
         cmd = /bin/sleep 1000
         max_retry = 1
         stdout_stream.class = exec
         stdout_stream.command = /nonexistent/program",
    );
    circusd.wait_for_log("/nonexistent/program");
    wait_until("it gives up", || circusd.status("w") == "stopped");
}
