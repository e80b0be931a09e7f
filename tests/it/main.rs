//! The real programs: circusd and circusctl as users run them, with workers from `examples/`.
//!
//! Every test has a directory of its own, in which its circusd, its endpoints and its workers live (see `rig`); when it
//! ends, a process or a file that is left there fails it. `cargo test --test it` needs `cargo build --examples` before it;
//! `cargo test` does both.
//!
//! Some tests need Python programs, in the interpreter that `CIRCUS_TEST_PYTHON` names: one with circus==0.19.0, pyzmq,
//! chaussette, gunicorn and uvicorn; others need `CIRCUS_TEST_CELERY`, the program celery of an environment with its client
//! of Redis and gevent, and redis-server. Without them they say `SKIPPED name: reason` on standard error.
#![expect(clippy::unwrap_used, reason = "what a test's helpers do not expect fails the test")]

mod rig;
#[path = "../../crates/core/tests/sim/rng.rs"]
mod rng;

mod audit;
mod background;
mod celery;
mod cgroups;
mod check;
mod circus;
mod configuration;
mod console;
mod cost;
mod descriptors;
mod faults;
mod first_ini;
mod flood;
mod hooks;
mod hostile;
mod hostile_owner;
mod hostile_worker;
mod hosts;
mod import;
mod include_watch;
mod independence;
mod init;
mod keys;
mod launch;
mod log;
mod many_workers;
mod midway;
mod munin;
mod network;
mod order;
mod outcomes;
mod output;
mod owner;
mod pids;
mod plugins;
mod prometheus;
mod reactions;
mod readiness;
mod reload;
mod reloadconfig;
mod remember;
mod rest;
mod runs;
mod scale;
mod secrets;
mod servers;
mod signals;
mod sinks;
mod slots;
mod sockets;
mod ssh;
mod startup;
mod stats;
mod stress;
mod survivors;
mod tail;
mod top;
mod trees;
mod upgrade;
mod users;
mod wall_clock;
mod watchdog;
mod web;
mod why;
mod wire;
