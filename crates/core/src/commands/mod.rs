//! Layer 1: the commands, each declared once.
//!
//! [`COMMANDS`] is the one table. A command's entry says what its name, properties, documentation and role are, how its
//! properties become a [`Request`](crate::proto::Request), and how circusctl asks for it and shows the answer. Wire
//! decoding ([`decode`]), circusctl's subcommands, its help and the manual page are all read from it.
//!
//! Everything here is a pure function of its arguments.

mod console;
mod count;
mod health;
mod help;
mod matching;
mod props;
mod report;
mod selection;
mod show;
mod spec;
mod table;

mod add;
mod decr;
mod dstats;
mod enable;
mod get;
mod globaloptions;
mod incr;
mod kill;
mod list;
mod listen;
mod listsockets;
mod numprocesses;
mod numwatchers;
mod options;
mod quit;
mod reload;
mod reloadconfig;
mod reopenlogs;
mod restart;
mod rm;
mod run;
mod set;
mod signal;
mod start;
mod stats;
mod status;
mod stop;
mod tail;
mod upgrade;
mod wait;
mod why;

#[cfg(test)]
mod testing;

use crate::base::python;
pub use crate::base::python::{display as py_str, repr as py_repr};
pub use console::{
    Action, ConsoleOption, ConsoleSpec, Invocation, MessageFn, NamesFn, ShowFn, Table, UsageError, message,
};
pub use health::{Health, health};
pub use help::{command_help, command_list, synopsis};
pub use matching::matcher;
pub use report::{last_run, next_run, why_in_words};
pub use spec::{CommandSpec, Doc, Kind, PropertySpec, Role, Waiting};
pub use status::is_content;
pub use table::{COMMANDS, decode, find};
pub use wait::{Outlook, WaitGoal};
