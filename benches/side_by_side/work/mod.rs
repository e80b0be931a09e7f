//! What each manager is asked to do, and what is measured meanwhile. Every figure is taken from outside, or read from
//! /proc; none is the manager's own word.

mod control;
mod fleet;
mod logs;
mod plan;
mod respawn;
mod startup;
mod statistics;

pub(crate) use plan::{Plan, Work};
