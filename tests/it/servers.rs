//! Servers that people run, on sockets of circusd: each shows that it is ready, and is reloaded under load.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::rig::{Counts, Load, Site, python, run, skipped, wait_until};

/// A server of Python's: what the interpreter runs, and what shows that it is ready.
struct Server<'a> {
    cmd: &'a str,
    ready: &'a str,
    /// `use_sockets = True`, or `sockets = web`.
    sockets: &'a str,
    /// So many requests may be cut: those that a server was at when it was told to stop, where it does not end them.
    may_cut: u64,
}

/// Starts two of a server, reloads them at once and one by one under load, and expects that no request is lost.
#[track_caller]
fn assert_reloads(site: Site, program: &Path, server: &Server<'_>) {
    let circusd = site.start(&format!(
        "[socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:web]
         cmd = {program} {cmd}
         working_dir = {{dir}}
         {sockets}
         numprocesses = 2
         ready = {ready}
         graceful_timeout = 10
         stdout_stream.filename = {{dir}}/web.log
         stderr_stream.filename = {{dir}}/web.log
         [env:web]
         PATH = /usr/local/bin:/usr/bin:/bin
         PYTHONUNBUFFERED = 1
         PYTHONDONTWRITEBYTECODE = 1",
        program = program.display(),
        cmd = server.cmd,
        sockets = server.sockets,
        ready = server.ready,
    ));
    wait_until("both are ready", || circusd.status("web") == "active" && circusd.details("web")["running"] == 2);
    let before = circusd.workers("web");
    let port = crate::web::http(&circusd, "web").0;
    let load = Load::start(port, 6, 30);
    for sequential in [false, true] {
        circusd.tell("reload", json!({"name": "web", "waiting": true, "sequential": sequential}));
    }
    let counts: Counts = load.stop();
    println!("{counts:?}");
    let log = || circusd.read("web.log");
    assert_eq!((counts.refused, counts.lost), (0, 0), "{counts:?}\n{}", log());
    assert!(counts.reset <= server.may_cut, "{counts:?}\n{}", log());
    assert!(counts.answered > 0);
    let after = circusd.workers("web");
    assert!(after.len() == 2 && before.iter().all(|worker| !after.contains(worker) && !worker.lives()));
}

/// A site with `app.py`, and the tests' Python.
fn of_python(test: &str) -> Option<(Site, PathBuf)> {
    let python = python(&format!("servers::{test}"))?;
    let site = Site::new();
    site.write("app.py", include_str!("circus/app.py"));
    site.write("asgi.py", ASGI);
    Some((site, python))
}

/// The same for uvicorn.
const ASGI: &str = r#"
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"#;

#[test]
fn gunicorn_by_number() {
    let Some((site, python)) = of_python("gunicorn_by_number") else { return };
    let server = Server {
        cmd: "-m gunicorn --no-control-socket --threads 4 --bind fd://$(circus.sockets.web) app:app",
        ready: "log:Booting worker",
        sockets: "use_sockets = True",
        may_cut: 0,
    };
    assert_reloads(site, &python, &server);
}

#[test]
fn gunicorn_by_listen_fds() {
    let Some((site, python)) = of_python("gunicorn_by_listen_fds") else { return };
    // It notifies of its own accord where NOTIFY_SOCKET is set.
    let server = Server {
        cmd: "-m gunicorn --no-control-socket --threads 4 app:app",
        ready: "notify",
        sockets: "sockets = web",
        may_cut: 0,
    };
    assert_reloads(site, &python, &server);
}

#[test]
fn uvicorn() {
    let Some((site, python)) = of_python("uvicorn") else { return };
    let server = Server {
        cmd: "-m uvicorn --fd $(circus.sockets.web) --log-level info asgi:app",
        ready: "log:Application startup complete",
        sockets: "use_sockets = True",
        may_cut: 0,
    };
    assert_reloads(site, &python, &server);
}

/// What systemd documents: LISTEN_PID, LISTEN_FDS, the sockets from 3 on, and NOTIFY_SOCKET.
const C: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <stddef.h>
#include <poll.h>
#include <fcntl.h>

static volatile sig_atomic_t stop;
static void told(int signal) { (void)signal; stop = 1; }

static void say_ready(void) {
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name) return;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length);
    close(fd);
}

int main(void) {
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (!pid || atoi(pid) != getpid() || !count || atoi(count) != 1) return 2;
    struct sigaction action = { .sa_handler = told };
    sigaction(SIGTERM, &action, 0);
    signal(SIGPIPE, SIG_IGN);
    fcntl(3, F_SETFL, fcntl(3, F_GETFL) | O_NONBLOCK);
    say_ready();
    while (!stop) {
        struct pollfd listener = { .fd = 3, .events = POLLIN };
        if (poll(&listener, 1, 100) <= 0) continue;
        int fd = accept(3, 0, 0);
        if (fd < 0) continue;
        char head[4096] = { 0 };
        size_t length = 0;
        while (length + 1 < sizeof head && !strstr(head, "\r\n\r\n")) {
            ssize_t n = read(fd, head + length, sizeof head - 1 - length);
            if (n <= 0 && !(n < 0 && stop)) break;
            if (n > 0) length += n;
        }
        const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        if (write(fd, answer, strlen(answer)) < 0) perror("write");
        close(fd);
    }
    return 0;
}
"#;

#[test]
fn program_in_c_by_listen_fds() {
    let site = Site::new();
    let (source, program) = (site.write("server.c", C), site.path("server"));
    let cc = run(site.command("cc").args(["-O1", "-Wall", "-o"]).arg(&program).arg(source));
    assert_eq!(cc.status, Some(0), "{}", cc.stderr);
    let server = Server { cmd: "", ready: "notify", sockets: "sockets = web", may_cut: 0 };
    assert_reloads(site, &program, &server);
}

/// It closes connections that are idle, and ends with the last request.
const NODE: &str = r#"
const http = require("http");
const server = http.createServer((request, response) => response.end(String(process.pid)));
server.listen({ fd: 3 }, () => console.log("listening"));
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
"#;

#[test]
fn node() {
    let places = ["/usr/local/bin/node", "/usr/bin/node"].map(Path::new);
    let Some(node) = places.into_iter().find(|place| place.exists()) else {
        return skipped("servers::node", "there is no Node.js in /usr/local/bin or /usr/bin");
    };
    let site = Site::new();
    site.write("server.js", NODE);
    let server = Server { cmd: "server.js", ready: "log:listening", sockets: "sockets = web", may_cut: 0 };
    assert_reloads(site, node, &server);
}

#[test]
fn chaussette() {
    let Some((site, python)) = of_python("chaussette") else { return };
    let server = Server {
        cmd: "-m chaussette.server --fd $(circus.sockets.web) app.app",
        ready: "log:Serving on",
        sockets: "use_sockets = True",
        // It answers one request at a time, and SIGTERM ends it at once: four workers go.
        may_cut: 4,
    };
    assert_reloads(site, &python, &server);
}
