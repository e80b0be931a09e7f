//! The pure part of circusd: what is on the wire, what a configuration means, what the commands are, and the arbiter,
//! which decides. Nothing here looks at a clock, a process or the network.

#![warn(missing_docs)]

pub mod access;
pub mod arbiter;
pub mod base;
pub mod commands;
pub mod config;
pub mod escape;
pub mod proto;
