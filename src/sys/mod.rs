//! Layer 2: the kernel. Processes, signals, sockets, limits; the only room that makes system calls about them.

mod account;
mod child;
mod endpoint;
mod holder;
mod host;
mod ipc;
mod kill;
mod launch;
mod limits;
mod pidfile;
mod process;
mod reap;
mod signals;
mod socket_file;
mod sockets;
mod spawn;
mod status;
#[cfg(test)]
mod testing;
mod tree;

pub use account::{group_id, resolve, user_id};
pub use endpoint::{BoundEndpoint, EndpointError, bind_endpoint, is_exposed};
pub use host::{host, sanitize_stdio, set_umask};
pub use kill::{SendError, send};
pub use launch::{Credentials, Launch, Pass, Stdio};
pub use limits::{Nofile, nofile, raise_nofile};
pub use pidfile::{Pidfile, PidfileError};
pub use process::{Proc, Stat};
pub use reap::{Exit, reap};
pub use signals::{Caught, Signals};
pub use socket_file::SocketFile;
pub use sockets::{Address, ManagedSocket, SocketError, open, open_all};
pub use spawn::{Spawned, reserve, spawn};
pub use status::{StatusRead, read_status};
pub use tree::{kill_tree, kill_trees};
