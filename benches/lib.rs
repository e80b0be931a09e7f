//! Nothing but benches: `side_by_side`, `reload`, `soak` and `micro`.
