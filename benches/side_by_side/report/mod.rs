//! What becomes of the figures. Nothing in here measures, reads or writes: `tests/report` runs its tests.

#[path = "../../../tests/guard/block.rs"]
mod block;
mod figure;
mod goal;
mod growth;
mod json;
mod machine;
mod plot;
mod sample;
mod summary;
mod table;

pub(crate) use block::with_block;
pub(crate) use figure::Figure;
pub(crate) use goal::{Bound, GOALS, judge};
pub(crate) use growth::growth;
pub(crate) use json::json;
pub(crate) use machine::Machine;
pub(crate) use plot::{Curves, Dots, curves, dots};
pub(crate) use sample::Samples;
pub(crate) use summary::percentile;
pub(crate) use table::comparison;
