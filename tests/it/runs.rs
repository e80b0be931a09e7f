//! Watchers that run once, or by a schedule, with real programs.

use serde_json::json;

use crate::rig::{Site, wait_until};

#[test]
fn service_starts_when_the_migration_has_succeeded() {
    let site = Site::new();
    site.write("migrate.sh", "#!/bin/sh\necho run >> runs\ntest -f ready || exit 7\n");
    let circusd = site.start(
        "[watcher:migrate]
         cmd = /bin/sh migrate.sh
         working_dir = {dir}
         kind = oneshot
         max_retry = -1
         [watcher:web]
         cmd = {knobs}
         after = migrate
         priority = 1",
    );
    let mut events = circusd.events();
    wait_until("it is tried again", || circusd.read("runs").lines().count() >= 2);
    assert_eq!(circusd.status("web"), "stopped");
    let reason = circusd.details("web")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("waits for migrate ("), "{reason}");
    circusd.write("ready", "");
    let end = events.until("migrate", "run_end").pop().unwrap();
    assert_eq!((&end.body["result"], &end.body["exit_code"]), (&json!("success"), &json!(0)), "{}", end.body);
    circusd.wait_for_workers("web", 1);
    assert_eq!(circusd.details("migrate")["health"], "succeeded");
    let said = circusd.circusctl(&["status", "migrate", "--verbose"]).stdout;
    assert!(said.contains("migrate: stopped, 0 of 1 running, succeeded"), "{said}");
    assert!(said.contains(" ago: success: exited with status 0 after "), "{said}");
    assert!(circusd.circusctl(&["wait", "migrate"]).stdout.starts_with("migrate: success: exited with status 0 "));
}

#[test]
fn run_answers_with_the_result_and_the_exit_status() {
    let site = Site::new();
    site.write("job.sh", "#!/bin/sh\nexit $(cat status)\n");
    site.write("status", "3");
    let circusd = site.start(
        "[watcher:job]
         cmd = /bin/sh job.sh
         working_dir = {dir}
         kind = oneshot
         respawn = no
         autostart = no
         [watcher:web]
         cmd = {knobs}",
    );
    assert_eq!(circusd.details("job")["health"], "disabled");
    let (said, status) = circusd.ctl(&["run", "job", "--waiting"]);
    assert!(said.starts_with("error: job: worker 1 exited with status 3 after "), "{said}");
    assert_eq!(status, Some(3));
    let waited = circusd.circusctl(&["wait", "job", "--for", "exited"]);
    assert!(waited.stdout.starts_with("job: failure: exited with status 3 after "), "{}", waited.stdout);
    assert_eq!(circusd.ctl(&["status", "--exit-code"]).1, Some(3));
    circusd.write("status", "0");
    let ran = circusd.circusctl(&["run", "job", "--waiting"]);
    assert!(ran.stdout.starts_with("success: exited with status 0 after "), "{}", ran.stdout);
    assert_eq!((ran.status, circusd.ctl(&["status", "--exit-code"]).1), (Some(0), Some(0)));
    let (said, status) = circusd.ctl(&["run", "web"]);
    assert_eq!(said, "error: web is a service (kind), which does not run once: use start\n");
    assert_eq!(status, Some(3));
}

#[test]
fn upgrade_goes_on_with_a_run() {
    let site = Site::new();
    site.write("job.sh", "#!/bin/sh\nuntil test -f go; do sleep 0.01; done\nexit 5\n");
    let circusd = site.start(
        "[watcher:job]
         cmd = /bin/sh job.sh
         working_dir = {dir}
         kind = oneshot
         respawn = no",
    );
    let job = circusd.wait_for_workers("job", 1);
    assert_eq!(circusd.ctl(&["upgrade"]).1, Some(0));
    assert_eq!(circusd.workers("job"), job);
    assert_eq!(circusd.details("job")["health"], "running");
    circusd.write("go", "");
    wait_until("it is over", || circusd.details("job")["health"] == "failed");
    assert_eq!(circusd.details("job")["last_run"]["exit_code"], 5);
}

#[test]
fn schedule_starts_runs_and_says_when() {
    let site = Site::new();
    site.write("job.sh", "#!/bin/sh\necho run >> runs\n");
    let circusd = site.start(
        "[watcher:job]
         cmd = /bin/sh job.sh
         working_dir = {dir}
         kind = cron
         schedule = @every 1s
         [watcher:nightly]
         cmd = /bin/false
         kind = cron
         schedule = 0 3 * * *
         timezone = UTC",
    );
    let mut events = circusd.events();
    let begin = events.until("job", "run_begin").pop().unwrap();
    assert_eq!(begin.body["trigger"], "schedule");
    let end = events.until("job", "run_end").pop().unwrap();
    assert_eq!((&end.body["result"], &end.body["exit_code"]), (&json!("success"), &json!(0)), "{}", end.body);
    wait_until("it runs again", || circusd.read("runs").lines().count() >= 2);
    let nightly = circusd.details("nightly");
    assert_eq!((&nightly["health"], &nightly["last_run"]), (&json!("scheduled"), &serde_json::Value::Null));
    let at = nightly["next_run"].as_f64().unwrap();
    assert_eq!(at % 86_400.0, 3.0 * 3600.0, "three o'clock in UTC: {nightly}");
    let said = circusd.circusctl(&["status", "nightly", "--verbose"]).stdout;
    assert!(said.starts_with("nightly: stopped, 0 of 1 running, scheduled\n  next run in "), "{said}");
    assert!(said.contains(" (0 3 * * *, UTC)\n"), "{said}");
    // It runs now as well, and its schedule stays.
    let (said, status) = circusd.ctl(&["run", "nightly", "--waiting"]);
    assert!(said.starts_with("error: nightly: worker 1 exited with status 1 after "), "{said}");
    assert_eq!(status, Some(3));
    let failed = circusd.details("nightly");
    assert_eq!((&failed["health"], failed["next_run"].as_f64()), (&json!("failed"), Some(at)));
    // A stop ends the schedule.
    circusd.ctl(&["stop", "job"]);
    let runs = circusd.read("runs").lines().count();
    assert_eq!(circusd.details("job")["next_run"], serde_json::Value::Null);
    assert!(circusd.read("runs").lines().count() <= runs + 1);
}

#[test]
fn next_run_ends_the_one_before_where_that_is_asked_for() {
    let circusd = Site::new().start(
        "[watcher:job]
         cmd = {knobs}
         kind = cron
         schedule = @every 1s
         overlap = kill",
    );
    let first = circusd.wait_for_workers("job", 1);
    wait_until("another one runs", || circusd.workers("job").iter().any(|worker| !first.contains(worker)));
    assert_eq!(circusd.details("job")["last_run"]["result"], "stopped");
    assert_eq!(circusd.ctl(&["upgrade"]).1, Some(0));
    wait_until("the schedule goes on", || {
        let runs = circusd.read("circusd.log").matches("job: run stopped, the next one is due").count();
        runs >= 3
    });
}

#[test]
fn run_that_was_missed_is_made_up_for() {
    let site = Site::new();
    site.write("job.sh", "#!/bin/sh\necho run >> runs\n");
    let past =
        r#"{"version":1,"boot_id":"","circusd":{"pid":1,"started":0},"sockets":{},"workers":[],"runs":{"job":5.0}}"#;
    let state = site.write("state", past);
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut circusd = site.start(
        "[circus]
         state_file = {dir}/state
         [watcher:job]
         cmd = /bin/sh job.sh
         working_dir = {dir}
         kind = cron
         schedule = @monthly
         missed = run",
    );
    wait_until("it has run", || circusd.details("job")["last_run"]["trigger"] == "missed");
    circusd.quit();
    assert!(circusd.read("state").contains("\"runs\":{\"job\":1"), "{}", circusd.read("state"));
    circusd.restart();
    assert_eq!(circusd.details("job")["health"], "scheduled");
    assert_eq!(circusd.read("runs"), "run\n", "what was made up for is not missed any more");
    circusd.quit();
    std::fs::remove_file(circusd.path("state")).unwrap();
}

#[test]
fn wrong_schedules_are_named_with_their_line() {
    let site = Site::new();
    for (text, told) in [
        ("kind = cron\n", "f.ini:3: error: [watcher:w] kind: cron needs a schedule, such as schedule = 0 3 * * * "),
        ("schedule = @daily\n", "f.ini:3: error: [watcher:w] schedule: needs kind = cron\n"),
        ("kind = cron\nschedule = 0 24 * * *\n", "f.ini:4: error: [watcher:w] schedule: '0 24 * * *': hour '24': "),
        ("kind = cron\nschedule = 0 0 30 2 *\n", "f.ini:4: error: [watcher:w] schedule: '0 0 30 2 *' never comes\n"),
        (
            "kind = cron\nschedule = @daily\ntimezone = Europe/Atlantis\n",
            "f.ini:5: error: [watcher:w] timezone: there is no time zone 'Europe/Atlantis' on this machine\n",
        ),
        ("kind = crown\n", "f.ini:3: error: [watcher:w] kind: 'crown' is neither service nor oneshot nor cron\n"),
        (
            "kind = oneshot\nnumprocesses = 2\n",
            "f.ini:4: error: [watcher:w] numprocesses: kind = oneshot runs one process",
        ),
        ("overlap = kill\n", "f.ini:3: warning: [watcher:w] overlap: has no effect without kind = cron\n"),
    ] {
        let file = site.write("f.ini", &format!("[watcher:w]\ncmd = sh\n{text}"));
        let output = site.run_circusd(&["--check", file.to_str().unwrap()]);
        assert!(output.stdout.contains(told), "{told} in {output:?}");
    }
    let circusd = site.start("[watcher:w]\ncmd = {knobs}");
    let add = |zone: &str| {
        let options = json!({"kind": "cron", "schedule": "@daily", "timezone": zone});
        json!({"name": "job", "cmd": "/bin/true", "start": true, "options": options})
    };
    let refused = circusd.ask("add", add("Europe/Atlantis"));
    assert_eq!(refused["reason"], "'timezone': there is no time zone 'Europe/Atlantis' on this machine");
    circusd.tell("add", add("UTC"));
    assert_eq!(circusd.details("job")["health"], "scheduled");
}

#[test]
fn example_is_sound() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/jobs.ini");
    let site = Site::new();
    // Its endpoints are relative to where circusd was started.
    std::fs::create_dir(site.path("target")).unwrap();
    let output = site.run_circusd(&["--check", example.to_str().unwrap()]);
    assert!(output.stdout.ends_with("ok: 4 watchers, 0 sockets\n"), "{output:?}");
}
