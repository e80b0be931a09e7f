//! What the parts of circusd cost that are called most, each by itself: `cargo bench --bench micro`. The comparison of the
//! whole with others is in `benches/side_by_side`.

mod codec;
mod core;
mod expansion;
mod output;
mod settings;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, codec::benches, core::benches, expansion::benches, output::benches);
criterion_main!(benches);
