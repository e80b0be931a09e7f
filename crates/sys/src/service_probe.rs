//! Whether a service answers. An attempt has a thread of its own: looking up a name, and a connection that is neither
//! accepted nor refused, take their time.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use nix::sys::signal::pthread_sigmask;
use nix::sys::signal::{SigSet, SigmaskHow};
use socket2::{Domain, SockAddr, Socket, Type};

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer's first line is no longer.
const STATUS_LINE: usize = 512;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Connections are accepted.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A GET is answered with a status from 200 to 399.
    Http {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// What is asked for.
        path: String,
    },
    /// Connections to a unix socket are accepted.
    Unix(String),
}

/// Tries once whether a service answers. `report` is called with the result from a thread of the attempt's own; it must
/// not block.
///
/// # Errors
/// Where there can be no thread.
pub fn try_service(service: Service, report: impl FnOnce(io::Result<()>) + Send + 'static) -> io::Result<()> {
    // Signals are the business of the daemon's thread; the mask is inherited.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let attempt = move || report(once(&service));
    let started = std::thread::Builder::new().name("service".to_owned()).stack_size(256 * 1024).spawn(attempt);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started.map(drop)
}

fn once(service: &Service) -> io::Result<()> {
    match service {
        Service::Tcp { host, port } => connect(host, *port).map(drop),
        Service::Http { host, port, path } => get(connect(host, *port)?, host, path),
        Service::Unix(path) => {
            Socket::new(Domain::UNIX, Type::STREAM, None)?.connect_timeout(&SockAddr::unix(path)?, CONNECT_TIMEOUT)
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The question that a service of HTTP is asked.
pub(super) fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: circusd\r\nConnection: close\r\n\r\n")
}

fn get(mut stream: TcpStream, host: &str, path: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = [0; STATUS_LINE];
    let mut length = 0;
    while let Some(room) = answer.get_mut(length..).filter(|room| !room.is_empty()) {
        match stream.read(room)? {
            0 => break,
            more => length += more,
        }
        if answer.contains(&b'\n') {
            break;
        }
    }
    let line = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=399) if line.starts_with("HTTP/") => Ok(()),
        _ => Err(io::Error::other(format!("the answer is '{line}'"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    use super::*;

    fn http(port: u16) -> Service {
        Service::Http { host: "127.0.0.1".into(), port, path: "/up".into() }
    }

    /// Answers one connection after the other with these texts; returns what was asked.
    fn answering(answers: &[&str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let serve = move || {
            let one = |answer: &String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 4096];
                let length = stream.read(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&asked[..length]).into_owned()
            };
            answers.iter().map(one).collect()
        };
        (port, std::thread::spawn(serve))
    }

    #[test]
    fn only_a_good_answer_counts() {
        let answers = ["HTTP/1.1 503 Busy\r\n\r\n", "nonsense\n", "HTTP/1.1 204 No Content\r\n\r\n"];
        let (port, served) = answering(&answers);
        let attempt = || {
            let (sender, result) = mpsc::channel();
            try_service(http(port), move |result| sender.send(result).unwrap()).unwrap();
            result.recv().unwrap()
        };
        let [busy, nonsense, good] = [attempt(), attempt(), attempt()];
        assert!(busy.unwrap_err().to_string().contains("503"));
        assert!(nonsense.unwrap_err().to_string().contains("nonsense"));
        good.unwrap();
        let asked = served.join().unwrap();
        assert!(asked[0].starts_with("GET /up HTTP/1.0\r\nHost: 127.0.0.1\r\n"), "{}", asked[0]);
    }

    #[test]
    fn connections_by_both_families() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        once(&Service::Tcp { host: "localhost".into(), port }).unwrap();
        drop(listener);
        assert!(once(&Service::Tcp { host: "127.0.0.1".into(), port }).is_err());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let service = Service::Unix(path.to_str().unwrap().into());
        assert!(once(&service).is_err());
        let _listener = UnixListener::bind(&path).unwrap();
        once(&service).unwrap();
    }
}
