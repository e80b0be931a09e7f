//! A process and socket manager: a drop-in for Circus 0.19.

pub mod arbiter;
pub mod commands;
pub mod config;
pub mod ctl;
pub mod daemon;
pub mod net;
pub mod output;
pub mod proto;
pub mod sys;
