//! The answer to a request, and where it goes.

use serde::{Deserialize, Serialize};

use super::{Fault, Format, Object, RequestId};

/// Where the answer to a request goes. Plain data, so that a pending answer survives an upgrade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplyTo {
    /// To the client that sent the request.
    Client(ClientAddress),
    /// To the Python host of hooks that sent it, under the number that it gave.
    Hook {
        /// The host.
        host: u64,
        /// Its number of the request.
        number: u64,
    },
    /// Nowhere: the request was a cast.
    Discard,
}

/// The way back to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientAddress {
    /// The ROUTER's name for the connection.
    pub identity: Vec<u8>,
    /// Whether the request came with an empty delimiter frame (a REQ client), which the reply must repeat.
    pub delimiter: bool,
    /// Echoed unchanged.
    pub id: RequestId,
    /// A request in MessagePack is answered in MessagePack.
    pub format: Format,
    /// Whether arguments and environments are hidden from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// What the daemon has noted of the request, for when it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
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
