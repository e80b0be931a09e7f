//! Nothing but benches: `side_by_side` and `micro`.
