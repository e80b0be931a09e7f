//! How many connections wait at a socket, which only the kernel knows.

use std::net::IpAddr;

/// The state of a socket that listens.
const LISTENS: &str = "0A";

/// The kernel's tables of TCP sockets, of both families.
pub(super) fn read() -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables.iter().filter_map(|table| std::fs::read_to_string(table).ok()).collect()
}

/// How many connections wait at this address; nothing if no socket listens there.
pub(super) fn waiting(tables: &[String], host: &str, port: u16) -> Option<u64> {
    let address: Option<IpAddr> = host.parse().ok();
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(row);
    // A name may mean several addresses; those of the port are taken then.
    let here = rows.filter(|row| row.port == port && address.is_none_or(|address| row.is_at(address)));
    here.map(|row| row.waiting).reduce(u64::saturating_add)
}

/// A socket that listens.
struct Row<'a> {
    /// In the kernel's words: 32 bits each in the order of this machine's bytes, in hexadecimal.
    address: &'a str,
    port: u16,
    waiting: u64,
}

impl Row<'_> {
    fn is_at(&self, address: IpAddr) -> bool {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk().map(|word| u32::from_ne_bytes(*word)));
        words.map(|word| format!("{word:08X}")).collect::<String>() == self.address
    }
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let mut words = words.skip(1);
    if words.next()? != LISTENS {
        return None;
    }
    let (_, waiting) = words.next()?.split_once(':')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(Row { address, port: u16::from_str_radix(port, 16).ok()?, waiting: number(waiting)? })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_queue_of_a_real_socket() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(waiting(&read(), host, port), Some(0), "{host}");
            let _visitors = [(); 3].map(|()| TcpStream::connect((host, port)).unwrap());
            assert_eq!(waiting(&read(), host, port), Some(3), "{host}");
            assert_eq!(waiting(&read(), "localhost", port), Some(3));
            assert_eq!(waiting(&read(), "192.0.2.1", port), None);
        }
    }

    #[test]
    fn lines_that_are_none() {
        let tables =
            ["head\n\n  0: x\n  1: 0100007F:1F90 00000000:0000 01 0:0\n  2: 0100007F:ZZ 0:0 0A 0:0".to_owned()];
        assert_eq!(waiting(&tables, "127.0.0.1", 8080), None);
    }
}
