//! What happens to single workers and watchers: launch, exit, termination, hooks, activation, back-off.

pub(in crate::arbiter) mod activation;
pub(in crate::arbiter) mod essential;
pub(in crate::arbiter) mod hooks;
pub(in crate::arbiter) mod purpose;
pub(in crate::arbiter) mod reconcile;
pub(in crate::arbiter) mod signals;
pub(in crate::arbiter) mod workers;
