//! Whether a file that root's circusd writes is at a place that no other user can exchange for another.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Why root's circusd does not write a file of this name, and the mend: another user could put another directory in the
/// place of one on the way there. `None` where none can, where the way ends early, and where circusd is not root's.
///
/// A directory that every user may write to is no danger if it is sticky, as /tmp: what is in it can only be renamed by its
/// owner. A group that may write to one is taken to be trusted, as with /var/log in Ubuntu.
pub fn unsafe_place(path: &Path) -> Option<String> {
    if geteuid().is_root() { unsafe_for(path, 0) } else { None }
}

fn unsafe_for(path: &Path, user: u32) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let (mut rest, mut place, mut links) = (parts(path.parent()?), PathBuf::from("/"), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            place.pop();
            continue;
        }
        let next = place.join(&part);
        let data = std::fs::symlink_metadata(&next).ok()?;
        let shown = next.display();
        let foreign = data.uid() != user && data.uid() != 0;
        if data.file_type().is_symlink() {
            links += 1;
            if foreign {
                return Some(format!(
                    "{shown} is a symbolic link made by uid {}, which is not followed; use a path without it",
                    data.uid()
                ));
            }
            if links > MOST_LINKS {
                return None;
            }
            let target = std::fs::read_link(&next).ok()?;
            if target.is_absolute() {
                place = PathBuf::from("/");
            }
            let mut target = parts(&target);
            target.append(&mut rest);
            rest = target;
            continue;
        }
        if foreign {
            return Some(format!(
                "the directory {shown} belongs to uid {}, who could put another one there; chown root {shown}, or use \
                 another path",
                data.uid()
            ));
        }
        if data.mode() & 0o002 != 0 && data.mode() & 0o1000 == 0 {
            return Some(format!(
                "every user may write to the directory {shown} (mode {:04o}); chmod o-w {shown}, or use another path",
                data.mode() & 0o7777
            ));
        }
        place = next;
    }
    None
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;

    #[test]
    fn directory_that_all_may_write_to_is_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("d");
        create_dir(&directory).unwrap();
        let judge = |mode: u32| {
            set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            unsafe_for(&directory.join("deep/../file"), geteuid().as_raw())
        };
        create_dir(directory.join("deep")).unwrap();
        assert_eq!(judge(0o755), None);
        assert_eq!(judge(0o775), None);
        assert_eq!(judge(0o1777), None);
        let shown = directory.display();
        let expected = format!(
            "every user may write to the directory {shown} (mode 0757); chmod o-w {shown}, or use another path"
        );
        assert_eq!(judge(0o757), Some(expected));
        set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        // Through a link of our own.
        symlink("d", folder.path().join("link")).unwrap();
        assert_eq!(unsafe_for(&folder.path().join("link/file"), geteuid().as_raw()), None);
        set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        assert!(unsafe_for(&folder.path().join("link/file"), geteuid().as_raw()).is_some());
    }

    #[test]
    #[ignore = "needs root"]
    fn directory_and_link_of_another_user_are_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, link) = (folder.path().join("d"), folder.path().join("link"));
        create_dir(&directory).unwrap();
        symlink("d", &link).unwrap();
        assert_eq!(unsafe_place(&link.join("file")), None);
        lchown(&link, Some(12345), None).unwrap();
        assert!(unsafe_place(&link.join("file")).unwrap().contains("is a symbolic link made by uid 12345"));
        lchown(&directory, Some(12345), None).unwrap();
        let text = unsafe_place(&directory.join("file")).unwrap();
        assert!(text.contains("belongs to uid 12345, who could put another one there; chown root "), "{text}");
    }
}
