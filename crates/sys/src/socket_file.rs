//! The file of a unix socket: made with its mode and owner, removed only while it is ours.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, fchownat};
use serde::{Deserialize, Serialize};
use socket2::{SockAddr, Socket};

/// A socket's path. Dropping it removes the file, unless it has become another's in the meantime.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, which no other file has while this one exists.
    identity: (u64, u64),
}

/// A socket's path as plain data: dropping it removes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The socket file that is there.
    pub(super) fn find(path: &str) -> Option<SavedSocketFile> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        let identity = (metadata.dev(), metadata.ino());
        metadata.file_type().is_socket().then(|| SavedSocketFile { path: path.into(), identity })
    }

    pub(super) fn save(&self) -> SavedSocketFile {
        SavedSocketFile { path: self.path.clone(), identity: self.identity }
    }

    pub(super) fn restore(SavedSocketFile { path, identity }: SavedSocketFile) -> Self {
        Self { path, identity }
    }

    /// Binds a socket that does not listen yet; no client can connect before mode and owner are right.
    ///
    /// The umask is the process's and other threads create files meanwhile, so it is left alone: the mode is set on the
    /// socket before it is bound (the file's is that without the umask's bits, never more), and on the file after.
    pub(super) fn bind(socket: &Socket, path: &Path, mode: u32, owner: Option<u32>) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        fchmod(socket, Mode::from_bits_truncate(mode))?;
        socket.bind(&address)?;
        let handle = handle(path)?;
        let metadata = handle.metadata()?;
        let file = Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("something else has taken its place"));
        }
        if let Some(owner) = owner {
            fchownat(&handle, "", Some(Uid::from_raw(owner)), None, AtFlags::AT_EMPTY_PATH)?;
        }
        set_mode(&handle, path, mode)?;
        Ok(file)
    }

    /// Changes the mode, unless the file has become another's.
    pub(super) fn change_mode(&self, mode: u32) -> io::Result<()> {
        let handle = handle(&self.path)?;
        let metadata = handle.metadata()?;
        if (metadata.dev(), metadata.ino()) != self.identity {
            return Err(io::Error::other("something else has taken its place"));
        }
        set_mode(&handle, &self.path, mode)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A handle on the very file: a user that may write to the directory could put a link to /etc/shadow there.
fn handle(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
}

/// chmod takes no O_PATH handle, but its name in /proc, which leads to the file itself.
fn set_mode(handle: &File, path: &Path, mode: u32) -> io::Result<()> {
    let name = format!("/proc/self/fd/{}", handle.as_raw_fd());
    match std::fs::set_permissions(name, Permissions::from_mode(mode)) {
        // No /proc is mounted here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::set_permissions(path, Permissions::from_mode(mode))
        }
        result => result,
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours {
            // It may be gone by now, or the directory read-only: and there is nothing left to do.
            let _unremoved = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;
    use crate::testing::alone;

    fn bind(path: &Path, mode: u32, owner: Option<u32>) -> io::Result<(Socket, SocketFile)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let file = SocketFile::bind(&socket, path, mode, owner)?;
        Ok((socket, file))
    }

    #[test]
    fn the_mode_is_exact_whatever_the_umask() {
        alone("socket_file::tests::the_mode_is_exact_whatever_the_umask", || {
            let directory = tempfile::tempdir().unwrap();
            for umask in [0o000, 0o022, 0o077, 0o777] {
                crate::set_umask(umask);
                for mode in [0o600, 0o767, 0o777, 0o000] {
                    let path = directory.path().join("s");
                    let (_socket, _file) = bind(&path, mode, None).unwrap();
                    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, mode);
                }
            }
            crate::set_umask(0o022);
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn the_owner_is_set_and_the_group_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_socket, _file) = bind(&path, 0o600, Some(12345)).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (12345, 0, 0o600));
    }

    #[test]
    fn it_is_removed_only_while_it_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(bind(&path, 0o600, None).unwrap());
        assert!(!path.exists());
        let (_first, file) = bind(&path, 0o600, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (_second, _theirs) = bind(&path, 0o600, None).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        assert!(bind(Path::new(&"x".repeat(200)), 0o600, None).is_err());
    }
}
