//! A broker, an application of Celery, and what a test runs beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use circus_test_support::{Broker, Kind, Process, eventually, has_broker, is_asked_for, program, runs};

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

/// The program celery, or the reason why a test is left out is said.
pub(crate) fn celery(test: &str, kind: Kind) -> Option<PathBuf> {
    circus_test_support::celery(test, kind, &["circusd", "circusctl"])
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
