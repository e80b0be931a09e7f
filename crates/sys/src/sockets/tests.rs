use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::*;
use crate::testing::{alone, output, shell};
use crate::{SocketPassing, set_umask};

fn inet(name: &str) -> SocketConfig {
    SocketConfig {
        name: name.into(),
        host: "localhost".into(),
        port: 0,
        family: Family::Inet,
        kind: SocketType::Stream,
        proto: None,
        backlog: 2048,
        path: None,
        umask: 0o010,
        replace: false,
        interface: None,
        so_reuseport: false,
        blocking: false,
    }
}

fn unix(path: &Path) -> SocketConfig {
    SocketConfig { family: Family::Unix, path: Some(path.to_str().unwrap().into()), ..inet("ux") }
}

fn port(socket: &ManagedSocket) -> u16 {
    match &socket.address {
        Address::Inet { port, .. } => *port,
        Address::Unix { path } => panic!("{path} has no port"),
    }
}

#[test]
fn numbers_from_3_in_order_of_name() {
    alone("sockets::tests::numbers_from_3_in_order_of_name", || {
        let directory = tempfile::tempdir().unwrap();
        let configs = [inet("web"), unix(&directory.path().join("s")), inet("admin")];
        let sockets = open_all(&configs).unwrap();
        let found: Vec<_> = sockets.iter().map(|socket| (socket.name.as_str(), socket.number)).collect();
        assert_eq!(found, [("admin", 3), ("ux", 4), ("web", 5)]);
    });
}

#[test]
fn a_port_of_the_kernels_choice_accepts() {
    let socket = open(&inet("web")).unwrap();
    assert_eq!(socket.address, Address::Inet { host: "127.0.0.1".into(), port: port(&socket) });
    std::net::TcpStream::connect(("127.0.0.1", port(&socket))).unwrap();
    let flags = |arg| fcntl(&socket, arg).unwrap();
    assert!(FdFlag::from_bits_truncate(flags(FcntlArg::F_GETFD)).contains(FdFlag::FD_CLOEXEC));
    assert!(OFlag::from_bits_truncate(flags(FcntlArg::F_GETFL)).contains(OFlag::O_NONBLOCK));
    let blocking = open(&SocketConfig { blocking: true, ..inet("web") }).unwrap();
    assert!(!OFlag::from_bits_truncate(fcntl(&blocking, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK));
}

#[test]
fn version_6_is_version_6() {
    let config = SocketConfig { family: Family::Inet6, host: "::1".into(), ..inet("web") };
    match open(&config) {
        Ok(socket) => assert!(matches!(&socket.address, Address::Inet { host, .. } if host == "::1")),
        // A machine without IPv6 says so.
        Err(error) => assert!(matches!(error.errno, libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT), "{error}"),
    }
    let error = open(&SocketConfig { host: "127.0.0.1".into(), ..config }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "socket 'web' cannot be opened at 127.0.0.1:0: the host '127.0.0.1' has no address of the family AF_INET6"
    );
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    let first = open(&inet("web")).unwrap();
    let error = open(&SocketConfig { port: port(&first), ..inet("two") }).unwrap_err();
    assert_eq!((error.name.as_str(), error.errno), ("two", libc::EADDRINUSE));
    assert!(error.reason.contains(&format!("pid {}", std::process::id())), "{error}");
}

#[test]
fn datagrams_are_bound_and_do_not_listen() {
    let socket = open(&SocketConfig { kind: SocketType::Datagram, proto: Some("udp".into()), ..inet("d") }).unwrap();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(client.send_to(b"hi", ("127.0.0.1", port(&socket))).unwrap(), 2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    open(&SocketConfig { kind: SocketType::SeqPacket, ..unix(&path) }).unwrap();
    open(&SocketConfig { kind: SocketType::Datagram, ..unix(&path) }).unwrap();
}

#[test]
#[ignore = "needs root"]
fn raw_sockets_can_be_opened() {
    open(&SocketConfig { kind: SocketType::Raw, proto: Some("icmp".into()), ..inet("r") }).unwrap();
}

#[test]
fn protocols_have_names() {
    let text = "# all\nip\t0\tIP\nhopopt 0 HOPOPT # odd\nxtp 36 XTP\n bad\nworse x\n";
    assert_eq!(protocol_in(text, "xtp"), Some(36));
    assert_eq!(protocol_in(text, "XTP"), Some(36));
    assert_eq!(protocol_in(text, "odd"), None);
    assert_eq!(protocol_in(text, "worse"), None);
    let error = open(&SocketConfig { proto: Some("nosuch".into()), ..inet("web") }).unwrap_err();
    assert_eq!(error.reason, "/etc/protocols knows no protocol 'nosuch'");
}

#[test]
fn interfaces_exist_or_are_named() {
    let error = open(&SocketConfig { interface: Some("nosuch0".into()), ..inet("web") }).unwrap_err();
    assert_eq!(error.reason, "there is no network interface 'nosuch0'");
}

#[test]
#[ignore = "needs root"]
fn socket_is_bound_to_an_interface() {
    open(&SocketConfig { interface: Some("lo".into()), ..inet("web") }).unwrap();
}

#[test]
fn the_file_of_a_unix_socket() {
    alone("sockets::tests::the_file_of_a_unix_socket", || {
        set_umask(0o077);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = open(&unix(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o767);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    });
}

#[test]
fn stale_socket_file_is_taken_over_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for replace in [false, true] {
        let config = SocketConfig { replace, ..unix(&path) };
        // std leaves the file behind, as a killed circusd does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = open(&config).unwrap();
        UnixStream::connect(&path).unwrap();
        let taken = open(&config).unwrap_err();
        assert_eq!(taken.errno, libc::EADDRINUSE);
        assert!(taken.reason.contains(&format!("(pid {}", std::process::id())), "{taken}");
        UnixStream::connect(&path).unwrap();
        drop(first);
        std::fs::write(&path, "precious").unwrap();
        assert!(open(&config).unwrap_err().reason.contains("is not a socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }
    let datagrams = SocketConfig { kind: SocketType::Datagram, ..unix(&path) };
    drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
    let _living = open(&datagrams).unwrap();
    assert_eq!(open(&datagrams).unwrap_err().errno, libc::EADDRINUSE);
    let nowhere = open(&unix(&directory.path().join("no/s"))).unwrap_err();
    assert!(nowhere.reason.ends_with("/no' does not exist; create it"), "{nowhere}");
    let long = open(&unix(&directory.path().join("x".repeat(120)))).unwrap_err();
    assert!(long.reason.contains("107 bytes"), "{long}");
    assert!(open(&SocketConfig { path: None, ..unix(&path) }).is_err());
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let error = open(&SocketConfig { host: "no such host".into(), ..inet("web") }).unwrap_err();
    assert!(error.reason.starts_with("the host 'no such host' cannot be resolved: "), "{error}");
}

#[test]
fn a_worker_accepts_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let socket = open(&unix(&path)).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    // inetd's way: the connection is the worker's standard input.
    let (accepted, _) = {
        let listener = std::os::unix::net::UnixListener::from(socket.as_fd().try_clone_to_owned().unwrap());
        listener.accept().unwrap()
    };
    client.write_all(b"hello\n").unwrap();
    let mut launch = shell("read line; echo got $line; echo back >&0");
    launch.stdin = crate::Stdio::Fd(accepted.as_fd());
    launch.sockets = SocketPassing::SameNumbers(vec![(socket.number, socket.as_fd())]);
    assert_eq!(output(&mut launch), ("got hello\n".into(), 0));
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"back\n");
}

#[test]
fn workers_listen_side_by_side_where_nobody_else_does() {
    let kept = open(&SocketConfig { so_reuseport: true, ..inet("web") }).unwrap();
    let at = ("127.0.0.1", port(&kept));
    assert!(kept.per_worker);
    assert_ne!(at.1, 0, "the kernel's choice is known before the first worker");
    assert!(std::net::TcpStream::connect(at).is_err(), "it does not listen yet");
    let own: Vec<_> = (0..2).map(|_| std::net::TcpListener::from(open_own(&kept).unwrap())).collect();
    for listener in &own {
        assert_eq!(listener.local_addr().unwrap().port(), at.1);
        let flags = FdFlag::from_bits_truncate(fcntl(listener, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }
    // The kernel hands the connections to those two alone.
    let clients: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
    let accepted: Vec<usize> =
        own.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect();
    assert_eq!(accepted.iter().sum::<usize>(), clients.len());
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
}

#[test]
fn datagrams_reach_no_socket_that_only_keeps_the_address() {
    let reused = SocketConfig { so_reuseport: true, kind: SocketType::Datagram, ..inet("d") };
    let free = port(&open(&SocketConfig { kind: SocketType::Datagram, ..inet("d") }).unwrap());
    let kept = open(&SocketConfig { port: free, ..reused }).unwrap();
    let own = std::net::UdpSocket::from(open_own(&kept).unwrap());
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        client.send_to(b"hi", ("127.0.0.1", free)).unwrap();
        own.set_nonblocking(false).unwrap();
        own.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        assert_eq!(own.recv(&mut [0; 8]).unwrap(), 2);
    }
}
