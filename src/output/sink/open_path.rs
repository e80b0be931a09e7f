//! Opening a log file by name, without being led astray.
//!
//! The last part of the name may be a symbolic link only if root or circusd's own user made it: an administrator's
//! link is followed, one that a worker's user planted in a directory of its own is refused. (The directories on the
//! way are trusted, as they are by every other program.) Owner and target are read from the link itself, so it cannot
//! be exchanged between the check and the use, and the file is then opened without following anything.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, geteuid};

/// As many links in a row as anybody needs.
const MOST_LINKS: usize = 8;

/// An open file and its name without links.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) file: File,
    pub(crate) real: PathBuf,
}

/// Opens or creates `path` for appending. A FIFO is opened for reading too: then it needs no reader to be opened, and
/// a reader that goes away and comes back finds what was written meanwhile.
pub(crate) fn open_for_append(path: &Path) -> io::Result<Place> {
    open_with_mode(path, 0o666)
}

fn open_with_mode(path: &Path, mode: u32) -> io::Result<Place> {
    let real = resolve(path)?;
    // O_NONBLOCK: opening a FIFO or a modem must not stop circusd; it means nothing to a regular file.
    let way = OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let way = if in_proc(&real) { way } else { way | OFlag::O_NOFOLLOW };
    let mode = Mode::from_bits_truncate(mode);
    let file = match open(&real, way | OFlag::O_WRONLY, mode) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENXIO) if is_fifo(&real) => File::from(open(&real, way | OFlag::O_RDWR, mode)?),
        Err(errno) => return Err(errno.into()),
    };
    if file.metadata()?.file_type().is_fifo()
        && let Ok(both) = open(&real, way | OFlag::O_RDWR, mode)
    {
        return Ok(Place { file: both.into(), real });
    }
    Ok(Place { file, real })
}

/// The same for a file of circusd's own, which others may read but not write.
pub(crate) fn open_log_file(path: &Path) -> io::Result<File> {
    Ok(open_with_mode(path, 0o644)?.file)
}

/// Whether a stream could write to a file of this name, as far as that can be told without making it. The error says
/// why not.
pub fn check_file(name: &str) -> Result<(), String> {
    look_at(Path::new(name)).map_err(|error| format!("cannot write to '{name}': {error}"))
}

fn look_at(path: &Path) -> io::Result<()> {
    let real = resolve(path)?;
    let allowed = |path: &Path, way| faccessat(AT_FDCWD, path, way, AtFlags::AT_EACCESS).map_err(io::Error::from);
    match fs::metadata(&real) {
        Ok(found) if found.is_dir() => Err(Errno::EISDIR.into()),
        Ok(_) => allowed(&real, AccessFlags::W_OK),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = real.parent().unwrap_or(Path::new("/"));
            allowed(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| within(error, folder))
        }
        Err(error) => Err(error),
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

/// The name without links.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MOST_LINKS {
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(|error| within(error, folder))?;
        let real = folder.join(name);
        if in_proc(&real) {
            return Ok(real);
        }
        match trusted_link(&real)? {
            Some(target) => path = folder.join(target),
            None => return Ok(real),
        }
    }
    Err(Errno::ELOOP.into())
}

/// Where `real` points to, if it is a link and its owner may say where circusd writes.
fn trusted_link(real: &Path) -> io::Result<Option<PathBuf>> {
    let link = match open(real, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let found = link.metadata()?;
    if !found.file_type().is_symlink() {
        return Ok(None);
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        let text = format!("it is a symbolic link made by uid {}, which is not followed", found.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(Some(readlinkat(&link, "")?.into()))
}

/// The links of /proc are the kernel's: they lead to open files, not to names.
fn in_proc(path: &Path) -> bool {
    path.starts_with("/proc")
}

fn within(error: io::Error, folder: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("its directory '{}': {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn a_file_is_created_or_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for line in ["one\n", "two\n"] {
            open_for_append(&path).unwrap().file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn two_names_of_one_file_are_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        symlink("log", folder.path().join("link")).unwrap();
        let real = open_for_append(&path).unwrap().real;
        assert_eq!(open_for_append(&folder.path().join("link")).unwrap().real, real);
        assert_eq!(open_for_append(&folder.path().join("./log")).unwrap().real, real);
    }

    #[test]
    fn a_link_may_point_to_a_file_that_does_not_exist_yet() {
        let folder = tempfile::tempdir().unwrap();
        symlink("new", folder.path().join("link")).unwrap();
        open_for_append(&folder.path().join("link")).unwrap();
        assert!(folder.path().join("new").exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = open_for_append(&folder.path().join("no/log")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/no'"), "{error}");
    }

    #[test]
    fn a_file_that_could_be_written_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str| check_file(folder.path().join(name).to_str().unwrap());
        assert_eq!(check("new"), Ok(()));
        assert!(!folder.path().join("new").exists());
        fs::write(folder.path().join("old"), "").unwrap();
        assert_eq!(check("old"), Ok(()));
        assert_eq!(check_file("/dev/stderr"), Ok(()));
        assert!(check("no/log").is_err_and(|text| text.starts_with("cannot write to '") && text.contains("/no': ")));
        assert!(check(".").is_err_and(|text| text.contains("directory")));
    }

    #[test]
    fn links_that_lead_in_a_circle_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(open_for_append(&folder.path().join("a")).is_err());
    }

    #[test]
    fn a_link_that_another_user_planted_is_not_followed() {
        if !geteuid().is_root() {
            eprintln!("needs root to make a link of somebody else's");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("log");
        symlink("/etc/passwd", &link).unwrap();
        lchown(&link, Some(12345), None).unwrap();
        let error = open_for_append(&link).unwrap_err();
        assert!(error.to_string().contains("uid 12345"), "{error}");
    }
}
