//! The watchers and workers as data: options, states, numbered slots, and what is remembered of them.

pub(in crate::arbiter) mod activation;
pub(in crate::arbiter) mod chronicle;
pub(in crate::arbiter) mod escalation;
pub(in crate::arbiter) mod history;
pub(in crate::arbiter) mod memory;
pub(in crate::arbiter) mod pools;
pub(in crate::arbiter) mod registry;
pub(in crate::arbiter) mod runs;
pub(in crate::arbiter) mod scaler;
pub(in crate::arbiter) mod slots;
pub(in crate::arbiter) mod vitals;
pub(in crate::arbiter) mod watcher;
pub(in crate::arbiter) mod worker;
