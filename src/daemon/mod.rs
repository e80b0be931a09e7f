//! Layer 3: circusd. It translates readiness into events and actions into calls.
//!
//! | file | what it does |
//! |---|---|
//! | [`main`], `args`, `boot`, `parent` | the command line; everything opened in the one order that is safe; the parent gets the progress of the start |
//! | `event_loop` | waits, reaps, feeds the arbiter, and drains its actions |
//! | `core` | the arbiter, the log and the time, which every other part may use |
//! | `sources` | what the loop waits for: a typed source for each token of its poll |
//! | `children` | what each child is: an exit goes to its one owner |
//! | `leftovers`, `signaller` | what workers leave behind; signals to workers and to what they have started |
//! | `descriptors` | how many descriptors circusd needs, and those it keeps for itself |
//! | `state_file`, `survivors`, `adopted` | which workers live, for the circusd after one that was killed; and what it does with them |
//! | `fd_table`, `sockets`, `activation`, `passed_sockets` | the descriptors that could be handed over, and what is done with managed sockets |
//! | `resources` | the configuration that is in force, and what is closed at the end |
//! | `execute` | carries out one action |
//! | `control`, `authz` | a message on the control endpoint: decoded, authorized, looked up, fed to the arbiter |
//! | `events` | what is published, and what clients have subscribed to |
//! | `launch`, `starting`, `environment`, `plugins` | from a launch of the core to a process whose output flows |
//! | `hooks` | commands, waits and Python functions that the core has run |
//! | `notify` | what workers report of themselves, and descriptors that they keep |
//! | `probes` | readiness and health checks |
//! | `exec_sink` | commands that streams are written to |
//! | `output_messages`, `log` | messages of the output thread, and circusd's own log, in a thread of its own |
//! | `sampling` | what processes use, a few of them in each turn |
//! | `upgrade` | executes another build of circusd in this process |
//! | `reload`, `shutdown` | reading the configuration again; the end, or a restart in the same process |
//!
//! The core decides what happens to the fleet. The parts that have timers or decisions of their own are `leftovers`,
//! `worker_sockets`, `parent`, `log` and `control`; `docs/architecture.md` lists them, with the reasons.

mod activation;
mod adopted;
mod args;
mod authz;
mod boot;
mod cgroups;
mod children;
mod clock;
mod control;
mod core;
mod descriptors;
mod door;
mod environment;
mod event_loop;
mod events;
mod exec_sink;
mod execute;
mod fd_store;
mod fd_table;
mod hooks;
mod include_watch;
mod init;
mod keys;
mod launch;
mod leftovers;
mod log;
mod main;
mod notify;
mod output_messages;
mod parent;
mod passed_sockets;
mod plugins;
mod probes;
mod reload;
mod resources;
mod sampling;
mod shutdown;
mod signaller;
mod sockets;
mod sources;
mod starting;
mod state_file;
mod survivors;
mod upgrade;
mod worker_sockets;

pub use args::Args;
pub use main::main;
pub use upgrade::go_on;
