//! THE CORE: a pure state machine. It makes no system call, reads no clock, holds no socket and draws no randomness
//! that was not handed to it; events say what happened, and actions what to do.
//!
//! # Watchers
//!
//! The options of a watcher (`numprocesses` above all) and its operation are the desired state; its state and its workers
//! are the actual one. Only `reconcile` compares the two.
//!
//! ```text
//!                    start, reload                 all tried, one has run
//!        Stopped ───────────────────▶ Starting ──────────────────────────▶ Active ◀─┐
//!           ▲                            │                                   │      │ reload, incr, decr,
//!           │                            │ stop, restart, rm, quit,          │      │ deaths and respawns
//!           │ no worker is left          │ max_retry used up                 │      │
//!           └───────────── Stopping ◀────┴───────────────────────────────────┴──────┘
//!                             │ ▲            (a restart goes on from Stopped to Starting)
//!                             └─┘ SIGKILL after graceful_timeout
//! ```
//!
//! | state | event | what happens |
//! |---|---|---|
//! | Stopped | start, reload | Starting: launches are requested, `warmup_delay` apart |
//! | Stopped | stop, quit | nothing; the request is answered |
//! | Stopped | incr, decr, set | the options change; a watcher that has stopped because it wanted no worker starts |
//! | Starting | every slot tried, one has run | Active, event `start` |
//! | Starting | every slot tried, none has run, some wait for their back-off | the operation ends; the slots are tried again |
//! | Starting | nothing runs and nothing will (`numprocesses = 0`) | Stopping, and so Stopped, event `stop` |
//! | Starting, Active | a launch failed `max_retry` times | Stopping (a graceful reload keeps the old processes instead) |
//! | Active | a worker died | its slot is filled: at once, or after a back-off if it exited early |
//! | Active | a worker died, `respawn = no` | its slot stays empty; with the last one Stopping |
//! | Active | a worker succeeded, `respawn = on-failure` | likewise |
//! | Active | a worker died, `on_demand` | its slot stays empty until the next connection; with the last one Stopped, without an event |
//! | Stopped | a connection, `on_demand` | Starting |
//! | Stopped | `run`, or the time of its `schedule` | Starting: a run begins |
//! | Stopped | start, and a watcher of `after` or `requires` is not up | held back: it starts when that one is up (`operate::dependence`) |
//! | Active | a check fails `health_retries` times, `max_age` is over | the worker is stopped and replaced |
//! | Active | the run is over, `kind = oneshot` or `cron` | Stopping, and so Stopped (`lifecycle::runs`) |
//! | Active | no connection for `idle_timeout`, `on_demand` | Stopping, and so Stopped, until the next connection |
//! | Active | start | empty slots are filled, back-offs end |
//! | Active | more or less is to be done, `scale` | `numprocesses` changes, within its bounds (`lifecycle::scale`) |
//! | Active | workers are too many, `drain` | those that are idle stop (`lifecycle::drain`) |
//! | any | reloadconfig | `requests::reloadconfig` has the plan; it is carried out by start, stop, reload and rm |
//! | Starting, Active | stop, restart, rm, quit | Stopping: the stop signal to all, SIGKILL to those that remain |
//! | Stopping | the last worker is reaped | Stopped, event `stop`; a restart starts, a removed watcher is forgotten |
//! | Stopping | start, reload, restart | wait their turn (`operate::queue` has the rules) |
//!
//! # Workers
//!
//! ```text
//!     Queued ──taken up──▶ Starting ──spawned──▶ Running ──stop signal──▶ Terminating ──reaped──▶ (no record)
//!        │                    │                     │                                                  ▲
//!        └─ not wanted any    └─ launch failed:     └──────────────── exited by itself ────────────────┘
//!           more: no record      no record, its slot
//!                                is due again or waits
//! ```
//!
//! Three more states take time on the way up, each only where the watcher asks for it:
//!
//! | state | a worker is there | left when |
//! |---|---|---|
//! | Preparing | before Queued, while its `before_spawn` hook runs | the hook answers: Queued, or no record |
//! | Accepting | after Starting, while its `after_spawn` hook runs | the hook answers: Unready or Running, or it is stopped |
//! | Unready | before Running, with `ready` | the check succeeds, or `ready_timeout` is over and it is stopped |
//!
//! A stop that comes in Starting is noted (`stop_pending`) and sent when the process exists.
//!
//! A worker's pid is data; the core identifies a worker by a [`WorkerId`] that is never used again, so a late or
//! unknown pid is ignored by construction. With `ready`, starts, walks and reloads wait for a worker until it is ready
//! (`lifecycle::readiness`). With `health` it is checked from then on (`lifecycle::liveness`).
//!
//! # Hooks
//!
//! At eleven points a watcher may have a hook. `lifecycle::purpose` has the points, what waits there and what a false
//! result means; nothing else waits, and a watcher without hooks is not affected. For the time that an answer takes, there is
//! a state of the worker (above) or a purpose that the watcher keeps.
//!
//! # Processes that are no workers
//!
//! The commands that streams are written to (`lifecycle::sink_commands`) and the Pythons that run hooks
//! (`lifecycle::python_hosts`) belong to no watcher, and clients see none of them. The daemon starts them and reports
//! what happens to them; the core decides when they are started again and ended.
//!
//! # Hand-over
//!
//! Between two turns all of this is plain data, which another daemon can read and continue: `resume` says what happens to
//! operations in progress.
//!
//! # Time
//!
//! Every deadline stands in one table (`timers`) and belongs to what set it: a worker that is stopping, a worker with a
//! max_age, a slot that waits for its back-off, a hook, a command of a stream, a watcher or a rollout that pauses. With
//! nothing due, nothing wakes up.

mod action;
mod core;
mod cx;
mod event;
mod fleet;
mod ids;
mod invariants;
mod lifecycle;
mod operate;
mod outbox;
mod outcome;
mod requests;
mod resume;
mod rng;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod time_zones;
mod timers;

use crate::base::time;
pub use crate::base::{Level, Mono, Now, Pid};
pub use action::{Action, Launch, Measure, ProbeCall, Reach, SampleTarget};
pub use event::{Event, Exit, Intent, Measured, ProbeOutcome, SocketAddress, SocketInfo};
pub use fleet::memory::{Memories, Memory};
pub use fleet::watcher::WatcherState;
pub use fleet::worker::WorkerState;
pub use ids::{HookId, JobId, ProbeId, SinkCommandId, WatcherKey, Wid, WorkerId};
pub use lifecycle::purpose::{HookCall, HookOutcome, HookSubject, HookTask, SignalTarget};
pub use lifecycle::sink_commands::SinkEvent;
pub use operate::operation::OperationKind;
pub use operate::phase::EssentialEnd;
pub use requests::authorize::{Denial, Facts, Principal, User, authorize};
pub use resume::STATE_VERSION;
pub use snapshot::{WatcherView, WorkerView};
pub use state::Arbiter;
pub use time_zones::TimeZones;
