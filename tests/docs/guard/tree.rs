//! The files of the checkout.

use std::fs;
use std::path::{Path, PathBuf};

/// A file: its path from the top of the checkout, and its text.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The top of the checkout.
pub(crate) fn top() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// One file.
pub(crate) fn read(path: &str) -> File {
    let text = fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.into(), text }
}

/// Every file below these folders, or these files themselves, whose name ends so. A folder that is not there is empty.
pub(crate) fn files(roots: &[&str], end: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        if top().join(&path).is_dir() {
            open.extend(names(&path).into_iter().map(|name| path.join(name)));
        } else if path.to_string_lossy().ends_with(end) && top().join(&path).is_file() {
            found.push(read(&path.to_string_lossy()));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The names in a folder, but those that begin with a dot.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(top().join(folder)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.') && name != "target" && name != "__pycache__").collect()
}
