use std::collections::BTreeMap;

use super::*;
use crate::builtin::prometheus::tally::Tally;

fn web() -> Watcher {
    let mut respawns = Histogram { count: 3, sum: 40.5, ..Histogram::default() };
    (respawns.classes[0], respawns.classes[8]) = (1, 1);
    Watcher {
        name: "my \"web\"".into(),
        state: "active".into(),
        health: "backing off".into(),
        wanted: 3,
        running: 2,
        backing_off: 1,
        back_off: 0.4,
        spawned: 9,
        failed: 1,
        restarts: 4,
        usage: Some(Usage { cpu: 1.25, resident: 4096, threads: 2, fds: None }),
        tally: Tally { exits: BTreeMap::from([(-9, 2), (-40, 1), (3, 1)]), reloads: 1, unhealthy: 4, respawns },
        ..Watcher::default()
    }
}

fn lines(snapshot: &Snapshot) -> Vec<String> {
    render(snapshot).lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:#?}");
}

#[test]
fn a_watcher() {
    let lines = lines(&Snapshot { watchers: vec![web()], ..Snapshot::default() });
    for line in [
        "# TYPE circus_watchers gauge",
        "circus_watchers{state=\"active\"} 1",
        "circus_watchers{state=\"stopped\"} 0",
        "circus_watcher_state{watcher=\"my \\\"web\\\"\",circus_watcher_state=\"active\"} 1",
        "# TYPE circus_watcher_health stateset",
        "circus_watcher_health{watcher=\"my \\\"web\\\"\",circus_watcher_health=\"backing off\"} 1",
        "circus_watcher_health{watcher=\"my \\\"web\\\"\",circus_watcher_health=\"ready\"} 0",
        "circus_watcher_processes{watcher=\"my \\\"web\\\"\",state=\"running\"} 2",
        "circus_watcher_back_off_seconds{watcher=\"my \\\"web\\\"\"} 0.4",
        "# TYPE circus_watcher_cpu_seconds counter",
        "# UNIT circus_watcher_cpu_seconds seconds",
        "circus_watcher_cpu_seconds_total{watcher=\"my \\\"web\\\"\"} 1.25",
        "circus_watcher_restarts_total{watcher=\"my \\\"web\\\"\"} 4",
        "circus_watcher_exits_total{watcher=\"my \\\"web\\\"\",signal=\"SIGKILL\"} 2",
        "circus_watcher_exits_total{watcher=\"my \\\"web\\\"\",signal=\"signal 40\"} 1",
        "circus_watcher_exits_total{watcher=\"my \\\"web\\\"\",code=\"3\"} 1",
        "circus_watcher_reloads_total{watcher=\"my \\\"web\\\"\"} 1",
        "circus_watcher_unhealthy_workers_total{watcher=\"my \\\"web\\\"\"} 4",
    ] {
        has(&lines, line);
    }
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn runs_of_a_watcher_that_is_no_service() {
    let last = Some(LastRun { succeeded: true, began: 1.7e9, duration: 2.5 });
    let runs = Some(crate::builtin::prometheus::snapshot::Runs {
        succeeded: 3,
        failed: 1,
        skipped: 2,
        last,
        next: Some(1.75e9),
    });
    let migrate = Watcher { name: "migrate".into(), runs, ..Watcher::default() };
    let lines = lines(&Snapshot { watchers: vec![web(), migrate], ..Snapshot::default() });
    for line in [
        "circus_watcher_runs_total{watcher=\"migrate\",result=\"success\"} 3",
        "circus_watcher_runs_total{watcher=\"migrate\",result=\"failure\"} 1",
        "circus_watcher_runs_total{watcher=\"migrate\",result=\"skipped\"} 2",
        "circus_watcher_next_run_timestamp_seconds{watcher=\"migrate\"} 1750000000",
        "circus_watcher_last_run_success{watcher=\"migrate\"} 1",
        "circus_watcher_last_run_timestamp_seconds{watcher=\"migrate\"} 1700000000",
        "circus_watcher_last_run_duration_seconds{watcher=\"migrate\"} 2.5",
    ] {
        has(&lines, line);
    }
    assert!(!lines.iter().any(|line| line.contains("run_success{watcher=\"my")), "a service has no runs");
}

#[test]
fn the_classes_of_a_histogram_add_up() {
    let lines = lines(&Snapshot { watchers: vec![web()], ..Snapshot::default() });
    for (le, count) in [("0.001", 1), ("0.25", 1), ("0.5", 2), ("1.0", 2), ("30.0", 2), ("+Inf", 3)] {
        let name = "circus_watcher_respawn_seconds_bucket{watcher=\"my \\\"web\\\"\",le=";
        has(&lines, &format!("{name}\"{le}\"}} {count}"));
    }
    has(&lines, "circus_watcher_respawn_seconds_count{watcher=\"my \\\"web\\\"\"} 3");
    has(&lines, "circus_watcher_respawn_seconds_sum{watcher=\"my \\\"web\\\"\"} 40.5");
}

#[test]
fn unknown_values_are_left_out() {
    let page = render(&Snapshot { watchers: vec![web()], ..Snapshot::default() });
    for name in ["open_fds", "uptime", "circus_daemon", "circus_socket"] {
        assert!(!page.contains(name), "{name} in {page}");
    }
    let sockets = vec![Socket { name: "a".into(), backlog: Some(8), ..Socket::default() }];
    let usage = Usage { cpu: 0.5, resident: 1, threads: 3, fds: Some(20) };
    let page = render(&Snapshot { sockets, daemon: Some(usage), ..Snapshot::default() });
    assert!(page.contains("\ncircus_socket_backlog{socket=\"a\"} 8\n") && !page.contains("queue_length"), "{page}");
    assert!(page.contains("\ncircus_daemon_cpu_seconds_total 0.5\n"), "{page}");
}
