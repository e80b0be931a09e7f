//! Scenarios of the core, each a story: what happens, and what the core wants done.

mod cron;
mod demand;
mod essential;
mod failure;
mod hand_over;
mod hooks;
mod leftovers;
mod lifecycle;
mod oneshot;
mod order;
mod outcomes;
mod pairs;
mod products;
mod readiness;
mod reload;
mod reloadconfig;
mod remember;
mod rig;
mod scale;
mod sink_commands;
mod slots;
mod spawning;
mod stats;
mod tail;
mod upkeep;
mod why;
