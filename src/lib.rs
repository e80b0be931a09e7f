//! A process and socket manager: a drop-in for Circus 0.19. This is its architecture; each room's own documentation goes
//! on from here.
//!
//! # The programs
//!
//! `circusd` keeps a fleet running, `circusctl` asks it for things, `circusd-stats` tells what its processes use,
//! `circus-top` shows that on a terminal and `circus-munin` to munin. Each is a few lines in `src/bin` that parse
//! arguments and call this library. `circus-plugin`, in `plugins`, has the plugins that come with circusd. They speak
//! ZeroMQ: requests and replies over a ROUTER socket, events over a PUB socket, in the words of the original, so that its
//! clients cannot tell the difference.
//!
//! # The layers
//!
//! ```text
//!   bin                       circusd         circusctl, plugins  circusd-stats, circus-top, circus-munin
//!                                │                       │          │
//!   layer 3                   daemon               ctl, plugin    stats, top, munin
//!                    ┌───────┬───┴───┬────────┐          │          │
//!   layer 2       arbiter   sys   output     net ────────┴──────────┤
//!                    └───────┴───┬───┴────────┘                     │
//!   layer 1                 commands, config ───────────────────────┤
//!                                │                                  │
//!   layer 0                    proto ───────────────────────────────┘
//! ```
//!
//! A room sees those below it and none beside it: in layer 2 nobody knows of the others, and [`daemon`] introduces them.
//! Of the pair in layer 1, [`commands`] may see [`config`]. `tests/guard` reads the source and fails where this is
//! broken, for the world outside too: only [`net`] names ZeroMQ, and layers 0 and 1 and the arbiter name nothing that
//! could look at a clock, a file or a process (but for the one file of [`config`] that reads the configuration). The clients
//! in layer 3 also see [`sys`]: [`ctl`] and [`top`] start a process, the ssh client of `--ssh`, [`plugin`] hears signals,
//! [`stats`] looks at many processes.
//!
//! # The core
//!
//! [`arbiter`] is a state machine. It is told what happened (an [`Event`](arbiter::Event): a request came, a worker was
//! spawned, a worker died) and when, and says what to do (an [`Action`](arbiter::Action): spawn, signal, publish, reply).
//! It does nothing itself, so its tests need neither processes nor sleep, and a seeded simulator (`tests/sim`) can drive
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
//! | circusctl | [`ctl`] |
//! | plugins: the kit that they are made with | [`plugin`] |
//! | circusd-stats | [`stats`] |
//! | circus-top | [`top`] |
//! | circus-munin | [`munin`] |

pub mod arbiter;
pub mod commands;
pub mod config;
pub mod ctl;
pub mod daemon;
pub mod munin;
pub mod net;
pub mod output;
pub mod plugin;
pub mod proto;
pub mod stats;
pub mod sys;
pub mod top;
