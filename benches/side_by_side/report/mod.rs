//! What becomes of the figures. Nothing in here measures, reads or writes: `tests/report` runs its tests.

mod figure;
mod goal;
mod growth;
mod json;
mod machine;
mod plot;
mod readme;
mod sample;
mod summary;
mod table;

pub(crate) use figure::Figure;
pub(crate) use goal::judge;
pub(crate) use growth::growth;
pub(crate) use json::json;
pub(crate) use machine::Machine;
pub(crate) use plot::{Curves, Dots, curves, dots};
pub(crate) use readme::with_block;
pub(crate) use sample::Samples;
pub(crate) use summary::percentile;
pub(crate) use table::comparison;
