//! circusd's own log: lines as Circus writes them, to standard error, a file or the system log.
//!
//! `log_format = json` makes each line an object. A warning or an error that repeats is written once and counted.
//!
//! The daemon's thread formats nothing and writes nothing: it puts an entry into a bounded queue, and a thread of the
//! log's own writes it. So a reader that stalls, a FIFO without a reader or a full disk holds up that thread alone. What
//! the queue does not hold is dropped and counted, and the log says how much once it is written again.

mod audit;
mod handle;
mod json;
mod queue;
mod repeats;
mod syslog;
mod target;
mod writer;

pub(super) use audit::Audit;
pub(super) use handle::{Log, level, level_of, write_stderr};
