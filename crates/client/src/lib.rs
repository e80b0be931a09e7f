//! The client of circusd: the one way in which the programs of the family reach its endpoints.
//!
//! A [`Client`] makes connections, through ssh where a server is named. [`Control`] is a connection for requests, which
//! either waits for each answer ([`Control::call`]) or is polled with mio ([`Control::ask`], [`Control::answer`]).
//! [`Subscriber`] receives events, and [`OutputTopics`] distinguishes the greeting of a subscription to output from its lines.
//! `endpoint` knows the default endpoints, how to connect to one that listens at every address, and why one cannot be
//! used.
//!
//! Keys of CURVE will be options of [`Client`]: every connection of every program is made there.

#![warn(missing_docs)]

pub mod arguments;
mod client;
mod control;
pub mod endpoint;
mod error;
mod output;

pub use circus_net::Subscriber;
pub use circus_sys::Ssh;
pub use client::Client;
pub use control::{Control, Request, Wait};
pub use error::ClientError;
pub use output::{OutputMessage, OutputTopics};
