//! Reading the files of /proc without allocating for each.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use nix::errno::Errno;

/// No list that is read again is longer: ten bytes for each of a hundred thousand children.
const LARGEST: usize = 1 << 20;

/// Why a file of a process cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There is no such process (any more).
    Gone,
    /// The kernel does not report it.
    Refused,
}

/// Reads files below a root, one at a time.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    root: usize,
    contents: Vec<u8>,
    /// How many files were asked for.
    pub(super) reads: u64,
}

impl Reader {
    pub(super) fn new(root: &str) -> Self {
        Self { path: root.to_owned(), root: root.len(), contents: Vec::with_capacity(4096), reads: 0 }
    }

    /// The beginning of a file of a process, at most `limit` bytes of it.
    pub(super) fn of_process(&mut self, pid: i32, file: &str, limit: u64) -> Result<&[u8], Unreadable> {
        self.path.truncate(self.root);
        // Writing to a string cannot fail.
        let _ = write!(self.path, "/{pid}/{file}");
        self.read(limit)
    }

    /// The list of the children of a process's first thread.
    pub(super) fn children(&mut self, pid: i32) -> Result<&[u8], Unreadable> {
        self.path.truncate(self.root);
        let _ = write!(self.path, "/{pid}/task/{pid}/children");
        // Ten bytes for each of a hundred thousand children.
        self.read(1 << 20)
    }

    /// A file of the machine.
    pub(super) fn of_machine(&mut self, file: &str) -> Result<&[u8], Unreadable> {
        self.path.truncate(self.root);
        let _ = write!(self.path, "/{file}");
        self.read(1 << 20)
    }

    /// A file of a process, to be read again and again; that this process's and no other's it stays.
    pub(super) fn open(&mut self, pid: i32, file: &str) -> Result<File, Unreadable> {
        self.path.truncate(self.root);
        let _ = write!(self.path, "/{pid}/{file}");
        File::open(Path::new(&self.path)).map_err(reason)
    }

    /// What an open file says now. One of one piece is read at once, of a list until nothing more comes.
    pub(super) fn again(&mut self, file: &File, is_list: bool) -> Result<&[u8], Unreadable> {
        self.reads += 1;
        self.contents.resize(self.contents.capacity(), 0);
        let mut length = 0;
        loop {
            let Some(room) = self.contents.get_mut(length..).filter(|room| !room.is_empty()) else {
                let larger = self.contents.len().saturating_mul(2).min(LARGEST);
                if larger <= length {
                    break;
                }
                self.contents.resize(larger, 0);
                continue;
            };
            let count = match file.read_at(room, length as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(reason)?,
            };
            length += count;
            if count == 0 || !is_list && length < self.contents.len() {
                break;
            }
        }
        Ok(self.contents.get(..length).unwrap_or_default())
    }

    /// How many entries a directory of a process has. Newer kernels report that as its size; before 6.2 the size is 0.
    pub(super) fn entries(&mut self, pid: i32, directory: &str) -> Result<u64, Unreadable> {
        self.reads += 1;
        self.path.truncate(self.root);
        let _ = write!(self.path, "/{pid}/{directory}");
        match std::fs::metadata(&self.path).map_err(reason)?.size() {
            0 => Ok(std::fs::read_dir(&self.path).map_err(reason)?.count() as u64),
            count => Ok(count),
        }
    }

    fn read(&mut self, limit: u64) -> Result<&[u8], Unreadable> {
        self.reads += 1;
        self.contents.clear();
        let file = File::open(Path::new(&self.path)).map_err(reason)?;
        file.take(limit).read_to_end(&mut self.contents).map_err(reason)?;
        Ok(&self.contents)
    }
}

fn reason(error: io::Error) -> Unreadable {
    let gone = [Errno::ENOENT, Errno::ESRCH].map(|errno| Some(errno as i32));
    if gone.contains(&error.raw_os_error()) { Unreadable::Gone } else { Unreadable::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_gone_or_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("7/stat")).unwrap();
        std::fs::write(root.path().join("7/comm"), "sleep\n").unwrap();
        let mut reader = Reader::new(root.path().to_str().unwrap());
        assert_eq!(reader.of_process(7, "comm", 100), Ok(&b"sleep\n"[..]));
        assert_eq!(reader.of_process(7, "comm", 3), Ok(&b"sle"[..]));
        assert_eq!(reader.of_process(8, "comm", 100), Err(Unreadable::Gone));
        assert_eq!(reader.of_process(7, "stat", 100), Err(Unreadable::Refused), "a directory");
        assert_eq!(reader.of_machine("stat"), Err(Unreadable::Gone));
        assert_eq!(reader.reads, 5);
    }
}
