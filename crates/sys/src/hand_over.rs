//! Executes another program in this process, which keeps its pid, children, descriptors and pending signals.
#![expect(unsafe_code, reason = "execve with pointers of our own, and descriptors by number")]

use std::ffi::{CString, OsString, c_char};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::host::{Passed, program_fd, words_and_environment};
use super::parent::take_inherited;
use super::signals::Signals;
use super::spawn::set_mask;

/// A file in memory with this content, which no process can change any more, to be read from its beginning.
pub fn sealed(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("circusd-state", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let all = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(all))?;
    Ok(file)
}

/// Where the file of our own program was when it was started: a package may have put another in its place since.
pub fn own_program() -> io::Result<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe")?;
    let text = link.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| link.clone(), PathBuf::from))
}

/// Whether this number is an open descriptor.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: takes no pointers; a number that is not open is an error.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// The words and the environment of a program, as execve takes them.
struct Arguments {
    words: Vec<CString>,
    environment: Vec<CString>,
}

impl Arguments {
    fn new(state: RawFd, passed: &Passed<'_>) -> io::Result<Self> {
        let (words, environment) = words_and_environment(state, passed);
        let pair = |(name, value): (OsString, OsString)| {
            let mut text = name.into_vec();
            text.push(b'=');
            text.extend(value.into_vec());
            CString::new(text)
        };
        let words = words.into_iter().map(|word| CString::new(word.into_vec())).collect::<Result<_, _>>()?;
        Ok(Self { words, environment: environment.into_iter().map(pair).collect::<Result<_, _>>()? })
    }

    fn pointers(texts: &[CString]) -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    }
}

/// Becomes `program`, with the words that this one was started with. It gets `state` by its number (see
/// [`state_fd`](super::state_fd)), and these descriptors at the numbers that they have. Returns only where that fails, and
/// why; everything is as it was then.
///
/// All signals are blocked across it. Those that came and were not read are pending for the new program, and so is what
/// comes meanwhile: it lets them in when it has its handlers. Where it cannot go on, it becomes this program again
/// ([`WayBack`]).
pub fn become_program(program: &Path, state: RawFd, kept: &[RawFd], signals: &mut Signals) -> io::Error {
    // Where it cannot be opened, there is no way back.
    let own = File::open("/proc/self/exe").ok();
    let own = own.as_ref().map(|file| file.as_raw_fd());
    let program = match CString::new(program.to_path_buf().into_os_string().into_vec()) {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let arguments = match Arguments::new(state, &Passed::Program(own)) {
        Ok(arguments) => arguments,
        Err(error) => return error,
    };
    let (words, environment) = (Arguments::pointers(&arguments.words), Arguments::pointers(&arguments.environment));
    let passed = || kept.iter().copied().chain([state]).chain(own);
    let mut before = 0;
    set_mask(u64::MAX, Some(&mut before));
    signals.send_again();
    passed().for_each(|number| set_close_on_exec(number, false));
    // SAFETY: a string that ends in NUL and two arrays of such that end in a null pointer, all of which live on.
    unsafe { libc::execve(program.as_ptr(), words.as_ptr(), environment.as_ptr()) };
    let error = io::Error::last_os_error();
    passed().for_each(|number| set_close_on_exec(number, true));
    set_mask(before, None);
    error
}

/// The way back from a program that cannot go on with the state of the one that this process was before.
///
/// It keeps a second descriptor of everything that was handed over, as those of the state may be closed by then.
#[derive(Debug)]
pub struct WayBack {
    program: OwnedFd,
    /// By the numbers that the state names, that of the state itself included.
    copies: Vec<(RawFd, OwnedFd)>,
    state: RawFd,
}

impl WayBack {
    /// The way back with the state and these descriptors. `None` if the program before did not hand over itself, or the
    /// descriptors cannot be doubled: then there is none.
    pub fn open(state: RawFd, handed_over: &[RawFd]) -> Option<Self> {
        let program = take_inherited(program_fd()?).ok()?.into();
        let copy = |number: RawFd| {
            // SAFETY: the caller has found that the descriptor is open, and it stays so while it is doubled.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            Some((number, fd.try_clone_to_owned().ok()?))
        };
        let copies = handed_over.iter().copied().chain([state]).map(copy).collect::<Option<_>>()?;
        Some(Self { program, copies, state })
    }

    /// Becomes the program before, which reports this reason. Returns only where that fails, and why.
    ///
    /// What was made of the descriptors meanwhile may still be open, threads may still run: they end with this program. The
    /// signals have to be blocked still, as [`become_program`] has left them.
    pub fn go(&self, reason: &str) -> io::Error {
        // An environment has no NUL.
        let reason = reason.replace('\0', " ");
        let arguments = match Arguments::new(self.state, &Passed::Failure(&reason)) {
            Ok(arguments) => arguments,
            Err(error) => return error,
        };
        let (words, environment) = (Arguments::pointers(&arguments.words), Arguments::pointers(&arguments.environment));
        for (number, copy) in &self.copies {
            // The program before gets it at its number, also where it was closed, or is another one by now.
            // SAFETY: takes no pointers. Nothing but the exec below comes after it.
            if unsafe { libc::dup2(copy.as_raw_fd(), *number) } < 0 {
                return io::Error::last_os_error();
            }
        }
        // It was read up to its end.
        // SAFETY: takes no pointers.
        unsafe { libc::lseek(self.state, 0, libc::SEEK_SET) };
        // SAFETY: two arrays of strings that end in a null pointer, all of which live on.
        unsafe { libc::fexecve(self.program.as_raw_fd(), words.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn set_close_on_exec(number: RawFd, on: bool) {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(number, libc::F_SETFD, if on { libc::FD_CLOEXEC } else { 0 }) };
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::testing::alone;

    #[test]
    fn sealed_file_is_read_and_not_written() {
        let mut file = sealed(b"state").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "state");
        assert!(file.write_all(b"x").is_err() && file.set_len(0).is_err());
    }

    #[test]
    fn failure_changes_nothing() {
        alone("hand_over::tests::failure_changes_nothing", || {
            let mut signals = Signals::install().unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
            let (state, kept) = (sealed(b"").unwrap(), File::open("/dev/null").unwrap());
            let numbers = [kept.as_raw_fd()];
            let error = become_program(Path::new("/nonexistent"), state.as_raw_fd(), &numbers, &mut signals);
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let flags = |file: &File| fcntl(file, FcntlArg::F_GETFD).unwrap();
            assert_eq!((flags(&state), flags(&kept)), (libc::FD_CLOEXEC, libc::FD_CLOEXEC));
            let mut caught = Vec::new();
            signals.read(&mut caught);
            assert_eq!(caught, [crate::SignalEvent::Reload]);
        });
    }

    #[test]
    fn own_program_has_a_file() {
        assert!(own_program().unwrap().is_file());
        assert!(is_open(2) && !is_open(1 << 20));
    }
}
