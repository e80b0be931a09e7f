//! The circusds that are shown: one, as circusctl finds it, or those of `hosts.toml`.

use std::collections::BTreeMap;

use circus_client::{HOST_VARIABLE, Host, Hosts, KeyNames, Ssh, endpoint, hosts_path};

use crate::link::Place;

/// What the command line says of them.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Where circusd answers.
    pub endpoint: Option<String>,
    /// Where it publishes events.
    pub pubsub: Option<String>,
    /// Where circusd-stats publishes.
    pub stats: Option<String>,
    /// Names of `hosts.toml`.
    pub host: Option<String>,
    /// The server to go through.
    pub ssh: Option<Ssh>,
    /// The keys.
    pub keys: KeyNames,
    /// What pages call the one machine.
    pub name: Option<String>,
}

/// Where they are. `machine` is the name of this one.
///
/// # Errors
/// Where a name means no host, or keys cannot be read.
pub fn places(given: Given, env: &BTreeMap<String, String>, machine: &str) -> Result<Vec<Place>, String> {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let variables = KeyNames::of_environment(|name| env.get(name).cloned());
    let named = given.endpoint.is_some() || given.ssh.is_some() || variable("CIRCUSCTL_ENDPOINT").is_some();
    let host = given.host.clone().or_else(|| variable(HOST_VARIABLE).filter(|_| !named));
    if let Some(list) = host {
        let hosts = Hosts::read(hosts_path(|name| env.get(name).cloned())).map_err(|error| error.to_string())?;
        let found = if list == "all" {
            let names: Vec<&str> = hosts.names().collect();
            hosts.named(&names.join(","))
        } else {
            hosts.named(&list)
        };
        let found = found.map_err(|error| error.to_string())?;
        return found.into_iter().map(|host| of_host(host, &given.keys, &variables)).collect();
    }
    let endpoint = given.endpoint.or_else(|| variable("CIRCUSCTL_ENDPOINT"));
    let endpoint = endpoint::reachable(endpoint.as_deref().unwrap_or(endpoint::CONTROL));
    let keys = given.keys.or(&variables).read().map_err(|error| error.to_string())?;
    let name = given.name.unwrap_or_else(|| machine.to_owned());
    Ok(vec![Place { name, endpoint, events: given.pubsub, stats: given.stats, keys, ssh: given.ssh }])
}

fn of_host(host: Host, given: &KeyNames, variables: &KeyNames) -> Result<Place, String> {
    let keys = host.keys(given.clone(), variables).read().map_err(|error| format!("{}: {error}", host.name))?;
    let Host { name, endpoint, pubsub_endpoint, stats_endpoint, ssh, .. } = host;
    Ok(Place { name, endpoint, events: pubsub_endpoint, stats: stats_endpoint, keys, ssh })
}

/// Whether every user of this machine reaches the circusd anyway, without the console: at TCP, without keys.
pub fn is_open(places: &[Place]) -> bool {
    places.iter().all(|place| place.endpoint.starts_with("tcp://") && place.keys.is_none() && place.ssh.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_circusd_as_circusctl_finds_it() {
        let of = |given: Given, pairs: &[(&str, &str)]| places(given, &env(pairs), "box").unwrap().remove(0);
        let place = of(Given::default(), &[]);
        assert_eq!((place.name.as_str(), place.endpoint.as_str()), ("box", "tcp://127.0.0.1:5555"));
        let variable = ("CIRCUSCTL_ENDPOINT", "ipc:///c");
        assert_eq!(of(Given::default(), &[variable, ("CIRCUS_HOST", "none")]).endpoint, "ipc:///c");
        let given = Given { endpoint: Some("tcp://*:1".into()), name: Some("n".into()), ..Given::default() };
        let place = of(given, &[variable]);
        assert_eq!((place.name.as_str(), place.endpoint.as_str()), ("n", "tcp://127.0.0.1:1"));
        assert!(is_open(std::slice::from_ref(&place)));
        assert!(!is_open(&[Place { endpoint: "ipc:///c".into(), ..place }]));
    }

    #[test]
    fn several_of_hosts_toml() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("circus")).unwrap();
        let text = "[hosts.a]\nendpoint = 'tcp://10.0.0.1:5555'\n[hosts.b]\nendpoint = 'ipc:///b'\nstats_endpoint = 'ipc:///s'\n";
        std::fs::write(folder.path().join("circus/hosts.toml"), text).unwrap();
        let env = env(&[("XDG_CONFIG_HOME", folder.path().to_str().unwrap())]);
        let named = |list: &str| places(Given { host: Some(list.into()), ..Given::default() }, &env, "box");
        let all = named("all").unwrap();
        assert_eq!(all.iter().map(|place| place.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(all[1].stats.as_deref(), Some("ipc:///s"));
        assert!(named("zork").unwrap_err().contains("no host is called 'zork'"));
    }
}
