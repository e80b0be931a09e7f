//! Who may do what: every action without a token, with each role, from another site, under another name; paths that lead
//! elsewhere; texts that look like HTML.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::rig::{
    ADMIN, OPERATE, Process, READ, Reply, Rig, Stream, WEBS, ask_at, bearer, console, eventually, has_circusd, skipped,
};

const INI: &str = "[watcher:web]\ncmd = sh -c 'exec sleep 1000' --password hidden\n";

/// Every path that changes something, with the role that it takes.
fn changes(rig: &Rig) -> Vec<(String, String)> {
    let document = rig.ask("GET", "/api/openapi.json", &[], "").json();
    let paths = document["paths"].as_object().unwrap();
    let posts = paths.iter().filter_map(|(path, methods)| {
        let role = methods["post"]["x-role"].as_str()?;
        Some((path.replace("{machine}", "box").replace("{watcher}", "web"), role.to_owned()))
    });
    let found: Vec<(String, String)> = posts.collect();
    assert!(found.len() > 20, "{found:?}");
    found
}

/// Every path that asks, but for the open ones.
fn questions(rig: &Rig) -> Vec<String> {
    let document = rig.ask("GET", "/api/openapi.json", &[], "").json();
    let paths = document["paths"].as_object().unwrap();
    let gets = paths.iter().filter(|(_, methods)| methods["get"]["x-role"].is_string());
    gets.map(|(path, _)| path.replace("{machine}", "box").replace("{watcher}", "web")).collect()
}

fn circus(rig: &Rig) -> (Value, Value) {
    let web = rig.get("/api/machines/box/watchers/web");
    (web["processes"][0]["pid"].clone(), web["state"].clone())
}

fn log_in(rig: &Rig, token: &str) -> Reply {
    rig.ask("POST", "/api/login", &[("Content-Type", "application/json")], &json!({"token": token}).to_string())
}

/// The cookie, and the secret of a session.
fn session(rig: &Rig, token: &str) -> (String, String) {
    let reply = log_in(rig, token);
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (cookie, reply.json()["csrf"].as_str().unwrap().to_owned())
}

#[test]
fn nothing_is_done_for_those_who_may_not() {
    if !has_circusd("nothing_is_done_for_those_who_may_not") {
        return;
    }
    let rig = Rig::new(INI);
    eventually("web runs", || (circus(&rig).1 == "active").then_some(()));
    let before = circus(&rig);
    let (cookie, csrf) = session(&rig, ADMIN);
    let json = ("Content-Type", "application/json");
    let changes = changes(&rig);
    for (path, role) in &changes {
        let status = |headers: &[(&str, &str)]| rig.ask("POST", path, headers, "{}").status;
        assert_eq!(status(&[json]), 401, "without a token: {path}");
        assert_eq!(status(&[json, ("Authorization", "Bearer wrong-0123456789abcdef")]), 401, "{path}");
        assert_eq!(status(&[json, ("Authorization", &bearer(READ))]), 403, "with the role read: {path}");
        if role == "admin" {
            assert_eq!(status(&[json, ("Authorization", &bearer(OPERATE))]), 403, "with the role operate: {path}");
        }
        // The browser of an admin, on a page of another site.
        let own = ("Cookie", cookie.as_str());
        let secret = ("X-CSRF-Token", csrf.as_str());
        assert_eq!(status(&[json, own]), 403, "without the secret of the session: {path}");
        assert_eq!(status(&[json, own, ("X-CSRF-Token", "guess")]), 403, "{path}");
        assert_eq!(status(&[json, own, secret, ("Origin", "http://evil.example")]), 403, "cross-origin: {path}");
        assert_eq!(status(&[json, own, secret, ("Origin", "null")]), 403, "cross-origin: {path}");
        assert_eq!(status(&[json, own, secret, ("Sec-Fetch-Site", "cross-site")]), 403, "cross-site: {path}");
        assert_eq!(status(&[json, own, secret, ("Host", "evil.example")]), 403, "a forged Host: {path}");
        let admin = ("Authorization", bearer(ADMIN));
        let admin = (admin.0, admin.1.as_str());
        assert_eq!(status(&[json, admin, ("Host", "evil.example:80")]), 403, "a forged Host: {path}");
        assert_eq!(rig.ask("GET", path, &[admin], "").status, 404, "GET {path}");
        assert_eq!(rig.ask("PUT", path, &[admin, json], "{}").status, 405, "PUT {path}");
        // What a form of another site can send.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            assert_eq!(rig.ask("POST", path, &[admin, ("Content-Type", kind)], "{\"a\": 1}").status, 400, "{path}");
        }
    }
    for path in questions(&rig) {
        assert_eq!(rig.ask("GET", &path, &[], "").status, 401, "{path}");
        let cookie = ("Cookie", cookie.as_str());
        for other in [("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-site")] {
            assert_eq!(rig.ask("GET", &path, &[cookie, other], "").status, 403, "{path} {other:?}");
        }
    }
    let plan = rig.ask("GET", "/api/machines/box/plan", &[("Authorization", &bearer(OPERATE))], "");
    assert_eq!(plan.status, 403);
    assert_eq!(circus(&rig), before, "nothing has happened");
    // What was refused with a known token stands in the log.
    assert!(rig.logs().contains("reader (read) box: quit: 403"));
}

#[test]
fn sessions_are_opened_and_closed() {
    if !has_circusd("sessions_are_opened_and_closed") {
        return;
    }
    let rig = Rig::new(INI);
    for wrong in ["", "wrong", "admin", &ADMIN[1..], &format!("{ADMIN}x")] {
        let reply = log_in(&rig, wrong);
        assert_eq!((reply.status, reply.header("set-cookie")), (401, None), "{wrong}");
    }
    let reply = log_in(&rig, OPERATE);
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains(OPERATE), "{cookie}");
    assert!(!reply.body.contains(OPERATE));
    let foreign = rig.ask(
        "POST",
        "/api/login",
        &[("Content-Type", "application/json"), ("Origin", "http://evil.example")],
        &json!({"token": ADMIN}).to_string(),
    );
    assert_eq!(foreign.status, 403);
    let (cookie, csrf) = session(&rig, OPERATE);
    let headers = [("Cookie", cookie.as_str()), ("X-CSRF-Token", csrf.as_str()), ("Content-Type", "application/json")];
    let status = |path: &str| rig.ask("POST", path, &headers, "{}").status;
    assert_eq!(status("/api/machines/box/watchers/web/actions/restart"), 200);
    assert_eq!(status("/api/machines/box/watchers/web/actions/rm"), 403);
    assert_eq!(status("/api/logout"), 200);
    assert_eq!(status("/api/machines/box/watchers/web/actions/restart"), 401);
    // A session's secret is its own.
    let (first, _) = session(&rig, OPERATE);
    let (_, second) = session(&rig, OPERATE);
    let mixed = [("Cookie", first.as_str()), ("X-CSRF-Token", second.as_str())];
    assert_eq!(rig.ask("POST", "/api/logout", &mixed, "").status, 403);
}

#[test]
fn paths_lead_nowhere_else() {
    if !has_circusd("paths_lead_nowhere_else") {
        return;
    }
    let rig = Rig::new(INI);
    eventually("web runs", || (circus(&rig).1 == "active").then_some(()));
    let mut up = String::new();
    for _ in 0..8 {
        up.push_str("../");
    }
    let encoded = up.replace('/', "%2f").replace('.', "%2e");
    let admin = bearer(ADMIN);
    for path in [
        format!("/static/{up}etc/passwd"),
        format!("/static/{encoded}etc%2fpasswd"),
        "/static/..%5c..%5cetc/passwd".into(),
        "/static//etc/passwd".into(),
        "/static/%2fetc%2fpasswd".into(),
        "/static/main.js%00".into(),
        "/static/".into(),
        "/etc/passwd".into(),
        format!("/{up}etc/passwd"),
        format!("/api/machines/box/watchers/{encoded}etc%2fpasswd/tail"),
        format!("/api/machines/box/watchers/{up}etc/passwd/tail"),
        format!("/api/machines/box/watchers/{encoded}etc%2fpasswd/tail/download"),
        format!("/api/machines/{encoded}/watchers/web/tail"),
        "/api/machines/box/watchers/web%2ftail/tail".into(),
    ] {
        let reply = rig.ask("GET", &path, &[("Authorization", &admin)], "");
        assert!(reply.status == 404 || reply.status == 400, "{path}: {}", reply.status);
        assert!(!reply.body.contains("root:"), "{path}");
    }
    for stream in ["../../etc/passwd", "%2fetc%2fpasswd", "stdout%00"] {
        let path = format!("/api/machines/box/watchers/web/tail?stream={stream}");
        assert_eq!(rig.ask("GET", &path, &[("Authorization", &admin)], "").status, 400, "{stream}");
    }
}

/// What workers print is never a page's HTML, and a name is no header.
#[test]
fn output_is_text() {
    if !has_circusd("output_is_text") {
        return;
    }
    let rig = Rig::new(
        "[watcher:talk]\ncmd = sh -c 'echo \"<script>alert(1)</script>\"; exec sleep 1000'\n\
        stdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/talk.log\n",
    );
    let admin = bearer(ADMIN);
    let ask = |path: &str| rig.ask("GET", path, &[("Authorization", &admin)], "");
    let tail = eventually("the line", || {
        let tail = ask("/api/machines/box/watchers/talk/tail");
        tail.body.contains("script").then_some(tail)
    });
    assert_eq!(tail.header("content-type"), Some("application/json"));
    let file = ask("/api/machines/box/watchers/talk/tail/download");
    assert_eq!(file.body, "<script>alert(1)</script>\n");
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    let page = rig.ask("GET", "/", &[], "");
    for reply in [&tail, &file, &page, &ask("/api/zork"), &rig.ask("GET", "/static/main.js", &[], "")] {
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    let evil = ask("/api/machines/box/watchers/a%0d%0aX-Evil:%201%22/tail/download");
    assert!(evil.status == 404 || evil.status == 409, "{}", evil.status);
    assert_eq!(evil.header("x-evil"), None);
}

/// Whatever a token with watchers asks for, it gets nothing of another one.
#[test]
fn a_token_with_watchers_opens_no_other_door() {
    if !has_circusd("a_token_with_watchers_opens_no_other_door") {
        return;
    }
    let rig = Rig::new(
        "[socket:mail]\nhost = 127.0.0.1\nport = 0\n\
         [watcher:web]\ncmd = sleep 1000\nstdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/web.log\n\
         [watcher:mail]\ncmd = sleep 1000\nsockets = mail\nstdout_stream.class = FileStream\nstdout_stream.filename = FOLDER/mail.log\n",
    );
    eventually("web runs", || (circus(&rig).1 == "active").then_some(()));
    rig.hears("mail");
    let mail = || rig.get("/api/machines/box/watchers/mail")["processes"][0]["pid"].clone();
    let before = mail();
    let token = bearer(WEBS);
    let (cookie, csrf) = session(&rig, WEBS);
    let ways =
        [vec![("Authorization", token.as_str())], vec![("Cookie", cookie.as_str()), ("X-CSRF-Token", csrf.as_str())]];
    let mut asked = (0, 0);
    for way in &ways {
        for path in questions(&rig).iter().filter(|path| !path.ends_with("/stream")) {
            let shared = path.ends_with("/sockets") || path.ends_with("/plan");
            let reply = rig.ask("GET", path, way, "");
            assert_eq!(reply.status, if shared { 403 } else { 200 }, "{path}: {}", reply.body);
            assert!(!reply.body.contains("mail"), "{path}: {}", reply.body);
            let other = path.replace("/web", "/mail");
            if other != *path {
                let reply = rig.ask("GET", &other, way, "");
                assert_eq!(reply.status, 403, "{other}: {}", reply.body);
                assert!(reply.body.contains("'webs' may not touch watcher 'mail'"), "{}", reply.body);
                asked.0 += 1;
            }
        }
        let json = ("Content-Type", "application/json");
        for (path, _) in changes(&rig) {
            let other = path.replace("/watchers/web/", "/watchers/mail/");
            if !path.ends_with("/logout") && (other != path || path.contains("box/actions/")) {
                let reply = rig.ask(
                    "POST",
                    &other,
                    &[&way[..], &[json]].concat(),
                    &json!({"name": "mail", "cmd": "x"}).to_string(),
                );
                assert_eq!(reply.status, 403, "{other}: {}", reply.body);
                asked.1 += 1;
            }
        }
        let other = Stream::open(rig.port, "/api/stream?machine=box&watcher=mail", way);
        assert_eq!(other.status, 403);
        let follow = Stream::open(rig.port, "/api/machines/box/watchers/mail/tail", way);
        assert_eq!(follow.status, 403);
        let mut stream = Stream::open(rig.port, "/api/stream?machine=box&watcher=web", way);
        let mut events = Stream::open(rig.port, "/api/machines/box/events", way);
        assert_eq!(rig.post(ADMIN, "/api/machines/box/watchers/mail/actions/reload", &json!({})).0, 200);
        assert_eq!(rig.post(WEBS, "/api/machines/box/watchers/web/actions/restart", &json!({})).0, 200);
        for stream in [&mut stream, &mut events] {
            stream.until("the event of web", |event, data| {
                assert!(!data.to_string().contains("mail"), "{event}: {data}");
                (event == "event" && data["event"] == "reap").then_some(())
            });
        }
    }
    assert!(asked.0 >= 12 && asked.1 > 40, "{asked:?}");
    assert_ne!(mail(), before, "another one may reload it");
    assert_eq!(rig.ask("GET", "/api/session", &ways[0], "").json()["all"], false);
    // A new one within its own is its.
    let (status, answer) =
        rig.post(WEBS, "/api/machines/box/actions/add", &json!({"name": "web2", "cmd": "sleep 1000"}));
    assert_eq!(status, 200, "{answer}");
}

/// A key of admin does not show all to a token of read.
#[test]
fn arguments_are_for_admin() {
    if !has_circusd("arguments_are_for_admin") {
        return;
    }
    let rig =
        Rig::new("[watcher:web]\ncmd = sleep 1000\nenv = SECRET=hidden\ncopy_env = no\n[env:web]\nPASSWORD = hidden\n");
    eventually("web runs", || (circus(&rig).1 == "active").then_some(()));
    for path in questions(&rig).iter().filter(|path| !path.ends_with("/stream")) {
        for token in [READ, OPERATE] {
            let reply = rig.ask("GET", path, &[("Authorization", &bearer(token))], "");
            assert!(!reply.body.contains("hidden"), "{path}: {}", reply.body);
        }
    }
    assert!(rig.get("/api/machines/box/watchers/web/options").to_string().contains("hidden"));
}

#[test]
fn a_body_has_a_limit() {
    if !has_circusd("a_body_has_a_limit") {
        return;
    }
    let rig = Rig::new(INI);
    let long = json!({"options": {"cmd": "x".repeat(300_000)}});
    assert_eq!(rig.post(ADMIN, "/api/machines/box/watchers/web/actions/set", &long).0, 413);
    for wrong in ["[]", "1", "{", "\"x\""] {
        let headers = [("Authorization", bearer(ADMIN)), ("Content-Type", "application/json".to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = rig.ask("POST", "/api/machines/box/watchers/web/actions/set", &headers, wrong);
        assert_eq!(reply.status, 400, "{wrong}");
    }
}

#[test]
fn a_proxy_has_a_prefix_and_says_who_it_is() {
    if !has_circusd("a_proxy_has_a_prefix_and_says_who_it_is") {
        return;
    }
    let arguments = [
        "--prefix",
        "/circus",
        "--proxy-header",
        "X-Remote-User",
        "--proxy-from",
        "127.0.0.1",
        "--proxy-role",
        "alice:operate",
        "--allow-host",
        "circus.example",
        "--behind-tls",
    ];
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
    command.arg("--endpoint").arg(format!("ipc://{}", rig.path("control").display()));
    command.args(["--name", "box", "--listen", &format!("127.0.0.1:{}", rig.port)]).args(arguments);
    rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
    let ask = |method: &str, path: &str, more: &[(&str, &str)]| {
        let proxied =
            [("Host", "circus.example"), ("X-Forwarded-For", "10.1.2.3"), ("Content-Type", "application/json")];
        rig.ask(method, path, &[&proxied, more].concat(), "")
    };
    eventually("the console answers", || (ask("GET", "/circus/healthz", &[]).status == 200).then_some(()));
    assert_eq!(ask("GET", "/circus", &[]).header("location"), Some("/circus/"));
    assert!(ask("GET", "/circus/", &[]).body.contains("static/main.js"));
    assert_eq!([ask("GET", "/", &[]).status, ask("GET", "/circusX/", &[]).status], [404, 404]);
    let alice = ("X-Remote-User", "alice");
    let reply = ask("GET", "/circus/api/session", &[alice]);
    assert_eq!((reply.status, &reply.json()["role"]), (200, &json!("operate")), "{}", reply.body);
    let csrf = reply.json()["csrf"].as_str().unwrap().to_owned();
    let restart = "/circus/api/machines/box/watchers/web/actions/restart";
    assert_eq!(ask("POST", restart, &[alice]).status, 403);
    let origin = ("Origin", "https://circus.example");
    assert_eq!(ask("POST", restart, &[alice, ("X-CSRF-Token", &csrf), origin]).status, 200);
    assert_eq!(ask("POST", restart, &[alice, ("X-CSRF-Token", &csrf), ("Origin", "https://evil.example")]).status, 403);
    assert_eq!(ask("GET", "/circus/api/session", &[("X-Remote-User", "mallory")]).status, 403);
    assert_eq!(ask("GET", "/circus/api/session", &[]).status, 401);
}

#[test]
fn a_unix_socket_is_its_owners() {
    if !has_circusd("a_unix_socket_is_its_owners") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    let place = rig.path("web");
    let mut command = console(&rig, &["--listen", &format!("unix:{}", place.display())]);
    rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
    let (_, text) = eventually("the console answers", || ask_at(&place, "GET", "/api/session", &[]));
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"admin\""), "{text}");
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    rig.console = None;
    assert!(!place.exists());
}

#[test]
fn tokens_are_made_and_kept_for_their_owner() {
    if !has_circusd("tokens_are_made_and_kept_for_their_owner") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    let start = |rig: &Rig| {
        let mut command = console(rig, &["--listen", &format!("127.0.0.1:{}", rig.port)]);
        command.env("XDG_STATE_HOME", rig.path("state"));
        Process::start(&mut command, &rig.path("console.log"))
    };
    rig.console = Some(start(&rig));
    eventually("the console answers", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    assert_eq!(rig.ask("GET", "/api/session", &[], "").status, 401);
    let file = rig.path("state/circus/console.tokens");
    let text = fs::read_to_string(&file).unwrap();
    let token = text.lines().last().unwrap().split(' ').nth(2).unwrap().to_owned();
    assert!(!rig.logs().contains(&token) && rig.logs().contains("console.tokens"), "{}", rig.logs());
    assert_eq!(rig.ask("GET", "/api/session", &[("Authorization", &bearer(&token))], "").status, 200);
    rig.console = None;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut console = start(&rig);
    eventually("it refuses the file", || console.has_ended().then_some(()));
    assert!(rig.logs().contains("others may read or change it"), "{}", rig.logs());
}

#[test]
fn over_tls() {
    let test = "over_tls";
    if !has_circusd(test) {
        return;
    }
    let rig = Rig::bare(INI);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(rig.path(""))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return skipped(test, "there is no openssl");
    }
    let mut rig = rig;
    rig.start_circusd();
    let (certificate, key) = (rig.path("cert.pem"), rig.path("key.pem"));
    let arguments = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
    command.arg("--endpoint").arg(format!("ipc://{}", rig.path("control").display())).args(arguments);
    command.args(["--listen", &format!("127.0.0.1:{}", rig.port)]).arg("--tokens").arg(rig.path("tokens"));
    rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
    let said = eventually("an answer over TLS", || {
        let request = format!(
            "POST /api/login HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
            rig.port,
            json!({"token": ADMIN}).to_string().len(),
            json!({"token": ADMIN})
        );
        fs::write(rig.path("request"), request).unwrap();
        let done = Command::new("openssl")
            .args(["s_client", "-quiet", "-ign_eof", "-connect", &format!("127.0.0.1:{}", rig.port)])
            .stdin(fs::File::open(rig.path("request")).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        said.contains("HTTP/1.1 200").then_some(said)
    });
    assert!(said.contains("; Secure"), "{said}");
    // Without TLS there is nothing.
    assert_eq!(rig.ask("GET", "/healthz", &[], "").status, 0);
}
