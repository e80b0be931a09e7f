//! The ZeroMQ context, and the options that every socket gets.

use super::NetError;

/// libzmq's I/O thread and reaper thread, shared by the sockets of a process.
///
/// Threads do not survive a fork: make it after daemonizing. Dropping the last handle waits until every socket is closed,
/// and no longer than those sockets linger (see [`Router::close`](super::Router::close)).
#[derive(Clone)]
pub struct Context(zmq::Context);

/// The transport that an endpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Ipc,
}

impl Transport {
    /// Checks an endpoint as far as is needed before libzmq sees it: it has other transports, which are not for us, and
    /// the bindings panic at a NUL.
    pub(super) fn of(endpoint: &str) -> Result<Self, NetError> {
        let refuse = |reason| Err(NetError::Endpoint { endpoint: endpoint.escape_debug().to_string(), reason });
        let (transport, address) = match endpoint.split_once("://") {
            Some(("tcp", address)) => (Self::Tcp, address),
            Some(("ipc", address)) => (Self::Ipc, address),
            Some(_) => return refuse("the transport is neither tcp nor ipc"),
            None => return refuse("it names no transport"),
        };
        match address {
            "" => refuse("it names no address"),
            address if address.contains('\0') => refuse("it contains a NUL"),
            _ => Ok(transport),
        }
    }
}

/// The version of the libzmq that is built in, `4.3.5`.
pub fn zeromq_version() -> String {
    let (major, minor, patch) = zmq::version();
    format!("{major}.{minor}.{patch}")
}

impl Context {
    /// A context with one I/O thread: it moves a gigabyte a second, and a second one would only cost memory.
    pub fn new() -> Result<Self, NetError> {
        let context = zmq::Context::new();
        context.set_io_threads(1).map_err(NetError::socket("starting the I/O thread"))?;
        Ok(Self(context))
    }

    /// A socket that does not linger and, over TCP, notices within two minutes that its peer's machine has gone. The
    /// kernel sees to that: libzmq's own heartbeat would wake an idle daemon.
    pub(super) fn socket(&self, kind: zmq::SocketType) -> Result<zmq::Socket, NetError> {
        let socket = self.0.socket(kind).map_err(NetError::socket("making a socket"))?;
        let options = || {
            socket.set_linger(0)?;
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(60)?;
            socket.set_tcp_keepalive_intvl(15)?;
            socket.set_tcp_keepalive_cnt(4)
        };
        options().map_err(NetError::socket("setting options"))?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_is_always_there() {
        assert_eq!(zmq::has("curve"), Some(true));
        assert_eq!(zmq::version(), (4, 3, 5));
    }

    #[test]
    fn endpoints_are_tcp_or_ipc() {
        assert_eq!(Transport::of("tcp://127.0.0.1:5555").unwrap(), Transport::Tcp);
        assert_eq!(Transport::of("ipc:///run/circus.sock").unwrap(), Transport::Ipc);
        for (endpoint, reason) in [
            ("127.0.0.1:5555", "it names no transport"),
            ("inproc://x", "the transport is neither tcp nor ipc"),
            ("tcp://", "it names no address"),
            ("ipc:///tmp/a\0b", "it contains a NUL"),
        ] {
            let error = Transport::of(endpoint).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\0'), "{error}");
        }
    }
}
