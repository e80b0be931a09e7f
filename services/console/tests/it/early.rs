//! Requests that come before circusd has told what there is, or while there is none.

use nix::sys::signal::Signal;

use crate::rig::{ADMIN, Reply, Rig, Stream, bearer, eventually, has_circusd, send};

const INI: &str = "[socket:web]\nhost = 127.0.0.1\nport = 0\n[watcher:web]\ncmd = sleep 1000\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/web.log\n";

/// Every path that asks, of this watcher.
fn questions(rig: &Rig, watcher: &str) -> Vec<String> {
    let document = rig.ask("GET", "/api/openapi.json", &[], "").json();
    let paths = document["paths"].as_object().unwrap();
    let gets = paths.iter().filter(|(path, methods)| methods["get"]["x-role"].is_string() && *path != "/api/stream");
    gets.map(|(path, _)| path.replace("{machine}", "box").replace("{watcher}", watcher)).collect()
}

#[test]
fn a_question_waits_for_what_circusd_tells() {
    if !has_circusd("a_question_waits_for_what_circusd_tells") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    rig.circusd.as_ref().unwrap().signal(Signal::SIGSTOP);
    rig.start_console(&[]);
    let admin = bearer(ADMIN);
    let headers = [("Authorization", admin.as_str())];
    let ask = |path: &String| (path.clone(), send(rig.port, "GET", path, &headers, "").unwrap());
    let mut asked: Vec<_> = questions(&rig, "web").iter().map(ask).collect();
    // Stopped again and again, circusd would be away in the end; so only what was sent before this is known to be early.
    assert_eq!(rig.ask("GET", "/api/session", &headers, "").status, 200);
    rig.circusd.as_ref().unwrap().signal(Signal::SIGCONT);
    assert!(asked.len() > 10, "{asked:?}");
    for (path, mut stream) in asked.drain(..) {
        let reply = Reply::read(&mut stream, "GET").unwrap();
        assert_eq!(reply.status, 200, "{path}: {}\n{}", reply.body, rig.logs());
    }
    let mut follow = Stream::open(rig.port, "/api/machines/box/watchers/web/tail", &headers);
    follow.until("it follows", |event, _| (event == "lines").then_some(()));
    // There is no such watcher, and this is known by now.
    let mut none = Stream::open(rig.port, "/api/stream?machine=box&watcher=none", &headers);
    none.until("it does not exist", |event, data| (event == "gone" && data["watcher"] == "none").then_some(()));
}

/// Without a circusd, nothing tells that there is no such watcher.
#[test]
fn a_circusd_that_is_away_has_no_watchers_that_are_missing() {
    if !has_circusd("a_circusd_that_is_away_has_no_watchers_that_are_missing") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_console(&[]);
    let admin = bearer(ADMIN);
    for path in questions(&rig, "web").iter().filter(|path| path.contains("/watchers/")) {
        let reply = rig.ask("GET", path, &[("Authorization", &admin)], "");
        assert_eq!(reply.status, 503, "{path}: {}", reply.body);
        assert!(!reply.json()["reason"].as_str().unwrap_or_default().is_empty(), "{path}: {}", reply.body);
    }
    rig.start_circusd();
    eventually("it is found", || {
        (rig.ask("GET", "/api/machines/box/watchers/web/history", &[("Authorization", &admin)], "").status == 200)
            .then_some(())
    });
}
