//! Ways to the console, and from it to circusd: passed sockets, proxies at a socket file, keys with roles.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::rig::{
    ADMIN, Process, Reply, Rig, ask_at, bearer, console, eventually, free_port, has_circusd, program, send,
};

const INI: &str = "[watcher:web]\ncmd = sleep 1000\n";

/// Starts a console with this socket as its descriptor 3, as a service manager passes it to the process `pid`: `$$` is its own
/// number.
fn with_socket(rig: &mut Rig, command: &Command, socket: OwnedFd, pid: &str) {
    let script = format!("export LISTEN_PID={pid} LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    rig.console = Some(Process::start_reading(&mut shell, socket, &rig.path("console.log")));
}

/// The contract of sd_listen_fds(3): a client that connected before the console ran is answered.
#[test]
fn a_passed_socket_is_listened_at() {
    if !has_circusd("a_passed_socket_is_listened_at") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.port = listener.local_addr().unwrap().port();
    let admin = bearer(ADMIN);
    let mut early = send(rig.port, "GET", "/api/session", &[("Authorization", &admin)], "").unwrap();
    let tokens = rig.path("tokens");
    let command = console(&rig, &["--tokens", tokens.to_str().unwrap()]);
    with_socket(&mut rig, &command, listener.into(), "$$");
    assert_eq!(Reply::read(&mut early, "GET").unwrap().status, 200, "{}", rig.logs());
    assert_eq!(rig.get("/api/machines/box/watchers/web")["name"], "web");
    assert!(rig.logs().contains(&format!("ready at http://127.0.0.1:{}/", rig.port)), "{}", rig.logs());

    // A file of another owner is not the console's: a token is needed, and the file stays.
    let place = rig.path("web");
    let listener = UnixListener::bind(&place).unwrap();
    with_socket(&mut rig, &command, listener.into(), "$$");
    let (status, _) = eventually("an answer", || ask_at(&place, "GET", "/api/session", &[]));
    assert_eq!(status, 401);
    assert_eq!(ask_at(&place, "GET", "/api/session", &[("Authorization", &admin)]).unwrap().0, 200);
    rig.console = None;
    assert!(place.exists());

    // Passed to another process, it is not this one's.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.port = free_port();
    let listen = format!("127.0.0.1:{}", rig.port);
    let command = console(&rig, &["--tokens", tokens.to_str().unwrap(), "--listen", &listen]);
    with_socket(&mut rig, &command, other.into(), "1");
    eventually("it listens elsewhere", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
}

#[test]
fn a_proxy_at_a_socket_file_says_who_it_is() {
    if !has_circusd("a_proxy_at_a_socket_file_says_who_it_is") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    let place = rig.path("web");
    let listen = format!("unix:{}", place.display());
    let proxy = ["--proxy-header", "X-Remote-User", "--proxy-from", "unix", "--proxy-role", "alice:operate"];
    let mut command = console(&rig, &["--listen", &listen]);
    command.args(proxy);
    rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| ask_at(&place, method, path, headers);
    let (status, _) = eventually("an answer", || ask("GET", "/api/session", &[]));
    assert_eq!(status, 401, "a proxy that says nothing is nobody");
    let alice = ("X-Remote-User", "alice");
    let (status, session) = ask("GET", "/api/session", &[alice]).unwrap();
    assert!(status == 200 && session.contains("\"operate\""), "{session}");
    assert_eq!(ask("GET", "/api/session", &[("X-Remote-User", "mallory")]).unwrap().0, 403);
    let csrf = session.split("\"csrf\":\"").nth(1).unwrap().split('"').next().unwrap();
    let restart = "/api/machines/box/watchers/web/actions/restart";
    assert_eq!(ask("POST", restart, &[alice]).unwrap().0, 403);
    let (status, text) = ask("POST", restart, &[alice, ("X-CSRF-Token", csrf)]).unwrap();
    assert_eq!(status, 200, "{text}");
    let rm = "/api/machines/box/watchers/web/actions/rm";
    assert_eq!(ask("POST", rm, &[alice, ("X-CSRF-Token", csrf)]).unwrap().0, 403);
    // At TCP the same header counts for nothing.
    let listen = format!("127.0.0.1:{}", rig.port);
    let mut command = console(&rig, &["--listen", &listen]);
    command.args(proxy);
    rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
    eventually("the console answers", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    assert_eq!(rig.ask("GET", "/api/session", &[alice], "").status, 401);
}

#[test]
fn those_without_a_token_have_the_role_they_are_given() {
    if !has_circusd("those_without_a_token_have_the_role_they_are_given") {
        return;
    }
    let mut rig = Rig::bare(INI);
    rig.start_circusd();
    rig.start_console(&["--anonymous", "read"]);
    let session = rig.ask("GET", "/api/session", &[], "").json();
    assert_eq!((&session["name"], &session["role"]), (&json!("anonymous"), &json!("read")), "{session}");
    assert_eq!(rig.ask("GET", "/api/machines/box/watchers/web", &[], "").status, 200);
    let csrf = session["csrf"].as_str().unwrap();
    let headers = [("X-CSRF-Token", csrf), ("Content-Type", "application/json")];
    let reply = rig.ask("POST", "/api/machines/box/watchers/web/actions/stop", &headers, "{}");
    assert!(reply.status == 403 && reply.body.contains("'anonymous' has the role read"), "{}", reply.body);
    // What came through a proxy is of nobody who is known.
    assert_eq!(rig.ask("GET", "/api/session", &[("X-Forwarded-For", "10.0.0.1")], "").status, 401);
    assert_eq!(rig.get("/api/session")["role"], "admin", "a token counts more");
}

/// A console whose key may read only: circusd refuses, whatever the token of the browser may do.
#[test]
fn a_key_that_may_read_only_cannot_act() {
    if !has_circusd("a_key_that_may_read_only_cannot_act") || !program("circusctl").is_file() {
        return;
    }
    let mut rig = Rig::bare(INI);
    let keygen = |words: &[&str]| {
        let done = Command::new(program("circusctl")).arg("keygen").args(words).current_dir(rig.path("")).output();
        assert!(done.as_ref().unwrap().status.success(), "{done:?}");
    };
    keygen(&["server"]);
    keygen(&["--role", "read", "eye"]);
    keygen(&["--role", "admin", "stranger"]);
    fs::create_dir(rig.path("keys")).unwrap();
    fs::set_permissions(rig.path("keys"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(rig.path("eye.key"), rig.path("keys/eye.key")).unwrap();
    let control = free_port();
    let folder = rig.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "[circus]\nendpoint = tcp://127.0.0.1:{control}\npubsub_endpoint = tcp://127.0.0.1:{}\n\
         curve_server_key = {folder}/server.key_secret\ncurve_authorized_keys = {folder}/keys\n{INI}",
        free_port()
    );
    fs::write(rig.path("keyed.ini"), text).unwrap();
    let mut command = Command::new(program("circusd"));
    rig.circusd = Some(Process::start(command.arg(rig.path("keyed.ini")), &rig.path("circusd.log")));
    eventually("circusd listens", || std::net::TcpStream::connect(("127.0.0.1", control)).ok());
    let start = |rig: &mut Rig, key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
        command.args(["--endpoint", &format!("tcp://127.0.0.1:{control}"), "--name", "box"]);
        command.args(["--listen", &format!("127.0.0.1:{}", rig.port)]).arg("--tokens").arg(rig.path("tokens"));
        command.arg("--curve-key").arg(rig.path(key)).arg("--curve-server-key").arg(rig.path("server.key"));
        rig.console = None;
        rig.console = Some(Process::start(&mut command, &rig.path("console.log")));
        eventually("the console answers", || (rig.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    };
    start(&mut rig, "eye.key_secret");
    eventually("web runs", || (rig.get("/api/machines/box/watchers/web")["state"] == "active").then_some(()));
    for path in ["watchers/web/actions/stop", "actions/reloadconfig", "actions/quit"] {
        let (status, told) = rig.post(ADMIN, &format!("/api/machines/box/{path}"), &json!({}));
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(status == 403 && reason.contains("'eye' has the role read, and this takes the role"), "{path}: {told}");
    }
    let plan = rig.ask("GET", "/api/machines/box/plan", &[("Authorization", &bearer(ADMIN))], "");
    assert!(plan.status == 403 && plan.body.contains("'eye' has the role read"), "{}", plan.body);
    assert_eq!(rig.get("/api/machines/box/watchers/web")["state"], "active");
    // A key that circusd does not know gets no answer: the machine is away, and the page says so.
    start(&mut rig, "stranger.key_secret");
    let away = eventually("it is away", || {
        let machine = rig.get("/api/machines")[0].clone();
        (machine["reach"]["state"] == "down").then_some(machine)
    });
    assert!(!away["reach"]["reason"].as_str().unwrap_or_default().is_empty(), "{away}");
    assert_eq!(rig.post(ADMIN, "/api/machines/box/watchers/web/actions/stop", &json!({})).0, 503);
}
