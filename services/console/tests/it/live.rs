//! Streams: what changes, what workers print, and that neither grows without bounds.

use serde_json::{Value, json};

use crate::rig::{ADMIN, OPERATE, READ, Rig, Stream, bearer, eventually, has_circusd};

const INI: &str = "[watcher:web]\ncmd = sleep 1000\n\
    [watcher:talk]\ncmd = sh -c 'n=0; while :; do n=$((n+1)); echo line $n; echo oops $n >&2; sleep 0.2; done'\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/talk.log\n\
    stderr_stream.class = FileStream\nstderr_stream.filename = FOLDER/talk.err\n\
    [watcher:flood]\ncmd = sh -c 'while :; do cat FOLDER/page; done'\nautostart = no\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = /dev/null\nstdout_stream.max_bytes = 0\n";

fn open(rig: &Rig, target: &str) -> Stream {
    let stream = Stream::open(rig.port, target, &[("Authorization", &bearer(READ))]);
    assert_eq!(stream.status, 200, "{target}");
    stream
}

#[test]
fn changes_come_by_themselves() {
    if !has_circusd("changes_come_by_themselves") {
        return;
    }
    let rig = Rig::new(INI);
    rig.hears("web");
    let mut stream = open(&rig, "/api/stream?machine=box&watcher=web");
    stream
        .until("the machine is up", |event, data| (event == "machine" && data["reach"]["state"] == "up").then_some(()));
    stream.until("its row", |event, data| {
        let mut rows = data["rows"].as_array().into_iter().flatten();
        (event == "rows" && rows.any(|row| row["name"] == "web" && row["state"] == "active")).then_some(())
    });
    let pid = stream.until("the watcher in full", |event, data| {
        let worker = &data["watcher"]["processes"][0];
        (event == "watcher").then(|| worker["pid"].as_u64())?
    });
    let (status, _) = rig.post(OPERATE, "/api/machines/box/watchers/web/actions/restart", &json!({}));
    assert_eq!(status, 200);
    stream.until("the end of the process", |event, data| {
        (event == "event" && data["event"] == "reap" && data["process_pid"] == pid).then_some(())
    });
    stream.until("another process", |event, data| {
        let now = data["watcher"]["processes"][0]["pid"].as_u64();
        (event == "watcher" && now.is_some() && now != Some(pid)).then_some(())
    });
    assert_eq!(rig.post(ADMIN, "/api/machines/box/watchers/web/actions/rm", &json!({})).0, 200);
    stream.until("it is gone", |event, data| (event == "gone" && data["watcher"] == "web").then_some(()));
}

#[test]
fn events_are_given_from_where_a_client_stopped() {
    if !has_circusd("events_are_given_from_where_a_client_stopped") {
        return;
    }
    let rig = Rig::new(INI);
    let mut stream = open(&rig, "/api/machines/box/events");
    rig.hears("web");
    assert_eq!(rig.post(OPERATE, "/api/machines/box/watchers/web/actions/restart", &json!({})).0, 200);
    let number = stream.until("an event", |event, data| (event == "event").then(|| data["number"].as_u64())?);
    eventually("more events", || (rig.get("/api/machines/box/events")["last"].as_u64()? > number).then_some(()));
    let after = rig.get(&format!("/api/machines/box/events?after={number}"));
    assert_eq!(after["events"][0]["number"], number + 1);
    let headers = [("Authorization", bearer(READ)), ("Last-Event-ID", number.to_string())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut again = Stream::open(rig.port, "/api/machines/box/events", &headers);
    let next = again.until("the next event", |event, data| (event == "event").then(|| data["number"].as_u64())?);
    assert_eq!(next, number + 1);
}

#[test]
fn output_is_followed_without_a_gap() {
    if !has_circusd("output_is_followed_without_a_gap") {
        return;
    }
    let rig = Rig::new(INI);
    for (stream, word) in [("stdout", "line"), ("stderr", "oops")] {
        let mut follow = open(&rig, &format!("/api/machines/box/watchers/talk/tail?stream={stream}&lines=100000"));
        let mut seen: Vec<u64> = Vec::new();
        follow.until("twenty lines", |event, data| {
            assert_eq!((event, &data["missed"]), ("lines", &json!(0)));
            let lines = data["lines"].as_array().unwrap().iter().map(|line| line["line"].as_str().unwrap().to_owned());
            seen.extend(lines.map(|line| line.strip_prefix(word).unwrap().trim().parse::<u64>().unwrap()));
            (seen.len() >= 20).then_some(())
        });
        assert!(seen.windows(2).all(|two| two[1] == two[0] + 1), "{seen:?}");
    }
    let none = Stream::open(rig.port, "/api/machines/box/watchers/none/tail", &[("Authorization", &bearer(READ))]);
    assert_eq!(none.status, 404);
}

/// The resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A browser that reads nothing costs nothing: what it does not take is dropped, and counted once it reads again.
#[test]
fn a_flood_of_output_is_bounded() {
    if !has_circusd("a_flood_of_output_is_bounded") {
        return;
    }
    let rig = Rig::new(INI);
    let page: String = (0..2000).map(|number| format!("{number:0100}\n")).collect();
    std::fs::write(rig.path("page"), page).unwrap();
    let mut follow = open(&rig, "/api/machines/box/watchers/flood/tail?lines=1");
    follow.until("it follows", |event, _| (event == "lines").then_some(()));
    assert_eq!(rig.post(OPERATE, "/api/machines/box/watchers/flood/actions/start", &json!({})).0, 200);
    let pid = rig.console.as_ref().unwrap().pid();
    let mut lines = 0;
    let mut dropped = 0;
    let mut take = |follow: &mut Stream, enough: u64| {
        follow.until("lines that were dropped", |_, data| {
            lines += data["lines"].as_array().unwrap().len() as u64;
            assert!(data["lines"].as_array().unwrap().len() <= 500);
            dropped += data["dropped"].as_u64().unwrap() + data["missed"].as_u64().unwrap();
            (dropped >= enough).then_some(())
        });
        dropped
    };
    let first = take(&mut follow, 20_000);
    let before = resident(pid);
    // Another one, which reads nothing meanwhile.
    let mut lazy = open(&rig, "/api/machines/box/watchers/flood/tail?lines=1");
    take(&mut follow, first + 200_000);
    let grown = resident(pid).saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB more after a flood");
    let said = lazy.until("its count", |_, data| data["dropped"].as_u64().filter(|count| *count > 0));
    assert!(said > 0);
    // Other questions are answered meanwhile.
    assert_eq!(rig.get("/api/machines/box/watchers/flood")["state"], "active");
}

#[test]
fn a_circusd_that_comes_back_is_shown_again() {
    if !has_circusd("a_circusd_that_comes_back_is_shown_again") {
        return;
    }
    let mut rig = Rig::new(INI);
    let mut stream = open(&rig, "/api/stream");
    let reach = |wanted: &'static str| {
        move |event: &str, data: &Value| (event == "machine" && data["reach"]["state"] == wanted).then(|| data.clone())
    };
    stream.until("it is up", reach("up"));
    rig.circusd.as_mut().unwrap().kill();
    let down = stream.until("it is down", reach("down"));
    assert!(down["reach"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{down}");
    let (status, answer) = rig.post(OPERATE, "/api/machines/box/watchers/web/actions/stop", &json!({}));
    assert_eq!(status, 503, "{answer}");
    rig.circusd = None;
    rig.start_circusd();
    stream.until("it is up again", reach("up"));
    // Nothing that was asked for meanwhile is done now.
    eventually("web runs", || (rig.get("/api/machines/box/watchers/web")["state"] == "active").then_some(()));
    eventually("events come again", || {
        rig.post(OPERATE, "/api/machines/box/watchers/web/actions/restart", &json!({}));
        let events = rig.get("/api/machines/box/events");
        events["events"].as_array().unwrap().iter().any(|event| event["event"] == "reap").then_some(())
    });
}
