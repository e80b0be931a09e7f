//! What circusd knows about a death: `why`.

use circus_plugin_sdk::{Client, Event};
use serde_json::{Value, json};

/// What went wrong, in words, and what the worker has printed last, the oldest line first.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Why {
    pub(crate) text: Option<String>,
    pub(crate) lines: Vec<String>,
    /// The signal that ended it.
    pub(crate) signal: Option<String>,
    /// For how many seconds it had run.
    pub(crate) lived: Option<f64>,
}

/// Whether an event tells of a process that has failed.
pub(crate) fn is_failed_exit(event: &Event) -> bool {
    event.kind == "reap" && event.body.get("exit_code").and_then(Value::as_i64).is_some_and(|code| code != 0)
}

/// Asks circusd about the end of a process. Empty where it does not know: the original does not, and circusd itself not
/// after many others.
pub(crate) fn of_exit(event: &Event, watcher: &str, client: &mut dyn Client) -> Why {
    let Some(pid) = event.pid() else { return Why::default() };
    let properties = json!({"name": watcher}).as_object().cloned().unwrap_or_default();
    let Ok(answer) = client.call("why", properties) else { return Why::default() };
    let rows = |key: &str| answer.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let of_it = |row: &&Value| row.get("pid").and_then(Value::as_i64) == Some(pid);
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let told = rows("events").iter().rev().find(of_it);
    Why {
        text: told.and_then(|row| text(row, "text")),
        signal: told.and_then(|row| text(row, "signal")),
        lived: told.and_then(|row| row.get("lived")).and_then(Value::as_f64),
        lines: rows("lines").iter().filter(of_it).filter_map(|row| text(row, "line")).collect(),
    }
}
