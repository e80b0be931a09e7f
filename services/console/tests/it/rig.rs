//! A circusd, a console, and requests to it, byte by byte: a client library would put paths and headers right.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take, on a machine with much else to do.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The tokens of the consoles of tests.
pub(crate) const READ: &str = "reads-0123456789abcdef";
pub(crate) const OPERATE: &str = "operates-0123456789abcdef";
pub(crate) const ADMIN: &str = "admin-0123456789abcdef";

/// The value that this gives, within the limit.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Says that a test is left out.
pub(crate) fn skipped(test: &str, missing: &str) {
    drop(std::io::stderr().write_all(format!("SKIPPED {test}: {missing}\n").as_bytes()));
}

/// A program of the workspace.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_circushttpd")).with_file_name(name)
}

/// Whether there is a circusd; a test without one says so.
pub(crate) fn has_circusd(test: &str) -> bool {
    let there = ["circusd", "circusd-stats"].iter().all(|name| program(name).is_file());
    if !there {
        skipped(test, "there is no circusd beside circushttpd: cargo build --workspace --bins");
    }
    there
}

/// A port that nothing listens at. It is none of those that the kernel gives to connections, which are many here: such a
/// one could be taken before the program under test binds it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    loop {
        let number = std::process::id() * 64 + u32::from(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process that ends with its test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits. One that has ended gets no signal: its number may be another's by now.
    pub(crate) fn end(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGTERM);
        }
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && !self.has_ended() {
            thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
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
        let tokens = format!("reader read {READ}\nworker operate {OPERATE}\nboss admin {ADMIN}\n");
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_circushttpd"));
        command.arg("--endpoint").arg(format!("ipc://{}", self.path("control").display()));
        command.args(["--name", "box", "--listen", &format!("127.0.0.1:{}", self.port)]);
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

    /// What everything has logged.
    pub(crate) fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("--- circusd\n{}--- console\n{}", log("circusd.log"), log("console.log"))
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

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request; `answer` reads what comes.
pub(crate) fn send(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !has_host {
        head.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    Ok(stream)
}

/// Makes a request, and reads the whole answer.
pub(crate) fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Reply> {
    answer(send(port, method, target, headers, body)?)
}

/// The whole answer.
pub(crate) fn answer(stream: TcpStream) -> std::io::Result<Reply> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head)? > 0 {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = Vec::new();
    // Not every server closes the connection because it is asked to.
    stream.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let head = head.lines().map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        format!("{}:{value}\n", name.to_lowercase())
    });
    Ok(Reply { status, head: head.collect(), body })
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
        let stream = send(port, "GET", target, &[headers, &accept].concat(), "").unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head).unwrap() == 0 {
                break;
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
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
