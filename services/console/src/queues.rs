//! Accept queues of this machine's TCP sockets. circusd does not know them; the kernel does.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// The lengths of the accept queues of all sockets that listen, by address and port.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Queues(HashMap<(IpAddr, u16), u64>);

impl Queues {
    /// As they are now.
    pub(crate) fn read() -> Self {
        let mut queues = Self::default();
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            queues.add(&fs::read_to_string(file).unwrap_or_default());
        }
        queues
    }

    fn add(&mut self, table: &str) {
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().take(5).collect();
            let [_, local, _, state, sizes] = fields[..] else { continue };
            // For a socket that listens, the second size is the number of connections that wait to be accepted.
            let waiting = sizes.split_once(':').and_then(|(_, waiting)| u64::from_str_radix(waiting, 16).ok());
            if state == LISTENS
                && let (Some(place), Some(waiting)) = (place(local), waiting)
            {
                // With SO_REUSEPORT several sockets share an address.
                *self.0.entry(place).or_default() += waiting;
            }
        }
    }

    /// The queue of the socket that listens at this host, as circusd names it, and port.
    pub(crate) fn length(&self, host: &str, port: u16) -> Option<u64> {
        let address = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().ok()?,
        };
        self.0.get(&(address, port)).copied()
    }
}

/// `0100007F:1F90`: words in the order of the machine.
fn place(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_that_nobody_accepts_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(Queues::read().length("127.0.0.1", port), Some(0));
        let _waiting =
            [TcpStream::connect(("127.0.0.1", port)).unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap()];
        assert_eq!(Queues::read().length("localhost", port), Some(2));
        drop(listener);
        assert_eq!(Queues::read().length("127.0.0.1", port), None);
    }

    #[test]
    fn tables_that_mean_nothing() {
        let mut queues = Queues::default();
        queues.add("head\n 0: zz:1 x 0A 0:1\n 1: 0100007F:0050 0 0A 0:z\n short\n 2: 0100007F:0050 0 01 0:00000009\n");
        assert_eq!(queues, Queues::default());
    }
}
