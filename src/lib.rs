//! A process and socket manager: a drop-in for Circus 0.19. This is its architecture; each room's own documentation goes
//! on from here.
//!
//! # The packages
//!
//! `circusd` is this package: the daemon, and the thread that writes what workers print. Beside it in the workspace:
//!
//! | package | what it is |
//! |---|---|
//! | `crates/core` | the pure part: protocol ([`proto`]), [`config`], [`commands`], and the [`arbiter`], which decides |
//! | `crates/sys` | the kernel: processes, sockets, signals, samples ([`sys`]) |
//! | `crates/net` | ZeroMQ ([`net`]); no other package names it |
//! | `crates/plugin-sdk` | what plugins are made with, in Rust |
//! | `crates/zmq-sys` | libzmq with CURVE, compiled from source |
//! | `clients/ctl`, `top`, `stats`, `munin` | `circusctl`, `circus-top`, `circusd-stats`, `circus-munin` |
//! | `plugins` | `circus-plugin`: the plugins that come with circusd |
//! | `tests/docs`, `benches` | checks of README and the manual pages; the comparison with other managers |
//!
//! ```text
//!   circus = circusd             clients, plugins (through plugin-sdk)
//!     daemon, output                 │        │
//!        │     └──────────┬──────────┤        │
//!        │                net       sys       │
//!        └────────────────┴────┬─────┴────────┘
//!                            core: arbiter > commands > config > proto
//! ```
//!
//! The compiler keeps the layers: `core` depends on nothing that could look at a clock, a process or the network
//! (its clippy.toml bans what std has of them), and `sys` and `net` do not see each other. Programs speak ZeroMQ: requests
//! and replies over a ROUTER socket, events over a PUB socket, in the words of the original, so that its clients cannot
//! tell the difference.
//!
//! # The core
//!
//! [`arbiter`] is a state machine. It is told what happened (an [`Event`](arbiter::Event): a request came, a worker was
//! spawned, a worker died) and when, and says what to do (an [`Action`](arbiter::Action): spawn, signal, publish, reply).
//! It does nothing itself, so its tests need neither processes nor sleep, and a seeded simulator (`crates/core/tests/sim`) can drive
//! it through days of misfortune in a second. Its documentation has the states and every transition.
//!
//! There is no global lock. Operations belong to a watcher, and what one watcher waits for delays no other.
//!
//! # The loop
//!
//! [`daemon`] translates between the core and the kernel, and decides nothing. A turn has one order: poll until the
//! core's next deadline, read the clock once, take signals and reap every child that has ended, only then look at
//! requests (a death is known before anything could signal a pid that has gone to somebody else), let deadlines pass,
//! and carry out actions until there are none, each result fed back at once. With nothing due, nothing wakes up.
//!
//! That is one thread. What workers print is read and written on a second one ([`output`]), so that a slow disk never
//! delays a reap or a reply; libzmq has its own. They talk by messages and share nothing.
//!
//! # The two tables
//!
//! A command is declared once, in [`COMMANDS`](commands::COMMANDS), and so is an option, in
//! [`WATCHER_OPTIONS`](config::options::WATCHER_OPTIONS) and its two sisters. Decoding, validation, replies, circusctl,
//! its help, the INI reader, what `set` does to running workers, and README's tables are all read from them.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | a word on the wire, its shape, its error number | [`proto`] |
//! | a command: its properties, its help, how circusctl shows it | the file of its name in [`commands`] |
//! | an option, a default, a refusal, a line of an INI file | [`config`] |
//! | what happens when, and why | [`arbiter`] |
//! | what happens between fork and exec; signals, sockets, limits | [`sys`] |
//! | log files of workers, rotation, whole lines | [`output`] |
//! | ZeroMQ's edge-triggered descriptor, what is dropped and what waits | [`net`] |
//! | start-up, the turn, the end | [`daemon`] |

#![warn(missing_docs)]

pub use circus_core::{arbiter, commands, config, proto};
pub use circus_net as net;
pub use circus_sys as sys;

pub mod daemon;
pub mod output;
