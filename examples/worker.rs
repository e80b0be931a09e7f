//! The worker of the examples: `worker serve --fd N` answers HTTP on a socket that circusd opened, `worker tick`
//! prints a line each second. On SIGTERM it finishes the request in progress and exits.
#![expect(unsafe_code, reason = "an inherited descriptor has to be trusted")]
#![expect(clippy::disallowed_methods, reason = "an example program, not the daemon: it may wait and read clocks")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> std::io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGTERM, libc::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", "--fd", number] => serve(number.parse().map_err(std::io::Error::other)?, &stop),
        // LISTEN_FDS: the first passed socket is descriptor 3.
        ["serve"] => serve(3, &stop),
        ["tick"] => tick(&stop),
        _ => Err(std::io::Error::other("usage: worker serve [--fd N] | worker tick")),
    }
}

fn serve(number: i32, stop: &AtomicBool) -> std::io::Result<()> {
    // SAFETY: circusd passed this socket at this number, and nothing else here owns it.
    let listener = unsafe { TcpListener::from_raw_fd(number) };
    let pid = std::process::id();
    println!("worker {pid} serves on {}", listener.local_addr()?);
    while !stop.load(Ordering::Relaxed) {
        // The socket is shared and does not block: several wake up for one connection, one gets it.
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(500_u16)).unwrap_or(0) == 0 {
            continue;
        }
        match listener.accept() {
            Ok((connection, _)) => {
                // A broken connection of one client must not affect the others.
                drop(answer(connection, pid));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    println!("worker {pid} leaves");
    Ok(())
}

fn answer(mut connection: TcpStream, pid: u32) -> std::io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < 65536 {
        match connection.read(&mut bytes)? {
            0 => return Ok(()),
            n => head.extend_from_slice(bytes.get(..n).unwrap_or_default()),
        }
    }
    let body = format!("hello from worker {pid}\n");
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn tick(stop: &AtomicBool) -> std::io::Result<()> {
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        println!("tick {count}");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
