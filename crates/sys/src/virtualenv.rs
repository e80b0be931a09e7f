//! Virtual environments of Python: what a worker that runs in one has in PATH and PYTHONPATH.

use std::path::{Path, PathBuf};

/// A virtual environment on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtualenv {
    /// Its programs, where it has any.
    bin: Option<String>,
    /// Directories that its `.pth` files name.
    named: Vec<String>,
    /// Its packages.
    packages: String,
}

/// The interpreters that a virtual environment may be of.
const PYTHONS: [&str; 2] = ["python", "pypy"];

impl Virtualenv {
    /// Looks at the virtual environment at `root`. Without a version of Python, such as `3.11`, the latest it has is
    /// meant; there is hardly ever another.
    pub fn find(root: &str, version: Option<&str>) -> Result<Self, String> {
        let lib = Path::new(root).join("lib");
        let packages = match version {
            Some(version) => {
                let mut tried = PYTHONS.map(|python| packages_of(&lib, &format!("{python}{version}"))).into_iter();
                let wanted =
                    format!("no packages of Python {version} ({}/python{version}/site-packages)", lib.display());
                tried.find(|packages| packages.is_dir()).ok_or(wanted)
            }
            None => latest(&lib).ok_or_else(|| format!("no packages ({}/python*/site-packages)", lib.display())),
        };
        let packages = packages.map_err(|lacks| format!("{root} is not a virtual environment: it has {lacks}"))?;
        let bin = Path::new(root).join("bin");
        Ok(Self {
            bin: bin.is_dir().then(|| text(&bin)),
            named: named_directories(&packages),
            packages: text(&packages),
        })
    }

    /// PATH with the programs of this environment first.
    pub fn path(&self, before: Option<&str>) -> Option<String> {
        let before = before.filter(|before| !before.is_empty());
        let parts: Vec<&str> = self.bin.as_deref().into_iter().chain(before).collect();
        (!parts.is_empty()).then(|| parts.join(":"))
    }

    /// PYTHONPATH with the packages of this environment: what its `.pth` files name before what was there, itself after.
    pub fn python_path(&self, before: Option<&str>) -> String {
        let before = before.into_iter().flat_map(|before| before.split(':')).filter(|part| !part.is_empty());
        let mut parts: Vec<&str> = self.named.iter().map(String::as_str).chain(before).collect();
        if !parts.contains(&self.packages.as_str()) {
            parts.push(&self.packages);
        }
        parts.join(":")
    }
}

fn packages_of(lib: &Path, python: &str) -> PathBuf {
    lib.join(python).join("site-packages")
}

/// The packages of the latest Python in `lib`.
fn latest(lib: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(lib).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pythons = names.filter_map(|name| {
        let version = PYTHONS.iter().find_map(|python| name.strip_prefix(python))?;
        let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
        Some((numbers?, packages_of(lib, &name)))
    });
    let newest = pythons.filter(|(_, packages)| packages.is_dir()).max();
    newest.map(|(_, packages)| packages)
}

/// The directories that the `.pth` files among these packages name and that exist, in the order of the files' names.
fn named_directories(packages: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(packages).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pth"));
    files.sort_unstable();
    let mut named = Vec::new();
    for content in files.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
        // Lines that begin with import are code, which only Python can run.
        let is_path = |line: &&str| !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("import");
        for line in content.lines().map(str::trim_end).filter(is_path) {
            let directory = text(&packages.join(line));
            if Path::new(&directory).exists() && !named.contains(&directory) {
                named.push(directory);
            }
        }
    }
    named
}

/// A path as a variable of the environment can hold it: absolute, without the `..` that `.pth` files are full of.
fn text(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => {
                plain.push(part);
            }
        }
    }
    plain.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    /// A virtual environment with these Pythons, and its path.
    fn made(pythons: &[&str]) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap().to_owned();
        for python in pythons {
            create_dir_all(format!("{root}/lib/{python}/site-packages")).unwrap();
        }
        create_dir_all(format!("{root}/bin")).unwrap();
        (directory, root)
    }

    #[test]
    fn programs_come_first_and_packages_last() {
        let (_kept, root) = made(&["python3.11"]);
        let found = Virtualenv::find(&root, None).unwrap();
        let packages = format!("{root}/lib/python3.11/site-packages");
        assert_eq!(found.path(Some("/bin:/usr/bin")), Some(format!("{root}/bin:/bin:/usr/bin")));
        assert_eq!(found.path(None), Some(format!("{root}/bin")));
        assert_eq!(found.python_path(None), packages);
        assert_eq!(found.python_path(Some("/a:/b")), format!("/a:/b:{packages}"));
        assert_eq!(found.python_path(Some(&packages)), packages);
    }

    #[test]
    fn the_latest_python_is_meant_unless_one_is_named() {
        let (_kept, root) = made(&["python3.9", "python3.11", "pypy3.10", "pythonish"]);
        let of = |version| Virtualenv::find(&root, version).map(|found| found.packages);
        assert_eq!(of(None), Ok(format!("{root}/lib/python3.11/site-packages")));
        assert_eq!(of(Some("3.9")), Ok(format!("{root}/lib/python3.9/site-packages")));
        assert_eq!(of(Some("3.10")), Ok(format!("{root}/lib/pypy3.10/site-packages")));
        let lacks = of(Some("2.7")).unwrap_err();
        assert!(lacks.contains("is not a virtual environment: it has no packages of Python 2.7"), "{lacks}");
    }

    #[test]
    fn directories_of_pth_files_are_on_the_way() {
        let (_kept, root) = made(&["python3.11"]);
        let packages = format!("{root}/lib/python3.11/site-packages");
        create_dir_all(format!("{root}/src")).unwrap();
        let lines = "# a comment\nimport site\n\n../../../src\n../../../src \n/nonexistent\n";
        write(format!("{packages}/b.pth"), lines).unwrap();
        write(format!("{packages}/a.pth"), "/tmp\n").unwrap();
        write(format!("{packages}/readme"), "/usr\n").unwrap();
        let found = Virtualenv::find(&root, None).unwrap();
        assert_eq!(found.python_path(Some("/a")), format!("/tmp:{root}/src:/a:{packages}"));
    }

    #[test]
    fn a_directory_that_is_none_is_refused() {
        for root in ["/nonexistent", "/proc"] {
            let error = Virtualenv::find(root, None).unwrap_err();
            assert!(error.starts_with(&format!("{root} is not a virtual environment")), "{error}");
        }
    }
}
