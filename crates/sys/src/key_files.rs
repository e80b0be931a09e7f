//! Files with keys: read only where no other user could have written or, of secrets, read them.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use circus_core::access::{Certificate, KeyRing, RingFile};
use nix::unistd::geteuid;

/// A larger file is refused: what lies behind its end would be missing.
const LARGEST: u64 = 1 << 20;
/// More files with keys in a directory are refused.
const MOST_FILES: usize = 10_000;

/// The keys of a file, or of the files `*.key` of a directory; or everything that is wrong with them.
pub fn read_key_ring(path: &Path) -> Result<KeyRing, Vec<String>> {
    let one = |text: String| vec![text];
    let file = open(path, 0o022).map_err(one)?;
    let is_directory = file.metadata().is_ok_and(|data| data.is_dir());
    if !is_directory {
        let text = read(file, path).map_err(one)?;
        return KeyRing::parse(&[RingFile { path: path.to_string_lossy().into_owned(), text }]);
    }
    let unreadable = |error: std::io::Error| one(format!("{}: {error}", path.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            paths.push(path);
        }
    }
    if paths.len() > MOST_FILES {
        return Err(one(format!(
            "{}: it has {} files of keys; {MOST_FILES} are the most",
            path.display(),
            paths.len()
        )));
    }
    paths.sort();
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match open(&path, 0o022).and_then(|file| read(file, &path)) {
            Ok(text) => files.push(RingFile { path: path.to_string_lossy().into_owned(), text }),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    KeyRing::parse(&files)
}

/// A file with a secret key, which only its owner may read.
pub fn read_secret_key(path: &Path) -> Result<Certificate, String> {
    read_certificate(path, 0o077)
}

/// A file with a public key.
pub fn read_public_key(path: &Path) -> Result<Certificate, String> {
    read_certificate(path, 0o022)
}

/// A file that says which keys are used where: no other user may write it. `None` where there is none.
pub fn read_hosts_file(path: &Path) -> Result<Option<String>, String> {
    match std::fs::exists(path) {
        Ok(false) => Ok(None),
        Ok(true) if path.is_dir() => Err(format!("{}: it is a directory, and no file", path.display())),
        Ok(true) => read(open(path, 0o022)?, path).map(Some),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn read_certificate(path: &Path, forbidden: u32) -> Result<Certificate, String> {
    if path.is_dir() {
        return Err(format!("{}: it is a directory, and no file with a key", path.display()));
    }
    read(open(path, forbidden)?, path).map(|text| Certificate::parse(&text))
}

/// Opens a file or directory of our own user or root's that has none of these permissions.
fn open(path: &Path, forbidden: u32) -> Result<File, String> {
    let shown = path.display();
    // A pipe must not keep us waiting for its writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| format!("{shown}: {error}"))?;
    let data = file.metadata().map_err(|error| format!("{shown}: {error}"))?;
    if !data.is_file() && !data.is_dir() {
        return Err(format!("{shown}: it is neither a file nor a directory"));
    }
    if data.uid() != 0 && data.uid() != geteuid().as_raw() {
        return Err(format!(
            "{shown}: it belongs to uid {}, and only root's files and those of the user of this process count",
            data.uid()
        ));
    }
    if data.mode() & forbidden != 0 {
        let (risk, mend) = match (forbidden == 0o077, data.is_dir()) {
            (true, _) => ("others may read or change it", "chmod 600"),
            (false, true) => ("others may write to it", "chmod 755"),
            (false, false) => ("others may write to it", "chmod 644"),
        };
        return Err(format!("{shown}: {risk} (mode {:04o}): {mend} {shown}", data.mode() & 0o7777));
    }
    Ok(file)
}

fn read(file: File, path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("{shown}: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{shown}: it has more than {LARGEST} bytes, which is too much"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown}: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn ring_is_a_file_or_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.key"), &format!("metadata\nrole=read\ncurve\npublic-key = \"{KEY}\""), 0o644);
        write(&folder.path().join("a.key_secret"), "no key", 0o600);
        assert_eq!(read_key_ring(folder.path()).unwrap().len(), 1);
        let list = folder.path().join("list");
        write(&list, &format!("a read {KEY}\n"), 0o600);
        assert_eq!(read_key_ring(&list), read_key_ring(folder.path()));
        write(&folder.path().join("b.key"), "b read short", 0o644);
        let errors = read_key_ring(folder.path()).unwrap_err();
        assert!(errors[0].contains("b.key:1: 'b' has no public key"), "{errors:?}");
    }

    #[test]
    fn file_that_others_may_touch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        write(&path, &format!("a read {KEY}\n"), 0o664);
        let [error] = &read_key_ring(&path).unwrap_err()[..] else { panic!() };
        assert!(
            error.ends_with(&format!("others may write to it (mode 0664): chmod 644 {}", path.display())),
            "{error}"
        );
        write(&path, "", 0o640);
        let error = read_secret_key(&path).unwrap_err();
        assert!(error.contains("others may read or change it (mode 0640): chmod 600"), "{error}");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(read_key_ring(folder.path()).is_err());
    }

    #[test]
    fn large_file_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let line = format!("a read {KEY}\n");
        write(&path, &(line.clone() + &"#\n".repeat((1 << 19) - line.len() / 2 + 1)), 0o644);
        assert!(read_key_ring(&path).unwrap_err()[0].contains("more than 1048576 bytes"));
        write(&path, &(line.clone() + &"#".repeat((1 << 20) - line.len())), 0o644);
        assert_eq!(read_key_ring(&path).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("p");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(read_key_ring(&pipe).unwrap_err()[0].ends_with("neither a file nor a directory"));
        assert!(read_secret_key(folder.path()).unwrap_err().contains("directory"));
        assert!(read_key_ring(&folder.path().join("none")).is_err());
    }
}
