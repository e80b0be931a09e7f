//! What peers of a guarded listener may cost, with libzmq behind it.

use std::ffi::{c_int, c_void};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::time::Duration;

use zmq_sys::Handshake;

/// Longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A router at a listener that is guarded.
struct Server {
    context: *mut c_void,
    socket: *mut c_void,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let fd: c_int = listener.into_raw_fd();
        zmq_sys::guard(fd, Some(Handshake { frames: 1, limit: Duration::from_secs(10) }));
        // SAFETY: each pointer is what the call before has returned; the option's value is an int, and the texts outlive
        // their calls.
        let (context, socket) = unsafe {
            let context = zmq_sys::zmq_ctx_new();
            let socket = zmq_sys::zmq_socket(context, zmq_sys::ZMQ_ROUTER as c_int);
            let size = size_of::<c_int>();
            let set = zmq_sys::zmq_setsockopt(socket, zmq_sys::ZMQ_USE_FD as c_int, (&raw const fd).cast(), size);
            assert_eq!(set, 0);
            assert_eq!(zmq_sys::zmq_bind(socket, c"tcp://127.0.0.1:0".as_ptr()), 0);
            (context, socket)
        };
        Self { context, socket, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: both are live and not used again.
        unsafe {
            zmq_sys::zmq_close(self.socket);
            zmq_sys::zmq_ctx_term(self.context);
        }
    }
}

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

fn ready() -> Vec<u8> {
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER".to_vec();
    ready.splice(0..0, [4, u8::try_from(ready.len()).unwrap()]);
    ready
}

/// Finishes a handshake: a client that speaks before the server has answered is refused.
fn shake_hands(stream: &mut TcpStream) {
    stream.write_all(&[greeting(), ready()].concat()).unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 256]);
    while !answer.windows(6).any(|part| part == b"ROUTER") {
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "the server hangs up");
        answer.extend_from_slice(part.get(..length).unwrap());
    }
}

/// Whether the server hangs up, whatever it says before.
fn is_ended(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Whether it is still there: it has said nothing, or its greeting.
fn lives(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    !is_ended(stream)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

// One test: memory and descriptors are the process's.
#[test]
fn strangers_and_unfinished_messages_cost_little() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = 1024;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    let server = Server::start();
    let before = resident_bytes();

    // READY with a megabyte of properties.
    let large = [greeting(), vec![6, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff]].concat();
    for _ in 0..50 {
        let mut peer = server.connect();
        let _refused = peer.write_all(&large).and_then(|()| peer.write_all(&vec![0; 100_000]));
        assert!(is_ended(&mut peer));
    }
    let ended = zmq_sys::turned_away();
    assert!(ended >= 50, "{ended}");

    // A message without an end.
    let mut endless = server.connect();
    shake_hands(&mut endless);
    let frame = [vec![3, 0, 0, 0, 0, 0, 1, 0, 0], vec![7; 1 << 16]].concat();
    let sent = (0..1000).take_while(|_| endless.write_all(&frame).is_ok()).count();
    assert!((200..400).contains(&sent), "{sent} frames of 64 KiB");
    assert!(is_ended(&mut endless));

    // One that is let in and heard.
    let mut heard = server.connect();
    shake_hands(&mut heard);
    heard.write_all(b"\0\x05hello").unwrap();
    let mut frames = Vec::new();
    for _ in 0..2 {
        let mut buffer = [0_u8; 64];
        // SAFETY: the buffer is live and of this size.
        let length = unsafe { zmq_sys::zmq_recv(server.socket, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        frames.push(buffer.get(..usize::try_from(length).unwrap()).unwrap().to_vec());
    }
    assert_eq!(frames[1], b"hello");
    let own = heard.local_addr().unwrap();
    zmq_sys::heard(accepted_from(own));

    // Connections that say nothing: the newest 64 are there, and what was heard is, too.
    let mut silent: Vec<TcpStream> = (0..300).map(|_| server.connect()).collect();
    let mut oldest = silent.drain(..200).collect::<Vec<_>>();
    assert!(oldest.iter_mut().all(is_ended));
    assert_eq!(silent.iter_mut().skip(40).filter_map(|peer| lives(peer).then_some(())).count(), 60);
    assert!(lives(&mut heard));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
}

/// The descriptor of this process that was accepted from there.
fn accepted_from(peer: SocketAddr) -> c_int {
    use std::os::fd::{FromRawFd, OwnedFd};
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let Ok(number) = entry.unwrap().file_name().into_string().unwrap().parse::<c_int>() else { continue };
        // SAFETY: it is open while it is duplicated, or the call fails; the duplicate is ours.
        let copy = unsafe {
            let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0);
            if copy < 0 {
                continue;
            }
            OwnedFd::from_raw_fd(copy)
        };
        if TcpStream::from(copy).peer_addr().is_ok_and(|address| address == peer) {
            return number;
        }
    }
    panic!("no connection from {peer}");
}
