//! What a client is answered, and where the answer goes.

use serde::{Deserialize, Serialize};

use super::{Fault, Format, Object, RequestId};

/// The way back to the client that asked: plain data, so that a pending answer survives an upgrade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The ROUTER's name for the connection.
    pub identity: Vec<u8>,
    /// Whether the request came with an empty delimiter frame (a REQ client), which the reply must repeat.
    pub delimiter: bool,
    /// Echoed unchanged.
    pub id: RequestId,
    /// A request in MessagePack is answered in MessagePack.
    pub format: Format,
    /// `msg_type: cast`: obeyed, never answered, not even with an error.
    pub cast: bool,
}

/// The substance of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// `status: ok` and these properties, which may override `status`.
    Ok(Object),
    /// `status: error`.
    Error(Fault),
}

/// An answer with its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Where it goes.
    pub to: ReplyTo,
    /// What it says.
    pub body: Body,
    /// Seconds since the epoch, the reply's `time`.
    pub time: f64,
}
