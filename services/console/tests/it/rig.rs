//! A circusd, a console, and requests to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use circus_test_support::has_programs;
use serde_json::Value;

pub(crate) use circus_test_support::{LIMIT, Process, Reply, eventually, free_port, program, request, send, skipped};

/// The tokens of the consoles of tests.
pub(crate) const READ: &str = "reads-0123456789abcdef";
pub(crate) const OPERATE: &str = "operates-0123456789abcdef";
pub(crate) const ADMIN: &str = "admin-0123456789abcdef";
/// For admin, of the watchers `web*`.
pub(crate) const WEBS: &str = "webs-0123456789abcdef";

/// Whether there is a circusd; a test without one says so.
pub(crate) fn has_circusd(test: &str) -> bool {
    has_programs(test, &["circusd", "circusd-stats"])
}

/// A circusd in a folder of its own, and a console.
pub(crate) struct Rig {
    // In the order in which they end.
    pub(crate) console: Option<Process>,
    pub(crate) circusd: Option<Process>,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
}

/// What every circusd of these tests has.
const HEAD: &str = "[circus]\nendpoint = ipc://FOLDER/control\npubsub_endpoint = ipc://FOLDER/events\n\
                    stats_endpoint = ipc://FOLDER/stats\nloglevel = info\n";

impl Rig {
    /// A circusd with these watchers, and a console with the three tokens. `FOLDER` stands for the folder.
    pub(crate) fn new(ini: &str) -> Self {
        Self::with(ini, &[])
    }

    /// The same, with more arguments of the console.
    pub(crate) fn with(ini: &str, arguments: &[&str]) -> Self {
        let mut rig = Self::bare(ini);
        rig.start_circusd();
        rig.start_console(arguments);
        rig
    }

    /// Nothing is started yet.
    pub(crate) fn bare(ini: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rig = Self { console: None, circusd: None, port: free_port(), folder };
        rig.configure(ini);
        let tokens =
            format!("reader read {READ}\nworker operate {OPERATE}\nboss admin {ADMIN}\nwebs admin {WEBS} web*\n");
        fs::write(rig.path("tokens"), tokens).unwrap();
        fs::set_permissions(rig.path("tokens"), fs::Permissions::from_mode(0o600)).unwrap();
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, ini: &str) {
        let text = format!("{HEAD}{ini}").replace("FOLDER", self.folder.path().to_str().unwrap());
        fs::write(self.path("circus.ini"), text).unwrap();
    }

    pub(crate) fn start_circusd(&mut self) {
        self.start_circusd_with(&[]);
    }

    /// With these variables in its environment.
    pub(crate) fn start_circusd_with(&mut self, variables: &[(&str, PathBuf)]) {
        let mut command = Command::new(program("circusd"));
        command.arg(self.path("circus.ini")).current_dir(self.folder.path());
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        self.circusd = Some(Process::start(&mut command, &self.path("circusd.log")));
        eventually("circusd listens", || std::os::unix::net::UnixStream::connect(self.path("control")).ok());
    }

    pub(crate) fn start_console(&mut self, arguments: &[&str]) {
        let endpoint = format!("ipc://{}", self.path("control").display());
        self.start_console_of(&[&["--endpoint", &endpoint, "--name", "box"], arguments].concat(), &[]);
    }

    /// One that shows what these arguments and variables say.
    pub(crate) fn start_console_of(&mut self, arguments: &[&str], variables: &[(&str, PathBuf)]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        command.arg("--tokens").arg(self.path("tokens")).args(arguments).current_dir(self.folder.path());
        self.console = Some(Process::start(&mut command, &self.path("console.log")));
        eventually("the console answers", || (self.ask("GET", "/healthz", &[], "").status == 200).then_some(()));
    }

    /// A request as it stands here.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        request(self.port, method, target, headers, body).unwrap_or_default()
    }

    /// A question with the token for admin; the answer is JSON.
    pub(crate) fn get(&self, target: &str) -> Value {
        let reply = self.ask("GET", target, &[("Authorization", &bearer(ADMIN))], "");
        assert_eq!(reply.status, 200, "{target}: {}\n{}", reply.body, self.logs());
        reply.json()
    }

    /// An action with a token: the status, and the answer.
    pub(crate) fn post(&self, token: &str, target: &str, body: &Value) -> (u16, Value) {
        let headers = [("Authorization", bearer(token)), ("Content-Type", "application/json".to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = self.ask("POST", target, &headers, &body.to_string());
        (reply.status, reply.json())
    }

    /// Waits until the console hears events of a watcher, which is restarted for it: a subscription takes effect some time
    /// after circusd has answered, and what happens before is not told.
    pub(crate) fn hears(&self, watcher: &str) {
        eventually(&format!("events of {watcher}"), || {
            self.post(ADMIN, &format!("/api/machines/box/watchers/{watcher}/actions/restart"), &serde_json::json!({}));
            self.get("/api/machines/box/events").to_string().contains(&format!("\"{watcher}\"")).then_some(())
        });
    }

    /// What everything has logged.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "log") {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                logs.push_str(&format!("--- {}\n{text}", entry.file_name().display()));
            }
        }
        logs
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(std::io::stderr(), "{}", self.logs()));
        }
    }
}

/// The header of a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Server-sent events, as they come.
pub(crate) struct Stream {
    lines: BufReader<TcpStream>,
    pub(crate) status: u16,
    /// What has come and was not given yet.
    text: String,
}

impl Stream {
    pub(crate) fn open(port: u16, target: &str, headers: &[(&str, &str)]) -> Self {
        let accept = [("Accept", "text/event-stream")];
        let mut lines = send(port, "GET", target, &[headers, &accept].concat(), "").unwrap();
        let status = Reply::read_head(&mut lines).unwrap().status;
        Self { lines, status, text: String::new() }
    }

    /// The next event, and its data.
    pub(crate) fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
                };
                let found = (field("event:"), serde_json::from_str(&field("data:")).unwrap_or_default());
                self.text = rest.to_owned();
                if !found.0.is_empty() {
                    return found;
                }
                continue;
            }
            self.chunk();
        }
    }

    /// A chunk of the transfer: its size, its bytes.
    fn chunk(&mut self) {
        let mut size = String::new();
        assert!(self.lines.read_line(&mut size).unwrap() > 0, "the stream has ended");
        let length = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; length + 2];
        self.lines.read_exact(&mut bytes).unwrap();
        self.text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }

    /// The first event of which this gives something.
    pub(crate) fn until<T>(&mut self, what: &str, mut find: impl FnMut(&str, &Value) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let (event, data) = self.next();
            if let Some(found) = find(&event, &data) {
                return found;
            }
        }
        panic!("not in time: {what}");
    }
}

/// A console of the rig's circusd, with more arguments.
pub(crate) fn console(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
    command.arg("--endpoint").arg(format!("ipc://{}", rig.path("control").display()));
    command.args(["--name", "box"]).args(arguments);
    command
}

/// A request at a socket file: the status, and all of the answer.
pub(crate) fn ask_at(place: &Path, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(place).ok()?;
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some((text.split(' ').nth(1)?.parse().ok()?, text))
}
