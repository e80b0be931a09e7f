//! What branches say to each other.

use serde::{Deserialize, Serialize};

use super::board::Kind;
use super::op::{Op, Reply};

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// No other message has it; an answer has that of its request.
    pub id: String,
    /// The branch that sent it.
    pub from: String,
    /// What it says.
    pub payload: Payload,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a message is made once, and lives for a moment")]
pub enum Payload {
    /// Something is asked for.
    Request {
        /// What.
        op: Op,
        /// The answer is not to wait until it is done.
        nowait: bool,
        /// After this time, in seconds since the epoch, it is not to be done: the client has got an error.
        expires: f64,
    },
    /// The answer.
    Reply(Reply),
    /// The broker knows something new of it. A message that comes late or twice does no harm: what counts is what the
    /// broker says then.
    Changed(Kind, String),
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// To one branch.
    Branch(String),
    /// To every branch that is alive, but the sender.
    Others,
}
