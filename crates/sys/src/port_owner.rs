//! The program that listens where circusd wants to, for "address already in use".

use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

/// A program that listens on a port of TCP: its name and pid, as far as circusd may look. Looks at every descriptor of
/// every process, so only for an error.
pub(super) fn of_port(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let is_ours = |fd: std::fs::DirEntry| {
        std::fs::read_link(fd.path()).is_ok_and(|link| inodes.iter().any(|inode| link == Path::new(inode)))
    };
    if inodes.is_empty() {
        return None;
    }
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let mut fds = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        fds.any(is_ours).then(|| described(pid))
    })
}

/// The program at the other end of a connection to a unix socket: the one that called `listen`.
pub(super) fn of_peer(connection: impl AsFd) -> Option<String> {
    let credentials = getsockopt(&connection, sockopt::PeerCredentials).ok()?;
    (credentials.pid() > 0).then(|| described(credentials.pid()))
}

/// `circusd (pid 17: circusd /etc/circus.ini)`, or as much of it as can be read.
pub(super) fn described(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    match (name.trim(), words.join(" ").trim()) {
        ("", _) => format!("pid {pid}"),
        (name, "") => format!("{name} (pid {pid})"),
        (name, command) => format!("{name} (pid {pid}: {})", command.chars().take(100).collect::<String>()),
    }
}

/// The inodes of the sockets that listen on this port, from the kernel's table: the second word ends in the port, the
/// fourth is the state (0A is LISTEN), the tenth the inode.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let port = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let listens = words.get(1)?.ends_with(&port) && *words.get(3)? == "0A";
            listens.then(|| words.get(9)?.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:15B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:15B3 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
   3: short
";
        assert_eq!(listeners(table, 5555), [4711]);
        assert_eq!(listeners(table, 8080), [4713]);
        assert_eq!(listeners(table, 80), [0; 0]);
    }

    #[test]
    fn we_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of_port(listener.local_addr().unwrap().port()).unwrap();
        assert!(found.contains(&format!("(pid {}", std::process::id())), "{found}");
        let (connection, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(of_peer(&connection), Some(described(std::process::id() as i32)));
    }
}
