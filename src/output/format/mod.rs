//! What stands around a line: a time, a pid, a colour.

pub(super) mod colored;
pub(super) mod dressed;
pub(super) mod line_format;
