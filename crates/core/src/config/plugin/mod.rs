//! `[plugin:NAME]`: programs that subscribe to events and send requests, and which circusd keeps running.
//!
//! A plugin is a watcher called `plugin:NAME`. `read` makes it of a section, with everything but its command line and
//! the variables that say where circusd is; those are [`settle`]d for the `[circus]` that is in force, which after
//! `reloadconfig` need not be that of the file.

mod builtins;
mod model;
mod read;
mod settle;

pub use builtins::{BUILTINS, Builtin, PluginKey, SHARED};
pub use model::{PluginConfig, Runner};
pub(super) use read::read;
pub use settle::settle;
