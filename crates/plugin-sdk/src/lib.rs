//! Layer 3: the SDK for plugins.
//!
//! A plugin is a program that circusd keeps running like any other. It receives events and can send requests. One in Rust implements [`Plugin`] and hands it to [`main`]; `examples/counter.rs` is a whole one in thirty
//! lines. circus-plugin(1) describes what circusd passes to a plugin of any language at its start.
//!
//! A plugin has one thread, and its methods are called one after the other: on an [`Event`], when the time has come
//! that it asked for ([`Plugin::next_tick`]), when its own descriptor is readable, at the end. It talks to circusd
//! through [`Client`], of which there are two: the real one of the runner, and [`FakeClient`], with which a test sets
//! the clock, gives the answers, and sees what was asked. Neither a socket nor a sleep is needed for that.

#![warn(missing_docs)]

mod client;
mod context;
mod event;
mod fake;
mod log;
mod names;
mod program;
mod runner;
mod settings;
mod zmq_client;

pub use client::{Client, Refusal};
pub use context::{Args, PluginContext};
pub use event::Event;
pub use fake::{FakeClient, Sent};
pub use log::Level;
pub use names::Names;
pub use program::{main, run};
pub use runner::Plugin;
pub use settings::Settings;
