//! What every test stands on.
//!
//! [`Site`] is a directory with what is needed to start a circusd in it; [`Circusd`] is one that runs. No test waits
//! for a time: [`wait_until`] waits for a condition, and fails the test when it does not come about.

mod circusd;
mod events;
mod http;
mod load;
mod process;
mod python;
mod site;
mod user;
mod wait;

pub(crate) use circus_test_support::{free_port, skipped};
pub(crate) use circusd::{Circusd, Ended, ask};
pub(crate) use events::Happening;
pub(crate) use http::{Answer, Http};
pub(crate) use load::{Counts, Load};
pub(crate) use process::Process;
pub(crate) use python::{celery, knob, node_modules, optimized_circusd, python};
pub(crate) use site::{Output, Site, built, run, spawn};
pub(crate) use user::Account;
pub(crate) use wait::{DEADLINE, Figures, look_until, observe_for, wait_for, wait_until};
