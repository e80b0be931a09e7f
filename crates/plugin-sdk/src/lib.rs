//! Layer 3: the kit that plugins are made with.
//!
//! A plugin is a program that circusd keeps running like any other, and that hears of every event and can send every
//! request. One in Rust implements [`Plugin`] and hands it to [`main`]; `examples/counter.rs` is a whole one in thirty
//! lines. What circusd tells a plugin of any language at its start stands in circus-plugin(1).
//!
//! A plugin has one thread, and its methods are called one after the other: on an [`Event`], when the time has come
//! that it asked for ([`Plugin::next_tick`]), when its own descriptor is readable, at the end. It talks to circusd
//! through [`Circus`], of which there are two: the real one of the runner, and [`FakeCircus`], with which a test sets
//! the clock, gives the answers, and sees what was asked. Neither a socket nor a sleep is needed for that.

#![warn(missing_docs)]

mod circus;
mod event;
mod fake;
mod log;
mod names;
mod program;
mod real;
mod runner;
mod settings;
mod surroundings;

pub use circus::{Circus, Refusal};
pub use event::Event;
pub use fake::{FakeCircus, Sent};
pub use log::Level;
pub use names::Names;
pub use program::{main, run};
pub use runner::Plugin;
pub use settings::Settings;
pub use surroundings::{Args, Surroundings};
