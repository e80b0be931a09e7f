//! Layer 3: circusd-stats. It tells whoever subscribes what every process uses, once each interval.
//!
//! ```text
//!   circusd ── events: "something changed" ──▶ ┌─────────┐
//!           ◀── status, listsockets, dstats ── │ service │ ── stat.WATCHER.PID, stat.WATCHER, ... ──▶ subscribers
//!           ──────────── answers ────────────▶ └─────────┘ ◀── what they subscribed to ──
//!                                                   │
//!                                    ledger, hits ──┴── /proc, the sockets
//! ```
//!
//! Who there is, circusd is asked: an event only says that it is time to ask again. So a name is the same after a
//! respawn, an event that is lost costs nothing, and what was missed during a restart is made up for. `roster` reads the
//! answers, `interest` knows what is listened to, `ledger` remembers the last look at each process, `totals` and `frame`
//! are what is told, and `service` is the loop. While nobody subscribes it sleeps.

mod args;
mod clock;
mod control;
mod frame;
mod hits;
mod interest;
mod ledger;
mod log;
mod outlet;
mod program;
mod roster;
mod service;
mod totals;

pub use args::Args;
pub use program::main;
