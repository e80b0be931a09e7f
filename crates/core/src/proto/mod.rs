//! Layer 0: the words on the wire, as plain data.
//!
//! A request arrives as an [`Envelope`]; `commands` turns it into a typed [`Request`]; the arbiter answers with a
//! [`Reply`] and publishes [`Notice`]s. Nothing here does anything: no clock, no sockets, no system calls.

mod codec;
mod endpoint;
mod errno;
mod hook;
mod info;
mod notice;
mod notification;
mod object;
mod output;
mod reply;
mod request;
mod run;
mod signal;
mod spawn;
mod tail_cursor;

pub use codec::{Envelope, Format, RequestId, Undecodable, decode, encode_notice, encode_reply, reply_value};
pub use endpoint::reachable;
pub use errno::{ErrNo, Fault};
pub use hook::HookPoint;
pub use info::{ClockTime, HumanSize, ProcessInfo, Usage};
pub use notice::{CIRCUSD, EventKind, Notice, resource_name};
pub use notification::Notification;
pub use object::Object;
pub use output::{KeptLine, OUTPUT_GREETING, OUTPUT_TOPICS, OutputEvent, StreamName, Tail, TailRange, output_topic};
pub use reply::{Body, ClientAddress, Reply, ReplyTo};
pub use request::{Environment, MatchMethod, ProcessSelector, Request, Selection};
pub use run::{RunReport, RunResult, RunTrigger};
pub use signal::{Signal, SignalError, exit_words};
pub use spawn::{SpawnError, Stage};
pub use tail_cursor::{Gap, TailCursor};
