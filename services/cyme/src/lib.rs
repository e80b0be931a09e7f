//! Cyme on circusd: instances of Celery workers on many machines.
//!
//! A branch (`cyme-branch`) runs on every machine beside its circusd. It answers over HTTP, keeps what its machine is to
//! run in a small database, and has circusd run it: a watcher for each instance. [`core`] decides; everything else carries
//! out its actions, and feeds the results back.

mod admin;
pub mod broker;
pub mod celery;
pub mod circusd;
pub mod command;
pub mod core;
pub mod http;
pub mod metrics;
pub mod program;
pub mod service;
pub mod store;

pub use circus_celery::seed;

/// The module that workers run.
pub const WORKER: &str = include_str!("../worker/cyme_worker.py");
