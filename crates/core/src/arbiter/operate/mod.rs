//! Operations on watchers and their queue, the order of starts and stops, shutdown. `operation`, `job`, `walk` and `phase`
//! are their data, which watchers and the state hold; no file here needs one that needs it.

pub(in crate::arbiter) mod advance;
pub(in crate::arbiter) mod dependence;
pub(in crate::arbiter) mod failed_reload;
pub(in crate::arbiter) mod finish;
pub(in crate::arbiter) mod job;
pub(in crate::arbiter) mod last_lines;
pub(in crate::arbiter) mod operation;
pub(in crate::arbiter) mod phase;
pub(in crate::arbiter) mod proof;
pub(in crate::arbiter) mod queue;
pub(in crate::arbiter) mod reload;
pub(in crate::arbiter) mod schedule;
pub(in crate::arbiter) mod shutdown;
pub(in crate::arbiter) mod stuck;
pub(in crate::arbiter) mod upgrade;
pub(in crate::arbiter) mod walk;
