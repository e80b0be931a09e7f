//! One page over HTTP/1.1, for a plugin that must never block on a client.
//!
//! Every connection is a state that goes on when the kernel says so; all of them are behind one descriptor, which is
//! what the plugin's loop watches. A connection answers one request and ends. There are at most [`MAX_CONNECTIONS`] of them, each
//! has [`TIMEOUT`], and one more makes the oldest go: a slow client delays no other.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use self::request::{Asked, read};

mod request;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may last.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const MAX_HEAD: usize = 8192;
/// Connections that are accepted before the plugin does something else.
const BATCH: usize = 64;
/// What the listening socket is called among the connections.
const LISTENER: u64 = 0;

/// The listening socket and the connections.
#[derive(Debug)]
pub(crate) struct HttpServer {
    epoll: Epoll,
    listener: Socket,
    /// By the order in which they came.
    connections: BTreeMap<u64, Connection>,
    last: u64,
    /// More wait than were accepted.
    more: bool,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    until: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading(Vec<u8>),
    /// The request is there, and its page is not.
    Waiting {
        head_only: bool,
    },
    Writing {
        bytes: Vec<u8>,
        written: usize,
    },
    /// All is sent. What the client still has to say is read, or else the kernel would take back what is on its way.
    Ending,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
}

impl HttpServer {
    /// Answers the clients of a listening socket.
    pub(crate) fn new(listener: Socket) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, LISTENER))?;
        // Connections that were made before are not reported.
        Ok(Self { epoll, listener, connections: BTreeMap::new(), last: LISTENER, more: true })
    }

    /// Readable when there is something to do.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// When there is something to do whatever comes.
    pub(crate) fn next(&self) -> Option<Duration> {
        let until = self.connections.values().map(|connection| connection.until).min();
        if self.more { Some(Duration::ZERO) } else { until }
    }

    /// Does what can be done without blocking. Whether a client waits for the page.
    pub(crate) fn turn(&mut self, now: Duration) -> bool {
        self.connections.retain(|_, connection| connection.until > now);
        if std::mem::take(&mut self.more) {
            self.accept(now);
        }
        let mut events = [EpollEvent::empty(); BATCH];
        while let Ok(count @ 1..) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            for event in events.iter().take(count) {
                match event.data() {
                    LISTENER => self.accept(now),
                    id => self.advance(id),
                }
            }
        }
        self.connections.values().any(Connection::is_waiting)
    }

    /// Gives the page, or the reason why there is none, to all clients that wait for it.
    pub(crate) fn answer(&mut self, page: Result<&str, &str>, content_type: &str) {
        let waiting = self.connections.iter().filter(|(_, connection)| connection.is_waiting());
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(connection) = self.connections.get_mut(&id)
                && let State::Waiting { head_only } = connection.state
            {
                connection.state = State::writing(request::page(page, content_type, head_only));
                self.advance(id);
            }
        }
    }

    fn accept(&mut self, now: Duration) {
        for _ in 0..BATCH {
            match self.listener.accept() {
                Ok((socket, _)) => drop(self.admit(socket, now)),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // No connection is left; or there are no descriptors, and the next connection is reported again.
                Err(_) => return,
            }
        }
        self.more = true;
    }

    fn admit(&mut self, socket: Socket, now: Duration) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.pop_first();
        }
        self.last += 1;
        let news = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&socket, EpollEvent::new(news, self.last))?;
        let connection = Connection { socket, until: now + TIMEOUT, state: State::Reading(Vec::new()) };
        self.connections.insert(self.last, connection);
        Ok(())
    }

    fn advance(&mut self, id: u64) {
        let fate = self.connections.get_mut(&id).map(Connection::advance);
        if fate == Some(Fate::Ends) {
            self.connections.remove(&id);
        }
    }
}

impl State {
    fn writing(bytes: Vec<u8>) -> Self {
        Self::Writing { bytes, written: 0 }
    }
}

impl Connection {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Goes on until the kernel would have it wait.
    fn advance(&mut self) -> Fate {
        loop {
            match self.step() {
                Ok(Some(fate)) => return fate,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Stays,
                Err(_) => return Fate::Ends,
            }
        }
    }

    /// One call of the kernel; then there may be more to do.
    fn step(&mut self) -> io::Result<Option<Fate>> {
        let mut buffer = [0; 4096];
        match &mut self.state {
            State::Reading(bytes) => {
                let length = (&self.socket).read(&mut buffer)?;
                if length == 0 {
                    return Ok(Some(Fate::Ends));
                }
                bytes.extend(buffer.iter().take(length));
                match read(bytes) {
                    Asked::Unfinished if bytes.len() > MAX_HEAD => self.state = State::writing(request::too_large()),
                    Asked::Unfinished => {}
                    Asked::Page { head_only } => self.state = State::Waiting { head_only },
                    Asked::Wrong(answer) => self.state = State::writing(answer),
                }
            }
            State::Waiting { .. } => return Ok(Some(Fate::Stays)),
            State::Writing { bytes, written } => {
                let rest = bytes.get(*written..).unwrap_or_default();
                if rest.is_empty() {
                    self.socket.shutdown(Shutdown::Write)?;
                    self.state = State::Ending;
                } else {
                    *written += (&self.socket).write(rest)?;
                }
            }
            State::Ending => {
                if (&self.socket).read(&mut buffer)? == 0 {
                    return Ok(Some(Fate::Ends));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
