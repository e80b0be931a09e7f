//! Scenarios of the core, each a story: what happens, and what the core wants done.

mod lifecycle;
mod products;
mod reloadconfig;
mod rig;
mod spawning;
