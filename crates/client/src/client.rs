//! Connections, and the tunnels that they go through.

use circus_net::{ClientKeys, Context, Subscriber};
use circus_sys::{Ssh, Tunnel, host};

use super::{ClientError, Control};

/// Makes connections. One of a program serves all its connections.
pub struct Client {
    context: Context,
    keys: Option<ClientKeys>,
    tunnels: Vec<OpenTunnel>,
}

struct OpenTunnel {
    ssh: Ssh,
    endpoint: String,
    tunnel: Tunnel,
}

impl Client {
    /// A client without connections, and without keys.
    pub fn new() -> Result<Self, ClientError> {
        let context = Context::new().map_err(unusable)?;
        Ok(Self { context, keys: None, tunnels: Vec::new() })
    }

    /// Uses these keys, if any, for connections from now on: at endpoints of tcp, those beyond a tunnel included.
    #[must_use]
    pub fn with_keys(self, keys: Option<ClientKeys>) -> Self {
        Self { keys, ..self }
    }

    /// The same, of a client that is in use.
    pub fn use_keys(&mut self, keys: Option<ClientKeys>) {
        self.keys = keys;
    }

    fn keys_for(&self, endpoint: &str) -> Option<&ClientKeys> {
        let tunnel = self.tunnels.iter().find(|open| open.tunnel.endpoint() == endpoint);
        let far = tunnel.map_or(endpoint, |open| open.endpoint.as_str());
        self.keys.as_ref().filter(|_| far.starts_with("tcp://"))
    }

    /// The context of its connections, for sockets that are not a client's.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The endpoint to connect to for `endpoint`: itself, or with `ssh` the near end of a tunnel, which is opened unless
    /// it is open.
    pub fn route(&mut self, ssh: Option<&Ssh>, endpoint: &str) -> Result<String, ClientError> {
        let Some(ssh) = ssh else { return Ok(endpoint.to_owned()) };
        self.tunnels.retain(|open| open.tunnel.is_open());
        if let Some(open) = self.tunnels.iter().find(|open| open.ssh == *ssh && open.endpoint == endpoint) {
            return Ok(open.tunnel.endpoint());
        }
        let tunnel = Tunnel::open(ssh, endpoint, &host()).map_err(ClientError::NoTunnel)?;
        let near = tunnel.endpoint();
        self.tunnels.push(OpenTunnel { ssh: ssh.clone(), endpoint: endpoint.to_owned(), tunnel });
        Ok(near)
    }

    /// A connection for requests. It is made in the background.
    pub fn control(&self, endpoint: &str) -> Result<Control, ClientError> {
        Control::connect(&self.context, endpoint, self.keys_for(endpoint))
    }

    /// A subscription to events whose topic begins with one of `topics`. The connection is made in the background;
    /// events before it stands are missed.
    pub fn subscribe<T: AsRef<[u8]>>(&self, endpoint: &str, topics: &[T]) -> Result<Subscriber, ClientError> {
        Subscriber::connect(&self.context, endpoint, self.keys_for(endpoint), topics).map_err(unusable)
    }
}

pub(super) fn unusable(error: impl std::fmt::Display) -> ClientError {
    ClientError::Unusable(error.to_string())
}
