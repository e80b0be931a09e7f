use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::LIMIT;

/// An answer of an HTTP server.
#[derive(Debug, Default)]
pub struct Reply {
    /// 0 where the first line has none.
    pub status: u16,
    /// The first line and the headers, their names in lower case.
    pub head: String,
    /// What is no UTF-8 is replaced.
    pub body: String,
}

impl Reply {
    /// Reads an answer to a request of this method: to its length, or else to the end of the connection.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn read(connection: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let mut reply = Self::read_head(connection)?;
        let length = match reply.header("content-length") {
            _ if method == "HEAD" || matches!(reply.status, 204 | 304) => 0,
            Some(length) => length.parse().unwrap(),
            None => u64::MAX,
        };
        let mut body = Vec::new();
        // Not every server closes the connection because it is asked to.
        connection.take(length).read_to_end(&mut body)?;
        reply.body = String::from_utf8_lossy(&body).into_owned();
        Ok(reply)
    }

    /// Reads an answer without its body, which the connection gives next.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn read_head(connection: &mut impl BufRead) -> io::Result<Self> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && connection.read_line(&mut head)? > 0 {}
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let lines = head.lines().map(|line| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}\n", name.to_lowercase()),
            None => format!("{line}\n"),
        });
        Ok(Self { status, head: lines.collect(), body: String::new() })
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The value of the first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

/// Sends a request as it stands here to a port of 127.0.0.1, byte by byte: a client library would put paths and headers right.
/// Headers of its own are `Connection: close`, `Content-Length`, and `Host` where `headers` has none. Reading from the
/// connection fails where nothing comes for [`LIMIT`].
///
/// # Errors
///
/// Those of the connection.
pub fn send(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !has_host {
        head.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    Ok(BufReader::new(stream))
}

/// Makes a request as [`send`] does, and reads the whole answer.
///
/// # Errors
///
/// Those of the connection.
pub fn request(port: u16, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Reply> {
    Reply::read(&mut send(port, method, target, headers, body)?, method)
}
