//! Handing a listening descriptor to libzmq.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use nix::unistd::geteuid;

use circus_core::access::Unmapped;

use super::context::Transport;
use super::option::{IntOption, set_option};
use super::{Guard, NetError};

/// A socket's listening descriptor: ours to keep. libzmq works on, and closes, a duplicate.
#[derive(Debug)]
pub(super) struct Listener {
    ours: OwnedFd,
    endpoint: String,
}

impl Listener {
    /// Makes `socket` accept connections on `listener`. `endpoint` says which transport they speak.
    ///
    /// With a descriptor that it was handed, libzmq neither unlinks the path of an ipc endpoint before binding (there is
    /// no binding) nor after closing: the path is the caller's. For tcp it does not even look at the address.
    pub(super) fn hand_over(
        socket: &mut zmq::Socket,
        listener: OwnedFd,
        endpoint: &str,
        guard: Option<Guard<'_>>,
    ) -> Result<Self, NetError> {
        let transport = Transport::of(endpoint)?;
        let refuse = |source| NetError::Listener { endpoint: endpoint.to_owned(), source };
        check(listener.as_fd(), transport).map_err(refuse)?;
        match guard {
            Some(guard) => guard.apply(socket)?,
            None if endpoint.starts_with(ABSTRACT) => {
                own_user_is_one().map_err(refuse)?;
                admit_ourselves(socket)?;
            }
            None => {}
        }
        let theirs = listener.try_clone().map_err(refuse)?;
        zmq_sys::guard(theirs.as_raw_fd(), guard.map(Guard::handshake));
        set_option(socket, IntOption::UseFd, theirs.as_raw_fd())
            .map_err(NetError::socket("handing over a listener"))?;
        // Where this fails libzmq has not taken the descriptor, and dropping `theirs` closes it.
        socket.bind(endpoint).map_err(|error| refuse(error.into()))?;
        let _closed_by_libzmq = theirs.into_raw_fd();
        let endpoint = match socket.get_last_endpoint() {
            Ok(Ok(bound)) if !bound.is_empty() => bound,
            _ => endpoint.to_owned(),
        };
        Ok(Self { ours: listener, endpoint })
    }

    /// The endpoint as the kernel knows it: a port where 0 was asked for.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// Begins an endpoint that has no file, and so neither owner nor mode.
const ABSTRACT: &str = "ipc://@";

/// Has connections accepted of our own user and of root alone. All others are closed before libzmq reads from them.
fn admit_ourselves(socket: &mut zmq::Socket) -> Result<(), NetError> {
    for user in [geteuid().as_raw(), 0] {
        set_option(socket, IntOption::IpcFilterUid, user.cast_signed())
            .map_err(NetError::socket("limiting it to one user"))?;
    }
    Ok(())
}

/// In a user namespace our own number may be that of others, too.
fn own_user_is_one() -> io::Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|_| "0 0 4294967295".to_owned());
    let (users, overflow) = (read("/proc/self/uid_map"), read("/proc/sys/kernel/overflowuid"));
    if stands_for_others(geteuid().as_raw(), &users, &overflow) {
        return Err(io::Error::other(
            "its clients are told apart by their users, and this process's user stands in this user namespace for every \
             user that is not mapped; use a socket file, or run it as a user that is mapped",
        ));
    }
    Ok(())
}

/// Whether the number is that of every user that this user namespace does not map.
fn stands_for_others(uid: u32, users: &str, overflow: &str) -> bool {
    Unmapped::parse([users, overflow], ["", ""]).user == Some(uid)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

/// libzmq ends the process when accept(2) fails for a reason that it does not expect: EINVAL on what is not listening,
/// say. So nothing gets there that is not a listener of the right family. Nor may accept(2) ever block its I/O thread.
fn check(listener: BorrowedFd<'_>, transport: Transport) -> io::Result<()> {
    let refuse = |reason| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !getsockopt(&listener, sockopt::AcceptConn)? {
        return refuse("the descriptor is not listening");
    }
    let family = getsockname::<SockaddrStorage>(listener.as_raw_fd())?.family();
    let fits = match transport {
        Transport::Ipc => family == Some(AddressFamily::Unix),
        Transport::Tcp => matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6)),
    };
    if !fits {
        return refuse("the descriptor is of another address family");
    }
    let flags = OFlag::from_bits_retain(fcntl(listener, FcntlArg::F_GETFL)?);
    fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;

    fn hand(listener: impl Into<OwnedFd>, endpoint: &str) -> Result<Listener, NetError> {
        let mut socket = Context::new().unwrap().socket(zmq::ROUTER).unwrap();
        Listener::hand_over(&mut socket, listener.into(), endpoint, None)
    }

    #[test]
    fn the_endpoint_tells_the_port_that_the_kernel_chose() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = format!("tcp://{}", tcp.local_addr().unwrap());
        assert_eq!(hand(tcp, "tcp://127.0.0.1:0").unwrap().endpoint(), expected);
    }

    #[test]
    fn the_path_is_never_unlinked_and_our_descriptor_outlives_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let kept = hand(unix, &format!("ipc://{}", path.display())).unwrap();
        // The socket and its context are gone by now, and libzmq's duplicate with them.
        assert!(path.exists());
        assert!(getsockopt(&kept, sockopt::AcceptConn).unwrap());
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_would_make_libzmq_abort_is_refused() {
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = hand(stream, "ipc:///nowhere").unwrap_err();
        assert_eq!(error.to_string(), "endpoint ipc:///nowhere: cannot listen: the descriptor is not listening");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = hand(tcp, "ipc:///nowhere").unwrap_err();
        assert!(error.to_string().ends_with("the descriptor is of another address family"), "{error}");
    }

    #[test]
    fn number_of_every_unmapped_user_is_not_our_own() {
        assert!(stands_for_others(65_534, "0 1000 1\n", "65534\n"));
        assert!(!stands_for_others(0, "0 1000 1\n", "65534\n"));
        assert!(!stands_for_others(65_534, "0 0 4294967295\n", "65534\n"));
    }

    /// What a peer of this user reads first from an abstract endpoint.
    #[expect(unsafe_code, reason = "only the bare call changes the user of one thread")]
    fn greeting(name: String, user: libc::uid_t) -> Vec<u8> {
        use std::io::Read as _;
        use std::os::linux::net::SocketAddrExt as _;
        let connect = move || {
            // SAFETY: three numbers; the call changes this thread alone, which ends soon.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
            assert_eq!(changed, 0);
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            let mut stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
            let mut first = vec![0; 10];
            let length = stream.read(&mut first).unwrap_or(0);
            first.truncate(length);
            first
        };
        std::thread::spawn(connect).join().unwrap()
    }

    #[test]
    #[ignore = "needs root"]
    fn abstract_endpoint_takes_nobody_but_its_own_user_and_root() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("circus-net-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let _router =
            crate::Router::new(&Context::new().unwrap(), listener.into(), &format!("ipc://@{name}"), None).unwrap();
        assert_eq!(greeting(name.clone(), 0).first(), Some(&0xff), "ZMTP begins so");
        assert_eq!(greeting(name, 65_534), [0; 0]);
    }
}
