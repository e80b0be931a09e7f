//! Layer 2: the kernel. Processes, signals, sockets, limits; the only room that makes system calls about them.

mod child;
mod launch;
mod limits;
mod reap;
mod spawn;
mod status;
#[cfg(test)]
mod testing;

pub use launch::{Credentials, Launch, Pass, Stdio};
pub use limits::{Nofile, nofile, raise_nofile};
pub use reap::{Exit, reap};
pub use spawn::{Spawned, reserve, spawn};
pub use status::{StatusRead, read_status};
