//! What stands around a line: a time, a pid, a colour, the fields of a message.

pub(super) mod colored;
pub(super) mod dressed;
pub(super) mod line_format;
pub(super) mod record;
