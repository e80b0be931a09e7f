//! Layer 2: the kernel. Processes, signals, sockets, limits; the only room that makes system calls about them.

mod account;
mod child;
mod host;
mod launch;
mod limits;
mod reap;
mod signals;
mod spawn;
mod status;
#[cfg(test)]
mod testing;

pub use account::{group_id, resolve, user_id};
pub use host::{host, sanitize_stdio, set_umask};
pub use launch::{Credentials, Launch, Pass, Stdio};
pub use limits::{Nofile, nofile, raise_nofile};
pub use reap::{Exit, reap};
pub use signals::{Caught, Signals};
pub use spawn::{Spawned, reserve, spawn};
pub use status::{StatusRead, read_status};
