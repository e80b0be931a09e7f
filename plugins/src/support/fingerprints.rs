//! How a file was when it was last looked at.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files of a directory that are looked at; a tree that is larger is no program.
const MOST: usize = 10_000;

/// A file, and what changes when it is written or another file takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    path: PathBuf,
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

/// The stamps of a path: of the file behind its links, or of every file of a directory. None where there is nothing.
pub(crate) fn fingerprints(path: &Path) -> Vec<Fingerprint> {
    let mut found = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(path) = open.pop().filter(|_| found.len() < MOST) {
        // Another file by the same name is another program, also where a link on the way to it was changed.
        let Ok(real) = path.canonicalize() else { continue };
        match fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => open.extend(entries(&real)),
            Ok(meta) => found.push(Fingerprint {
                path: real,
                modified: (meta.mtime(), meta.mtime_nsec()),
                size: meta.size(),
                inode: meta.ino(),
            }),
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Everything in a directory, but what is hidden, linked, or made by Python when it runs.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        !name.starts_with('.') && name != "__pycache__" && entry.file_type().is_ok_and(|kind| !kind.is_symlink())
    });
    entries.map(|entry| entry.path()).collect()
}

/// The directories in which a change of these paths shows.
pub(crate) fn directories(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        // The link may be changed, and what it leads to.
        found.extend(path.parent().map(Path::to_path_buf));
        for stamp in fingerprints(path) {
            found.extend(stamp.path.parent().map(Path::to_path_buf));
        }
        found.extend(path.is_dir().then(|| path.clone()));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_and_a_look_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "1").unwrap();
        fs::write(path("b"), "1").unwrap();
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        let before = fingerprints(&path("link"));
        assert_eq!((before.len(), &before), (1, &fingerprints(&path("link"))));
        fs::write(path("a"), "22").unwrap();
        assert_ne!(before, fingerprints(&path("link")));
        let before = fingerprints(&path("link"));
        fs::remove_file(path("link")).unwrap();
        std::os::unix::fs::symlink("b", path("link")).unwrap();
        assert_ne!(before, fingerprints(&path("link")));
        assert_eq!(fingerprints(&path("none")), []);
    }

    #[test]
    fn a_directory_is_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("d/e/__pycache__")).unwrap();
        for name in ["d/x", "d/e/y", "d/.hidden", "d/e/__pycache__/z"] {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(fingerprints(&path("d")).len(), 2);
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(directories(&[real.join("d")]), [real.clone(), real.join("d"), real.join("d/e")]);
    }
}
