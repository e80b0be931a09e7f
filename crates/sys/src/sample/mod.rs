//! What processes use: memory, processor time, and their users.
//!
//! [`Sampler`] looks at one process at a time and remembers what it saw, so that the next look can tell the processor's
//! share since. It reads small files under /proc into one buffer that it keeps, and counts them, so that who has a
//! thousand processes to look at can spread them ([`Sampler::reads`]). [`Prober`] is for circusd-stats, which looks at everybody all the time and keeps files open. `reader` reads, `parse` understands, `history`
//! remembers, `users` knows names, `title` what a process is called, and `tree` adds up a process and its descendants.

mod history;
mod machine;
mod parse;
mod prober;
mod reader;
mod sampler;
mod title;
mod tree;
mod users;

pub use prober::{Details, Metrics, Probe, Prober};
pub use sampler::Sampler;
pub use tree::{TreeOptions, TreeUsage};
