//! Running hooks: commands, waits for a service, and Python functions.
//!
//! [`HookRunner`] carries out the core's hook actions and reports their results. Nothing here decides what an answer
//! means or when an attempt is repeated, and nothing blocks: commands are children like any others, attempts to reach a
//! service have threads (`sys::try_service`), and Python functions run in a python3 (`python_host`, whose other half is
//! `python/bridges/hooks.py`). What a hook prints goes to the log through the output thread.

mod answer;
mod payload;
mod process;
mod python_host;
mod runner;
mod service;

use super::children::Children;
use super::sources::Sources;
use crate::output::OutputHandle;

pub(super) use payload::Place;
pub(super) use process::pipe;
pub(super) use runner::{HookEvent, HookRunner};
pub(super) use service::{Hooks, Parts};

/// What running a hook touches besides the hooks themselves.
pub(super) struct HookCx<'a> {
    pub(super) output: &'a mut OutputHandle,
    pub(super) sources: &'a mut Sources,
    pub(super) children: &'a mut Children,
}
