//! The terminal: taken over, and given back however circus-top ends.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::DefaultTerminal;

use super::keys::{Key, Keys};
use super::state::State;
use super::view::{Scroll, render};

/// The terminal, in our hands. Dropping it gives it back, and so does a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    keys: Keys,
    scroll: Scroll,
}

impl Screen {
    /// Whether there is one.
    pub(super) fn exists() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    pub(super) fn open() -> io::Result<Self> {
        // It has a hook of its own for panics, which gives the terminal back before anything is printed.
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal, keys: Keys::default(), scroll: Scroll::default() })
    }

    /// What is to be waited for.
    pub(super) fn input() -> RawFd {
        io::stdin().as_raw_fd()
    }

    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        let scroll = &mut self.scroll;
        self.terminal.draw(|frame| render(frame, state, scroll)).map(drop)
    }

    /// Everything is drawn anew the next time.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// The keys that were pressed; nothing where the terminal is gone.
    pub(super) fn read(&mut self) -> Option<Vec<Key>> {
        let stdin = io::stdin();
        let mut keys = Vec::new();
        // The descriptor is shared with the process that started this one, so it must stay blocking.
        while poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|some| some > 0) {
            let mut bytes = [0; 512];
            match nix::unistd::read(stdin.as_fd(), &mut bytes) {
                Ok(count @ 1..) => keys.extend(self.keys.read(bytes.get(..count).unwrap_or_default())),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Ok(0) | Err(_) => return None,
            }
        }
        Some(keys)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where this fails there is no terminal any more.
        let _restored = ratatui::try_restore();
    }
}
