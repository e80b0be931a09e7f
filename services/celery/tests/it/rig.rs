//! A broker, an application of Celery, and what a test runs beside them.

#[expect(dead_code, reason = "the rest is for Cyme's tests")]
#[path = "broker.rs"]
mod broker;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use broker::{Broker, Kind, missing};

/// How long anything may take, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// An application whose tasks write down that they begin and end.
pub(crate) const APP: &str = r#"
import os, time
from celery import Celery

app = Celery("app", broker=os.environ["CELERY_BROKER_URL"])
app.conf.task_serializer = os.environ.get("SERIALIZER", "json")
app.conf.accept_content = ["json", "pickle"]
app.conf.broker_connection_retry_on_startup = True

@app.task
def count(number, strange=None):
    with open(os.environ["RECORD"], "a", buffering=1) as record:
        record.write(f"b {number}\n")
        time.sleep(0.05)
        record.write(f"e {number}\n")
"#;

/// The value that this gives, within the limit.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The program celery, or the reason why a test is left out is said.
pub(crate) fn celery(test: &str, kind: Kind) -> Option<PathBuf> {
    let celery = std::env::var_os("CIRCUS_TEST_CELERY").map(PathBuf::from).filter(|path| path.is_file());
    let missing = match &celery {
        None => Some("CIRCUS_TEST_CELERY names no program celery"),
        _ if !program("circusd").is_file() || !program("circusctl").is_file() => {
            Some("there is no circusd or circusctl beside circus-celery: cargo build --bins")
        }
        _ => missing(kind),
    };
    if let Some(missing) = missing {
        skipped(test, missing);
        return None;
    }
    celery
}

/// Says that a test is left out.
pub(crate) fn skipped(test: &str, missing: &str) {
    // That it was not asked for is no reason for CI to fail.
    let word = if missing == broker::NOT_ASKED_FOR { "left out:" } else { "SKIPPED" };
    drop(std::io::stderr().write_all(format!("{word} {test}: {missing}\n").as_bytes()));
}

/// A program of the workspace.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_circus-celery")).with_file_name(name)
}

/// `circus-celery` with this broker.
pub(crate) fn helper(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circus-celery"));
    command.args(words).env("CELERY_BROKER_URL", url).stdin(Stdio::null());
    command
}

/// How it ends.
pub(crate) fn code(url: &str, words: &[&str]) -> i32 {
    helper(url, words).status().unwrap().code().unwrap()
}

/// A command of Celery for the application in this folder.
pub(crate) fn of_app(celery: &Path, url: &str, folder: &Path, words: &[&str]) -> Command {
    fs::write(folder.join("app.py"), APP).unwrap();
    let mut command = Command::new(celery);
    command.args(["-A", "app"]).args(words).current_dir(folder).stdin(Stdio::null());
    command.env("CELERY_BROKER_URL", url).env("RECORD", folder.join("record")).env("C_FORCE_ROOT", "1");
    command
}

/// A port that nothing listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that ends with its test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub(crate) fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.pid()).status());
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}
