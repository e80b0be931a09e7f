//! The sink of MemoryStream: what is written there is taken, and is to be had from the stream's tail alone.

use crate::output::Message;
use crate::output::saved::SavedSink;
use crate::output::sink::interface::{Clocks, Lines, Sink, Written};

/// See the module.
#[derive(Debug)]
pub(crate) struct NullSink;

impl Sink for NullSink {
    fn write(&mut self, lines: Lines<'_>, _now: Clocks, _messages: &mut Vec<Message>) -> Written {
        Written { bytes: lines.bytes.len(), stop: None }
    }

    fn save(&self) -> SavedSink {
        SavedSink::Null
    }
}
