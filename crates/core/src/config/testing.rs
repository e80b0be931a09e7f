//! A machine for tests: the files, users and groups that it has are written down.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::{Facts, File, FileKind};

/// Files by their absolute paths, without links. Every directory of a path exists; other paths do not.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeMachine {
    files: BTreeMap<String, (FileKind, Vec<u8>, bool)>,
    users: BTreeMap<&'static str, u32>,
    groups: BTreeMap<&'static str, u32>,
    own: Option<(u32, u32)>,
    pythons_started: Cell<usize>,
}

impl FakeMachine {
    pub(super) fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), (FileKind::Regular, content.into(), false));
        self
    }

    pub(super) fn with_program(mut self, path: &str) -> Self {
        self.files.insert(path.into(), (FileKind::Regular, Vec::new(), true));
        self
    }

    pub(super) fn with_directory(mut self, path: &str) -> Self {
        self.files.insert(path.into(), (FileKind::Directory, Vec::new(), true));
        self
    }

    pub(super) fn with_socket(mut self, path: &str) -> Self {
        self.files.insert(path.into(), (FileKind::Socket, Vec::new(), false));
        self
    }

    pub(super) fn with_user(mut self, name: &'static str, uid: u32) -> Self {
        self.users.insert(name, uid);
        self
    }

    pub(super) fn with_group(mut self, name: &'static str, gid: u32) -> Self {
        self.groups.insert(name, gid);
        self
    }

    /// The user and group that circusd runs as: not root, where nothing is said.
    pub(super) fn with_own_user(mut self, uid: u32, gid: u32) -> Self {
        self.own = Some((uid, gid));
        self
    }

    /// How often an interpreter was asked for its paths.
    pub(super) fn pythons_started(&self) -> usize {
        self.pythons_started.get()
    }
}

/// The path without `.`, `..` and doubled slashes.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Facts for FakeMachine {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let file = self.files.get(&plain(path)).ok_or("No such file or directory (os error 2)")?;
        Ok(file.1.clone())
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let prefix = format!("{}/", plain(directory).trim_end_matches('/'));
        let below = self.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> = below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        names
    }

    fn file(&self, path: &Path) -> Result<File, String> {
        let path = plain(path);
        if let Some((kind, _, executable)) = self.files.get(&path) {
            return Ok(File { kind: *kind, executable: *executable, writable: true });
        }
        let prefix = format!("{}/", path.trim_end_matches('/'));
        if path == "/" || self.files.keys().any(|file| file.starts_with(&prefix)) {
            return Ok(File { kind: FileKind::Directory, executable: true, writable: true });
        }
        Err("No such file or directory (os error 2)".into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.file(path).is_ok()
    }

    fn user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }

    fn has_time_zone(&self, name: &str) -> bool {
        name == "UTC"
    }

    fn own_uid(&self) -> u32 {
        self.own.unwrap_or((1000, 1000)).0
    }

    fn own_gid(&self) -> u32 {
        self.own.unwrap_or((1000, 1000)).1
    }

    fn python_path(&self, python: &str) -> Option<Vec<PathBuf>> {
        self.pythons_started.set(self.pythons_started.get() + 1);
        (python == "python3").then(|| vec!["/usr/lib/python3".into()])
    }
}
