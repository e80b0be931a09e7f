//! Operations on watchers and their queue, the order of starts and stops, shutdown.

pub(in crate::arbiter) mod advance;
pub(in crate::arbiter) mod dependence;
pub(in crate::arbiter) mod failed_reload;
pub(in crate::arbiter) mod job;
pub(in crate::arbiter) mod last_lines;
pub(in crate::arbiter) mod proof;
pub(in crate::arbiter) mod queue;
pub(in crate::arbiter) mod reload;
pub(in crate::arbiter) mod schedule;
pub(in crate::arbiter) mod shutdown;
pub(in crate::arbiter) mod stuck;
pub(in crate::arbiter) mod upgrade;
