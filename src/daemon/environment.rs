//! The environment of a worker: the watcher's, and what virtual environments and `copy_path` add to it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Host, WatcherConfig, WatcherOrigin};
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// Makes environments. What python3 imports from is asked once, when the first worker needs it.
#[derive(Debug)]
pub(super) struct Environments {
    host: Host,
    python_path: Option<Result<String, String>>,
}

impl Environments {
    pub(super) fn new(host: Host) -> Self {
        Self { host, python_path: None }
    }

    /// The variables of a worker, by name.
    pub(super) fn of(&mut self, config: &WatcherConfig) -> Result<Vec<(String, String)>, SpawnError> {
        let mut env = config.env.clone().unwrap_or_default();
        // circusd-stats and the console have copy_path as in Circus, and are no programs in Python.
        if config.copy_path && config.origin != WatcherOrigin::Internal && !env.contains_key("PYTHONPATH") {
            env.insert("PYTHONPATH".into(), self.python_path()?);
        }
        if let Some(file) = &config.env_file {
            env.extend(read_file(file, &config.working_dir)?);
        }
        if let Some(root) = &config.virtualenv {
            enter(root, config, &mut env).map_err(failed)?;
        }
        Ok(env.into_iter().collect())
    }

    fn python_path(&mut self) -> Result<String, SpawnError> {
        let host = &self.host;
        let asked = self.python_path.get_or_insert_with(|| sys::python_path("python3", &host.env, &host.cwd));
        let advice = "install python3 where circusd's PATH finds it, or set PYTHONPATH in [env:NAME]";
        asked
            .clone()
            .map_err(|reason| failed(format!("copy_path: python3 did not report its import path: {reason}; {advice}")))
    }
}

/// The variables of a watcher whose workers run in a virtual environment; `None` of any other, and where it is not there.
pub(super) fn in_virtualenv(config: &WatcherConfig) -> Option<BTreeMap<String, String>> {
    let mut env = config.env.clone().unwrap_or_default();
    enter(config.virtualenv.as_ref()?, config, &mut env).ok()?;
    Some(env)
}

fn enter(root: &str, config: &WatcherConfig, env: &mut BTreeMap<String, String>) -> Result<(), String> {
    let found = sys::Virtualenv::find(root, config.virtualenv_py_ver.as_deref())?;
    if let Some(path) = found.path(env.get("PATH").map(String::as_str)) {
        env.insert("PATH".into(), path);
    }
    let python_path = found.python_path(env.get("PYTHONPATH").map(String::as_str));
    env.insert("PYTHONPATH".into(), python_path);
    Ok(())
}

/// The variables that a file names; a relative path starts at this directory.
fn read_file(file: &str, directory: &str) -> Result<Vec<(String, String)>, SpawnError> {
    let path = Path::new(directory).join(file);
    let wrong = |errno, reason: String| SpawnError { errno, ..failed(format!("env_file {}{reason}", path.display())) };
    let unreadable = |error: &std::io::Error| wrong(error.raw_os_error().unwrap_or_default(), String::new());
    let bytes = std::fs::read(&path).map_err(|error| unreadable(&error))?;
    let variables: Result<Vec<_>, _> = dotenvy::Iter::new(bytes.as_slice()).collect();
    variables.map_err(|error| match error {
        dotenvy::Error::Io(error) => wrong(error.raw_os_error().unwrap_or_default(), String::new()),
        // Without its text: every client that may ask why is told the reason, and the file has passwords.
        dotenvy::Error::LineParse(line, _) => match line_number(&bytes, &line) {
            Some(number) => wrong(0, format!(":{number}: the line is no NAME=VALUE")),
            None => wrong(0, ": a line is no NAME=VALUE".to_owned()),
        },
        _ => wrong(0, ": it cannot be read as lines NAME=VALUE".to_owned()),
    })
}

fn line_number(bytes: &[u8], wanted: &str) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let at = text.lines().position(|line| line.trim() == wanted.trim())?;
    Some(at + 1)
}

fn failed(detail: String) -> SpawnError {
    SpawnError { stage: Stage::Environment, errno: 0, detail }
}
