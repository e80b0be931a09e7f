//! Requests of clients: those that change something, and those that only read.

pub(in crate::arbiter) mod authorize;
pub(in crate::arbiter) mod change;
pub(in crate::arbiter) mod pending;
pub(in crate::arbiter) mod query;
pub(in crate::arbiter) mod reloadconfig;
mod remember;
mod room;
pub(in crate::arbiter) mod stats;
pub(in crate::arbiter) mod tail;
pub(in crate::arbiter) mod verbose_status;
pub(in crate::arbiter) mod why;
