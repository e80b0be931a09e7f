//! Layer 3: circusd-stats. It publishes what every process uses, once each interval.
//!
//! ```text
//!   circusd ── events: "something changed" ──▶ ┌─────────┐
//!           ◀── status, listsockets, dstats ── │ service │ ── stat.WATCHER.PID, stat.WATCHER, ... ──▶ subscribers
//!           ──────────── answers ────────────▶ └─────────┘ ◀── what they subscribed to ──
//!                                                   │
//!                                   process_cache ──┴── /proc, the sockets
//! ```
//!
//! The watchers are those that circusd reports; an event only says that it is time to ask again. So a name is the same
//! after a respawn, an event that is lost costs nothing, and what was missed during a restart is caught up with.
//! `inventory` reads the answers, `subscriptions` has the topics of subscribers, `process_cache` the last sample of
//! each process, `totals` and `frame` are what is published, and `service` is the loop. Without a subscriber it samples
//! nothing.

mod args;
mod clock;
mod control;
mod doorkeeper;
mod frame;
mod frame_sender;
mod inventory;
mod log;
mod process_cache;
mod program;
mod service;
mod socket_activity;
mod subscriptions;
mod totals;

pub use args::Args;
pub use program::main;
