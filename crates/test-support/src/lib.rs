//! What the tests of several packages share. Only tests depend on this package: `cargo build` does not compile it.
//!
//! A test that cannot run here says `SKIPPED`, the test and the reason on standard error ([`skipped`]), and passes; `.ci/run`
//! fails on such a line, but for [`is_asked_for`]. All else that goes wrong here panics, and fails the test.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod broker;
mod http;
mod manual;
mod process;
mod programs;
mod wait;

pub use broker::{Broker, Kind, has_broker, is_asked_for};
pub use http::{Reply, request, send};
pub use manual::{described, offered};
pub use nix::sys::signal::Signal;
pub use process::{Process, free_port, runs, signal};
pub use programs::{celery, has_programs, prints_its_version, program, skipped};
pub use wait::{LIMIT, eventually, look_until};
