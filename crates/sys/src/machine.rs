//! The machine that circusd runs on, as the configuration asks about it.

use std::fs::Metadata;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Group, User, eaccess, getegid, geteuid};

use circus_core::config::{Facts, File, FileKind, OwnFile};

use super::open_path::{not_our_own, not_private};

/// Looks at the file system and asks the system's databases of users and groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Facts for Machine {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn file(&self, path: &Path) -> Result<File, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let may = |access| eaccess(path, access).is_ok();
        Ok(File { kind: kind(&metadata), executable: may(AccessFlags::X_OK), writable: may(AccessFlags::W_OK) })
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn refusals(&self, file: OwnFile, path: &Path) -> Vec<String> {
        if let Some(reason) = super::unsafe_place(path) {
            return vec![reason];
        }
        let texts = match file {
            OwnFile::Plain => Vec::new(),
            OwnFile::Audit => path.metadata().ok().and_then(|data| not_private(path, &data)).into_iter().collect(),
            OwnFile::State => path.symlink_metadata().ok().and_then(|data| not_our_own(&data)).into_iter().collect(),
            OwnFile::SecretKey => super::read_secret_key(path).err().into_iter().collect(),
            OwnFile::Keys => super::read_key_ring(path).err().unwrap_or_default(),
        };
        let shown = format!("{}: ", path.display());
        // The key has the path already.
        texts.into_iter().map(|text| text.strip_prefix(&shown).map_or(text.clone(), str::to_owned)).collect()
    }

    fn cgroup_refusal(&self) -> Option<String> {
        super::CgroupHome::find().err()
    }

    fn user(&self, name: &str) -> Option<u32> {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    }

    fn group(&self, name: &str) -> Option<u32> {
        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }

    fn has_time_zone(&self, name: &str) -> bool {
        crate::named_time_zone(Some(name)).is_some()
    }

    fn own_uid(&self) -> u32 {
        geteuid().as_raw()
    }

    fn own_gid(&self) -> u32 {
        getegid().as_raw()
    }

    fn python_path(&self, python: &str) -> Option<Vec<PathBuf>> {
        let host = super::host();
        let paths = super::python_path(python, &host.env, &host.cwd).ok()?;
        Some(paths.split(':').map(PathBuf::from).collect())
    }
}

fn kind(metadata: &Metadata) -> FileKind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_file() {
        FileKind::Regular
    } else if kind.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Other
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn files_are_what_they_are() {
        let site = tempfile::tempdir().unwrap();
        let path = |name: &str| site.path().join(name);
        std::fs::write(path("plain"), b"x\xff").unwrap();
        std::fs::write(path("program"), "").unwrap();
        std::fs::set_permissions(path("program"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        let kind = |name: &str| Machine.file(&path(name)).map(|file| (file.kind, file.executable));
        assert_eq!(kind("plain"), Ok((FileKind::Regular, false)));
        assert_eq!(kind("program"), Ok((FileKind::Regular, true)));
        assert_eq!(kind("socket").map(|(kind, _)| kind), Ok(FileKind::Socket));
        assert_eq!(kind(""), Ok((FileKind::Directory, true)));
        assert_eq!(kind("missing"), Err("No such file or directory (os error 2)".into()));
        assert_eq!((Machine.exists(&path("dangling")), Machine.exists(&path("missing"))), (true, false));
        assert!(Machine.file(&path("dangling")).is_err());
        assert_eq!(Machine.read(&path("plain")), Ok(b"x\xff".to_vec()));
        let mut names = Machine.names(site.path());
        names.sort();
        assert_eq!(names, ["dangling", "plain", "program", "socket"]);
    }

    #[test]
    fn accounts_are_looked_up_by_name() {
        assert_eq!((Machine.user("root"), Machine.group("root")), (Some(0), Some(0)));
        assert_eq!(Machine.user("there-is-no-such-user"), None);
    }
}
