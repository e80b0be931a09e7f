//! Executes another program in this process, which keeps its pid, children, descriptors and pending signals.
#![expect(unsafe_code, reason = "execve with pointers of our own, and descriptors by number")]

use std::ffi::{CString, OsString, c_char};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::host::words_and_environment;
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

/// Becomes `program`, with the words that this one was started with. It gets `state` by its number (see
/// [`state_fd`](super::state_fd)), and these descriptors at the numbers that they have. Returns only where that fails, and
/// why; everything is as it was then.
///
/// All signals are blocked across it. Those that came and were not read are pending for the new program, and so is what
/// comes meanwhile: it lets them in when it has its handlers.
pub fn become_program(program: &Path, state: RawFd, kept: &[RawFd], signals: &mut Signals) -> io::Error {
    let (words, environment) = words_and_environment(state);
    let pair = |(name, value): (OsString, OsString)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        text
    };
    let texts = |all: Vec<Vec<u8>>| all.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let texts = texts(vec![program.to_path_buf().into_os_string().into_vec()]).and_then(|program| {
        let words = texts(words.into_iter().map(OsStringExt::into_vec).collect())?;
        Ok((program, words, texts(environment.into_iter().map(pair).collect())?))
    });
    let (program, words, environment) = match texts {
        Ok(texts) => texts,
        Err(error) => return error.into(),
    };
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (path, argv, envp) = (pointers(&program), pointers(&words), pointers(&environment));
    let Some(path) = path.first() else { return io::ErrorKind::InvalidInput.into() };
    let mut before = 0;
    set_mask(u64::MAX, Some(&mut before));
    signals.send_again();
    kept.iter().chain([&state]).for_each(|number| set_close_on_exec(*number, false));
    // SAFETY: a string that ends in NUL and two arrays of such that end in a null pointer, all of which live on.
    unsafe { libc::execve(*path, argv.as_ptr(), envp.as_ptr()) };
    let error = io::Error::last_os_error();
    kept.iter().chain([&state]).for_each(|number| set_close_on_exec(*number, true));
    set_mask(before, None);
    error
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
