//! Endpoints as clients name them.

/// An endpoint that listens at every address, as one that a client on the same machine can connect to.
pub fn reachable(endpoint: &str) -> String {
    let rest = |prefix| endpoint.strip_prefix(prefix);
    if let Some(port) = rest("tcp://*:").or_else(|| rest("tcp://0.0.0.0:")) {
        return format!("tcp://127.0.0.1:{port}");
    }
    rest("tcp://[::]:").map_or_else(|| endpoint.to_owned(), |port| format!("tcp://[::1]:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_at_every_address_is_reached_at_the_loopback() {
        for (bound, reached) in [
            ("tcp://*:5555", "tcp://127.0.0.1:5555"),
            ("tcp://0.0.0.0:5555", "tcp://127.0.0.1:5555"),
            ("tcp://[::]:5555", "tcp://[::1]:5555"),
            ("tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555"),
            ("ipc:///run/circus", "ipc:///run/circus"),
        ] {
            assert_eq!(reachable(bound), reached);
        }
    }
}
