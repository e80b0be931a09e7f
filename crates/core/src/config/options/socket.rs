//! The options of a managed socket.

use super::field::{Field, store};
use super::setting::{field, live};
use super::{Change, Kind, Setting, Support};
use crate::config::{Family, SocketConfig, SocketType};

const FAMILIES: [(&str, Family); 3] =
    [("AF_INET", Family::Inet), ("AF_INET6", Family::Inet6), ("AF_UNIX", Family::Unix)];

const TYPES: [(&str, SocketType); 5] = [
    ("SOCK_STREAM", SocketType::Stream),
    ("SOCK_DGRAM", SocketType::Datagram),
    ("SOCK_RAW", SocketType::Raw),
    ("SOCK_RDM", SocketType::Rdm),
    ("SOCK_SEQPACKET", SocketType::SeqPacket),
];

/// Every option of a managed socket.
pub static SOCKET_OPTIONS: &[Setting<SocketConfig>] = &[
    live!(backlog, Int, "2048", "128", "The number of connections that may wait to be accepted."),
    live!(blocking, Bool, "no", "yes", "Make the socket blocking: accept(2) waits for a connection."),
    Setting {
        key: "family",
        kind: Kind::Text,
        default: "AF_INET",
        doc: "The address family: AF_INET, AF_INET6 or AF_UNIX.",
        example: "AF_INET6",
        support: Support::Works,
        put: |socket, value| choose(&mut socket.family, &FAMILIES, &String::read(value)?),
        change: Change::Anew,
        differs: |one, other| one.family != other.family,
        copy: |to, from| to.family = from.family,
    },
    field!(host, Text, "localhost", "127.0.0.1", "The host name or address to listen on."),
    field!(interface, Text, "", "eth0", "The network interface to listen on (SO_BINDTODEVICE)."),
    field!(path, Text, "", "/run/web.sock", "The path of a unix socket; it makes the family AF_UNIX."),
    field!(port, Int, "8080", "8000", "The port to listen on; 0 lets the kernel choose."),
    field!(proto, Text, "", "tcp", "The protocol, by its name in /etc/protocols."),
    live!(
        replace,
        Bool,
        "no",
        "yes",
        "Accepted as in Circus, without effect. circusd always removes a socket file on which no process listens, and \
        never any other file."
    ),
    field!(
        so_reuseport,
        Bool,
        "no",
        "yes",
        "Give each worker of a watcher that names the socket a socket of its own, bound with SO_REUSEPORT. When the \
        worker exits, its successor gets that socket with the connections that wait in it. A worker that is stopped \
        need not accept them. It may close the socket, but must not shut it down (shutdown(2))."
    ),
    Setting {
        key: "type",
        kind: Kind::Text,
        default: "SOCK_STREAM",
        doc: "The socket type: SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM or SOCK_SEQPACKET.",
        example: "SOCK_DGRAM",
        support: Support::Works,
        put: |socket, value| choose(&mut socket.kind, &TYPES, &String::read(value)?),
        change: Change::Anew,
        differs: |one, other| one.kind != other.kind,
        copy: |to, from| to.kind = from.kind,
    },
    live!(
        umask,
        Octal,
        "010",
        "007",
        "The permission bits that are removed from the mode of the file of a unix \
                                      socket."
    ),
];

fn choose<T: Copy>(field: &mut T, choices: &[(&str, T)], text: &str) -> Result<(), String> {
    match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, choice)) => {
            *field = *choice;
            Ok(())
        }
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            Err(format!("'{text}' is not one of {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_their_defaults_are_the_defaults() {
        assert!(SOCKET_OPTIONS.is_sorted_by_key(|setting| setting.key));
        let plain = SocketConfig::new("s");
        for setting in SOCKET_OPTIONS {
            assert!(setting.doc.ends_with('.'), "{}", setting.key);
            let mut socket = plain.clone();
            (setting.put)(&mut socket, &setting.kind.read(setting.default).unwrap()).unwrap();
            assert_eq!(socket, plain, "{}", setting.key);
        }
    }

    #[test]
    fn families_and_types_in_any_case() {
        let mut socket = SocketConfig::new("s");
        choose(&mut socket.family, &FAMILIES, "af_inet6").unwrap();
        choose(&mut socket.kind, &TYPES, "Sock_Dgram").unwrap();
        assert_eq!((socket.family, socket.kind), (Family::Inet6, SocketType::Datagram));
        assert_eq!(
            choose(&mut socket.family, &FAMILIES, "AF_X25"),
            Err("'AF_X25' is not one of AF_INET, AF_INET6, AF_UNIX".into())
        );
    }
}
