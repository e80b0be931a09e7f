//! Why there is no connection, or no answer.

use std::fmt;
use std::time::Duration;

use circus_net::Bar;

use super::endpoint::Trouble;

/// Why there is no connection, or no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// No connection came about.
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The reason, where it is known.
        trouble: Option<Trouble>,
    },
    /// circusd and this client do not agree about keys.
    Barred {
        /// The endpoint.
        endpoint: String,
        /// In what.
        bar: Bar,
    },
    /// There is, or was, a connection, but the answer did not come in time.
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// The time limit of the request.
        limit: Duration,
    },
    /// The connection was lost and came back, and the answer did not come in time. The request may not have arrived.
    Interrupted {
        /// The endpoint.
        endpoint: String,
    },
    /// The answer is not a JSON object.
    Garbled {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint cannot be used at all, with the reason.
    Unusable(String),
    /// ssh does not lead there, with the reason.
    NoTunnel(String),
    /// The keys cannot be read, with the reason.
    NoKeys(String),
    /// No host of `hosts.toml` is meant, with the reason.
    NoHost(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { endpoint, trouble: Some(trouble) } => {
                write!(f, "cannot connect to {endpoint}: {trouble}")
            }
            Self::Unreachable { endpoint, trouble: None } => {
                write!(f, "cannot connect to {endpoint}. Is circusd running there?")
            }
            Self::Barred { endpoint, bar } => write!(f, "cannot connect to {endpoint}: {bar}"),
            Self::Timeout { endpoint, limit } => {
                write!(f, "no answer from {endpoint} within {} s", limit.as_secs_f64())
            }
            Self::Interrupted { endpoint } => write!(
                f,
                "the connection to {endpoint} was lost before the answer came: circusd was upgraded or restarted \
                 meanwhile; check whether the command was carried out, and repeat it if not"
            ),
            Self::Garbled { endpoint } => {
                write!(f, "the answer from {endpoint} is not a JSON object: is it circusd's endpoint?")
            }
            Self::Unusable(reason) | Self::NoKeys(reason) => f.write_str(reason),
            Self::NoHost(reason) => write!(f, "--host: {reason}"),
            Self::NoTunnel(reason) => write!(f, "--ssh: {reason}"),
        }
    }
}

impl std::error::Error for ClientError {}
