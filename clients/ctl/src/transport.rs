//! What circusctl needs of the network.

use std::time::Duration;

use circus_client::{ClientError, Hosts, KeyNames, Request, Ssh, Wait};

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An endpoint, as it is seen from the machine where the daemon runs.
    pub endpoint: String,
    /// The server to go through.
    pub ssh: Option<Ssh>,
    /// Where the keys are.
    pub keys: KeyNames,
}

/// Events as they come.
pub trait Subscription {
    /// Waits for the next event, at most so long; `None` when there is none by then, or when there will be no more.
    fn next_event(&mut self, limit: Option<Duration>) -> Result<Option<Event>, ClientError>;
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
    /// What `hosts.toml` says.
    fn hosts(&mut self) -> Result<Hosts, ClientError>;

    /// Another one, for a thread that speaks with another host.
    fn another(&mut self) -> Result<Box<dyn Connector + Send>, ClientError>;

    /// Sends requests to a control endpoint, all at once, and waits for their answers, which come back as they are and in
    /// the order of the requests.
    fn call(&mut self, target: &Target, requests: &[Request], wait: Wait) -> Vec<Result<Vec<u8>, ClientError>>;

    /// Subscribes at a pubsub endpoint to topics that begin with one of these.
    fn subscribe(&mut self, target: &Target, topics: &[String]) -> Result<Box<dyn Subscription>, ClientError>;

    /// Why no connection to this target comes about, where that can be found out within the limit.
    fn trouble(&mut self, target: &Target, limit: Duration) -> Option<ClientError>;
}
