//! The part of `zmq.h` (libzmq 4.3.5) that the `zmq` crate and our own `net` call, over a libzmq which this crate's
//! build script compiles with CURVE and links statically.
//!
//! It takes the place of the `zmq-sys` of crates.io through `[patch.crates-io]`: that one finds a library of the
//! system's or builds an older libzmq without CURVE. Names and types are those that `zmq` 0.10 expects: constants are
//! `u32`, whatever the C side takes.
#![expect(non_camel_case_types, reason = "the names are zmq.h's")]

mod accept;
mod constants;
pub mod errno;
mod functions;
mod guests;
mod sodium;

pub use std::os::fd::RawFd;

pub use accept::{guard, heard, turned_away};
pub use constants::*;
pub use functions::*;
pub use guests::Handshake;
