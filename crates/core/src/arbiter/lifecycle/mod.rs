//! What happens to single workers and watchers: launch, exit, termination, hooks, activation, back-off.

pub(in crate::arbiter) mod activation;
pub(in crate::arbiter) mod announce;
pub(in crate::arbiter) mod answers;
pub(in crate::arbiter) mod backoff;
pub(in crate::arbiter) mod checks;
pub(in crate::arbiter) mod cron;
pub(in crate::arbiter) mod essential;
pub(in crate::arbiter) mod exit;
pub(in crate::arbiter) mod health;
pub(in crate::arbiter) mod hooks;
pub(in crate::arbiter) mod idle;
pub(in crate::arbiter) mod launch;
pub(in crate::arbiter) mod liveness;
pub(in crate::arbiter) mod notified;
pub(in crate::arbiter) mod probes;
pub(in crate::arbiter) mod purpose;
pub(in crate::arbiter) mod python_hosts;
pub(in crate::arbiter) mod readiness;
pub(in crate::arbiter) mod reconcile;
pub(in crate::arbiter) mod runs;
pub(in crate::arbiter) mod signals;
pub(in crate::arbiter) mod sink_commands;
pub(in crate::arbiter) mod start;
pub(in crate::arbiter) mod stop;
pub(in crate::arbiter) mod terminate;
