//! `[circus]`.

use super::ini::Section;
use super::log_output::{LogOutput, facilities, unknown_facility};
use super::nearest::suggestion;
use super::options::CIRCUS_OPTIONS;
use super::section::Source;
use super::{CircusConfig, Place, Problem, Severity};

/// Reads `[circus]`; without one, every default holds.
pub(super) fn read(source: &mut Source<'_>) -> CircusConfig {
    let mut circus = CircusConfig::default();
    let Some(section) = source.ini.section("circus") else { return circus };
    source.fill(section, CIRCUS_OPTIONS, &mut circus, Severity::Fatal);
    let place = |key| section.get(key).map_or(&section.place, |entry| &entry.place);
    if let Some(entry) = section.get("loglevel")
        && circus.loglevel.as_deref() == Some("info")
        && !entry.value.eq_ignore_ascii_case("info")
    {
        let text =
            format!("[circus] loglevel: '{}' is not a level; using info", source.environment.expand(&entry.value));
        source.problems.push(Problem::warning(&entry.place, text));
    }
    if let Some(output) = &circus.logoutput {
        source.problems.extend(log_problem(output, place("logoutput")));
    }
    // As in the original, an endpoint that is named is taken to have listeners.
    if section.get("stats_endpoint").is_some() {
        circus.statsd = true;
    }
    for (key, endpoint) in [
        ("endpoint", &circus.endpoint),
        ("pubsub_endpoint", &circus.pubsub_endpoint),
        ("stats_endpoint", &circus.stats_endpoint),
    ] {
        source.problems.extend(endpoint_problem(key, endpoint, &circus, place(key)));
    }
    if circus.ipc_roles.is_some() && section.get("endpoint_mode").is_none() {
        // Every user may connect: the roles decide.
        circus.endpoint_mode = ROLES_MODE;
    }
    source.problems.extend(roles_problems(&circus, section));
    source.problems.extend(keys_problem(&circus).map(|(key, text)| Problem::fatal(place(key), text)));
    circus
}

/// The mode of socket files where roles decide about each user.
const ROLES_MODE: u32 = 0o666;

/// What of the file keeps `ipc_roles` from meaning what it says.
fn roles_problems(circus: &CircusConfig, section: &Section) -> Vec<Problem> {
    let place = |key: &str| section.get(key).map_or(&section.place, |entry| &entry.place);
    if circus.ipc_roles.is_none() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if circus.endpoint_owner.is_some() {
        let text = "[circus] ipc_roles: endpoint_owner lets one user act for all clients of the endpoint; write a role for \
                    that user and leave out endpoint_owner";
        problems.push(Problem::fatal(place("ipc_roles"), text));
    }
    if circus.endpoint_mode & 0o022 == 0 {
        let text = format!(
            "[circus] endpoint_mode: with {:04o} only root and the owner of the socket file can connect, so that ipc_roles has \
             no effect; leave out endpoint_mode",
            circus.endpoint_mode
        );
        problems.push(Problem::warning(place("endpoint_mode"), text));
    }
    let is_ipc = |endpoint: &str| endpoint.starts_with("ipc://");
    if !is_ipc(&circus.endpoint) && circus.curve_server_key.is_none() {
        let text = format!(
            "[circus] ipc_roles: it has no effect at {}, where every user of this machine has the role admin; write endpoint \
             = ipc:///run/circus/control",
            circus.endpoint
        );
        problems.push(Problem::warning(place("ipc_roles"), text));
    } else if ![&circus.endpoint, &circus.pubsub_endpoint, &circus.stats_endpoint].into_iter().any(|one| is_ipc(one)) {
        let text = "[circus] ipc_roles: it has no effect, since no endpoint is ipc://";
        problems.push(Problem::warning(place("ipc_roles"), text));
    }
    if is_ipc(&circus.endpoint) && circus.curve_server_key.is_none() {
        let stats = circus.statsd.then_some(("stats_endpoint", &circus.stats_endpoint, "figures", "stats"));
        let events = ("pubsub_endpoint", &circus.pubsub_endpoint, "events and output", "events");
        for (key, endpoint, what, file) in std::iter::once(events).chain(stats).filter(|(_, at, ..)| !is_ipc(at)) {
            let text = format!(
                "[circus] ipc_roles: every user of this machine reads all {what} at {endpoint}; write {key} = \
                 ipc:///run/circus/{file}"
            );
            problems.push(Problem::fatal(place(if section.get(key).is_some() { key } else { "ipc_roles" }), text));
        }
    }
    problems
}

/// Of a pair of options only one is there.
fn keys_problem(circus: &CircusConfig) -> Option<(&'static str, String)> {
    let (has, lacks, reason) = match (&circus.curve_server_key, &circus.curve_authorized_keys) {
        (Some(_), None) => ("curve_server_key", "curve_authorized_keys", "it lets no client in"),
        (None, Some(_)) => ("curve_authorized_keys", "curve_server_key", "no endpoint asks for keys"),
        (Some(_), Some(_)) | (None, None) => return None,
    };
    Some((has, format!("[circus] {has}: without {lacks} {reason}; write both or neither")))
}

fn log_problem(output: &str, place: &Place) -> Option<Problem> {
    if let Err(text) = LogOutput::parse(output) {
        return Some(Problem::fatal(place, format!("[circus] logoutput: {text}")));
    }
    let unknown = unknown_facility(output)?;
    let hint = suggestion(unknown, facilities());
    let text = format!("[circus] logoutput: unknown facility '{unknown}'; using user{hint}");
    Some(Problem::warning(place, text))
}

fn endpoint_problem(key: &str, endpoint: &str, circus: &CircusConfig, place: &Place) -> Option<Problem> {
    if !endpoint.contains("://") {
        let text = format!(
            "[circus] {key}: '{endpoint}' is not an endpoint such as tcp://127.0.0.1:5555 or ipc:///run/circus"
        );
        return Some(Problem::fatal(place, text));
    }
    if endpoint.starts_with("ipc://@") && circus.endpoint_owner.is_some() {
        let text = format!(
            "[circus] {key}: {endpoint} is abstract, so endpoint_owner cannot own it; write {key} = \
             ipc:///run/circus/{key}"
        );
        return Some(Problem::fatal(place, text));
    }
    // Through the control endpoint a client becomes circusd's user; of the others it reads what workers print.
    let exposed = is_exposed(endpoint)
        && circus.curve_server_key.is_none()
        && !circus.allow_anyone_on_the_network_to_control_this_machine;
    exposed.then(|| {
        let port = endpoint.rsplit_once(':').map_or("5555", |(_, port)| port);
        let risk =
            if key == "endpoint" { "to run any command" } else { "to read events, figures and what workers print" };
        let text = format!(
            "[circus] {key}: {endpoint} can be reached from other machines, without a password, {risk}. For this \
             machine alone, write {key} = tcp://127.0.0.1:{port} or {key} = ipc:///run/circus/{key}; for clients with \
             keys, set curve_server_key and curve_authorized_keys; to let every machine in, \
             allow_anyone_on_the_network_to_control_this_machine = yes"
        );
        Problem::fatal(place, text)
    })
}

/// Whether others than this machine may reach an endpoint.
fn is_exposed(endpoint: &str) -> bool {
    let Some((scheme, address)) = endpoint.split_once("://") else { return false };
    if ["ipc", "inproc"].contains(&scheme) {
        return false;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => !address.is_loopback(),
        Err(_) => !["localhost", "lo"].contains(&host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_log_goes() {
        let place = Place { file: "c.ini".into(), line: 2 };
        let said = |output| log_problem(output, &place).map(|problem| (problem.severity, problem.text));
        assert_eq!(said("/var/log/circus.log"), None);
        assert_eq!(said("syslog:///dev/log?local0"), None);
        let text = "[circus] logoutput: unknown facility 'locl0'; using user; did you mean 'local0'?";
        assert_eq!(said("syslog:///dev/log?locl0"), Some((Severity::Warning, text.into())));
        assert!(said("syslog://host:x").is_some_and(|(severity, _)| severity == Severity::Fatal));
    }

    #[test]
    fn reach_of_an_endpoint() {
        for endpoint in [
            "tcp://127.0.0.1:5555",
            "tcp://127.9.9.9:1",
            "tcp://[::1]:5",
            "tcp://localhost:5",
            "tcp://lo:*",
            "ipc:///x",
        ] {
            assert!(!is_exposed(endpoint), "{endpoint}");
        }
        for endpoint in
            ["tcp://*:5555", "tcp://0.0.0.0:5", "tcp://[::]:5", "tcp://eth0:5", "tcp://10.0.0.1:5", "udp://x:1"]
        {
            assert!(is_exposed(endpoint), "{endpoint}");
        }
    }
}
