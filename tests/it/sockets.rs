//! What workers get of circusd's sockets.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;

use crate::rig::{Answer, Circusd, Http, Process, Site, wait_until};

/// Three sockets, in another order than that of their names, and the watchers of a test.
fn start(watchers: &str) -> Circusd {
    Site::new().start(&format!(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [socket:api]
         host = 127.0.0.1
         port = 0
         [socket:local]
         path = {{dir}}/local
         {watchers}"
    ))
}

/// circusd's own sockets by number.
fn own(circusd: &Circusd) -> BTreeMap<i32, PathBuf> {
    let fds = circusd.process().fds();
    [3, 4, 5].map(|number| (number, fds[&number].clone())).into()
}

fn above_standard(worker: Process) -> BTreeMap<i32, PathBuf> {
    let mut fds = worker.fds();
    fds.retain(|number, _| *number > 2);
    fds
}

#[test]
fn they_are_numbered_in_order_of_name() {
    let circusd = start("");
    let reply = circusd.tell("listsockets", json!({}));
    let sockets = reply["sockets"].as_array().unwrap();
    let named: Vec<_> =
        sockets.iter().map(|one| (one["fd"].as_i64().unwrap(), one["name"].as_str().unwrap())).collect();
    assert_eq!(named, [(3, "api"), (4, "local"), (5, "web")]);
    assert_eq!(sockets[1]["path"], circusd.path("local").to_str().unwrap());
}

#[test]
fn use_sockets_passes_all_at_circusds_own_numbers_and_no_variable() {
    let circusd = start(
        "[watcher:w]
         cmd = {knobs} say api=$(circus.sockets.api) say web=$(CIRCUS.sockets.Web) say ((circus.sockets.local))
         use_sockets = True
         stdout_stream.filename = {dir}/w.log",
    );
    circusd.wait_for_text("w.log", "api=3\nweb=5\n4\n");
    let worker = circusd.workers("w")[0];
    assert_eq!(above_standard(worker), own(&circusd));
    assert!(worker.environment().is_empty());
}

#[test]
fn named_sockets_are_passed_as_systemd_does() {
    let circusd = start(
        "[watcher:w]
         cmd = {knobs} say web=$(circus.sockets.web) say local=$(circus.sockets.local)
         sockets = web, Local
         stdout_stream.filename = {dir}/w.log
         [env:w]
         LISTEN_FDS = 7
         OTHER = yes",
    );
    circusd.wait_for_text("w.log", "web=3\nlocal=4\n");
    let worker = circusd.workers("w")[0];
    let own = own(&circusd);
    assert_eq!(above_standard(worker), BTreeMap::from([(3, own[&5].clone()), (4, own[&4].clone())]));
    let expected = [
        ("LISTEN_FDS", "2".to_owned()),
        ("LISTEN_PID", worker.0.to_string()),
        ("LISTEN_FDNAMES", "web:local".to_owned()),
        ("OTHER", "yes".to_owned()),
    ];
    assert_eq!(worker.environment(), expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn without_either_nothing_is_passed() {
    let circusd = start("[watcher:w]\ncmd = {knobs} say $(circus.sockets.web)\nstdout_stream.filename = {dir}/w.log");
    // As in Circus the number is filled in, though nothing is there.
    circusd.wait_for_text("w.log", "5\n");
    assert_eq!(circusd.workers("w")[0].fd_numbers(), [0, 1, 2]);
}

#[test]
fn a_socket_can_be_standard_input() {
    let circusd = start(
        "[watcher:w]
         cmd = {knobs} serve 0
         stdin_socket = web",
    );
    let worker = circusd.wait_for_workers("w", 1)[0];
    // The loader opens libraries for a moment.
    wait_until("it has no descriptor but these", || worker.fd_numbers().len() == 3);
    assert_eq!(worker.fds()[&0], own(&circusd)[&5]);
    assert_eq!(worker.fd_numbers(), [0, 1, 2]);
    assert_eq!(crate::web::http(&circusd, "web").get(), Answer::Body(format!("{}\n", worker.0)));
}

#[test]
fn unix_sockets_have_the_modes_that_their_umasks_leave_and_go_with_circusd() {
    let site = Site::new();
    drop(std::os::unix::net::UnixListener::bind(site.path("old")).unwrap());
    let mut circusd = site.start(
        "[circus]
         umask = 077
         [socket:default]
         path = {dir}/default
         [socket:open]
         path = {dir}/open
         umask = 000
         [socket:shut]
         path = {dir}/shut
         umask = 0177
         [socket:old]
         path = {dir}/old
         replace = True
         [watcher:w]
         cmd = {knobs} serve $(circus.sockets.old)
         use_sockets = True",
    );
    let mode = |name: &str| std::fs::metadata(circusd.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["default", "open", "shut"].map(mode), [0o767, 0o777, 0o600]);
    assert_eq!(["control", "events"].map(mode), [0o600, 0o600]);
    let worker = circusd.wait_for_workers("w", 1)[0];
    assert_eq!(Http::get_at(&circusd.path("old")), Answer::Body(format!("{}\n", worker.0)));
    circusd.quit();
    assert!(!["default", "open", "shut", "old"].iter().any(|name| circusd.path(name).exists()));
}

#[test]
fn while_no_worker_is_there_visitors_wait_and_are_served_afterwards() {
    let circusd = start(
        "[watcher:w]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True",
    );
    let http = crate::web::http(&circusd, "web");
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    let visitors: Vec<_> = (0..20).map(|_| http.begin()).collect();
    assert!(visitors.iter().all(|visitor| visitor.inode_of_server().is_none()));
    circusd.tell("start", json!({"name": "w", "waiting": true}));
    let worker = circusd.workers("w")[0];
    for visitor in visitors {
        assert_eq!(visitor.end(), Answer::Body(format!("{}\n", worker.0)));
    }
}

#[test]
fn a_restart_of_circusd_keeps_its_sockets_open() {
    let circusd = start(
        "[watcher:w]
         cmd = {knobs} serve $(circus.sockets.web)
         use_sockets = True",
    );
    let http = crate::web::http(&circusd, "web");
    let before = circusd.wait_for_workers("w", 1)[0];
    let sockets = own(&circusd);
    circusd.tell("restart", json!({}));
    let mut answers = Vec::new();
    wait_until("another worker answers", || {
        answers.push(http.get());
        matches!(answers.last(), Some(Answer::Body(body)) if *body != format!("{}\n", before.0))
    });
    answers.retain(|answer| !matches!(answer, Answer::Body(_)));
    // Only a request that the old worker had begun may be cut.
    assert!(answers.len() <= 1 && answers.iter().all(|answer| *answer == Answer::Cut), "{answers:?}");
    assert_eq!(own(&circusd), sockets);
}

/// Connections to sockets of workers that accept none: they wait in the queues of those sockets.
#[test]
fn connections_that_wait_survive_a_graceful_reload() {
    let circusd = Site::new().start(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         so_reuseport = True
         [watcher:w]
         cmd = sh -c 'exec sleep 1000' $(circus.sockets.web)
         use_sockets = True
         numprocesses = 2",
    );
    let before = circusd.wait_for_workers("w", 2);
    let port = circusd.tell("listsockets", json!({}))["sockets"][0]["port"].as_u64().unwrap();
    let connect = |_| std::net::TcpStream::connect(("127.0.0.1", port as u16)).unwrap();
    let waiting: Vec<_> = (0..20).map(connect).collect();
    circusd.tell("reload", json!({"name": "w", "waiting": true}));
    assert!(before.iter().all(|worker| !worker.lives()));
    let is_open = |stream: &std::net::TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(waiting.iter().all(is_open), "the sockets of the old workers are those of the new ones");
    circusd.tell("stop", json!({"name": "w", "waiting": true}));
    wait_until("the queues are closed", || !waiting.iter().any(is_open));
}
