//! What circusctl needs of the network.

use std::time::Duration;

use circus_sys::Ssh;

/// A way to a daemon's control endpoint.
pub trait Transport {
    /// Sends a request, waits for the reply that has its id, and returns it as it came. Replies to other requests are
    /// skipped.
    fn call(&mut self, request: &[u8], id: &str, timeout: Duration) -> Result<Vec<u8>, CallError>;
}

/// Events as they come.
pub trait Subscription {
    /// Waits for the next event, at most so long; `None` when there is none by then, or when there will be no more.
    fn next_event(&mut self, limit: Option<Duration>) -> Result<Option<Event>, CallError>;
}

/// An event as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The first frame.
    pub topic: Vec<u8>,
    /// The second frame, JSON.
    pub body: Vec<u8>,
}

/// Makes connections.
pub trait Connector {
    /// To a control endpoint.
    fn control(&mut self, endpoint: &str) -> Result<Box<dyn Transport>, CallError>;

    /// Opens a way through a server to an endpoint as it is seen from there, unless it is open; where it begins here.
    fn tunnel(&mut self, ssh: &Ssh, endpoint: &str) -> Result<String, CallError>;

    /// To a pubsub endpoint, for topics that begin with one of these.
    fn subscribe(&mut self, endpoint: &str, topics: &[String]) -> Result<Box<dyn Subscription>, CallError>;
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The daemon was reached, but the reply did not come in time.
    TimedOut,
    /// No connection came about in time.
    Unreachable,
    /// The endpoint cannot be used at all, with the reason.
    Failed(String),
    /// ssh does not lead there, with the reason.
    NoTunnel(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable => f.write_str("nothing answers there"),
            Self::Failed(reason) | Self::NoTunnel(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for CallError {}
