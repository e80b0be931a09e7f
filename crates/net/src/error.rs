//! What can go wrong while a socket is made.

use std::fmt;
use std::io;

/// Why a socket could not be made.
#[derive(Debug)]
pub enum NetError {
    /// libzmq could not make a socket, or refused an option.
    Socket {
        /// What was asked of it.
        what: &'static str,
        /// Its reason.
        source: zmq::Error,
    },
    /// The endpoint is none that can be used.
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The descriptor cannot serve as the endpoint's listener.
    Listener {
        /// The endpoint it was given for.
        endpoint: String,
        /// What is wrong with it.
        source: io::Error,
    },
}

impl NetError {
    pub(super) fn socket(what: &'static str) -> impl FnOnce(zmq::Error) -> Self {
        move |source| Self::Socket { what, source }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { what, source } => write!(f, "zeromq: {what}: {source}"),
            Self::Endpoint { endpoint, reason } => {
                write!(f, "endpoint {endpoint}: {reason}; write tcp://HOST:PORT or ipc://PATH")
            }
            Self::Listener { endpoint, source } => write!(f, "endpoint {endpoint}: cannot listen: {source}"),
        }
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { source, .. } => Some(source),
            Self::Listener { source, .. } => Some(source),
            Self::Endpoint { .. } => None,
        }
    }
}
