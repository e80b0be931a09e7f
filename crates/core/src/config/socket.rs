//! `[socket:NAME]`.

use super::ini::Section;
use super::options::SOCKET_OPTIONS;
use super::section::Source;
use super::{Family, Problem, Severity, SocketConfig};

/// Reads every socket, sorted by name. One with an error is left out.
pub(super) fn read(source: &mut Source<'_>) -> Vec<SocketConfig> {
    let ini = source.ini;
    let mut sockets: Vec<SocketConfig> = Vec::new();
    for section in ini.sections() {
        let Some(name) = section.name.strip_prefix("socket:") else { continue };
        if ini.entries(section).next().is_none() {
            let text = format!("[{}] has no keys, so there is no such socket", section.name);
            source.problems.push(Problem::warning(&section.place, text));
            continue;
        }
        let Some(socket) = read_one(source, section, name) else { continue };
        if sockets.iter().any(|other| other.name == socket.name) {
            let text = format!("[{}] is left out: another socket has the same name in lower case", section.name);
            source.problems.push(Problem::skipped(&section.place, text));
            continue;
        }
        sockets.push(socket);
    }
    sockets.sort_by(|a, b| a.name.cmp(&b.name));
    sockets
}

fn read_one(source: &mut Source<'_>, section: &Section, name: &str) -> Option<SocketConfig> {
    let mut socket = SocketConfig::new(name);
    let sound = source.fill(section, SOCKET_OPTIONS, &mut socket, Severity::Skipped);
    if socket.path.is_some() {
        socket.family = Family::Unix;
    } else if socket.family == Family::Unix {
        let text = format!("[{}] has the family AF_UNIX and no path", section.name);
        source.problems.push(Problem::skipped(&section.place, text));
        return None;
    }
    if socket.so_reuseport && socket.family == Family::Unix {
        let text = format!(
            "[{}] so_reuseport: a path belongs to one socket; only AF_INET and AF_INET6 can share an address",
            section.name
        );
        source.problems.push(Problem::skipped(&section.place, text));
        return None;
    }
    sound.then_some(socket)
}
