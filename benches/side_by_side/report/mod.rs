//! What becomes of the figures. Nothing in here measures, reads or writes: `tests/report` runs its tests.

mod figure;
pub(crate) mod goal;
mod growth;
mod json;
mod machine;
mod plot;
mod sample;
pub(crate) mod summary;
mod table;

pub(crate) use figure::Figure;
pub(crate) use goal::{Bound, GOALS, judge};
pub(crate) use growth::growth;
pub(crate) use json::json;
pub(crate) use machine::{Machine, stolen};
pub(crate) use plot::{Curves, Dots, curves, dots};
pub(crate) use sample::Samples;
pub(crate) use summary::percentile;
pub(crate) use table::comparison;
