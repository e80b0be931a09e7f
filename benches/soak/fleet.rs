//! The circusd that is watched, its file and its clients.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use circus_net::{Context, Dealer, Subscriber};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::Outcome;

/// How long an answer may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// When a question is asked again: one that is sent at the very moment of an upgrade is lost.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A circusd with its workers. What is left of it ends when this is dropped.
pub(crate) struct Fleet {
    child: Child,
    context: Context,
    ini: String,
    folder: tempfile::TempDir,
}

/// A client of the fleet.
pub(crate) struct Client(Dealer);

impl Client {
    /// The reply, whatever it says.
    pub(crate) fn ask(&mut self, command: &str, properties: Value) -> Outcome<Value> {
        self.ask_within(DEADLINE, command, properties)
    }

    /// The same, within a time of its own.
    pub(crate) fn ask_within(&mut self, time: Duration, command: &str, properties: Value) -> Outcome<Value> {
        let entries = [("command", command.into()), ("properties", properties)];
        let request = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(Value::Object(self.0.call(request, time).map_err(|error| format!("{command}: {error}"))?))
    }

    /// The reply to a question, and how often it was asked again.
    pub(crate) fn question(&mut self, command: &str) -> Outcome<u32> {
        let begun = Instant::now();
        let mut again = 0;
        loop {
            let entries = [("command", command.into()), ("properties", json!({}))];
            let request = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            match self.0.call(request, ASK_AGAIN) {
                Ok(reply) if reply.get("status") == Some(&json!("ok")) => return Ok(again),
                Ok(reply) => return Err(format!("{command}: {}", Value::Object(reply)).into()),
                Err(error) if begun.elapsed() > DEADLINE => return Err(format!("{command}: {error}").into()),
                Err(_) => again += 1,
            }
        }
    }

    /// A reply that has to be no error.
    pub(crate) fn tell(&mut self, command: &str, properties: Value) -> Outcome<Value> {
        let reply = self.ask(command, properties)?;
        if reply["status"] == "error" { Err(format!("{command}: {reply}").into()) } else { Ok(reply) }
    }
}

impl Fleet {
    pub(crate) fn start(circusd: &Path, knobs: &Path, crashes: u32) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("circus-soak-").tempdir()?;
        let found = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
        let (circusd, knobs) = (found(circusd)?, found(knobs)?);
        let ini = ini(folder.path(), &knobs, crashes);
        std::fs::write(folder.path().join("circus.ini"), &ini)?;
        let log = std::fs::File::create(folder.path().join("circusd.log"))?;
        let child = Command::new(circusd)
            .arg(folder.path().join("circus.ini"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let fleet = Self { child, context: Context::new()?, ini, folder };
        fleet.client()?.tell("start", json!({"name": "web", "waiting": true}))?;
        Ok(fleet)
    }

    pub(crate) fn client(&self) -> Outcome<Client> {
        let endpoint = format!("ipc://{}/control", self.folder.path().display());
        Ok(Client(Dealer::connect(&self.context, &endpoint, None)?))
    }

    pub(crate) fn subscriber(&self, topics: &[&str]) -> Outcome<Subscriber> {
        let endpoint = format!("ipc://{}/events", self.folder.path().display());
        Ok(Subscriber::connect(&self.context, &endpoint, None, topics)?)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file anew, with a watcher and a socket more or without them.
    pub(crate) fn change_file(&self, more: bool) -> std::io::Result<()> {
        let other = "[socket:other]\nhost = 127.0.0.1\nport = 0\n[watcher:other]\ncmd = sleep 1000\n";
        std::fs::write(self.path("circus.ini"), format!("{}{}", self.ini, if more { other } else { "" }))
    }

    /// Ends circusd. Returns what should not be: what its log says of a panic, processes that are left.
    pub(crate) fn end(&mut self) -> Outcome<Vec<String>> {
        self.client()?.tell("quit", json!({}))?;
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if begun.elapsed() > DEADLINE => return Err("circusd does not end".into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let log = std::fs::read_to_string(self.path("circusd.log")).unwrap_or_default();
        let mut wrong: Vec<String> =
            log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect();
        if !status.success() {
            wrong.push(format!("circusd ended with {status}"));
        }
        wrong.extend(inhabitants(self.folder.path()).into_iter().map(|pid| format!("process {pid} is left")));
        Ok(wrong)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
            drop(self.child.wait());
        }
        for pid in inhabitants(self.folder.path()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The processes that work in this directory.
fn inhabitants(folder: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect()
}

/// Few bytes are kept of each stream, so that what is kept is full within seconds. Half of the crashes are of workers that write to a file, one in five leaves a process behind, the rest is kept in
/// memory alone.
fn ini(folder: &Path, knobs: &Path, crashes: u32) -> String {
    let (dir, knobs) = (folder.display(), knobs.display());
    let orphans = crashes / 5;
    let silent = (crashes - orphans) / 2;
    let loud = crashes - orphans - silent;
    format!(
        "[circus]
endpoint = ipc://{dir}/control
pubsub_endpoint = ipc://{dir}/events
loglevel = WARNING
working_dir = {dir}
[watcher:loud]
tail_bytes = 500
cmd = {knobs} say begin sleep 1000 warn end exit 1
numprocesses = {loud}
min_uptime = 0
max_retry = -1
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/loud.log
stdout_stream.max_bytes = 100000
stdout_stream.backup_count = 3
stderr_stream.class = MemoryStream
[watcher:silent]
tail_bytes = 500
cmd = {knobs} sleep 1000 fall
numprocesses = {silent}
min_uptime = 0
max_retry = -1
stdout_stream.class = MemoryStream
[watcher:orphans]
tail_bytes = 500
cmd = {knobs} child say+left sleep 1000 exit 3
numprocesses = {orphans}
min_uptime = 0
max_retry = -1
stdout_stream.class = MemoryStream
[watcher:web]
tail_bytes = 500
cmd = {knobs} say ready
numprocesses = 3
min_uptime = 0.2
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/web.log
stdout_stream.max_bytes = 100000
stdout_stream.backup_count = 1
stdout_stream.time_format = %Y-%m-%d %H:%M:%S
[watcher:flood]
tail_bytes = 500
cmd = {knobs} chatter 100000
numprocesses = 2
autostart = no
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/flood.log
stdout_stream.max_bytes = 1000000
stdout_stream.backup_count = 3
"
    )
}
