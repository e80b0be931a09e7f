//! What is shown: one circusd, as circusctl finds it, or those of `hosts.toml`; and fleets.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use circus_client::{HOST_VARIABLE, Host, Hosts, KeyNames, Ssh, endpoint, hosts_path};

use crate::fleet::client::{Address, Client};
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
    /// There are fleets: without anything that names a circusd, none is shown beside.
    pub fleets: bool,
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
    if given.fleets && !named {
        return Ok(Vec::new());
    }
    let endpoint = given.endpoint.or_else(|| variable("CIRCUSCTL_ENDPOINT"));
    let endpoint = endpoint::reachable(endpoint.as_deref().unwrap_or(endpoint::CONTROL));
    let keys = given.keys.or(&variables).read().map_err(|error| error.to_string())?;
    let name = given.name.unwrap_or_else(|| machine.to_owned());
    Ok(vec![Place { name, endpoint, events: given.pubsub, stats: given.stats, keys, ssh: given.ssh }])
}

/// The fleets at these URLs, with the tokens of files: one file for all of them, or one for each in their order.
///
/// # Errors
/// Where a file cannot be read, or their number is another.
pub fn fleets(urls: &[Address], files: &[PathBuf], variable: Option<String>) -> Result<Vec<Client>, String> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty()).ok_or(format!("{}: it is empty", path.display()))
    };
    let tokens = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let of = |at: usize| match tokens.len() {
        0 => Ok(variable.clone().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())),
        1 => Ok(tokens.first().cloned()),
        count if count == urls.len() => Ok(tokens.get(at).cloned()),
        count => Err(format!("{count} token files for {} fleets: give one for all, or one for each", urls.len())),
    };
    let mut fleets: Vec<Client> = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        if urls.iter().take(at).any(|other| other.place() == url.place()) {
            return Err(format!("fleet {url}: it is given twice"));
        }
        fleets.push(Client::new(url.clone(), of(at)?).map_err(|reason| format!("fleet {url}: {reason}"))?);
    }
    Ok(fleets)
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
        // Beside fleets only what is named.
        let beside = |given: Given| places(Given { fleets: true, ..given }, &env, "box").unwrap().len();
        assert_eq!(beside(Given::default()), 0);
        assert_eq!(beside(Given { host: Some("all".into()), ..Given::default() }), 2);
        assert_eq!(beside(Given { endpoint: Some("ipc:///c".into()), ..Given::default() }), 1);
    }

    #[test]
    fn tokens_of_fleets() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let (one, two, none) = (file("one", "first\n"), file("two", "second"), file("none", "\n"));
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(|url| Address::read(url).unwrap());
        let tokens = |files: &[PathBuf], variable: Option<&str>| {
            let fleets = fleets(&urls, files, variable.map(str::to_owned))?;
            Ok::<_, String>(fleets.iter().map(|fleet| fleet.token().map(str::to_owned)).collect::<Vec<_>>())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(tokens(&[], None).unwrap(), [None, None]);
        assert_eq!(tokens(&[], Some("v\n")).unwrap(), [some("v"), some("v")]);
        assert_eq!(tokens(std::slice::from_ref(&one), Some("v")).unwrap(), [some("first"), some("first")]);
        assert_eq!(tokens(&[one.clone(), two.clone()], None).unwrap(), [some("first"), some("second")]);
        assert!(tokens(&[one.clone(), two, one], None).unwrap_err().contains("3 token files for 2 fleets"));
        assert!(tokens(&[none], None).unwrap_err().contains("it is empty"));
        assert!(tokens(&[folder.path().join("x")], None).is_err());
        assert!(fleets(&[urls[0].clone(), urls[0].clone()], &[], None).is_err());
    }
}
