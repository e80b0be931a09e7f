//! Branches with a real broker, a real circusd and Celery's own workers.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod admin;
mod brokers;
mod databases;
mod example;
mod figures;
mod interface;
mod life;
mod partition;
mod rig;
mod secure;
mod singleton;
mod storm;
