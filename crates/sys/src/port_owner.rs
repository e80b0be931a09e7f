//! The program that listens on an address that circusd needs, for the message "address already in use".

use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

/// A program that listens on a port of TCP: its name and pid, as far as circusd may look. Looks at every descriptor of
/// every process, so only for an error.
pub(super) fn of_port(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| std::fs::read_to_string(table).ok());
    holder(&tables.flat_map(|table| listeners(&table, port)).collect::<Vec<_>>())
}

/// A process that has one of these sockets open.
fn holder(inodes: &[u64]) -> Option<String> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let is_one = |fd: std::fs::DirEntry| {
        std::fs::read_link(fd.path()).is_ok_and(|target| links.iter().any(|link| target == Path::new(link)))
    };
    if links.is_empty() {
        return None;
    }
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let mut fds = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        fds.any(is_one).then(|| described(pid))
    })
}

/// The program at the other end of a connection to the unix socket at this path: the one that called `listen`, or, when
/// that has ended, one that has inherited the socket from it.
pub(super) fn of_unix_socket(connection: impl AsFd, path: &Path) -> Option<String> {
    let credentials = getsockopt(&connection, sockopt::PeerCredentials).ok()?;
    if credentials.pid() > 0 && Path::new(&format!("/proc/{}", credentials.pid())).exists() {
        return Some(described(credentials.pid()));
    }
    let table = std::fs::read_to_string("/proc/net/unix").ok()?;
    holder(&unix_listeners(&table, path.to_str()?))
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

/// The inodes of the unix sockets that listen at this path, from the kernel's table: the fourth word is the flags (bit 16:
/// it accepts connections), the seventh the inode, the rest the path.
fn unix_listeners(table: &str, path: &str) -> Vec<u64> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let listens = *words.get(3)? == "00010000" && line.ends_with(&format!(" {path}"));
            listens.then(|| words.get(6)?.parse().ok())?
        })
        .collect()
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
        assert_eq!(of_unix_socket(&connection, Path::new("/none")), Some(described(std::process::id() as i32)));
    }

    #[test]
    fn heirs_of_a_unix_socket_are_found() {
        let table = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03 4712 /run/a b.sock
0000000000000000: 00000002 00000000 00010000 0001 01 4713 /run/b.sock
0000000000000000: short
";
        assert_eq!(unix_listeners(table, "/run/a b.sock"), [4711]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let table = std::fs::read_to_string("/proc/net/unix").unwrap();
        let found = holder(&unix_listeners(&table, path.to_str().unwrap())).unwrap();
        assert!(found.contains(&format!("(pid {}", std::process::id())), "{found}");
    }
}
