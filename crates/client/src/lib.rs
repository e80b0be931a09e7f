//! The client of circusd: the one way in which the programs of the family reach its endpoints.
//!
//! A [`Client`] makes connections, through ssh where a server is named. [`Control`] is a connection for requests, which
//! either waits for each answer ([`Control::call`]) or is polled with mio ([`Control::ask`], [`Control::answer`]).
//! [`Subscriber`] receives events, and [`OutputTopics`] distinguishes the greeting of a subscription to output from its lines.
//! `endpoint` knows the default endpoints, how to connect to one that listens at every address, and why one cannot be
//! used.
//!
//! [`Hosts`] is the file in which a user gives hosts names, and [`Host`] what leads to one of them.
//!
//! With keys of CURVE ([`KeyNames`]) a [`Client`] uses them at every endpoint that is tcp://: every connection of every
//! program is made there.

#![warn(missing_docs)]

pub mod arguments;
mod client;
mod control;
pub mod endpoint;
mod error;
mod hosts;
mod keys;
mod output;

pub use circus_net::{ClientKeys, Subscriber, generate as generate_keys};
pub use circus_sys::Ssh;
pub use client::Client;
pub use control::{Control, Request, Wait};
pub use error::ClientError;
pub use hosts::{HOST_VARIABLE, Host, Hosts, hosts_path};
pub use keys::{DESCRIPTOR_VARIABLE, KEY_VARIABLE, KeyNames, SERVER_KEY_VARIABLE};
pub use output::{OutputMessage, OutputTopics};
