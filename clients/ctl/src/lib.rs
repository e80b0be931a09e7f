//! Layer 3: circusctl, built from [`COMMANDS`](circus_core::commands::COMMANDS).
//!
//! [`run`] is the whole program with its edges as arguments: the command line, the environment, the three streams, and
//! a [`Connector`] that reaches the daemon. What is printed is decided in functions that return text ([`Outcome`]),
//! so the tests here need neither sockets nor processes.

mod answer;
mod args;
mod complete;
mod completion;
mod dispatch;
mod editor;
mod globals;
mod hosts;
mod import;
mod keygen;
mod listen;
mod look;
mod network;
mod perform;
mod program;
mod run;
mod session;
mod shell;
mod tail;
mod targets;
mod text;
mod transport;
mod wait;
mod words;

pub use answer::{Outcome, answer};
pub use args::{Parsed, SyntaxError, parse};
pub use completion::{AutoComplete, Completion};
pub use globals::{GLOBAL_OPTIONS, Globals};
pub use import::Import;
pub use keygen::Keygen;
pub use look::Look;
pub use network::Network;
pub use program::main;
pub use run::run;
pub use session::{Environment, Exit, Streams};
pub use transport::{Connector, Event, Subscription, Target};

#[cfg(test)]
mod testing;
