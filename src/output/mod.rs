//! Layer 2: what workers print, on a thread of its own.
//!
//! The daemon's thread holds an [`OutputHandle`]. It opens sinks, hands over the reading ends of pipes, says which
//! worker died, and collects messages; it never waits for a disk or a reader.
//!
//! ```text
//!  pipe -> Intake -> Unfinished -> Layout -> Outlet -> Medium
//!          reads     whole lines   prefix,   order,    file, FIFO,
//!                                  colour    queue     terminal
//! ```
//!
//! * An *intake* is an attached pipe. It is read when it is readable, a bounded share each turn, until end-of-file.
//! * What it reads is cut behind the last newline. The rest waits for its end, at most 200 ms or 64 KiB.
//! * A *sink* is what a stream's configuration asked for: a layout (`time_format`, `color`), an upkeep (rotation) and an
//!   outlet. Several sinks may
//!   share one outlet: there is one for each place, whoever names it.
//! * An *outlet* takes lines from several intakes and puts them in order. What its medium does not take waits in a
//!   queue. While a slow reader's queue is full its intakes are not read, and nobody else notices; a full disk's queue
//!   overflows instead, because a worker must not stop for that, and what was lost is counted.
//! * A line longer than 64 KiB goes out in pieces; the others wait for its end, but not for ever. Who begins a line
//!   while another's is open (a prompt, a dead worker's last words) begins it on a new line.
//! * Nothing wakes the thread but readiness, commands, and deadlines that are really due. A source that is busy is asked
//!   each millisecond instead of waking us at every write.
//!
//! Beside the sinks there is a *tail* for each watcher's stream: the last lines, bounded, and events for as long as
//! somebody listens. It outlives its sink, so that one can see why a watcher stopped.
//!
//! What would have to be handed over at an upgrade is plain data: each intake's `Unfinished`, each outlet's queue, and
//! the `Heritage` of its medium. A new class of stream is a `Medium` or a `Layout` in a file of its own.

mod format;
mod handle;
mod message;
mod read;
mod sink;
mod tail;
mod thread;

#[cfg(test)]
mod tests;

pub use handle::OutputHandle;
pub use message::{Message, SinkId, Source, SyncId};
pub use sink::check_file;
pub use tail::Kept;
