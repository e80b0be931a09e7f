//! One attempt to reach a service, step by step in a poll loop: no thread, and nothing that blocks.
//!
//! The loop waits for the attempt's descriptor to be readable or writable and calls [`ServiceAttempt::advance`]. How long
//! an attempt may take is its owner's to say. Names other than `localhost` have to be looked up, which takes time: for
//! these there is [`try_service`](super::try_service).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, RawFd};

use httparse::{EMPTY_HEADER, Response};
use socket2::{Domain, SockAddr, Socket, Type};

use super::service_probe::{Service, request};

/// A status line is no longer.
const LONGEST_ANSWER: usize = 4096;
/// What is shown of an answer that is no HTTP.
const SHOWN: usize = 80;

/// How far an attempt has come.
#[derive(Debug, PartialEq, Eq)]
pub enum AttemptProgress {
    /// It goes on when its descriptor, which may be another one now, is readable or writable.
    Waiting,
    /// The service answers.
    Passed,
    /// It does not, and why.
    Failed(String),
}

/// An attempt that is under way.
#[derive(Debug)]
pub struct ServiceAttempt {
    socket: Socket,
    /// Those that are still to be tried.
    addresses: VecDeque<SockAddr>,
    is_connected: bool,
    /// What is to be asked, where something is.
    request: Option<String>,
    unsent: VecDeque<u8>,
    answer: Vec<u8>,
}

/// The addresses of a host that need not be looked up; `None` where it is a name.
fn known_addresses(host: &str, port: u16) -> Option<Vec<SockAddr>> {
    let of = |address: IpAddr| SockAddr::from(SocketAddr::new(address, port));
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![of(Ipv4Addr::LOCALHOST.into()), of(Ipv6Addr::LOCALHOST.into())]);
    }
    host.parse().ok().map(|address| vec![of(address)])
}

impl ServiceAttempt {
    /// Begins an attempt. `None` where a name has to be looked up.
    ///
    /// # Errors
    /// Where this process cannot try: it has no descriptor left, say, or there can be no such address.
    pub fn begin(service: &Service) -> io::Result<Option<(Self, AttemptProgress)>> {
        let (addresses, request) = match service {
            Service::Tcp { host, port } => (known_addresses(host, *port), None),
            Service::Http { host, port, path } => (known_addresses(host, *port), Some(request(host, path))),
            Service::Unix(path) => (Some(vec![SockAddr::unix(path)?]), None),
        };
        let Some(addresses) = addresses else { return Ok(None) };
        let mut addresses = VecDeque::from(addresses);
        let Some(first) = addresses.pop_front() else { return Ok(None) };
        let mut attempt = Self {
            socket: socket_for(&first)?,
            addresses,
            is_connected: false,
            request,
            unsent: VecDeque::new(),
            answer: Vec::new(),
        };
        let progress = attempt.connect(&first);
        Ok(Some((attempt, progress)))
    }

    /// What the loop waits for.
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Goes on as far as is possible without waiting.
    pub fn advance(&mut self) -> AttemptProgress {
        if self.is_connected {
            return self.talk();
        }
        match self.socket.take_error() {
            Ok(None) if self.socket.peer_addr().is_ok() => self.connected(),
            Ok(None) => AttemptProgress::Waiting,
            Ok(Some(error)) | Err(error) => self.refused(&error),
        }
    }

    fn connect(&mut self, address: &SockAddr) -> AttemptProgress {
        match self.socket.connect(address) {
            Ok(()) => self.connected(),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => AttemptProgress::Waiting,
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&mut self, error: &io::Error) -> AttemptProgress {
        let Some(next) = self.addresses.pop_front() else {
            let text = match error.kind() {
                ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                // A unix socket whose queue of connections is full.
                ErrorKind::WouldBlock => "its queue of connections is full".to_owned(),
                ErrorKind::NotFound => "there is no such socket".to_owned(),
                _ => error.to_string(),
            };
            return AttemptProgress::Failed(text);
        };
        match socket_for(&next) {
            Ok(socket) => {
                self.socket = socket;
                self.connect(&next)
            }
            // Without IPv6 the first address has the say.
            Err(_) => self.refused(error),
        }
    }

    fn connected(&mut self) -> AttemptProgress {
        self.is_connected = true;
        let Some(request) = self.request.take() else { return AttemptProgress::Passed };
        self.unsent = request.into_bytes().into();
        self.talk()
    }

    fn talk(&mut self) -> AttemptProgress {
        while !self.unsent.is_empty() {
            match self.socket.write(self.unsent.make_contiguous()) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return AttemptProgress::Waiting,
                Err(error) => return AttemptProgress::Failed(error.to_string()),
            }
        }
        loop {
            let mut buffer = [0; 512];
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.answered().unwrap_or_else(|| self.no_http()),
                Ok(length) => self.answer.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return AttemptProgress::Waiting,
                Err(error) => return AttemptProgress::Failed(error.to_string()),
            }
            if let Some(progress) = self.answered() {
                return progress;
            }
            if self.answer.len() > LONGEST_ANSWER {
                return self.no_http();
            }
        }
    }

    /// What the answer means, as soon as its first line is there.
    fn answered(&self) -> Option<AttemptProgress> {
        let mut headers = [EMPTY_HEADER; 64];
        let mut response = Response::new(&mut headers);
        let parsed = response.parse(&self.answer);
        match (response.code, parsed) {
            (Some(200..=399), _) => Some(AttemptProgress::Passed),
            (Some(code), _) => {
                let reason = response.reason.filter(|reason| !reason.is_empty()).map(|reason| format!(" {reason}"));
                Some(AttemptProgress::Failed(format!("status {code}{}", reason.unwrap_or_default())))
            }
            (None, Err(_)) => Some(self.no_http()),
            (None, Ok(_)) => None,
        }
    }

    fn no_http(&self) -> AttemptProgress {
        if self.answer.is_empty() {
            return AttemptProgress::Failed("closed without an answer".into());
        }
        let text = String::from_utf8_lossy(&self.answer);
        let line: String = text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        AttemptProgress::Failed(format!("the answer is {line:?}"))
    }
}

fn socket_for(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::os::unix::net::UnixListener;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wait(attempt: &ServiceAttempt) {
        let fd: BorrowedFd<'_> = attempt.socket.as_fd();
        // A connected socket is always writable: once the request is sent, only the answer is waited for.
        let flags = if attempt.is_connected { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
        poll(&mut [PollFd::new(fd, flags)], PollTimeout::try_from(10_000).unwrap()).unwrap();
    }

    fn run(service: &Service) -> AttemptProgress {
        let (mut attempt, mut progress) = ServiceAttempt::begin(service).unwrap().unwrap();
        while progress == AttemptProgress::Waiting {
            wait(&attempt);
            progress = attempt.advance();
        }
        progress
    }

    fn tcp(host: &str, port: u16) -> Service {
        Service::Tcp { host: host.into(), port }
    }

    #[test]
    fn connections_are_accepted_or_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "LOCALHOST"] {
            assert_eq!(run(&tcp(host, port)), AttemptProgress::Passed);
        }
        drop(listener);
        assert_eq!(run(&tcp("localhost", port)), AttemptProgress::Failed("connection refused".into()));
        assert!(ServiceAttempt::begin(&tcp("example.invalid", 1)).unwrap().is_none());
    }

    #[test]
    fn unix_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let service = Service::Unix(path.to_str().unwrap().into());
        assert_eq!(run(&service), AttemptProgress::Failed("there is no such socket".into()));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(run(&service), AttemptProgress::Passed);
        drop(listener);
        assert_eq!(run(&service), AttemptProgress::Failed("connection refused".into()));
    }

    #[test]
    fn answers_of_http() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers =
            ["HTTP/1.1 204 No Content\r\n", "HTTP/1.1 503 Busy\r\n\r\n", "SSH-2.0-x\r\n", "", "HTTP/1.0 301 x\n"];
        let long = "x".repeat(2 * LONGEST_ANSWER);
        let serve = move || {
            let mut asked = Vec::new();
            for answer in answers.into_iter().chain([long.as_str()]) {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; 4096];
                let length = stream.read(&mut question).unwrap();
                // In two pieces, as from a slow server.
                let (first, second) = answer.split_at(answer.len() / 2);
                stream.write_all(first.as_bytes()).unwrap();
                let _closed = stream.write_all(second.as_bytes());
                asked.push(String::from_utf8_lossy(&question[..length]).into_owned());
            }
            asked
        };
        let served = std::thread::spawn(serve);
        let ask = || run(&Service::Http { host: "127.0.0.1".into(), port, path: "/up".into() });
        assert_eq!(ask(), AttemptProgress::Passed);
        assert_eq!(ask(), AttemptProgress::Failed("status 503 Busy".into()));
        assert_eq!(ask(), AttemptProgress::Failed("the answer is \"SSH-2.0-x\"".into()));
        assert_eq!(ask(), AttemptProgress::Failed("closed without an answer".into()));
        assert_eq!(ask(), AttemptProgress::Passed);
        assert!(matches!(ask(), AttemptProgress::Failed(_)));
        assert!(served.join().unwrap()[0].starts_with("GET /up HTTP/1.0\r\nHost: 127.0.0.1\r\n"));
    }
}
