//! How often something comes to circusd's sockets.
//!
//! No kernel counts what a listening socket accepts. We hold the same sockets as circusd, and are woken when a
//! connection or a datagram comes; a hit is one that is still there when we look. A worker that waits for it may be
//! faster, so of single connections some are missed; of those that have to queue none is. After each hit there is a
//! pause: under load one stands for all that came in a hundredth of a second, so that a busy socket does not keep a
//! processor busy here. The original looked each hundredth of a second, and missed nearly all.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::inventory::Socket;

/// As in the original.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket that is listened at.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) socket: Socket,
    /// Since they were published.
    pub(super) reads: u64,
    /// Until then it is left alone.
    resting: Option<Duration>,
    registered: bool,
}

/// The sockets of circusd.
#[derive(Debug)]
pub(super) struct SocketActivity {
    registry: Registry,
    /// Those that this process was started with; nothing else may be listened at.
    inherited: BTreeSet<RawFd>,
    pub(super) sockets: Vec<Watched>,
    base: usize,
    /// Whether hits are counted.
    at_work: bool,
}

/// The sockets that this process was started with. To be called before anything else is opened.
pub(super) fn inherited() -> BTreeSet<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let is_socket = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    let numbers = entries.filter(is_socket).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number > 2).collect()
}

impl SocketActivity {
    /// Tokens from `base` on are those of sockets, by their numbers.
    pub(super) fn new(registry: Registry, base: usize, inherited: BTreeSet<RawFd>) -> Self {
        Self { registry, inherited, sockets: Vec::new(), base, at_work: false }
    }

    /// These are circusd's sockets now. Whether there is one that we do not hold.
    pub(super) fn follow(&mut self, sockets: Vec<Socket>, now: Duration) -> bool {
        self.sockets.iter_mut().for_each(|watched| drop(leave(&self.registry, watched)));
        self.sockets = sockets
            .into_iter()
            .map(|socket| {
                let before = self.sockets.iter().find(|watched| watched.socket == socket);
                let reads = before.map_or(0, |watched| watched.reads);
                Watched { socket, reads, resting: Some(now), registered: false }
            })
            .collect();
        self.sockets.iter().any(|watched| !self.inherited.contains(&watched.socket.fd))
    }

    /// Counts from now on, or does not. A count begins at 0.
    pub(super) fn work(&mut self, at_work: bool, now: Duration) {
        if at_work == self.at_work {
            return;
        }
        self.at_work = at_work;
        for watched in &mut self.sockets {
            drop(leave(&self.registry, watched));
            (watched.reads, watched.resting) = (0, Some(now));
        }
    }

    /// Something has come to the socket of this token.
    pub(super) fn hit(&mut self, token: Token, now: Duration) {
        let Some(fd) = token.0.checked_sub(self.base) else { return };
        for watched in self.sockets.iter_mut().filter(|watched| usize::try_from(watched.socket.fd) == Ok(fd)) {
            watched.reads += 1;
            drop(leave(&self.registry, watched));
            watched.resting = Some(now + PAUSE);
        }
    }

    /// When the next rest ends.
    pub(super) fn due(&self) -> Option<Duration> {
        let held = |watched: &&Watched| self.at_work && self.inherited.contains(&watched.socket.fd);
        self.sockets.iter().filter(held).filter_map(|watched| watched.resting).min()
    }

    /// Goes back to those that have rested.
    pub(super) fn wake(&mut self, now: Duration) {
        for watched in &mut self.sockets {
            let rested = watched.resting.is_some_and(|until| until <= now);
            if !rested || !self.at_work || !self.inherited.contains(&watched.socket.fd) {
                continue;
            }
            let Ok(fd) = usize::try_from(watched.socket.fd) else { continue };
            let token = Token(self.base + fd);
            let source = &mut SourceFd(&watched.socket.fd);
            // A socket that is no such thing any more is none to listen at.
            watched.registered = self.registry.register(source, token, Interest::READABLE).is_ok();
            watched.resting = None;
        }
    }
}

fn leave(registry: &Registry, watched: &mut Watched) -> io::Result<()> {
    if std::mem::take(&mut watched.registered) {
        registry.deregister(&mut SourceFd(&watched.socket.fd))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    const BASE: usize = 100;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Takes up what has come, at most for `limit`.
    fn turn(poll: &mut mio::Poll, socket_activity: &mut SocketActivity, now: Duration, limit: Duration) {
        socket_activity.wake(now);
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(limit)).unwrap();
        events.iter().for_each(|event| socket_activity.hit(event.token(), now));
    }

    #[test]
    fn a_connection_wakes_and_is_a_hit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        let mut poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let mut socket_activity = SocketActivity::new(registry, BASE, [fd].into());
        let socket = Socket { fd, address: "here".into() };
        assert!(!socket_activity.follow(vec![socket.clone()], ms(0)));
        socket_activity.work(true, ms(0));
        turn(&mut poll, &mut socket_activity, ms(0), ms(0));
        assert_eq!((socket_activity.sockets[0].reads, socket_activity.due()), (0, None));
        for round in 1..=3 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            turn(&mut poll, &mut socket_activity, ms(100 * round), ms(10_000));
            let _taken = listener.accept().unwrap();
            assert_eq!((socket_activity.sockets[0].reads, socket_activity.due()), (round, Some(ms(100 * round + 10))));
        }
        // A connection that comes and goes during a rest is not seen; one that is still there afterwards is a hit.
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        turn(&mut poll, &mut socket_activity, ms(305), ms(0));
        assert_eq!(socket_activity.sockets[0].reads, 3);
        turn(&mut poll, &mut socket_activity, ms(310), ms(10_000));
        assert_eq!(socket_activity.sockets[0].reads, 4);
        assert!(socket_activity.follow(vec![socket, Socket { fd: 4711, address: "new".into() }], ms(400)));
        assert_eq!((socket_activity.sockets[0].reads, socket_activity.sockets[1].reads), (4, 0));
        socket_activity.work(false, ms(400));
        assert_eq!((socket_activity.sockets[0].reads, socket_activity.due()), (0, None));
    }

    #[test]
    fn only_inherited_sockets_are_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inherited = inherited();
        assert!(inherited.contains(&listener.as_raw_fd()) && !inherited.contains(&0));
    }
}
