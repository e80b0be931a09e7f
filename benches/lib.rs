//! Nothing but benches: `side_by_side`, `reload` and `micro`.
