//! Layer 3: circus-top, a fleet on a terminal.
//!
//! ```text
//!   circusd-stats ── figures ──▶ ┌──────┐                    ┌───────┐                ┌──────┐
//!   circusd ── events, answers ▶ │ link │ ── Input ────────▶ │ State │ ── rows() ───▶ │ view │ ──▶ terminal
//!           ◀── questions ────── └──────┘                    └───────┘                └──────┘
//!                    ▲                      terminal ── keys ──▲  │
//!                    └────────────── Effect: an order, a quit ────┘
//! ```
//!
//! What is known and what a key does is decided in `State`, which sees neither a clock nor a socket; what is drawn is
//! a function of it (`view`). `connection` is the network, `screen` the terminal, and `run` the loop, which sleeps until one
//! of them has something. `once` prints the same knowledge for scripts.
//!
//! While the pane of output is open, `follow` is subscribed to what the selected watcher prints, and `output` is what
//! is known of that; closed, there is neither a connection nor a line.

mod args;
mod connection;
mod event_log;
mod fleet;
mod follow;
mod history;
mod input;
mod keys;
mod metrics;
mod once;
mod order;
mod output;
mod plain;
mod program;
mod rows;
mod run;
mod screen;
mod selection;
mod state;
#[cfg(test)]
mod testing;
mod view;

pub use args::Args;
pub use program::main;
