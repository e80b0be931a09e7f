//! Visitors of a web server: so many requests a second, one half over connections that are kept open, some of them slow.
//! The benches have them as well.
#![expect(clippy::disallowed_methods, reason = "visitors come at their times")]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request that is not answered within this time is lost.
const DEADLINE: Duration = Duration::from_secs(30);
/// One request of so many is for `/slow`.
const SLOW: u64 = 50;

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answered in full.
    pub(crate) answered: u64,
    /// No connection.
    pub(crate) refused: u64,
    /// A connection that ended before the answer.
    pub(crate) reset: u64,
    /// Not answered in time, or not as they should.
    pub(crate) lost: u64,
    /// Requests over a connection that the server had closed while it was idle: HTTP's clients ask again, and so do these.
    pub(crate) repeated: u64,
    /// The longest time that a request took, in milliseconds.
    pub(crate) slowest: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.reset += other.reset;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Requests that were not answered.
    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.reset + self.lost
    }
}

/// Visitors that ask until they are told to stop.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<Counts>>,
}

impl Load {
    /// So many visitors ask a server on this machine for so many pages a second together.
    pub(crate) fn start(port: u16, visitors: u32, rate: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * visitors / rate;
        let visitor = |number: u32| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || visit(port, number, pause, &over))
        };
        Self { visitors: (0..visitors).map(visitor).collect(), over }
    }

    /// Ends it: each visitor waits for its last answer.
    pub(crate) fn stop(self) -> Counts {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for visitor in self.visitors {
            all.add(&visitor.join().unwrap_or_default());
        }
        all
    }
}

fn visit(port: u16, number: u32, pause: Duration, over: &AtomicBool) -> Counts {
    let keeps = number.is_multiple_of(2);
    let mut counts = Counts::default();
    let mut kept: Option<TcpStream> = None;
    let mut next = Instant::now() + pause.mul_f64(f64::from(number % 16) / 16.0);
    for turn in u64::from(number).. {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        next = (next + pause).max(begun);
        let path = if turn.is_multiple_of(SLOW) { "/slow" } else { "/" };
        let reused = kept.take();
        let was_reused = reused.is_some();
        let mut ended = ask(reused, port, path, keeps);
        if was_reused && matches!(ended, Err(Failure::Idle)) {
            counts.repeated += 1;
            ended = ask(None, port, path, keeps);
        }
        match ended {
            Ok(connection) => {
                counts.answered += 1;
                kept = connection;
            }
            Err(Failure::Refused) => counts.refused += 1,
            Err(Failure::Idle | Failure::Reset) => counts.reset += 1,
            Err(Failure::Lost) => counts.lost += 1,
        }
        counts.slowest = counts.slowest.max(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
    counts
}

enum Failure {
    Refused,
    /// The connection had ended, and no byte of an answer has come.
    Idle,
    Reset,
    Lost,
}

/// The connection, where it is kept.
fn ask(kept: Option<TcpStream>, port: u16, path: &str, keeps: bool) -> Result<Option<TcpStream>, Failure> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connect(port).map_err(|_| Failure::Refused)?,
    };
    let how = if keeps { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {how}\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(|_| Failure::Idle)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 2048]);
    loop {
        let n = match connection.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Failure::Lost);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            // Without a length, the end of the connection is the end of the answer.
            if length.map_or(n == 0, |length| body.len() >= length) {
                if !head.contains(" 200 ") {
                    return Err(Failure::Lost);
                }
                let closes = !keeps || n == 0 || length.is_none() || head.contains("connection: close");
                return Ok((!closes).then_some(connection));
            }
        }
        if n == 0 {
            return Err(if bytes.is_empty() { Failure::Idle } else { Failure::Reset });
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(DEADLINE))?;
    connection.set_nodelay(true)?;
    Ok(connection)
}
