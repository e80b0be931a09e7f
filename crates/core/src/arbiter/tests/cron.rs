//! Watchers that run by a schedule. The clock on the wall begins at 1000 s, 00:16:40.

use serde_json::{Value, json};

use super::rig::{Rig, watcher};
use crate::arbiter::WatcherState;
use crate::config::{Config, Overlap, WatcherConfig, options};

/// `job`, with these options beside its schedule.
fn job(schedule: &str, more: Value) -> WatcherConfig {
    watcher("job", |w| {
        let mut changes = json!({"kind": "cron", "schedule": schedule});
        changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options::apply(w, changes.as_object().unwrap(), &Default::default()).unwrap();
    })
}

fn details(rig: &mut Rig) -> Value {
    rig.command("status", json!({"name": "job", "verbose": true})).unwrap()["details"].take()
}

fn next_run(rig: &mut Rig) -> f64 {
    details(rig)["next_run"].as_f64().unwrap()
}

/// Hourly, at full hours: the first one is 2600 s away.
fn hourly(more: Value) -> Rig {
    Rig::new(vec![job("0 * * * *", more)])
}

const TO_THE_HOUR: u64 = 2_600_000;
const HOUR: u64 = 3_600_000;

#[test]
fn it_runs_at_its_times_and_rests_in_between() {
    let mut rig = hourly(json!({}));
    assert_eq!(rig.state("job"), WatcherState::Stopped);
    let waits = details(&mut rig);
    assert_eq!((&waits["health"], &waits["next_run"]), (&json!("scheduled"), &json!(3600.0)));
    assert_eq!((&waits["next_run_in"], &waits["last_run"]), (&json!(2600.0), &Value::Null));
    rig.pass(TO_THE_HOUR - 1);
    rig.expect([]);
    rig.pass(1);
    rig.expect(["remember job 3600", "job.run_begin", "launch worker 1", "job.spawn 101", "job.start"]);
    assert_eq!(details(&mut rig)["health"], "running");
    rig.exit(101, 0);
    let rests = details(&mut rig);
    assert_eq!((&rests["health"], &rests["next_run"]), (&json!("scheduled"), &json!(7200.0)));
    assert_eq!(rests["last_run"]["trigger"], "schedule");
    rig.said();
    rig.pass(HOUR);
    assert_eq!(rig.running("job"), [102]);
    rig.exit(102, 0);
    rig.assert_quiescent();
}

#[test]
fn a_run_that_fails_shows_and_the_next_one_comes() {
    let mut rig = hourly(json!({}));
    rig.pass(TO_THE_HOUR);
    rig.exit(101, 3);
    let failed = details(&mut rig);
    assert_eq!((&failed["health"], &failed["next_run"]), (&json!("failed"), &json!(7200.0)));
    assert_eq!(failed["reason"], "worker 1 exited with status 3 after 0 ms");
    rig.pass(60_000);
    assert!(rig.running("job").is_empty(), "it is not tried again");
    rig.pass(HOUR);
    rig.exit(102, 0);
    assert_eq!(details(&mut rig)["health"], "scheduled");
    rig.assert_quiescent();
}

#[test]
fn a_run_that_fails_is_tried_again_where_that_is_asked_for() {
    let mut rig = hourly(json!({"respawn": "on-failure"}));
    rig.pass(TO_THE_HOUR);
    rig.exit(101, 3);
    rig.pass(120);
    rig.exit(102, 0);
    assert_eq!(details(&mut rig)["last_run"]["attempts"], 2);
    rig.assert_quiescent();
}

#[test]
fn what_overlaps_is_skipped_queued_or_replaced() {
    for (overlap, after_due, then) in
        [(Overlap::Skip, 101, None), (Overlap::Queue, 101, Some(102)), (Overlap::Kill, 101, Some(102))]
    {
        let mut config = job("0 * * * *", json!({}));
        config.cron.overlap = overlap;
        let mut rig = Rig::new(vec![config]);
        rig.pass(TO_THE_HOUR);
        rig.said();
        rig.pass(HOUR);
        assert_eq!(rig.alive, [after_due], "{overlap:?}: one at a time");
        let is_told = rig.said().contains(&"SIGTERM 101".to_owned());
        assert_eq!(is_told, overlap == Overlap::Kill);
        rig.exit(101, if is_told { -15 } else { 0 });
        assert_eq!(rig.running("job").first().copied(), then, "{overlap:?}");
        let details = details(&mut rig);
        assert_eq!(details["runs"]["skipped"], u64::from(overlap == Overlap::Skip));
        let result = if is_told { "stopped" } else { "success" };
        assert_eq!((&details["last_run"]["result"], &details["next_run"]), (&json!(result), &json!(10800.0)));
        rig.assert_quiescent();
    }
}

#[test]
fn one_run_at_most_waits_in_the_queue() {
    let mut rig = hourly(json!({"overlap": "queue"}));
    rig.pass(TO_THE_HOUR + 3 * HOUR);
    rig.exit(101, 0);
    assert_eq!(rig.running("job"), [102]);
    rig.exit(102, 0);
    assert!(rig.running("job").is_empty());
    assert_eq!(details(&mut rig)["runs"], json!({"succeeded": 2, "failed": 0, "skipped": 2}));
    rig.assert_quiescent();
}

#[test]
fn a_stop_ends_the_schedule_and_a_start_begins_it() {
    let mut rig = hourly(json!({"overlap": "queue"}));
    rig.pass(TO_THE_HOUR + HOUR);
    rig.send_command("stop", json!({"name": "job"}));
    rig.exit(101, -15);
    assert_eq!((details(&mut rig)["health"].clone(), rig.running("job").len()), (json!("stopped"), 0));
    rig.pass(24 * HOUR);
    assert_eq!(details(&mut rig)["last_run"]["result"], "stopped");
    rig.said();
    let answer = rig.command("start", json!({"name": "job", "waiting": true})).unwrap();
    assert_eq!(answer["info"]["started"], json!([]), "a start is no run");
    rig.expect(["remember job 93600"]);
    assert_eq!(next_run(&mut rig), 97200.0, "what passed meanwhile was not missed");
    rig.assert_quiescent();
}

#[test]
fn run_runs_now_and_leaves_the_schedule_alone() {
    for armed in [true, false] {
        let mut rig = hourly(json!({"autostart": armed}));
        let id = rig.send_command("run", json!({"name": "job", "waiting": true}));
        assert_eq!(rig.running("job"), [101]);
        rig.exit(101, 0);
        assert_eq!(rig.answer_to(id).unwrap()["info"]["run"]["trigger"], "request");
        let expected = if armed { json!(3600.0) } else { Value::Null };
        assert_eq!(details(&mut rig)["next_run"], expected);
        assert_eq!(details(&mut rig)["health"], if armed { "scheduled" } else { "succeeded" });
        rig.assert_quiescent();
    }
}

#[test]
fn restart_stops_the_run_and_goes_on_by_the_schedule() {
    let mut rig = hourly(json!({}));
    rig.pass(TO_THE_HOUR);
    let id = rig.send_command("restart", json!({"name": "job", "waiting": true}));
    rig.exit(101, -15);
    assert!(rig.answer_to(id).unwrap().get("errno").is_none());
    assert_eq!((rig.running("job").len(), next_run(&mut rig)), (0, 7200.0));
    rig.assert_quiescent();
}

#[test]
fn a_changed_schedule_counts_at_once_and_runs_nothing() {
    let mut rig = hourly(json!({"missed": "run"}));
    rig.said();
    rig.command("set", json!({"name": "job", "options": {"schedule": "30 * * * *"}})).unwrap();
    assert_eq!(next_run(&mut rig), 1800.0);
    // In the file, too.
    let file = vec![job("0 0 * * *", json!({"missed": "run"}))];
    rig.file = Ok(Config { watchers: file, ..rig.file.clone().unwrap() });
    rig.command("reloadconfig", json!({"waiting": true})).unwrap();
    assert_eq!((next_run(&mut rig), rig.alive.len()), (86400.0, 0));
    let refused = rig.command("set", json!({"name": "job", "options": {"schedule": "0 24 * * *"}})).unwrap();
    assert!(refused["reason"].as_str().unwrap().starts_with("'schedule': '0 24 * * *': hour '24'"), "{refused}");
    let refused = rig.command("set", json!({"name": "job", "options": {"schedule": ""}})).unwrap();
    assert_eq!(refused["reason"], "'kind': cron needs a schedule, such as schedule = 0 3 * * * or @every 5m");
    assert_eq!(next_run(&mut rig), 86400.0);
    rig.assert_quiescent();
}

#[test]
fn add_takes_a_schedule() {
    let mut rig = Rig::new(Vec::new());
    let add = |options: Value| json!({"name": "job", "cmd": "x", "start": true, "options": options});
    let refused = rig.command("add", add(json!({"schedule": "@daily"}))).unwrap();
    assert_eq!(refused["reason"], "'schedule': needs kind = cron");
    rig.command("add", add(json!({"kind": "cron", "schedule": "@every 10s"}))).unwrap();
    rig.pass(10_000);
    assert_eq!(rig.running("job"), [101]);
    rig.exit(101, 0);
    rig.send_command("rm", json!({"name": "job"}));
    rig.assert_quiescent();
}

#[test]
fn intervals_follow_the_monotonic_clock() {
    let mut rig = Rig::new(vec![job("@every 10m", json!({}))]);
    rig.pass(300_000);
    rig.set_clock(7.0 * 86_400.0);
    assert_eq!(rig.alive.len(), 0);
    rig.pass(299_999);
    assert_eq!(rig.alive.len(), 0);
    rig.set_clock(-300.0);
    rig.pass(1);
    assert_eq!(rig.alive.len(), 1);
    let now = rig.now().unix;
    assert_eq!(next_run(&mut rig), now + 600.0);
    rig.assert_quiescent();
}

#[test]
fn times_follow_the_clock_on_the_wall() {
    let mut rig = hourly(json!({}));
    // 600 s ahead: the hour comes sooner.
    rig.set_clock(600.0);
    rig.pass(TO_THE_HOUR - 600_000 - 1);
    assert_eq!(rig.alive.len(), 0);
    rig.pass(1);
    assert_eq!(rig.alive.len(), 1);
    rig.exit(101, 0);
    // Back by half an hour: the full hour that was is not repeated.
    rig.set_clock(-1800.0);
    assert_eq!(next_run(&mut rig), 7200.0);
    rig.pass(5_399_999);
    assert_eq!(rig.alive.len(), 0);
    rig.pass(1);
    assert_eq!(rig.alive.len(), 1);
    rig.assert_quiescent();
}

#[test]
fn a_time_that_the_clock_has_jumped_over_was_missed() {
    for (missed, runs) in [("skip", 0), ("run", 1)] {
        let mut rig = hourly(json!({"missed": missed}));
        rig.set_clock(5.0 * 3600.0);
        assert_eq!(rig.alive.len(), runs, "{missed}");
        if runs == 1 {
            rig.exit(101, 0);
            assert_eq!(details(&mut rig)["last_run"]["trigger"], "missed");
        }
        assert_eq!((next_run(&mut rig), rig.alive.len()), (21600.0, 0), "once for all of them");
        rig.assert_quiescent();
    }
}

#[test]
fn what_an_earlier_circusd_remembers_is_made_up_for() {
    for (missed, last, runs) in [("skip", -7200.0, 0), ("run", -7200.0, 1), ("run", 0.0, 0), ("skip", 0.0, 0)] {
        let mut rig = Rig::unstarted(vec![job("0 * * * *", json!({"missed": missed}))], |_| {});
        rig.arbiter.remember_runs([("job".to_owned(), last), ("gone".to_owned(), 0.0)]);
        rig.settle();
        rig.pass(0);
        assert_eq!(rig.alive.len(), runs, "{missed} {last}");
        rig.assert_quiescent();
    }
}

#[test]
fn jitter_delays_each_run_within_its_bound() {
    let mut rig = hourly(json!({"jitter": 600}));
    let mut times = Vec::new();
    for hour in 1..5 {
        let at = next_run(&mut rig);
        let delay = at - f64::from(hour) * 3600.0;
        assert!((0.0..=600.0).contains(&delay), "{delay}");
        times.push(delay);
        rig.pass(((at - rig.now().unix) * 1e3) as u64 + 1);
        let pid = rig.alive[0];
        rig.exit(pid, 0);
    }
    assert!(times.iter().any(|delay| (delay - times[0]).abs() > 1.0), "{times:?}");
    rig.assert_quiescent();
}

#[test]
fn another_circusd_goes_on_with_the_schedule() {
    let mut rig = hourly(json!({"overlap": "queue"}));
    rig.hand_over();
    rig.pass(TO_THE_HOUR);
    assert_eq!(rig.running("job"), [101]);
    rig.pass(HOUR);
    rig.hand_over();
    rig.exit(101, 0);
    assert_eq!(rig.running("job"), [102]);
    rig.exit(102, 0);
    assert_eq!(next_run(&mut rig), 10800.0);
    assert_eq!(rig.arbiter.runs_to_remember().collect::<Vec<_>>(), [("job", 7200.0)]);
    rig.assert_quiescent();
}

#[test]
fn what_comes_after_a_schedule_waits_for_its_begin_alone() {
    let broker = watcher("broker", |_| {});
    let mut config = job("@hourly", json!({"priority": 5}));
    config.after = vec!["broker".into()];
    let web = watcher("web", |w| (w.after, w.priority) = (vec!["job".into()], 9));
    let mut rig = Rig::unstarted(vec![web, config, broker], |_| {});
    rig.hold_launches = true;
    rig.settle();
    assert_eq!(details(&mut rig)["next_run"], Value::Null);
    let broker = rig.held.remove(0);
    rig.hold_launches = false;
    rig.answer(broker);
    rig.settle();
    assert_eq!(details(&mut rig)["health"], "scheduled");
    assert_eq!(rig.state("web"), WatcherState::Active);
    rig.assert_quiescent();
}

#[test]
fn a_reload_of_all_and_the_end_leave_no_run_behind() {
    let mut rig = hourly(json!({}));
    rig.said();
    rig.send_command("reload", json!({"waiting": true}));
    rig.expect([]);
    assert_eq!(next_run(&mut rig), 3600.0);
    rig.assert_quiescent();
}
