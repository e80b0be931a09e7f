//! circusd, as a plugin sees it.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Level;
use circus_core::config::WatcherOrigin;
use circus_core::proto::Object;

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of circusd's error; `None` where there was no answer at all.
    pub errno: Option<i64>,
    /// In words.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a plugin can do: send circusd requests, log, and read the clock. The methods of `dyn Client` are the requests that
/// plugins mostly need, typed.
pub trait Client {
    /// The time since some moment, which passes also while the clock on the wall is set.
    fn now(&self) -> Duration;

    /// Sends a request and waits for the answer, a few seconds at most. An answer that says `error` is a [`Refusal`].
    fn call(&mut self, command: &str, properties: Object) -> Result<Object, Refusal>;

    /// Sends a request that gets no answer.
    fn cast(&mut self, command: &str, properties: Object);

    /// Writes a line to the log: circusd's, where circusd has started the plugin.
    fn log(&mut self, level: Level, text: &str);
}

impl dyn Client + '_ {
    /// The names of all watchers, plugins among them, in lower case.
    pub fn watchers(&mut self) -> Result<Vec<String>, Refusal> {
        let reply = self.call("list", Object::new())?;
        Ok(texts(reply.get("watchers")))
    }

    /// The processes of a watcher.
    pub fn pids(&mut self, watcher: &str) -> Result<Vec<i64>, Refusal> {
        let reply = self.call("list", name(watcher))?;
        let pids = reply.get("pids").and_then(Value::as_array);
        Ok(pids.into_iter().flatten().filter_map(Value::as_i64).collect())
    }

    /// All options of a watcher.
    pub fn options(&mut self, watcher: &str) -> Result<Object, Refusal> {
        let mut reply = self.call("options", name(watcher))?;
        Ok(object(reply.remove("options")))
    }

    /// The figures of a watcher's processes, by pid.
    pub fn stats(&mut self, watcher: &str) -> Result<Object, Refusal> {
        let mut reply = self.call("stats", name(watcher))?;
        Ok(object(reply.remove("info")))
    }

    /// The figures of all watchers' processes, by watcher and pid.
    pub fn all_stats(&mut self) -> Result<Object, Refusal> {
        let mut reply = self.call("stats", Object::new())?;
        Ok(object(reply.remove("infos")))
    }

    /// All watchers by name, in lower case: whether circusd runs it for itself, as it runs circusd-stats.
    pub fn internal_by_name(&mut self) -> Result<HashMap<String, bool>, Refusal> {
        let mut reply = self.call("status", object(Some(json!({"verbose": true}))))?;
        // The original answers without details, and runs nothing that is not its user's.
        let details = object(reply.remove("details"));
        let is_internal = |name: &String| details.get(name).is_some_and(WatcherOrigin::is_internal);
        let statuses = object(reply.remove("statuses"));
        Ok(statuses.keys().map(|name| (name.to_lowercase(), is_internal(name))).collect())
    }

    /// Has a watcher stopped.
    pub fn stop(&mut self, watcher: &str) {
        self.cast("stop", name(watcher));
    }

    /// Has a watcher started.
    pub fn start(&mut self, watcher: &str) {
        self.cast("start", name(watcher));
    }

    /// Has a watcher restarted.
    pub fn restart(&mut self, watcher: &str) {
        self.cast("restart", name(watcher));
    }

    /// Logs what is worth knowing.
    pub fn info(&mut self, text: &str) {
        self.log(Level::Info, text);
    }

    /// Logs what an operator should look at.
    pub fn warn(&mut self, text: &str) {
        self.log(Level::Warning, text);
    }
}

/// The properties that name a watcher.
fn name(watcher: &str) -> Object {
    object(Some(json!({"name": watcher})))
}

fn object(value: Option<Value>) -> Object {
    match value {
        Some(Value::Object(object)) => object,
        Some(_) | None => Object::new(),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let texts = value.and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}
