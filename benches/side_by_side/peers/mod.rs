//! What is compared: each manager behind the same two traits.

mod circus;
mod find;
mod floor;
mod peer;
mod s6;
mod supervisord;
mod xmlrpc;

pub(crate) use find::{find, ours};
pub(crate) use floor::ask as bare_client;
pub(crate) use peer::{FLOOR, Job, OURS, Peer, Running, Task};
