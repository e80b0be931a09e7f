//! Layer 2: ZeroMQ on mio.
//!
//! libzmq's sockets are not descriptors. Each has one, `ZMQ_FD`, that becomes readable when something happened, once, and
//! any call on the socket may consume that readiness. [`Router`] and [`Publisher`] are the servers' sides, registered
//! with mio; [`Dealer`] and [`Subscriber`] are the clients' sides, which may also block. All of them go through
//! `readiness`, the one place that knows the rules.
//!
//! This module decides about messages that libzmq would drop silently:
//!
//! - an answer that a client does not fetch waits in a bounded queue of its own (`send_queue`), and what is lost is counted;
//! - an event that a subscriber does not fetch is lost when its mark is reached (see [`Publisher`]);
//! - listening descriptors are bound by the caller and handed over, so that libzmq unlinks no path and a re-exec can keep
//!   them.
//!
//! An endpoint may be guarded ([`Guard`]): one of tcp asks for keys of CURVE (`curve`), one of ipc for the user. [`Zap`]
//! then decides about each client, and messages and subscriptions tell from which key or process they come ([`Peer`]).

#![warn(missing_docs)]

mod context;
mod curve;
mod deadline;
mod dealer;
mod error;
mod guard;
mod held;
mod listener;
mod option;
mod peer;
mod publisher;
mod readiness;
mod router;
mod send_queue;
mod subscriber;
mod subscriptions;
#[cfg(test)]
mod testing;
mod zap;

/// How many connections of guarded endpoints were closed since the start because of what they cost: see docs/limits.md.
pub fn turned_away() -> u64 {
    zmq_sys::turned_away()
}

pub use context::{Context, zeromq_version};
pub use curve::{ClientKeys, SecretKey, generate};
pub use dealer::{Bar, CallError, Dealer};
pub use error::NetError;
pub use guard::Guard;
pub use peer::Peer;
pub use publisher::{Judge, Publisher, SubscriptionChanges};
pub use router::{Counters, Incoming, Payload, RETRY_EVERY, Router};
pub use subscriber::Subscriber;
pub use zap::{Candidate, Zap};
