//! Managed sockets that the loop watches on behalf of watchers that wait for a connection. It never accepts one.
//!
//! Readiness comes once an edge, which is enough: the first news ends the watching, and whoever watches again is told
//! at once of the connections that wait already.

use super::event_loop::Daemon;
use super::sources::Source;
use crate::arbiter::{Event, Level};

impl Daemon {
    /// Watches a socket, or no longer. A socket that is to be closed must not be watched: its workers keep it open, and
    /// the kernel would go on telling us of it.
    pub(super) fn watch_socket(&mut self, name: &str, on: bool) {
        let Some(socket) = self.launcher.sockets.iter().find(|socket| socket.name == name) else { return };
        let fd = socket.number;
        let source = Source::Socket(fd);
        let done = if on { self.sources.add_fd(source, fd) } else { self.sources.remove_fd(source, fd) };
        if let Err(error) = done {
            let text = format!("socket '{name}' cannot be watched for connections: {error}");
            self.log_line(Level::Error, &text);
        }
    }

    /// Tells the arbiter which watched sockets somebody has connected to.
    pub(super) fn take_activations(&mut self, ready: &[Source]) {
        for source in ready {
            let Source::Socket(fd) = source else { continue };
            let socket = self.launcher.sockets.iter().find(|socket| socket.number == *fd);
            if let Some(name) = socket.map(|socket| socket.name.clone()) {
                self.feed(Event::Acceptable(name));
            }
        }
    }
}
