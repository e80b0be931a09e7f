//! The output thread: its loop, its state, and the commands that it carries out.

pub(super) mod apply_command;
pub(super) mod barrier;
pub(super) mod event_loop;
pub(super) mod pump;
pub(super) mod timer_queue;

pub(super) use event_loop::{Channels, WAKE, spawn};
