//! What reading and checking a configuration needs to know of the machine.
//!
//! The core makes no system call itself: the caller passes an implementation (`circus_sys::Machine` for the real machine,
//! a description in tests).

use std::path::{Path, PathBuf};

/// The machine that a configuration is read on.
pub trait Facts {
    /// The content of a file, or why it cannot be read. Links are followed.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// The names in a directory, in any order; none where it cannot be read.
    fn names(&self, directory: &Path) -> Vec<String>;

    /// What is at a path, or why that cannot be found out. Links are followed.
    fn file(&self, path: &Path) -> Result<File, String>;

    /// Whether the path exists at all: a link counts also where it leads nowhere.
    fn exists(&self, path: &Path) -> bool;

    /// Why circusd would not start with this file of its own, as owners and modes are; nothing where it would.
    fn refusals(&self, _file: OwnFile, _path: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Why no control group is delegated to this process; nothing where one is.
    fn cgroup_refusal(&self) -> Option<String> {
        None
    }

    /// The number of the user of this name.
    fn user(&self, name: &str) -> Option<u32>;

    /// The number of the group of this name.
    fn group(&self, name: &str) -> Option<u32>;

    /// Whether there is a time zone of this name.
    fn has_time_zone(&self, name: &str) -> bool;

    /// The number of circusd's own (effective) user.
    fn own_uid(&self) -> u32;

    /// The number of circusd's own (effective) group.
    fn own_gid(&self) -> u32;

    /// The directories that an interpreter of Python imports from; nothing where it does not say.
    fn python_path(&self, python: &str) -> Option<Vec<PathBuf>>;
}

/// A file that circusd itself reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnFile {
    /// One that may be seen: the log, the pidfile.
    Plain,
    /// `audit_log`, which no other user may read.
    Audit,
    /// `state_file`, which no other user may write.
    State,
    /// `curve_server_key`.
    SecretKey,
    /// `curve_authorized_keys`, a file or a directory.
    Keys,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// What kind of file it is.
    pub kind: FileKind,
    /// Whether circusd's user can execute it, or enter it where it is a directory.
    pub executable: bool,
    /// Whether circusd's user can write to it, or create files in it where it is a directory.
    pub writable: bool,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A unix socket.
    Socket,
    /// A pipe or a device.
    Other,
}

/// Whether a directory is at this path.
pub(super) fn is_directory(facts: &dyn Facts, path: &Path) -> bool {
    facts.file(path).is_ok_and(|file| file.kind == FileKind::Directory)
}
