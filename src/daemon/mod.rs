//! Layer 3: circusd. It translates what is ready into events and actions into calls, and decides nothing.
//!
//! [`main`] reads the command line and the configuration, `boot` opens everything in the one order that is safe, `turn`
//! is the loop, `act`, `launch`, `requests`, `sampling`, `reconfigure` and `sockets` are its hands, and `lives` ends it or
//! begins anew.

mod act;
mod args;
mod boot;
mod clock;
mod demand;
mod environment;
mod filters;
mod hook;
mod hooks;
mod launch;
mod lives;
mod log;
mod main;
mod output;
mod owner;
mod plugins;
mod reconfigure;
mod registry;
mod requests;
mod sampling;
mod sockets;
mod syslog;
mod turn;

pub use args::Args;
pub use main::main;
