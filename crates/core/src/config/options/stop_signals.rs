//! `stop_signal`: one signal, which is a number as in Circus, or several, which are a text.

use serde_json::Value;

use super::Field as _;
use crate::config::{StopStep, WatcherConfig, stop_step};
use crate::proto::Signal;

/// The value of the option.
pub(super) fn get(watcher: &WatcherConfig) -> Value {
    match watcher.stop_steps.as_slice() {
        [] => watcher.stop_signal.show(),
        steps => StopStep::show(watcher.stop_signal, steps).into(),
    }
}

/// Stores a value of the option.
pub(super) fn put(watcher: &mut WatcherConfig, value: &Value) -> Result<(), String> {
    (watcher.stop_signal, watcher.stop_steps) = match value {
        Value::String(text) => stop_step::read(text)?,
        number => (Signal::read(number)?, Vec::new()),
    };
    Ok(())
}

/// The text of a file or a console as a value: a number for one signal, a text for several.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let (first, steps) = stop_step::read(text)?;
    Ok(if steps.is_empty() { first.0.into() } else { StopStep::show(first, &steps).into() })
}

/// Why a text of the wire is none of several signals. One signal is a number there, as clients of Circus know.
pub(super) fn check(key: &str, text: &str) -> Result<(), String> {
    if !text.contains(',') {
        return Err(format!("'{key}' isn't an integer"));
    }
    stop_step::read(text).map(drop).map_err(|error| format!("'{key}': {error}"))
}
