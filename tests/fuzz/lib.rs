//! Nothing but the test `fuzz`.
