//! Where lines go: files and their rotation, devices, commands, the system log, the journal, circusd's log.

pub(super) mod compress;
pub(super) mod datagram;
pub(super) mod dated_backup;
pub(super) mod device;
pub(super) mod interface;
pub(super) mod keeping;
pub(super) mod log_file;
pub(super) mod log_lines;
pub(super) mod null;
pub(super) mod open;
pub(super) mod rotation_policy;
pub(super) mod size_rotation;
pub(super) mod time_rotation;
pub(super) mod writer;

pub use circus_sys::check_file;
pub(crate) use circus_sys::{open_log_file as open_for_append, open_private_file};
pub use open::OpenError;
