//! Managed sockets that the loop watches on behalf of watchers that wait for a connection. It never accepts one.
//!
//! Readiness comes once an edge, which is enough: the first news ends the watching, and whoever watches again is told
//! at once of the connections that wait already.

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::event_loop::{ACTIVATION, Daemon, HOOKS};
use crate::arbiter::{Event, Level};

impl Daemon {
    /// Watches a socket, or no longer. A socket that is to be closed must not be watched: its workers keep it open, and
    /// the kernel would go on telling us of it.
    pub(super) fn watch_socket(&mut self, name: &str, on: bool) {
        let Some(socket) = self.launcher.sockets.iter().find(|socket| socket.name == name) else { return };
        let (fd, registry) = (socket.number, self.poll.registry());
        let done = if on {
            registry.register(&mut SourceFd(&fd), token(fd), Interest::READABLE)
        } else {
            registry.deregister(&mut SourceFd(&fd))
        };
        if let Err(error) = done {
            let text = format!("socket '{name}' cannot be watched for connections: {error}");
            self.log_line(Level::Error, &text);
        }
    }

    /// Tells the arbiter which watched sockets somebody has connected to.
    pub(super) fn take_activations(&mut self, ready: &[Token]) {
        for token in ready.iter().filter(|token| (ACTIVATION..HOOKS).contains(&token.0)) {
            let socket = self.launcher.sockets.iter().find(|socket| self::token(socket.number) == *token);
            if let Some(name) = socket.map(|socket| socket.name.clone()) {
                self.feed(Event::Acceptable(name));
            }
        }
    }
}

fn token(fd: std::os::fd::RawFd) -> Token {
    Token(ACTIVATION.saturating_add(usize::try_from(fd).unwrap_or(0)))
}
