//! Plugins that react to what happens, with the real circusd: the webhook, and the command reloader.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::rig::{DEADLINE, Site, observe_for, wait_for, wait_until};

/// A web server that answers when the test says so.
struct Server(TcpListener);

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// The next request's line and body, answered with this status.
    #[track_caller]
    fn answer(&self, status: u16) -> (String, Value) {
        let (mut connection, _) = wait_for("a request", || self.0.accept().ok());
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(DEADLINE)).unwrap();
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"}") {
            let length = connection.read(&mut buffer).unwrap();
            assert!(length > 0, "the request is cut short: {}", String::from_utf8_lossy(&text));
            text.extend(&buffer[..length]);
        }
        write!(connection, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }
}

#[test]
fn a_web_server_is_told_and_told_again() {
    let server = Server::new();
    let circusd = Site::new().start(&format!(
        "[watcher:My Web]\ncmd = /bin/sleep 1000\n[watcher:other]\ncmd = /bin/sleep 1000\n\
         [plugin:tell]\nuse = webhook\nurl = http://{}/hook\nevents = stop\nwatchers_regex = my\n",
        server.0.local_addr().unwrap()
    ));
    // When the plugin's subscription stands cannot be seen. One event waits for its answer, and the others behind it.
    wait_until("the server is asked", || {
        for command in ["stop", "start"] {
            circusd.tell(command, json!({"name": "other", "waiting": true}));
            circusd.tell(command, json!({"name": "my web", "waiting": true}));
        }
        observe_for(Duration::from_millis(100));
        poll(&mut [PollFd::new(server.0.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    });
    let refused = server.answer(500);
    assert_eq!(refused.0, "POST /hook HTTP/1.1");
    assert_eq!((&refused.1["watcher"], &refused.1["event"]), (&json!("my web"), &json!("stop")));
    assert!(refused.1["time"].is_f64(), "{}", refused.1);
    assert_eq!(server.answer(204), refused, "the same once more");
    // A server that does not answer holds up nothing else.
    circusd.tell("stop", json!({"name": "my web", "waiting": true}));
    assert_eq!(circusd.status("my web"), "stopped");
    circusd.tell("stop", json!({"name": "plugin:tell", "waiting": true}));
}

/// Puts a program, with a comment of this length, where another may be: one that runs cannot be written.
fn put(folder: &Path, name: &str, length: usize) {
    let new = folder.join("new");
    std::fs::write(&new, format!("#!/bin/sh\n#{}\nexec sleep 1000\n", "x".repeat(length))).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

/// Changes a file until its watcher has been restarted: when the plugin looks first cannot be seen.
#[track_caller]
fn assert_reloads(inotify: &str, changed: &str) {
    let site = Site::new();
    let folder = site.path("");
    for name in ["program", "data"] {
        put(&folder, name, 0);
    }
    let circusd = site.start(&format!(
        "[watcher:w]\ncmd = {{dir}}/program\n[watcher:other]\ncmd = /bin/sleep 1000\n[plugin:reload]\n\
         use = circus.plugins.command_reloader.CommandReloader\nloop_rate = 0.1\ninotify = {inotify}\n\
         paths = {{dir}}/data\nwatchers_regex = w\n"
    ));
    let (before, other) = (circusd.wait_for_workers("w", 1), circusd.wait_for_workers("other", 1));
    let mut length = 0;
    wait_until("it is restarted", || {
        length += 1;
        put(&folder, changed, length);
        observe_for(Duration::from_millis(400));
        circusd.workers("w").first().is_some_and(|worker| *worker != before[0])
    });
    circusd.wait_for_log("plugin:reload: the program of w, or a file of its list, has changed: it is restarted");
    assert_eq!(circusd.workers("other"), other);
}

#[test]
fn a_new_program_is_run() {
    assert_reloads("no", "program");
}

#[test]
fn a_file_of_the_list_is_watched_by_the_kernel() {
    assert_reloads("yes", "data");
}
