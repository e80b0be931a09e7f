//! What a file that was written for Circus 0.19 means here, where that differs.
//!
//! `circusd --check` reports it, so that an operator that moves a fleet knows which lines to review. A note is about a line that
//! may have been written for what 0.19 made of it: the words of a command, a variable, the mode of a socket, what
//! becomes of a log file. What has changed for all (dead workers are replaced at once, every death gives one `reap`
//! ...) is in docs/differences.md. Notes read the text and not the configuration, so that they are given for a watcher that is
//! left out too.

mod env;
mod script;
mod sections;

pub(super) use sections::notes;
