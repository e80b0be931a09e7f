//! The system log as a place for circusd's own: datagrams as Python's logging sends them, so that
//! programs that read the logs of Circus can read these.
//!
//! Nothing here waits. What the system log does not take at once is lost, and counted: the next line that goes through
//! is preceded by one that says so. Over UDP a loss is not noticed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;

use crate::arbiter::Level;
use crate::config::{SyslogAddress, SyslogFacility};

/// A datagram is not longer: UDP's limit, and room to spare.
const LONGEST: usize = 60_000;

/// Where it is sent to, once that is known.
#[derive(Debug)]
enum Address {
    Host(SocketAddr),
    Path(String),
}

/// An open way there.
#[derive(Debug)]
enum Transport {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// The system log.
#[derive(Debug)]
pub(in crate::daemon) struct Syslog {
    address: Address,
    facility: SyslogFacility,
    link: Option<Transport>,
    lost: u64,
}

impl Syslog {
    /// A host must have an address, once; a local system log may come later.
    pub(in crate::daemon) fn open(address: &SyslogAddress, facility: SyslogFacility) -> Result<Self, String> {
        let address = match address {
            SyslogAddress::Path(path) => Address::Path(path.clone()),
            SyslogAddress::Host(host, port) => {
                let cannot = |text: String| format!("unable to log to {host}: {text}");
                let mut found = (host.as_str(), *port).to_socket_addrs().map_err(|error| cannot(error.to_string()))?;
                Address::Host(found.next().ok_or_else(|| cannot("it has no address".into()))?)
            }
        };
        let link = address.connect().ok();
        Ok(Self { address, facility, link, lost: 0 })
    }

    /// Sends a line. `head` is what stands before its text: `circus[PID]`, after the time.
    pub(in crate::daemon) fn line(&mut self, level: Level, head: &str, text: &str) {
        if self.lost > 0 {
            let text = format!("[WARNING] {} lines were lost: the system log did not take them", self.lost);
            if self.send(&frame(self.facility, Level::Warning, head, &text)).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if self.send(&frame(self.facility, level, head, text)).is_err() {
            self.lost += 1;
        }
    }

    /// A system log that was started anew needs a new link, and a host that refused a datagram says so at the next.
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Some(link) = &self.link {
            match link.send(frame) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.link = None,
                done => return done,
            }
        }
        let link = self.address.connect()?;
        let done = link.send(frame);
        self.link = Some(link);
        done
    }
}

impl Address {
    fn connect(&self) -> io::Result<Transport> {
        match self {
            Self::Host(address) => {
                let any = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind::<SocketAddr>(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address)?;
                Ok(Transport::Udp(socket))
            }
            Self::Path(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Transport::Unix(socket))
            }
        }
    }
}

impl Transport {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(frame),
            Self::Unix(socket) => socket.send(frame),
        }
        .map(drop)
    }
}

/// The bytes of a message. It ends with a NUL, as Python's do: older system logs need it.
fn frame(facility: SyslogFacility, level: Level, head: &str, text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    format!("<{}>{head} {text}\0", facility.0 * 8 + severity(level)).into_bytes()
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn udp() -> (UdpSocket, SyslogAddress) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let address = SyslogAddress::Host("127.0.0.1".into(), socket.local_addr().unwrap().port());
        (socket, address)
    }

    fn unix(path: &std::path::Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    fn text(received: io::Result<usize>, buffer: &[u8]) -> String {
        String::from_utf8(buffer[..received.unwrap()].to_vec()).unwrap()
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 65536];
        text(socket.recv(&mut buffer), &buffer)
    }

    #[test]
    fn priorities_are_facility_and_severity() {
        let priority = |facility, level| {
            let frame = String::from_utf8(frame(SyslogFacility(facility), level, "now circus[1]", "x")).unwrap();
            frame.split_once('>').unwrap().0[1..].parse::<u16>().unwrap()
        };
        assert_eq!(priority(1, Level::Info), 14);
        assert_eq!(priority(3, Level::Critical), 26);
        assert_eq!(priority(0, Level::Debug), 7);
        assert_eq!(priority(23, Level::Warning), 188);
        assert_eq!(priority(16, Level::Error), 131);
    }

    #[test]
    fn an_overlong_line_is_cut_between_two_characters() {
        let frame = frame(SyslogFacility::USER, Level::Info, "h", &"ä".repeat(40_000));
        assert!(frame.len() < 65_000 && std::str::from_utf8(&frame).is_ok() && frame.ends_with(b"\0"));
    }

    #[test]
    fn a_host_gets_datagrams() {
        let (socket, address) = udp();
        let mut log = Syslog::open(&address, SyslogFacility(19)).unwrap();
        log.line(Level::Error, "Feb 03 04:05:06 circus[7]", "[ERROR] a b");
        let mut buffer = [0; 1024];
        assert_eq!(text(socket.recv(&mut buffer), &buffer), "<155>Feb 03 04:05:06 circus[7] [ERROR] a b\0");
    }

    #[test]
    fn a_host_that_refused_a_datagram_gets_the_next() {
        let (socket, address) = udp();
        let bound = socket.local_addr().unwrap();
        drop(socket);
        let mut log = Syslog::open(&address, SyslogFacility::USER).unwrap();
        log.line(Level::Info, "h", "one");
        let socket = UdpSocket::bind(bound).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        log.line(Level::Info, "h", "two");
        let mut buffer = [0; 1024];
        assert_eq!(text(socket.recv(&mut buffer), &buffer), "<14>h two\0");
    }

    #[test]
    fn a_host_without_an_address_is_an_error() {
        let error = Syslog::open(&SyslogAddress::Host("256.0.0.1 ".into(), 514), SyslogFacility::USER).unwrap_err();
        assert!(error.starts_with("unable to log to 256.0.0.1"), "{error}");
    }

    #[test]
    fn a_local_system_log_may_come_later_and_be_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let address = SyslogAddress::Path(path.to_str().unwrap().into());
        let mut log = Syslog::open(&address, SyslogFacility::USER).unwrap();
        log.line(Level::Info, "h", "no system log");
        log.line(Level::Info, "h", "nor now");
        let first = unix(&path);
        log.line(Level::Info, "h", "one");
        assert_eq!(heard(&first), "<12>h [WARNING] 2 lines were lost: the system log did not take them\0");
        assert_eq!(heard(&first), "<14>h one\0");
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = unix(&path);
        log.line(Level::Info, "h", "two");
        assert_eq!(heard(&second), "<14>h two\0");
    }

    #[test]
    fn a_system_log_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = unix(&path);
        let address = SyslogAddress::Path(path.to_str().unwrap().into());
        let mut log = Syslog::open(&address, SyslogFacility::USER).unwrap();
        for _ in 0..10_000 {
            log.line(Level::Info, "h", "a line");
        }
        assert!(log.lost > 0);
        assert_eq!(heard(&socket), "<14>h a line\0");
    }
}
