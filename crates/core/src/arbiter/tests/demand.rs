//! Watchers that wait for a connection.

use serde_json::json;

use super::rig::{Rig, watcher};
use crate::arbiter::{Event, WatcherState};
use crate::config::{CircusConfig, SocketConfig, WatcherConfig};

const ENOENT: i32 = 2;

/// A watcher that waits at the socket `web`.
fn waiter(name: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
    watcher(name, |w| {
        w.on_demand = true;
        w.stdin_socket = Some("web".into());
        change(w);
    })
}

/// These watchers and the sockets `api` and `web`, before anything was asked of them.
fn waiting_rig(watchers: Vec<WatcherConfig>) -> Rig {
    let sockets = vec![SocketConfig::new("api"), SocketConfig::new("web")];
    let mut rig = Rig::with_sockets(watchers, CircusConfig::default(), sockets);
    rig.settle();
    rig
}

impl Rig {
    fn connect(&mut self, socket: &str) {
        self.tell(Event::Acceptable(socket.into()));
    }
}

#[test]
fn the_first_connection_starts_it_and_the_watching_ends() {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.numprocesses = 2)]);
    rig.expect(["watch web"]);
    assert_eq!(rig.command("status", json!({"name": "w"})), Some(json!({"status": "stopped"})));
    rig.connect("web");
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 101", "launch worker 2", "w.spawn 102", "w.start"]);
    // News that was on its way already means no watcher any more.
    rig.connect("web");
    rig.connect("unused");
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn after_its_workers_it_waits_again_and_there_was_no_stop() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    rig.connect("web");
    rig.pass(2000);
    rig.said();
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0", "watch web"]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.connect("web");
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 102", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_place_that_is_empty_is_filled_by_the_next_connection() {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.numprocesses = 2)]);
    rig.connect("web");
    rig.pass(2000);
    rig.said();
    rig.exit(101, -9);
    rig.expect(["w.reap 101 -9", "watch web"]);
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.connect("web");
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 103"]);
    rig.assert_quiescent();
}

#[test]
fn early_exit_on_demand_makes_no_crash_loop() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    for (pid, rest) in [(101, 100), (102, 200), (103, 400), (104, 800)] {
        rig.connect("web");
        rig.said();
        rig.exit(pid, 3);
        rig.pass(rest * 9 / 10 - 1);
        assert_eq!(rig.said(), [format!("w.reap {pid} 3")], "it rests {rest} ms");
        rig.pass(rest * 2 / 10 + 2);
        rig.expect(["watch web"]);
    }
    // One that lives long enough is a new beginning.
    rig.connect("web");
    rig.pass(1500);
    rig.said();
    rig.exit(105, 3);
    rig.expect(["w.reap 105 3", "watch web"]);
    rig.assert_quiescent();
}

#[test]
fn short_work_well_done_rests_no_longer_each_time() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    for pid in 101..110 {
        rig.connect("web");
        rig.exit(pid, 0);
        rig.said();
        rig.pass(111);
        rig.expect(["watch web"]);
    }
    rig.assert_quiescent();
}

#[test]
fn several_that_die_together_rest_once() {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.numprocesses = 3)]);
    rig.connect("web");
    rig.exit_all(&[101, 102, 103], 1);
    rig.said();
    rig.pass(111);
    rig.expect(["watch web"]);
    rig.assert_quiescent();
}

#[test]
fn a_program_that_cannot_be_executed_rests_too() {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.max_retry = 2)]);
    for rest in [100, 200, 400] {
        rig.fail(2, ENOENT);
        rig.connect("web");
        rig.said();
        rig.pass(rest * 9 / 10 - 1);
        rig.expect([]);
        rig.pass(rest * 2 / 10 + 2);
        rig.expect(["watch web"]);
    }
    rig.assert_quiescent();
}

#[test]
fn start_with_its_name_starts_it_and_stop_lets_it_wait() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    rig.said();
    let started = rig.command("start", json!({"name": "w", "waiting": true}));
    assert_eq!(started, Some(json!({"info": {"started": [101], "kept": []}})));
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 101", "w.start"]);
    let stop = rig.send_command("stop", json!({"name": "w", "waiting": true}));
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(stop), Some(json!({"info": null})));
    rig.expect(["SIGTERM 101", "w.kill 101", "w.reap 101 -15", "w.stop", "watch web"]);
    rig.assert_quiescent();
}

#[test]
fn commands_for_all_leave_it_waiting() {
    let mut rig = waiting_rig(vec![watcher("a", |_| {}), waiter("w", |_| {})]);
    rig.said();
    assert_eq!(rig.command("start", json!({"waiting": true})), Some(json!({})));
    assert_eq!(rig.command("reload", json!({"name": "w", "waiting": true})).unwrap()["info"]["started"], json!([]));
    let restarted = rig.command("restart", json!({"name": "w", "waiting": true})).unwrap();
    assert_eq!(restarted["info"]["started"], json!([]));
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.connect("web");
    rig.said();
    // A restart ends its workers; the next connection starts new ones.
    let restart = rig.send_command("restart", json!({"name": "w", "waiting": true}));
    rig.exit(102, -15);
    assert_eq!(rig.answer_to(restart).unwrap()["info"]["stopped"], json!([102]));
    rig.expect(["SIGTERM 102", "w.kill 102", "w.reap 102 -15", "w.stop", "watch web"]);
    rig.assert_quiescent();
}

#[test]
fn a_reload_of_running_workers_replaces_them() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    rig.connect("web");
    rig.said();
    let reload = rig.send_command("reload", json!({"name": "w", "waiting": true}));
    rig.expect(["launch worker 1", "w.spawn 102"]);
    rig.pass(1000);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    rig.exit(101, -15);
    assert_eq!(rig.answer_to(reload).unwrap()["info"]["started"], json!([102]));
    assert_eq!(rig.running("w"), [102]);
    rig.assert_quiescent();
}

#[test]
fn without_autostart_only_start_starts_it() {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.autostart = false)]);
    rig.expect([]);
    rig.command("start", json!({"name": "w"}));
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.said();
    rig.pass(2000);
    rig.exit(101, 0);
    rig.expect(["w.reap 101 0"]);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}

#[test]
fn socket_of_several_watchers_is_watched_once() {
    let mut rig = waiting_rig(vec![
        waiter("both", |w| w.sockets = vec!["api".into()]),
        waiter("web", |_| {}),
        watcher("all", |w| (w.on_demand, w.use_sockets) = (true, true)),
        watcher("named", |w| {
            (w.on_demand, w.use_sockets, w.cmd) = (true, true, "worker 1 $(circus.sockets.API)".into())
        }),
        watcher("nowhere", |w| w.on_demand = true),
    ]);
    rig.expect(["watch api", "watch web"]);
    rig.connect("api");
    assert_eq!(rig.state("web"), WatcherState::Stopped);
    for name in ["both", "all", "named"] {
        assert_eq!(rig.state(name), WatcherState::Active, "{name}");
    }
    let said = rig.said();
    assert!(said.contains(&"unwatch api".into()) && !said.contains(&"unwatch web".into()), "{said:?}");
    rig.connect("web");
    assert_eq!(rig.state("web"), WatcherState::Active);
    assert!(rig.said().contains(&"unwatch web".into()));
    rig.assert_quiescent();
}

#[test]
fn no_connection_starts_a_watcher_that_is_to_be_removed() {
    let user = watcher("user", |w| w.requires = vec!["w".into()]);
    let mut rig = waiting_rig(vec![waiter("w", |_| {}), user]);
    rig.expect(["watch web", "launch worker 1", "user.spawn 101", "user.start"]);
    rig.send_command("rm", json!({"name": "w"}));
    rig.expect(["w.remove", "unwatch web", "SIGTERM 101", "user.kill 101"]);
    rig.connect("web");
    rig.expect([]);
    rig.exit(101, -15);
    rig.assert_quiescent();
}

#[test]
fn one_that_is_disabled_before_its_turn_does_not_start() {
    let slow = watcher("slow", |w| (w.numprocesses, w.warmup_delay, w.priority) = (2, 60.0, 2));
    let mut rig = waiting_rig(vec![slow, waiter("w", |_| {})]);
    rig.command("disable", json!({"name": "w"}));
    rig.pass(60_000);
    rig.connect("web");
    assert_eq!((rig.state("slow"), rig.state("w")), (WatcherState::Active, WatcherState::Stopped));
    rig.assert_quiescent();
}

#[test]
fn socket_per_worker_is_not_watched() {
    let sockets = vec![SocketConfig { so_reuseport: true, ..SocketConfig::new("web") }];
    let mut rig = Rig::with_sockets(vec![waiter("w", |_| {})], CircusConfig::default(), sockets);
    rig.settle();
    rig.expect([]);
    rig.assert_quiescent();
}

#[test]
fn changed_options_move_the_wait_at_once() {
    let mut rig = waiting_rig(vec![watcher("w", |w| (w.autostart, w.stdin_socket) = (false, Some("web".into())))]);
    rig.expect([]);
    let set = |rig: &mut Rig, key: &str, value: serde_json::Value| {
        assert_eq!(rig.command("set", json!({"name": "w", "options": {key: value}})), Some(json!({})), "{key}");
        rig.said().into_iter().filter(|line| line.contains("watch")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(set(&mut rig, "on_demand", json!(true)), "");
    assert_eq!(set(&mut rig, "autostart", json!(true)), "watch web");
    assert_eq!(set(&mut rig, "stdin_socket", json!("api")), "unwatch web watch api");
    assert_eq!(set(&mut rig, "numprocesses", json!(0)), "unwatch api");
    assert_eq!(set(&mut rig, "numprocesses", json!(1)), "watch api");
    assert_eq!(set(&mut rig, "on_demand", json!(false)), "unwatch api");
    rig.assert_quiescent();
}

#[test]
fn removed_or_stopping_watcher_stops_waiting() {
    let mut rig = waiting_rig(vec![waiter("v", |_| {}), waiter("w", |_| {})]);
    rig.said();
    rig.command("rm", json!({"name": "v", "nostop": true}));
    rig.expect(["v.remove"]);
    rig.command("rm", json!({"name": "w"}));
    rig.expect(["w.remove", "unwatch web"]);
    let options = json!({"on_demand": true, "stdin_socket": "web"});
    rig.command("add", json!({"name": "n", "cmd": "worker 1", "options": options}));
    rig.expect(["n.add", "watch web"]);
    rig.command("quit", json!({}));
    rig.connect("web");
    assert_eq!(rig.said(), ["unwatch web", "exit 0"]);
}

#[test]
fn a_watcher_that_rests_can_be_changed_and_ended() {
    for what in ["stop", "rm", "start"] {
        let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
        rig.connect("web");
        rig.exit(101, 1);
        rig.command(what, json!({"name": "w"}));
        rig.pass(10_000);
        rig.assert_quiescent();
    }
}

#[test]
fn early_exit_of_a_worker_on_demand_is_logged_with_keys() {
    let mut rig = waiting_rig(vec![waiter("w", |_| {})]);
    rig.connect("web");
    rig.logs();
    rig.pass(250);
    rig.exit(101, 7);
    let logs = rig.logs();
    let line = logs.iter().find(|line| line.contains("connections start no worker for a while")).unwrap();
    let begin = "w: worker exited too soon, connections start no worker for a while wid=1 status=7 after=0.250s wait=";
    assert!(line.starts_with(begin), "{line}");
    rig.assert_quiescent();
}

/// A watcher that was started by a connection and stops when it has had none for 40 s.
fn idling() -> Rig {
    let mut rig = waiting_rig(vec![waiter("w", |w| w.idle_timeout = 40.0)]);
    rig.connect("web");
    rig.said();
    rig
}

impl Rig {
    /// So many connections are open, it turns out.
    fn count(&mut self, open: usize) {
        let watcher = self.counts.remove(0);
        self.tell(Event::Connections { watcher, open: Ok(open) });
    }
}

#[test]
fn without_connections_it_stops_and_the_next_one_starts_it() {
    let mut rig = idling();
    rig.pass(10_000);
    rig.expect(["count connections of web"]);
    rig.count(1);
    rig.pass(10_000);
    rig.expect(["count connections of web"]);
    rig.count(0);
    rig.expect(["watch web"]);
    rig.pass(40_000);
    rig.expect(["count connections of web", "unwatch web"]);
    rig.count(0);
    rig.expect(["SIGTERM 101", "w.kill 101"]);
    // A connection that comes meanwhile is served by the next worker.
    rig.exit(101, -15);
    rig.expect(["w.reap 101 -15", "w.stop", "watch web"]);
    rig.pass(1_000_000);
    assert_eq!(rig.said(), [""; 0], "while it is stopped nothing is looked at");
    rig.connect("web");
    rig.expect(["unwatch web", "launch worker 1", "w.spawn 102", "w.start"]);
    rig.assert_quiescent();
}

#[test]
fn a_connection_that_comes_while_it_is_idle_makes_it_busy_again() {
    let mut rig = idling();
    rig.pass(10_000);
    rig.count(0);
    rig.pass(39_000);
    rig.said();
    rig.connect("web");
    rig.expect(["unwatch web"]);
    rig.pass(10_000);
    rig.expect(["count connections of web"]);
    rig.count(0);
    rig.expect(["watch web"]);
    rig.pass(40_000);
    // One was in the queue when the time was over.
    rig.count(1);
    rig.said();
    assert_eq!(rig.state("w"), WatcherState::Active);
    rig.pass(10_000);
    rig.expect(["count connections of web"]);
    rig.assert_quiescent();
}

#[test]
fn what_cannot_be_counted_does_not_stop_it() {
    let mut rig = idling();
    rig.pass(10_000);
    let watcher = rig.counts.remove(0);
    rig.tell(Event::Connections { watcher, open: Err("no /proc".into()) });
    rig.pass(9_000);
    assert_eq!(rig.running("w"), [101]);
    assert!(rig.logs().iter().any(|line| line.contains("its connections cannot be counted")));
    // The answer to a look that is out of date is none.
    rig.pass(1_000);
    let watcher = rig.counts.remove(0);
    rig.command("set", json!({"name": "w", "options": {"idle_timeout": 0}}));
    rig.tell(Event::Connections { watcher, open: Ok(0) });
    rig.pass(1_000_000);
    assert_eq!(rig.running("w"), [101]);
    rig.command("set", json!({"name": "w", "options": {"idle_timeout": 4}}));
    rig.said();
    rig.pass(1_000);
    rig.expect(["count connections of web"]);
    rig.assert_quiescent();
}

#[test]
fn another_daemon_looks_again() {
    let mut rig = idling();
    rig.pass(10_000);
    rig.said();
    rig.hand_over();
    rig.expect(["count connections of web"]);
    rig.count(0);
    rig.hand_over();
    rig.count(0);
    rig.said();
    rig.pass(40_000);
    rig.count(0);
    rig.exit(101, -15);
    assert_eq!(rig.state("w"), WatcherState::Stopped);
    rig.assert_quiescent();
}
