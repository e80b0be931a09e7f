//! Celery's workers, as a program that is not Python talks to them: remote control over Redis and RabbitMQ.
//!
//! [`program`] is `circus-celery`, what circusd needs around workers of Celery: readiness of a broker and of workers, health,
//! a drain before a stop, and a lease for beat. Cyme uses the rest too.

pub mod amqp;
pub mod drain;
pub mod health;
pub mod init;
pub mod lease;
pub mod message;
pub mod program;
pub mod random;
pub mod redis;
pub mod remote;
pub mod singleton;
pub mod url;
pub mod waiting;
pub mod worker;

use std::hash::{BuildHasher as _, RandomState};

pub use random::Random;
pub use url::BrokerUrl;

/// A number that differs from run to run.
pub fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
