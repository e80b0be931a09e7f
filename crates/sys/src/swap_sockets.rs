//! Managed sockets exchanged for others while workers use them.

use super::sockets::{Address, ManagedSocket, SocketError, open};
use circus_core::config::{SocketConfig, same_place};

/// Makes the open sockets be these. What is new is opened before anything is closed, and if one cannot be opened,
/// nothing is changed. A socket whose address is still wanted stays open, even under another name: no client that connects
/// is refused.
pub fn swap_sockets(sockets: &mut Vec<ManagedSocket>, configs: &[SocketConfig]) -> Result<(), String> {
    let staying = staying(sockets, configs);
    let is_missing = |place: &usize| !staying.contains(&Some(*place));
    let leaving: Vec<&ManagedSocket> =
        sockets.iter().zip(&staying).filter(|(_, stays)| stays.is_none()).map(|(socket, _)| socket).collect();
    let missing = (0..configs.len()).filter(is_missing).filter_map(|place| configs.get(place));
    let opened = missing.map(|config| open(config).map_err(|error| explained(&error, config, &leaving)));
    let opened: Vec<ManagedSocket> = opened.collect::<Result<_, _>>()?;
    for (socket, stays) in sockets.iter_mut().zip(&staying) {
        if let Some(config) = stays.and_then(|place| configs.get(place)) {
            socket.adjust(config).map_err(|error| error.to_string())?;
        }
    }
    let mut stays = staying.iter().map(Option::is_some);
    sockets.retain(|_| stays.next().unwrap_or(false));
    sockets.extend(opened);
    sockets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// For each open socket the place of the configuration that it serves from now on. Those of its own name come first.
fn staying(sockets: &[ManagedSocket], configs: &[SocketConfig]) -> Vec<Option<usize>> {
    let mut staying = vec![None; sockets.len()];
    for same_name in [true, false] {
        for (place, config) in configs.iter().enumerate() {
            if staying.contains(&Some(place)) {
                continue;
            }
            let fits = |socket: &ManagedSocket| {
                same_place(&socket.config, config) && (socket.name == config.name) == same_name
            };
            let mut free = sockets.iter().zip(&mut staying).filter(|(_, stays)| stays.is_none());
            if let Some((_, stays)) = free.find(|(socket, _)| fits(socket)) {
                *stays = Some(place);
            }
        }
    }
    staying
}

/// Why a socket cannot be opened. The socket at this path may be the one to replace.
fn explained(error: &SocketError, config: &SocketConfig, leaving: &[&ManagedSocket]) -> String {
    let in_the_way = |socket: &&&ManagedSocket| match &socket.address {
        Address::Inet { port, .. } => *port == config.port,
        Address::Unix { path } => Some(path) == config.path.as_ref(),
    };
    match leaving.iter().find(in_the_way).filter(|_| error.errno == libc::EADDRINUSE) {
        Some(other) => format!(
            "socket '{}' cannot be opened at {} while socket '{}', which it is to replace, is in use: restart circusd \
             to change it (circusctl restart)",
            error.name, error.address, other.name
        ),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use circus_core::config::Family;

    fn tcp(name: &str, port: u16) -> SocketConfig {
        SocketConfig { host: "127.0.0.1".into(), port, ..SocketConfig::new(name) }
    }

    fn port(socket: &ManagedSocket) -> u16 {
        match &socket.address {
            Address::Inet { port, .. } => *port,
            Address::Unix { path } => panic!("{path} is no port"),
        }
    }

    fn names(sockets: &[ManagedSocket]) -> Vec<&str> {
        sockets.iter().map(|socket| socket.name.as_str()).collect()
    }

    #[test]
    fn sockets_come_and_go() {
        let mut sockets = vec![open(&tcp("keep", 0)).unwrap(), open(&tcp("old", 0)).unwrap()];
        let (kept, closed) = (sockets[0].number, port(&sockets[1]));
        swap_sockets(&mut sockets, &[tcp("new", 0), tcp("keep", 0)]).unwrap();
        // The one at a port of the kernel's choice serves for another such one.
        assert_eq!(names(&sockets), ["keep", "new"]);
        assert_eq!((sockets[0].number, port(&sockets[1])), (kept, closed));
        swap_sockets(&mut sockets, &[tcp("keep", 0)]).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", closed)).is_err());
    }

    #[test]
    fn if_one_cannot_be_opened_nothing_is_changed() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let mut sockets = vec![open(&tcp("web", 0)).unwrap()];
        let before = port(&sockets[0]);
        let error = swap_sockets(&mut sockets, &[tcp("a", 0), tcp("web", taken_port)]).unwrap_err();
        assert!(error.contains("socket 'web' cannot be opened at 127.0.0.1:"), "{error}");
        assert_eq!((names(&sockets), port(&sockets[0])), (vec!["web"], before));
        TcpStream::connect(("127.0.0.1", before)).unwrap();
    }

    #[test]
    fn a_socket_in_its_successors_way_is_named() {
        let mut sockets = vec![open(&tcp("web", 0)).unwrap()];
        let everywhere = SocketConfig { host: "0.0.0.0".into(), ..tcp("all", port(&sockets[0])) };
        let error = swap_sockets(&mut sockets, &[everywhere]).unwrap_err();
        assert!(error.contains("while socket 'web', which it is to replace, is in use"), "{error}");
    }

    #[test]
    fn who_waits_in_the_queue_stays_there_when_a_socket_is_adjusted() {
        let mut sockets = vec![open(&tcp("web", 0)).unwrap()];
        let mut client = TcpStream::connect(("127.0.0.1", port(&sockets[0]))).unwrap();
        let number = sockets[0].number;
        let renamed = SocketConfig { backlog: 7, blocking: true, ..tcp("www", 0) };
        swap_sockets(&mut sockets, std::slice::from_ref(&renamed)).unwrap();
        assert_eq!((names(&sockets), sockets[0].number, sockets[0].backlog), (vec!["www"], number, 7));
        assert_eq!(sockets[0].config, renamed);
        let listener = TcpListener::from(std::os::fd::AsFd::as_fd(&sockets[0]).try_clone_to_owned().unwrap());
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn the_file_of_a_unix_socket_gets_its_new_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s").to_str().unwrap().to_owned();
        let unix =
            |umask| SocketConfig { family: Family::Unix, path: Some(path.clone()), umask, ..SocketConfig::new("s") };
        let mut sockets = vec![open(&unix(0o077)).unwrap()];
        swap_sockets(&mut sockets, &[unix(0o007)]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o770);
        swap_sockets(&mut sockets, &[]).unwrap();
        assert!(!std::path::Path::new(&path).exists());
    }
}
