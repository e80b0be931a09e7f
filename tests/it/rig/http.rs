//! A client of HTTP that returns the result of a request.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::wait::DEADLINE;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The body of a complete answer.
    Body(String),
    /// The connection was refused.
    Refused(String),
    /// The connection stood, and ended without a complete answer.
    Cut,
    /// No answer in a long time.
    Silence,
}

/// A server on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http(pub(crate) u16);

impl Http {
    /// Asks for `/`.
    pub(crate) fn get(self) -> Answer {
        self.connect().map_or_else(|error| Answer::Refused(error.to_string()), |open| ended(exchange(open)))
    }

    fn connect(self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0))?;
        connection.set_read_timeout(Some(DEADLINE))?;
        Ok(connection)
    }

    /// Asks for `/` at a unix socket.
    pub(crate) fn get_at(path: &Path) -> Answer {
        UnixStream::connect(path).map_or_else(
            |error| Answer::Refused(error.to_string()),
            |connection| {
                connection.set_read_timeout(Some(DEADLINE)).unwrap();
                ended(exchange(connection))
            },
        )
    }

    /// Begins a request; a server that has accepted it waits for the rest.
    pub(crate) fn begin(self) -> Begun {
        let mut connection = self.connect().unwrap();
        connection.write_all(b"GET / HTTP/1.0\r\n").unwrap();
        Begun(connection)
    }
}

/// A request that is not complete.
pub(crate) struct Begun(TcpStream);

impl Begun {
    /// The server's end of the connection, once a worker has accepted it.
    pub(crate) fn inode_of_server(&self) -> Option<u64> {
        let (client, server) = (self.0.local_addr().unwrap().port(), self.0.peer_addr().unwrap().port());
        let (client, server) = (format!(":{client:04X}"), format!(":{server:04X}"));
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut found = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let inode = found.find(|words| words[1].ends_with(&server) && words[2].ends_with(&client))?[9].parse();
        inode.ok().filter(|inode| *inode != 0)
    }

    /// How it ends.
    pub(crate) fn end(self) -> Answer {
        ended(finish(self.0))
    }
}

fn ended(result: io::Result<Answer>) -> Answer {
    result.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Answer::Silence,
        _ => Answer::Cut,
    })
}

fn exchange(mut connection: impl Read + Write) -> io::Result<Answer> {
    connection.write_all(b"GET / HTTP/1.0\r\n")?;
    finish(connection)
}

fn finish(mut connection: impl Read + Write) -> io::Result<Answer> {
    connection.write_all(b"Host: localhost\r\n\r\n")?;
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    Ok(read(&text).map_or(Answer::Cut, Answer::Body))
}

/// The body, if it is all there.
fn read(text: &str) -> Option<String> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.contains(" 200 "), "{head}");
    let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok();
    let complete = head.lines().find_map(length).is_none_or(|length| body.len() == length);
    complete.then(|| body.to_owned())
}
