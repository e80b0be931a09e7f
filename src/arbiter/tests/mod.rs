//! Scenarios of the core, each a story: what happens, and what the core wants done.

mod lifecycle;
mod products;
mod rig;
mod spawning;
mod stats;
