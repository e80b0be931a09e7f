//! A process that has run out of descriptors: clients are refused, and nothing aborts.

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// The first byte of a ZeroMQ greeting: the connection was accepted.
const GREETING: u8 = 0xff;

fn limit_descriptors(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = count;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

fn bound(endpoint: &str) -> (*mut c_void, *mut c_void) {
    let endpoint = CString::new(endpoint).unwrap();
    // SAFETY: each pointer is what the call before has returned, and the endpoint outlives its call.
    unsafe {
        let context = zmq_sys::zmq_ctx_new();
        let socket = zmq_sys::zmq_socket(context, zmq_sys::ZMQ_ROUTER as c_int);
        assert_eq!(zmq_sys::zmq_bind(socket, endpoint.as_ptr()), 0);
        (context, socket)
    }
}

fn close((context, socket): (*mut c_void, *mut c_void)) {
    // SAFETY: both are live and not used again.
    unsafe {
        zmq_sys::zmq_close(socket);
        zmq_sys::zmq_ctx_term(context);
    }
}

/// Reads the first byte; none when the connection was closed instead.
fn first_byte(mut stream: impl Read) -> Option<u8> {
    let mut byte = [0];
    matches!(stream.read(&mut byte), Ok(1)).then_some(byte[0])
}

/// Uses up every descriptor but one, which is for the client.
fn exhaust() -> Vec<File> {
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.pop();
    taken
}

fn survives<S: Read>(endpoint: &str, connect: impl Fn() -> S) {
    let server = bound(endpoint);
    // It stays connected: a descriptor that the server closes later would be one more than we think.
    let mut first = connect();
    assert_eq!(first_byte(&mut first), Some(GREETING));
    let highest: RawFd = File::open("/dev/null").unwrap().as_raw_fd();
    limit_descriptors(u64::try_from(highest).unwrap() + 20);
    let taken = exhaust();
    for _ in 0..3 {
        assert_eq!(first_byte(connect()), None, "turned away");
    }
    drop(taken);
    assert_eq!(first_byte(connect()), Some(GREETING));
    close(server);
}

// One test: the limit is the process's.
#[test]
fn clients_are_turned_away_and_later_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    survives(&format!("ipc://{}", path.display()), || UnixStream::connect(&path).unwrap());
    survives(&format!("tcp://{free}"), || TcpStream::connect(free).unwrap());
}
