//! Machines of a fleet, through a real branch of Cyme.

use std::path::Path;
use std::process::Command;

use circus_test_support::{Broker, Kind};
use serde_json::{Value, json};

use crate::driver::{Browser, there_is};
use crate::rig::{ADMIN, OPERATE, READ, Rig, Stream, bearer, eventually, has_circusd, skipped};
use crate::sites::{Site, TOKEN, has_fleet, token_file};

/// Two machines, and a console that asks the branch of the first.
struct Fleet {
    // In the order in which they end.
    rig: Rig,
    one: Site,
    two: Site,
    broker: Broker,
}

impl Fleet {
    fn start(arguments: &[&str]) -> Self {
        let mut rig = Rig::bare("");
        let broker = Broker::start(Kind::Redis, &rig.path(""));
        let (mut one, mut two) = (Site::start(&rig, "one"), Site::start(&rig, "two"));
        one.start_branch(&rig, &broker.url(), &[]);
        two.start_branch(&rig, &broker.url(), &[]);
        let token = token_file(&rig, "console.token", TOKEN);
        let fleet = ["--fleet", &one.url(), "--fleet-token-file", token.to_str().unwrap()];
        rig.start_console_of(&[&fleet, arguments].concat(), &[]);
        let fleet = Self { rig, one, two, broker };
        eventually("both machines", || (up(&fleet.rig) == ["one", "two"]).then_some(()));
        fleet
    }
}

/// The names of the machines that are up.
fn up(rig: &Rig) -> Vec<String> {
    let machines = rig.get("/api/machines");
    let all = machines.as_array().unwrap().iter().filter(|machine| machine["reach"]["state"] == "up");
    let mut names: Vec<String> = all.map(|machine| machine["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn pids(rig: &Rig, machine: &str) -> Vec<u64> {
    let shown = rig.get(&format!("/api/machines/{machine}/watchers/web"));
    shown["processes"].as_array().into_iter().flatten().filter_map(|worker| worker["pid"].as_u64()).collect()
}

fn open(rig: &Rig, target: &str) -> Stream {
    Stream::open(rig.port, target, &[("Authorization", &bearer(ADMIN))])
}

fn both(test: &str) -> bool {
    has_circusd(test) && has_fleet(test)
}

const WEB: &str = "/api/machines/two/watchers/web";
const TALK: &str = "/api/machines/two/watchers/talk";

#[test]
fn a_fleet_is_shown_by_one_branch() {
    if !both("a_fleet_is_shown_by_one_branch") {
        return;
    }
    let fleet = Fleet::start(&[]);
    let rig = &fleet.rig;
    let machine = rig.get("/api/machines/two");
    assert_eq!(machine["machine"]["fleet"], json!({"url": format!("{}/", fleet.one.url()), "labels": ["test"]}));
    let names: Vec<_> = machine["watchers"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, [json!("circusd-stats"), json!("talk"), json!("web")]);
    let row = eventually("web runs", || Some(rig.get(WEB)).filter(|row| row["health"] == "ready"));
    assert_eq!((&row["state"], &row["wanted"], &row["running"]), (&json!("active"), &json!(1), &json!(1)));
    assert_eq!(rig.get(&format!("{WEB}/why"))["name"], "web");
    // What is hidden below admin is hidden of a fleet, too.
    let options = |token: &str| {
        let reply = rig.ask("GET", &format!("{TALK}/options"), &[("Authorization", &bearer(token))], "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    };
    assert!(options(ADMIN).contains("line $n") && !options(READ).contains("line $n"));
    // Figures come while somebody looks.
    let _look = open(rig, "/api/stream");
    eventually("figures", || rig.get(WEB)["rss"].as_u64().filter(|rss| *rss > 0));
    eventually("history", || {
        let history = rig.get(&format!("{WEB}/history"));
        history["points"].as_array().is_some_and(|points| !points.is_empty()).then_some(())
    });

    // What workers print, of the machine that is asked for.
    let texts = |query: &str| -> Vec<String> {
        let tail = rig.get(&format!("{TALK}/tail?{query}"));
        let lines = tail["lines"].as_array().unwrap();
        lines.iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect()
    };
    eventually("output", || (texts("lines=3").len() == 3).then_some(()));
    assert!(texts("").iter().all(|line| line.starts_with("two line ")));
    assert_eq!(texts("stream=stderr"), ["trouble at two"]);
    assert_eq!((texts("search=zork").len(), texts("wid=7").len()), (0, 0));
    let mut lines = open(rig, &format!("{TALK}/tail?lines=2&search=LINE"));
    let number = |data: &Value| -> Option<u64> {
        data["lines"].as_array()?.last()?["line"].as_str()?.strip_prefix("two line ")?.parse().ok()
    };
    let first = lines.until("a line", |_, data| number(data));
    lines.until("a later line", |_, data| number(data).filter(|number| *number > first));
    let file = rig.ask("GET", &format!("{TALK}/tail/download"), &[("Authorization", &bearer(ADMIN))], "");
    assert!(file.status == 200 && file.body.starts_with("two line 1\n"), "{}", file.body);

    for target in [
        "/api/machines/three",
        "/api/machines/two/watchers/none",
        "/api/machines/two/watchers/none/why",
        "/api/machines/two/watchers/none/tail",
    ] {
        assert_eq!(rig.ask("GET", target, &[("Authorization", &bearer(ADMIN))], "").status, 404, "{target}");
    }
}

#[test]
fn a_fleet_is_steered_by_one_branch() {
    if !both("a_fleet_is_steered_by_one_branch") {
        return;
    }
    let fleet = Fleet::start(&[]);
    let rig = &fleet.rig;
    eventually("both run", || (pids(rig, "one").len() == 1 && pids(rig, "two").len() == 1).then_some(()));
    let (of_one, of_two) = (pids(rig, "one"), pids(rig, "two"));
    let mut events = open(rig, "/api/machines/two/events");
    let act = |token: &str, action: &str, body: Value| rig.post(token, &format!("{WEB}/actions/{action}"), &body);

    assert_eq!(act(READ, "stop", json!({})).0, 403);
    let (status, answer) = act(OPERATE, "incr", json!({"nb": 2}));
    assert_eq!((status, &answer["numprocesses"]), (200, &json!(3)), "{answer}");
    eventually("two more", || (pids(rig, "two").len() == 3).then_some(()));
    events.until("a spawn", |event, data| (event == "event" && data["event"] == "spawn").then_some(()));
    assert_eq!(act(OPERATE, "decr", json!({"nb": 2})).0, 200);
    eventually("two less", || (pids(rig, "two").len() == 1).then_some(()));
    assert_eq!(act(OPERATE, "rolling-reload", json!({})).0, 200);
    eventually("other processes", || Some(pids(rig, "two")).filter(|now| now.len() == 1 && *now != of_two));
    assert_eq!(act(OPERATE, "stop", json!({})).0, 200);
    assert_eq!(rig.get(WEB)["state"], "stopped");
    for action in ["start", "restart", "reload"] {
        assert_eq!(act(OPERATE, action, json!({})).0, 200, "{action}");
    }
    let pid = eventually("a process", || pids(rig, "two").first().copied());
    let (status, answer) = act(OPERATE, "signal", json!({"signum": "KILL", "pid": pid, "recursive": true}));
    assert_eq!(status, 200, "{answer}");
    eventually("another one", || pids(rig, "two").first().filter(|now| **now != pid).copied());
    // Nothing of it has reached the other machine.
    assert_eq!(pids(rig, "one"), of_one);
    let kept = rig.get("/api/machines/two/events");
    assert!(kept["events"].as_array().unwrap().iter().any(|event| event["event"] == "reap"), "{kept}");

    // What the branch does not offer is said, whatever the role.
    let reason = "the branch of this machine does not offer it";
    let place = |rest: &str| format!("/api/machines/two/{rest}");
    for (target, body) in [
        (place("watchers/web/actions/set"), json!({"options": {"numprocesses": 2}})),
        (place("watchers/web/actions/rm"), json!({})),
        (place("watchers/web/actions/stop"), json!({"waiting": false})),
        (place("actions/stop"), json!({})),
        (place("actions/quit"), json!({})),
        (place("actions/reloadconfig"), json!({})),
    ] {
        let (status, answer) = rig.post(ADMIN, &target, &body);
        assert!(status == 409 && answer["reason"].as_str().unwrap().starts_with(reason), "{target}: {answer}");
    }
    assert_eq!(rig.ask("GET", &place("plan"), &[("Authorization", &bearer(ADMIN))], "").status, 409);
    assert_eq!(rig.post(OPERATE, "/api/machines/two/watchers/none/actions/stop", &json!({})).0, 404);
    let log = rig.logs();
    for line in [
        "reader (read) two: stop web: 403",
        "worker (operate) two: incr web: ok",
        "boss (admin) two: set web: 409: the branch",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn machines_of_a_fleet_go_and_come_back() {
    if !both("machines_of_a_fleet_go_and_come_back") {
        return;
    }
    let mut fleet = Fleet::start(&[]);
    let mut stream = open(&fleet.rig, "/api/stream");
    let reach = |of: &str, wanted: &'static str| {
        let of = of.to_owned();
        move |event: &str, data: &Value| {
            let found = event == "machine" && data["name"] == *of && data["reach"]["state"] == wanted;
            found.then(|| data["reach"]["reason"].as_str().unwrap_or_default().to_owned())
        }
    };
    stream.until("two is up", reach("two", "up"));
    // Its circusd.
    fleet.two.circusd.as_mut().unwrap().kill();
    assert!(!stream.until("two is down", reach("two", "down")).is_empty());
    assert_eq!(fleet.rig.post(OPERATE, "/api/machines/one/watchers/web/actions/restart", &json!({})).0, 200);
    fleet.two.start_circusd(&fleet.rig);
    stream.until("two is up again", reach("two", "up"));
    // Its branch: it is announced no more.
    fleet.two.branch.as_mut().unwrap().kill();
    let gone = |event: &str, data: &Value| {
        reach("two", "down")(event, data).filter(|reason| reason == "its branch is announced no more")
    };
    stream.until("two is away", gone);
    let (status, answer) = fleet.rig.post(OPERATE, "/api/machines/two/watchers/web/actions/stop", &json!({}));
    assert_eq!((status, &answer["reason"]), (503, &json!("its branch is announced no more")));
    assert_eq!(up(&fleet.rig), ["one"]);
    let broker = fleet.broker.url();
    fleet.two.start_branch(&fleet.rig, &broker, &[]);
    stream.until("two is back", reach("two", "up"));
    // The branch that is asked: the fleet itself is shown, with the reason.
    fleet.one.branch.as_mut().unwrap().kill();
    let place = format!("127.0.0.1:{}", fleet.one.port);
    let reason = stream.until("the fleet", reach(&place, "down"));
    assert!(reason.contains("cannot be reached"), "{reason}");
    fleet.one.start_branch(&fleet.rig, &broker, &[]);
    stream.until("it is a fleet of machines again", |event, data| {
        let names = data["names"].as_array().filter(|_| event == "machines")?;
        (!names.contains(&json!(place))).then_some(())
    });
    eventually("both are up", || (up(&fleet.rig) == ["one", "two"]).then_some(()));
}

#[test]
fn why_a_fleet_cannot_be_shown_is_said() {
    let test = "why_a_fleet_cannot_be_shown_is_said";
    if !both(test) {
        return;
    }
    let mut rig = Rig::bare("");
    let mut alone = Site::start(&rig, "alone");
    alone.start_branch(&rig, "memory://", &[]);
    let fleet = |rig: &Rig, token: &str| -> Vec<String> {
        let file = token_file(rig, "console.token", token);
        ["--fleet", &alone.url(), "--fleet-token-file", file.to_str().unwrap()].map(str::to_owned).into()
    };
    let given = |arguments: Vec<String>, rig: &mut Rig| {
        rig.console = None;
        rig.start_console_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    };
    let wrong = fleet(&rig, "wrong-0123456789abcdef");
    given(wrong, &mut rig);
    let machines = rig.get("/api/machines");
    let place = format!("127.0.0.1:{}", alone.port);
    let reason = "the branch refuses the token: it is missing or wrong";
    assert_eq!(machines.as_array().unwrap().len(), 1);
    assert_eq!((&machines[0]["name"], &machines[0]["reach"]["reason"]), (&json!(place), &json!(reason)));
    assert!(rig.logs().contains(&format!("circushttpd: fleet {}/: {reason}", alone.url())), "{}", rig.logs());
    let (status, answer) = rig.post(OPERATE, &format!("/api/machines/{place}/watchers/web/actions/stop"), &json!({}));
    assert_eq!((status, &answer["reason"]), (503, &json!(reason)));
    // The right one; beside a circusd that has the name of the machine.
    let mut right = fleet(&rig, TOKEN);
    right.extend(["--endpoint".to_owned(), alone.endpoint(&rig, "control"), "--name".to_owned(), "alone".to_owned()]);
    given(right, &mut rig);
    let both = ["alone".to_owned(), format!("alone@{place}")];
    eventually("both are up", || (up(&rig) == both).then_some(()));
    let shown = rig.get(&format!("/api/machines/alone@{place}/watchers/web"));
    assert_eq!(shown["state"], "active");
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_branch_over_tls_is_trusted_by_its_authority() {
    let test = "a_branch_over_tls_is_trusted_by_its_authority";
    if !both(test) {
        return;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        return skipped(test, "there is no openssl");
    }
    let mut rig = Rig::bare("");
    let folder = rig.path("");
    let key = ["req", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30"];
    for name in ["ca", "x"] {
        let made = [format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}")];
        openssl(&folder, &[&key[..], &["-x509", "-keyout", &made[0], "-out", &made[1], "-subj", &made[2]]].concat());
    }
    openssl(&folder, &[&key[..], &["-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=s"]].concat());
    std::fs::write(rig.path("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = ["x509", "-req", "-in", "s.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"];
    openssl(&folder, &[&sign[..], &["-extfile", "names", "-out", "s.pem"]].concat());
    let mut alone = Site::start(&rig, "alone");
    let path = |name: &str| rig.path(name).display().to_string();
    let tls = ["--tls-certificate".to_owned(), path("s.pem"), "--tls-key".to_owned(), path("s.key")];
    alone.start_branch(&rig, "memory://", &tls.each_ref().map(String::as_str));
    let (token, url) = (token_file(&rig, "console.token", TOKEN), format!("https://127.0.0.1:{}", alone.port));
    let fleet = ["--fleet", &url, "--fleet-token-file", token.to_str().unwrap()];
    let trusted = [("SSL_CERT_FILE", rig.path("ca.pem"))];
    rig.start_console_of(&fleet, &trusted);
    eventually("the machine", || (up(&rig) == ["alone"]).then_some(()));
    // Another authority.
    rig.console = None;
    let other = [("SSL_CERT_FILE", rig.path("x.pem"))];
    rig.start_console_of(&fleet, &other);
    let reason = rig.get("/api/machines")[0]["reach"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("certificate"), "{reason}");
}

#[test]
fn a_machine_of_a_fleet_in_the_browser() {
    let test = "a_machine_of_a_fleet_in_the_browser";
    if !both(test) || !there_is(test) {
        return;
    }
    let fleet = Fleet::start(&[]);
    let browser = Browser::start(&fleet.rig.path("driver.log"));
    browser.go(&format!("http://127.0.0.1:{}/", fleet.rig.port));
    browser.keys("#token", &format!("{ADMIN}\u{e007}"));
    let rows = "[...document.querySelectorAll('.watchers .row.machine')].map((row) => row.textContent)";
    browser.until(
        "two machines",
        &format!("{rows}.filter((text) => text.includes('up') && text.includes('test')).length === 2"),
    );
    browser.script("location.hash = '#/w/two/web'");
    let state = |word: &str| {
        browser.until(word, &format!("document.querySelector('h1 .state').textContent === {word:?}"));
    };
    state("ready");
    browser.until("a process", "document.querySelectorAll('.processes .body .row').length === 1");
    let dead = |name: &str| {
        format!(
            "[...document.querySelectorAll('[data-action={name}]')].every((button) => button.disabled && button.title.includes('does not offer it'))"
        )
    };
    for name in ["run", "enable", "disable", "rm", "kill", "set"] {
        browser.until(&format!("{name} is not offered"), &dead(name));
    }
    let bar = "[aria-label=Actions]";
    browser.press(bar, "Stop");
    browser.until("a dialog", "document.getElementById('ask').open");
    browser.click("#ask-yes");
    browser.until("it is done", "document.getElementById('said').textContent.includes('stop web: done')");
    state("stopped");
    browser.press(bar, "Start");
    state("ready");
    browser.until("options", "document.querySelector('main table input[name=cmd]')");
    browser.script("location.hash = '#/w/two/talk'");
    browser.until(
        "its output",
        "[...document.querySelectorAll('.lines .pad > div')].some((line) => line.textContent.includes('two line '))",
    );
    browser.script("location.hash = '#/configuration'");
    browser.until("nothing to configure", "!document.querySelector('main > .note').hidden");
    browser.until("it is dead", &dead("quit"));
    // A watcher without a stream has no output, which the browser notes as a request that fails.
    let complaints = browser.complaints();
    let other: Vec<_> = complaints.iter().filter(|text| !text.contains("responded with a status of 4")).collect();
    assert!(other.is_empty(), "{other:?}");
}
