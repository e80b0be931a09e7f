//! Completion of command lines, for the shell of circusctl and for those of the system.
//!
//! Two ways lead here from outside. With `AUTO_COMPLETE` in its environment circusctl does what the original does for the
//! script that comes with it: it prints what may stand at word `COMP_CWORD` of `COMP_WORDS`, in one line. The hidden
//! command `completion` prints scripts of our own, which call it again: one candidate a line, so that names may have
//! blanks.

mod candidates;
mod command;

pub(super) use candidates::candidates;
pub use command::{AutoComplete, Completion};
pub(super) use command::{auto_complete, complete};
