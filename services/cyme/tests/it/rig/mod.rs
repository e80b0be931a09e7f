//! A machine with a broker, a circusd and branches, all real.

pub(crate) mod played;

use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

pub(crate) use circus_test_support::{
    Broker, Kind, LIMIT, Process, Signal, eventually, free_port, has_broker, is_asked_for, program, runs, signal,
    skipped,
};

/// What the tests with workers need beyond Rust: the program celery, with the clients of both brokers, and the broker itself.
/// Without it they say so. They take minutes.
pub(crate) fn needs(test: &str, broker: Kind) -> Option<PathBuf> {
    is_asked_for(test, broker).then(|| circus_test_support::celery(test, broker, &["circusd"]))?
}

pub(crate) struct Rig {
    // In the order in which they end.
    pub(crate) branches: Vec<Option<Process>>,
    circusd: Process,
    pub(crate) broker: Broker,
    pub(crate) ports: Vec<u16>,
    control: u16,
    events: u16,
    celery: PathBuf,
    folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new(celery: PathBuf, kind: Kind, branches: usize) -> Self {
        Self::with(celery, kind, branches, false)
    }

    /// One whose circusd remembers its workers: the next one ends what one that was killed has left behind.
    pub(crate) fn remembering(celery: PathBuf, kind: Kind, branches: usize) -> Self {
        Self::with(celery, kind, branches, true)
    }

    fn with(celery: PathBuf, kind: Kind, branches: usize, remembers: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (control, events) = (free_port(), free_port());
        let broker = Broker::start(kind, folder.path());
        let ini = folder.path().join("circus.ini");
        let mut text = format!(
            "[circus]\nendpoint = tcp://127.0.0.1:{control}\npubsub_endpoint = tcp://127.0.0.1:{events}\nloglevel = info\n"
        );
        if remembers {
            text.push_str(&format!("state_file = {}\n", folder.path().join("circusd.state").display()));
        }
        fs::write(&ini, text).unwrap();
        let circusd = Process::start(Command::new(program("circusd")).arg(&ini), &folder.path().join("circusd.log"));
        let mut rig =
            Self { branches: Vec::new(), circusd, broker, ports: Vec::new(), control, events, celery, folder };
        for number in 0..branches {
            rig.ports.push(free_port());
            rig.branches.push(None);
            rig.start_branch(number);
        }
        rig
    }

    pub(crate) fn start_branch(&mut self, number: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyme-branch"));
        command.arg(format!(":{}", self.ports[number]));
        command.args(["-i", &format!("branch{number}"), "--loglevel", "INFO", "--sup-interval", "3"]);
        command.arg("-D").arg(self.path(&format!("branch{number}")));
        command.args(self.broker.arguments());
        command.arg("--circus-endpoint").arg(format!("tcp://127.0.0.1:{}", self.control));
        command.arg("--circus-pubsub").arg(format!("tcp://127.0.0.1:{}", self.events));
        command.arg("--celery").arg(&self.celery).args(["--drain", "10"]);
        self.branches[number] = Some(Process::start(&mut command, &self.path(&format!("branch{number}.log"))));
        eventually("the branch has a broker", || (self.ask(number, "GET", "/healthz").0 == 200).then_some(()));
    }

    pub(crate) fn kill_circusd(&mut self) {
        self.circusd.kill();
    }

    pub(crate) fn start_circusd(&mut self) {
        let mut command = Command::new(program("circusd"));
        self.circusd = Process::start(command.arg(self.path("circus.ini")), &self.path("circusd.log"));
        // First it ends the workers of the last one, which takes as long as their tasks.
        eventually("circusd listens", || TcpStream::connect(("127.0.0.1", self.control)).ok());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The status and the body of an answer; status 0 if there is none.
    pub(crate) fn ask(&self, branch: usize, method: &str, path: &str) -> (u16, Value) {
        ask(&format!("http://127.0.0.1:{}{path}", self.ports[branch]), method, None)
    }

    /// An answer that must have this status.
    pub(crate) fn get(&self, branch: usize, status: u16, method: &str, path: &str) -> Value {
        let (found, body) = self.ask(branch, method, path);
        assert_eq!(found, status, "{method} {path}: {body}\n{}", self.logs());
        body
    }

    /// The same, with a form.
    pub(crate) fn post(&self, branch: usize, status: u16, path: &str, form: &str) -> Value {
        let (found, body) = ask(&format!("http://127.0.0.1:{}{path}", self.ports[branch]), "POST", Some(form));
        assert_eq!(found, status, "POST {path}: {body}\n{}", self.logs());
        body
    }

    /// Asks circusd.
    pub(crate) fn circus(&self, command: &str, properties: Value) -> Value {
        let client = circus_client::Client::new().unwrap();
        let mut control = client.control(&format!("tcp://127.0.0.1:{}", self.control)).unwrap();
        let Value::Object(properties) = properties else { panic!("{properties}") };
        Value::Object(control.call(command, properties, Duration::from_secs(20)).unwrap())
    }

    /// The pid of an instance's worker.
    pub(crate) fn pid(&self, instance: &str) -> Option<u32> {
        let list = self.circus("list", serde_json::json!({"name": format!("cyme-{instance}")}));
        list["pids"][0].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// What everything has logged last.
    pub(crate) fn logs(&self) -> String {
        logs_below(self.folder.path())
    }

    /// What the log of a branch says.
    pub(crate) fn log_of(&self, branch: usize) -> String {
        fs::read_to_string(self.path(&format!("branch{branch}.log"))).unwrap_or_default()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(std::io::stderr(), "{}", self.logs()));
        }
    }
}

/// The last lines of every log below a folder.
pub(crate) fn logs_below(folder: &Path) -> String {
    let mut logs = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) if path.extension().is_some_and(|end| end == "log") => logs.push(path),
            Err(_) => {}
        }
    }
    let tail = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        format!("== {}\n{}\n", path.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    logs.into_iter().map(tail).collect()
}

/// Makes a request.
pub(crate) fn ask(url: &str, method: &str, form: Option<&str>) -> (u16, Value) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(65)))
        .allow_non_standard_methods(true)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let request = ureq::http::Request::builder().method(method).uri(url);
    let sent = match form {
        Some(form) => {
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            agent.run(request.body(form.to_owned()).unwrap())
        }
        None => agent.run(request.body(()).unwrap()),
    };
    match sent {
        Err(_) => (0, Value::Null),
        Ok(mut response) => {
            let status = response.status().as_u16();
            let text = response.body_mut().read_to_string().unwrap_or_default();
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
    }
}

/// Whether two values are the same, as an option.
pub(crate) fn same<T: PartialEq + Debug>(a: T, b: T) -> Option<()> {
    (a == b).then_some(())
}
