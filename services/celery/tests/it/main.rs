//! `circus-celery` with real brokers and real workers of Celery.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod beat;
mod fleet;
mod rig;
mod workers;
