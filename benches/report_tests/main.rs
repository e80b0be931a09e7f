//! The part of the comparison in `benches/side_by_side` that measures nothing: from values to tables and pictures.
//!
//! Its tests are here because a benchmark with a `main` of its own has no harness that would run them.

#[path = "../side_by_side/report/mod.rs"]
mod report;

mod figure;
mod goal;
mod growth;
mod json;
mod machine;
mod plot;
mod sample;
mod summary;
mod table;
