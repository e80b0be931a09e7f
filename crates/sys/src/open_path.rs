//! Opening a log file by name, without following the links of other users.
//!
//! The name is walked part by part. A symbolic link is followed only if root or circusd's own user made it: an
//! administrator's link is followed, one that a worker's user planted is refused, be it the file or one of its
//! directories. Owner and target are read from the link itself and each directory is held open, so that nothing can be
//! exchanged between the check and the use.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, geteuid};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// An open file and its name without links.
#[derive(Debug)]
pub struct OpenedFile {
    /// The file.
    pub file: File,
    /// Its name without links.
    pub real: PathBuf,
}

/// A name whose directory is held open, so that it stays the same directory whatever is done to the names above it.
#[derive(Debug)]
pub struct PathPin {
    /// `None` in /proc, whose links are the kernel's: they lead to open files, not to names.
    folder: Option<OwnedFd>,
    /// Without links.
    real: PathBuf,
}

/// Opens or creates `path` for appending. A FIFO is opened for reading too: then it needs no reader to be opened, and
/// a reader that goes away and comes back finds what was written meanwhile.
///
/// # Errors
/// Where it cannot be opened, or a link that leads to it is another user's.
pub fn open_for_append(path: &Path) -> io::Result<OpenedFile> {
    open_with_mode(path, 0o666)
}

/// The same for a file of circusd's own, which others may read but not write.
///
/// # Errors
/// Where it cannot be opened, or a link that leads to it is another user's.
pub fn open_log_file(path: &Path) -> io::Result<File> {
    Ok(open_with_mode(path, 0o644)?.file)
}

/// The same for a file that no other user may read. One that others may touch, or that another user has made, is refused.
///
/// # Errors
/// Where it cannot be opened, or a link that leads to it is another user's.
pub fn open_private_file(path: &Path) -> io::Result<File> {
    let file = open_with_mode(path, 0o600)?.file;
    match not_private(path, &file.metadata()?) {
        Some(reason) => Err(io::Error::other(reason)),
        None => Ok(file),
    }
}

/// Why a file is none that no other user may read.
pub(super) fn not_private(path: &Path, data: &Metadata) -> Option<String> {
    let shown = path.display();
    if !data.is_file() {
        return Some("it is not a file".to_owned());
    }
    if data.uid() != geteuid().as_raw() {
        return Some(format!("it belongs to uid {}; remove it, or name another file", data.uid()));
    }
    if data.mode() & 0o077 != 0 {
        return Some(format!("others may read or change it (mode {:04o}): chmod 600 {shown}", data.mode() & 0o7777));
    }
    let another_name = || format!("it has another name, too ({} links); remove it, or name another file", data.nlink());
    (data.nlink() > 1).then(another_name)
}

/// Why a file is none that our own user alone can write.
pub fn not_our_own(data: &Metadata) -> Option<String> {
    let is_our_own = data.is_file() && data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0;
    (!is_our_own).then(|| "it is not a file that circusd's user alone can write; remove it".to_owned())
}

fn open_with_mode(path: &Path, mode: u32) -> io::Result<OpenedFile> {
    let pinned = resolve(path)?;
    // O_NONBLOCK: opening a FIFO or a modem must not stop circusd; it means nothing to a regular file.
    let way = OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let mode = Mode::from_bits_truncate(mode);
    let file = match pinned.open(way | OFlag::O_WRONLY, mode) {
        Ok(file) => file,
        Err(Errno::ENXIO) if is_fifo(&pinned.real) => pinned.open(way | OFlag::O_RDWR, mode)?,
        Err(errno) => return Err(errno.into()),
    };
    if file.metadata()?.file_type().is_fifo()
        && let Ok(both) = pinned.open(way | OFlag::O_RDWR, mode)
    {
        return Ok(OpenedFile { file: both, real: pinned.real });
    }
    Ok(OpenedFile { file, real: pinned.real })
}

impl PathPin {
    fn open(&self, way: OFlag, mode: Mode) -> nix::Result<File> {
        let opened = match (&self.folder, self.real.file_name()) {
            (Some(folder), Some(name)) => openat(folder, name, way | OFlag::O_NOFOLLOW, mode),
            _ => open(&self.real, way, mode),
        };
        opened.map(File::from)
    }

    /// A path to the same name through the open directory: for calls that know only paths.
    pub fn path(&self) -> PathBuf {
        let pinned = |folder: &OwnedFd| Some(format!("/proc/self/fd/{}/.", folder.as_raw_fd()));
        match (self.folder.as_ref().and_then(pinned), self.real.file_name()) {
            // Where /proc is not mounted, the name itself has to do.
            (Some(folder), Some(name)) if Path::new(&folder).exists() => Path::new(&folder).join(name),
            _ => self.real.clone(),
        }
    }
}

/// Finds `path` again, for a rotation.
///
/// # Errors
/// Where a directory cannot be entered, or a link is another user's.
pub fn pin(path: &Path) -> io::Result<PathPin> {
    resolve(path)
}

/// Whether a stream could write to a file of this name, as far as that is known without creating it. The error says
/// why not.
///
/// # Errors
/// Where it could not, with the reason.
pub fn check_file(name: &str) -> Result<(), String> {
    look_at(Path::new(name)).map_err(|error| format!("cannot write to '{name}': {error}"))
}

fn look_at(path: &Path) -> io::Result<()> {
    let PathPin { real, .. } = resolve(path)?;
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

/// Walks to the directory of `path`, and on where its last part is a link.
fn resolve(path: &Path) -> io::Result<PathPin> {
    let path = std::path::absolute(path)?;
    let root = || open("/", directory(), Mode::empty());
    let (mut folder, mut real, mut links) = (root()?, PathBuf::from("/"), 0);
    let mut rest = parts(&path);
    while let Some(part) = rest.pop_front() {
        let is_last = rest.is_empty();
        if part == ".." {
            folder = openat(&folder, "..", directory(), Mode::empty())?;
            real.pop();
            continue;
        }
        let next = real.join(&part);
        if in_proc(&next) {
            return Ok(PathPin { folder: None, real: next.join(rest.iter().collect::<PathBuf>()) });
        }
        let found = match openat(
            &folder,
            part.as_os_str(),
            OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(found) => File::from(found),
            Err(Errno::ENOENT) if is_last => return Ok(PathPin { folder: Some(folder), real: next }),
            Err(errno) if is_last => return Err(errno.into()),
            Err(errno) => return Err(within(errno.into(), &next)),
        };
        if let Some(target) = trusted_link(&found, &next)? {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::ELOOP.into());
            }
            if target.is_absolute() {
                (folder, real) = (root()?, PathBuf::from("/"));
            }
            let mut target = parts(&target);
            target.append(&mut rest);
            rest = target;
        } else if is_last {
            return Ok(PathPin { folder: Some(folder), real: next });
        } else if found.metadata()?.is_dir() {
            (folder, real) = (found.into(), next);
        } else {
            return Err(within(Errno::ENOTDIR.into(), &next));
        }
    }
    Err(io::Error::other("it names no file"))
}

fn directory() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// The parts of a path, without its beginning.
fn parts(path: &Path) -> VecDeque<OsString> {
    let named = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(named).collect()
}

/// Where `link` points to, if it is one and its owner may say where circusd writes.
fn trusted_link(link: &File, name: &Path) -> io::Result<Option<PathBuf>> {
    let found = link.metadata()?;
    if !found.file_type().is_symlink() {
        return Ok(None);
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        let (name, uid) = (name.display(), found.uid());
        let text = format!("'{name}' is a symbolic link made by uid {uid}, which is not followed");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(Some(readlinkat(link, "")?.into()))
}

/// The links of /proc are the kernel's: they lead to open files, not to names.
fn in_proc(path: &Path) -> bool {
    path.starts_with("/proc")
}

fn within(error: io::Error, folder: &Path) -> io::Error {
    // An error that passes by itself keeps its number: the start is tried again.
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) {
        return error;
    }
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
    fn private_file_is_our_own_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let refusal = || open_private_file(&path).unwrap_err().to_string();
        let data = open_private_file(&path).unwrap().metadata().unwrap();
        assert_eq!(data.mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refusal().ends_with(&format!("(mode 0640): chmod 600 {}", path.display())), "{}", refusal());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert!(refusal().contains("another name, too"), "{}", refusal());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(refusal(), "it is not a file");
    }

    #[test]
    fn links_that_lead_in_a_circle_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(open_for_append(&folder.path().join("a")).is_err());
    }

    #[test]
    #[ignore = "needs root"]
    fn a_link_that_another_user_planted_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("log");
        symlink("/etc/passwd", &link).unwrap();
        lchown(&link, Some(12345), None).unwrap();
        let error = open_for_append(&link).unwrap_err();
        assert!(error.to_string().contains("uid 12345"), "{error}");
    }

    #[test]
    #[ignore = "needs root"]
    fn a_directory_that_another_user_made_a_link_is_not_entered() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, target) = (folder.path().join("logs"), folder.path().join("secret"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &logs).unwrap();
        open_for_append(&logs.join("ours")).unwrap();
        lchown(&logs, Some(12345), None).unwrap();
        let error = open_for_append(&logs.join("app")).unwrap_err();
        assert!(error.to_string().contains("/logs' is a symbolic link made by uid 12345"), "{error}");
        assert!(!target.join("app").exists());
    }

    #[test]
    fn a_pinned_name_stays_in_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, other) = (folder.path().join("logs"), folder.path().join("other"));
        fs::create_dir(&logs).unwrap();
        fs::create_dir(&other).unwrap();
        let pinned = pin(&logs.join("app")).unwrap();
        fs::rename(&logs, folder.path().join("moved")).unwrap();
        symlink(&other, &logs).unwrap();
        fs::write(pinned.path(), "x").unwrap();
        assert!(folder.path().join("moved/app").exists() && !other.join("app").exists());
    }
}
