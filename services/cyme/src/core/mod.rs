//! The part of a branch that decides: it sees no clock, no network and no disk.
//!
//! [`Branch`] is a state machine. It takes events ([`Event`]) with their time ([`Now`]), and returns what to do
//! ([`Action`]). [`Supervised`] is the part of it that keeps one worker as the model says. [`Board`] is what a broker does
//! for branches, as a plain structure: the broker in memory, and the broker of the simulation.

pub mod api;
pub mod board;
pub mod branch;
pub mod message;
pub mod model;
pub mod op;
pub mod openapi;
pub mod supervise;

pub use api::{Parsed, parse};
pub use board::{Answer, Board, BrokerCall, Claim, Entry, Found, Key, Kind, Presence, Record};
pub use branch::{Action, Branch, Event, Settings};
pub(crate) use circus_celery::url::{decoded, encoded};
pub use circus_celery::{BrokerUrl, Random};
pub use message::{Message, Payload, To};
pub use model::{App, Change, FieldError, Instance, Model, Queue};
pub use op::{Op, Reply};
pub use supervise::{Order, Outcome, Supervised};

use std::time::Duration;

/// The time, on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Now {
    /// Since some moment in the past; never set back. Every waiting goes by it.
    pub mono: Duration,
    /// Seconds since the epoch: what other machines understand.
    pub unix: f64,
}

/// Seconds, as a duration.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
