//! As much of XML-RPC over HTTP as supervisord is asked with.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::outcome::{Outcome, fault};

/// A connection that is kept, as Python's xmlrpc.client keeps it.
pub(super) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(super) fn open(socket: &Path) -> Outcome<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Calls a method with these texts, which need no escapes, and waits for an answer that is no fault.
    pub(super) fn call(&mut self, method: &str, texts: &[&str]) -> Outcome<()> {
        let body = request(method, texts);
        let head = format!(
            "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all((head + &body).as_bytes())?;
        let reply = self.reply()?;
        if reply.contains("<fault>") { Err(fault(format!("{method}: {reply}"))) } else { Ok(()) }
    }

    fn reply(&mut self) -> Outcome<String> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length:") {
                length = told.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

fn request(method: &str, texts: &[&str]) -> String {
    let params: String =
        texts.iter().map(|text| format!("<param><value><string>{text}</string></value></param>")).collect();
    format!("<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>")
}
