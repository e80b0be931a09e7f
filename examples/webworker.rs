//! A web server that behaves, for tests and benches: `webworker FD [FILE]` answers HTTP on an inherited socket, with
//! connections that are kept open; `/slow` takes 300 ms. On SIGTERM it accepts no more, ends what it has begun, and leaves.
//!
//! FILE says what this version of it is like: `never` is never ready, `dies` prints why and exits at once, `fades` is ready
//! and exits 300 ms later. Where NOTIFY_SOCKET is set, it says when it is ready.
#![expect(unsafe_code, reason = "a descriptor that was inherited has to be believed in")]
#![expect(clippy::disallowed_methods, reason = "an example program, not the daemon: it may wait and read clocks")]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A connection that has not asked anything yet may still ask so long after SIGTERM.
const LAST_CALL: Duration = Duration::from_secs(2);
/// The end of a worker waits so long for its connections.
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGTERM, Arc::clone(&stop))?;
    let mut words = std::env::args().skip(1);
    let number =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other("webworker FD [FILE]"))?;
    let kind = words.next().map_or(Ok(String::new()), std::fs::read_to_string)?;
    match kind.trim() {
        "dies" => {
            eprintln!("this version has a fault in line 1");
            std::process::exit(3);
        }
        "never" => {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        kind => {
            say_ready()?;
            if kind == "fades" {
                std::thread::sleep(Duration::from_millis(300));
                eprintln!("this version cannot reach its database");
                std::process::exit(4);
            }
        }
    }
    // SAFETY: circusd passed this socket at this number, and nothing else here owns it.
    serve(&unsafe { TcpListener::from_raw_fd(number) }, &stop)
}

fn say_ready() -> io::Result<()> {
    let Ok(address) = std::env::var("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

fn serve(listener: &TcpListener, stop: &Arc<AtomicBool>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let open = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        if !wait(listener, 100) {
            continue;
        }
        match listener.accept() {
            Ok((connection, _)) => {
                open.fetch_add(1, Ordering::Relaxed);
                let (open, stop) = (Arc::clone(&open), Arc::clone(stop));
                std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                    // One visitor's broken connection is no other's trouble.
                    drop(attend(connection, &stop));
                    open.fetch_sub(1, Ordering::Relaxed);
                })?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    let until = Instant::now() + TIMEOUT;
    while open.load(Ordering::Relaxed) > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether something can be read within so many milliseconds.
fn wait(fd: &impl std::os::fd::AsFd, milliseconds: u16) -> bool {
    let mut waiting = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, PollTimeout::from(milliseconds)).unwrap_or(0) > 0
}

fn attend(mut connection: TcpStream, stop: &AtomicBool) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_nodelay(true)?;
    let (mut bytes, mut buffer, mut fresh) = (Vec::new(), [0; 2048], true);
    loop {
        let mut told = None;
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            if !wait(&connection, 50) {
                // An idle connection ends with the worker; one that is new may have been accepted just now.
                let since = *told.get_or_insert_with(Instant::now);
                if stop.load(Ordering::Relaxed) && (!fresh || since.elapsed() > LAST_CALL) {
                    return Ok(());
                }
                continue;
            }
            match connection.read(&mut buffer)? {
                0 => return Ok(()),
                n => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            }
        }
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if head.starts_with("get /slow") {
            std::thread::sleep(Duration::from_millis(300));
        }
        let close = stop.load(Ordering::Relaxed) || head.contains("connection: close");
        let (pid, how) = (std::process::id(), if close { "close" } else { "keep-alive" });
        let body = format!("{pid}\n");
        let length = body.len();
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {how}\r\n\r\n{body}")?;
        if close {
            return Ok(());
        }
        (fresh, bytes) = (false, Vec::new());
    }
}
