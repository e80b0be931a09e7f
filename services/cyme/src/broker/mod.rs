//! The broker between branches: who is alive, which branch has what, and messages.

mod memory;
mod rabbit;
mod redis;

use std::future::Future;
use std::pin::Pin;

use crate::core::{Answer, BrokerCall, BrokerUrl, Message};

pub use self::redis::Redis;
pub use memory::Memory;
pub use rabbit::Rabbit;

/// A future of the broker.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// What branches need of a broker. An error says why it cannot be reached.
pub trait Broker: Send + Sync {
    /// Does what is asked.
    fn call(&self, call: BrokerCall) -> Pending<'_, Answer>;

    /// Waits for the next message to this branch.
    fn receive(&self) -> Pending<'_, Message>;
}

/// The broker of a branch.
pub fn open(url: &str, branch: &str) -> Result<Box<dyn Broker>, String> {
    let parsed = BrokerUrl::parse(url)?;
    match parsed.scheme.as_str() {
        "memory" => Ok(Box::new(Memory::default().of(branch))),
        _ if parsed.is_redis() => Ok(Box::new(Redis::open(&parsed, branch)?)),
        _ if parsed.is_amqp() => Ok(Box::new(Rabbit::open(url, branch)?)),
        other => Err(format!("a branch cannot use '{other}' as its broker: amqp, redis and memory are possible")),
    }
}
