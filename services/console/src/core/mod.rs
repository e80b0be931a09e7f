//! What decides: no clock, no file, no socket. Time is an argument.

pub mod access;
pub mod action;
pub mod board;
pub mod fleet;
pub mod history;
pub mod openapi;

pub use access::{Access, Caller, Refusal, Visit};
pub use board::{Board, Reach};
