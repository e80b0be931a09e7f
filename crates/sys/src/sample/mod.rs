//! What processes use: memory, processor time, and their users.
//!
//! [`Sampler`] samples one process at a time and keeps the result, so that the next sample can compute the processor's
//! share since. It reads small files under /proc into one buffer that it keeps, and counts them, so that a caller with a
//! thousand processes can spread the samples ([`Sampler::reads`]). [`Prober`] is for circusd-stats, which samples all
//! processes repeatedly and keeps files open. `reader` reads, `parse` parses, `history` has earlier samples, `users` user
//! names, `cpu_time` the one figure that `scale = cpu` needs, `title` the title of a process, and `tree` adds up a process and its descendants.

mod cpu_time;
mod history;
mod machine;
mod parse;
mod prober;
mod reader;
mod sampler;
mod title;
mod tree;
mod users;

pub use cpu_time::cpu_time;
pub use prober::{Details, Metrics, Probe, Prober};
pub use sampler::Sampler;
pub use tree::{TreeOptions, TreeUsage};
