//! What `circusd --check` says of files that were written for Circus 0.19: the fleets that it has to run, and files in the
//! style of the original's examples. Each `NAME.ini` has its listing in `NAME.txt`; `BLESS=1 cargo test --test check`
//! writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};

use circus::config::{Facts, File, FileKind, Host, check};
use circus::sys::Machine;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check");

/// Whether the listings are to be rewritten.
#[expect(clippy::disallowed_methods, reason = "the test's own switch")]
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

/// The files of a directory and of those below it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// A copy of this folder with the names of a machine filled in, and the directories that its files need.
fn installed() -> tempfile::TempDir {
    let site = tempfile::tempdir().unwrap();
    let root = site.path();
    for directory in ["fleet/run/rmq", "fleet/state/log"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in files(Path::new(HERE)).into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "ini")) {
        let target = root.join(file.strip_prefix(HERE).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let fleet = root.join("fleet");
        let text = text.replace("@FLEET@", fleet.to_str().unwrap()).replace("@VENV@", "/venv");
        fs::write(target, text.replace("@HOMEDIR@", "/home/me")).unwrap();
    }
    site
}

/// The directories of the machine that the examples name.
const DIRECTORIES: [&str; 7] = ["/", "/srv", "/srv/app", "/srv/web", "/tmp", "/var/log", "/var/run/circus"];

/// A machine on which everything is installed: all programs, users and groups, and the directories of programs. What is
/// below the copy of this folder is looked at.
struct Installed<'a>(&'a Path);

impl Facts for Installed<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        Machine.read(path)
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        Machine.names(directory)
    }

    fn file(&self, path: &Path) -> Result<File, String> {
        let is_program = path.parent().is_some_and(|parent| parent.ends_with("bin") || parent.ends_with("sbin"));
        if path.starts_with(self.0) && !is_program {
            return Machine.file(path);
        }
        let kind = match is_program {
            true => FileKind::Regular,
            false if DIRECTORIES.contains(&path.to_str().unwrap()) => FileKind::Directory,
            false => return Err("No such file or directory".into()),
        };
        Ok(File { kind, executable: true, writable: true })
    }

    fn exists(&self, path: &Path) -> bool {
        self.file(path).is_ok()
    }

    fn user(&self, _name: &str) -> Option<u32> {
        Some(1000)
    }

    fn group(&self, _name: &str) -> Option<u32> {
        Some(1000)
    }

    fn has_time_zone(&self, name: &str) -> bool {
        Machine.has_time_zone(name)
    }

    fn own_uid(&self) -> u32 {
        1000
    }

    fn own_gid(&self) -> u32 {
        1000
    }

    fn python_path(&self, _python: &str) -> Option<Vec<PathBuf>> {
        None
    }
}

fn host(root: &Path) -> Host {
    let env = [("HOME", "/home/me"), ("PATH", "/usr/bin:/bin"), ("PS1", "$USER> ")];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Host { env, cwd: root.to_str().unwrap().to_owned(), ..Host::default() }
}

/// The lines that circusd would print, and its exit status.
fn listing(root: &Path, name: &str) -> String {
    let report = check(root.join(name).to_str().unwrap(), &host(root), &Installed(root));
    format!("{}exit status {}\n", report.text(), report.status()).replace(&format!("{}/", root.display()), "")
}

#[test]
fn listings_are_as_written_down() {
    let site = installed();
    for file in files(Path::new(HERE)).into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "ini")) {
        let name = file.strip_prefix(HERE).unwrap().to_str().unwrap();
        if name.contains("conf.d/") {
            continue;
        }
        let expected = file.with_extension("txt");
        let found = listing(site.path(), name);
        if blessing() {
            fs::write(&expected, found).unwrap();
        } else {
            let written = fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(found, written, "{name}: if this is as it should be, BLESS=1 cargo test --test check");
        }
    }
}

#[test]
fn every_line_names_a_file_and_a_line() {
    let site = installed();
    for file in files(site.path()).into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "ini")) {
        for problem in check(file.to_str().unwrap(), &host(site.path()), &Installed(site.path())).problems {
            assert!(problem.line > 0 && problem.file.ends_with(".ini"), "{problem}");
        }
    }
}
