//! What an answer to `stats` says of a process.

use serde_json::{Map, Value};

use crate::support::sizes::bytes;

/// What a process uses; of one that has just ended nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessMetrics {
    /// In percent of one processor.
    pub(crate) cpu: Option<f64>,
    /// In percent of the machine's memory.
    pub(crate) percent: Option<f64>,
    /// Memory in RAM.
    pub(crate) bytes: Option<f64>,
}

impl ProcessMetrics {
    pub(crate) fn of(process: &Map<String, Value>) -> Self {
        let number = |key: &str| process.get(key).and_then(Value::as_f64);
        Self {
            cpu: number("cpu"),
            percent: number("mem"),
            bytes: process.get("mem_info1").and_then(Value::as_str).and_then(bytes),
        }
    }
}
