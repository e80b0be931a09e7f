//! circushttpd: circusds in a browser, and the same over a REST interface.
//!
//! ```text
//!   circusd ── answers, events, figures ──▶ link ──▶ Board ──▶ http, stream ──▶ browser
//!           ◀── requests ────────────────── link ◀──────────── actions ◀─────── browser
//! ```
//!
//! A thread for each circusd ([`link`]) has the connections, and writes what comes down in a [`core::Board`]. A machine of a
//! fleet ([`fleet`]) has a board likewise, which is written from what a branch of Cyme answers. What a
//! request may do is decided in [`core::access`], what an action is in [`core::action`]; both are pure functions. `http`
//! answers, and `stream` tells browsers what has changed on a board since they were told last, so that a slow one gets
//! less and nothing is kept for it.
//!
//! circusd is asked nothing in a rhythm while no browser looks. While one does, circusd-stats publishes figures to this
//! subscriber; where there is none, `stats` is asked every five seconds. Events say when states are to be asked for.

pub mod core;
pub mod fleet;
pub mod http;
pub mod link;
pub mod listener;
pub mod machines;
pub mod program;
pub mod tree;

mod assets;
mod queues;
mod stream;
mod tail;
