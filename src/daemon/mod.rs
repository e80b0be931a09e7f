//! Layer 3: circusd. It translates readiness into events and actions into calls, and decides nothing.
//!
//! [`main`] reads the command line and the configuration, and `boot` opens everything in the one order that is safe.
//! `event_loop` waits, reaps, feeds the arbiter and drains its actions, which `execute` carries out; `control`, `launch`,
//! `sampling`, `reload`, `activation`, `hooks` and `exec_sink` each do one kind of work for it. `shutdown` ends the
//! process or restarts the daemon inside it.

mod activation;
mod args;
mod authz;
mod boot;
mod children;
mod clock;
mod control;
mod environment;
mod event_loop;
mod exec_sink;
mod execute;
mod fd_table;
mod hooks;
mod launch;
mod log;
mod main;
mod output;
mod parent;
mod passed_sockets;
mod plugins;
mod reload;
mod sampling;
mod shutdown;
mod sockets;
mod sources;
mod syslog;

pub use args::Args;
pub use main::main;
