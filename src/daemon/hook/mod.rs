//! Running hooks: commands, waits for a service, and Python functions.
//!
//! [`Desk`] takes the core's orders and tells what they came to. Nothing here decides what an answer means, and nothing
//! waits: commands are children like any others, waits have threads (`sys::Vigil`), and Python functions run in a
//! python3 that is started when the first is called (`bridge`, whose other half is `bridge.py`). Whatever a hook
//! prints goes to the log, line by line (`lines`).

mod bridge;
mod brief;
mod desk;
mod lines;
mod program;

pub(super) use brief::Place;
pub(super) use desk::{Desk, News};
