//! The upgrade: circusd executes another build of itself in the same process, so its children stay its children.
//!
//! | file | what it does |
//! |---|---|
//! | `progress`, `steps` | how far an upgrade has come, and what comes next |
//! | `check` | the new program is run with `--check-state`: it has to say that it can read the state |
//! | `state` | everything that the new program has to know, as plain data, and the numbers of the descriptors |
//! | `exec` | hooks end, output pauses, clients are disconnected, and the process becomes the new program |
//! | `resume` | the other end: a daemon from a state |
//!
//! The state is a sealed file in memory, with version and checksum. Every descriptor keeps its number. Until the check
//! has succeeded, nothing changes. If execve itself fails, the old program resumes its own state. If the new program cannot
//! resume, it executes the old one, whose file it has open, with the same state.
//!
//! The state of libzmq is lost: connections and what is in its queues. Requests that have been received are in the
//! state; answers are flushed; clients reconnect by themselves with their routing ids, and their answers and events wait
//! for them for a while.

mod check;
mod exec;
pub(super) mod progress;
mod resume;
mod state;
mod steps;

pub(super) use check::check_state;
pub(super) use exec::hand_over;
pub use resume::go_on;
