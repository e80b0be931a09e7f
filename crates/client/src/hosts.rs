//! `hosts.toml`: the hosts that a user calls by a name, and what is needed to reach each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use circus_core::access::PublicKey;
use circus_core::commands::matcher;
use circus_core::config::suggestion;
use circus_core::escape::{escaped, escaped_lines};
use circus_core::proto::{MatchMethod, Selection};
use circus_sys::{Ssh, read_hosts_file};
use serde::Deserialize;

use super::{ClientError, KeyNames};

/// Names a host of `hosts.toml` where no option does.
pub const HOST_VARIABLE: &str = "CIRCUS_HOST";

/// The most seconds that an answer may be waited for: a day.
const LONGEST: f64 = 86400.0;

/// What leads to the circusd of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name in the file.
    pub name: String,
    /// Where circusd answers.
    pub endpoint: String,
    /// Where it publishes events, if the file says so.
    pub pubsub_endpoint: Option<String>,
    /// Where its circusd-stats publishes, if the file says so.
    pub stats_endpoint: Option<String>,
    /// Where the keys are. Without a server key there are none.
    pub keys: KeyNames,
    /// How long an answer is waited for.
    pub timeout: Option<Duration>,
    /// The server to go through.
    pub ssh: Option<Ssh>,
}

impl Host {
    /// The host of this name, for a program that speaks with one.
    pub fn named(name: &str, environment: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        Hosts::read(hosts_path(|name| environment.get(name).cloned()))?.single(name)
    }

    /// Where it publishes events, for a program that makes no tunnel and does not ask.
    pub fn here(&self) -> Result<&String, ClientError> {
        let name = escaped(&self.name);
        match (&self.ssh, &self.pubsub_endpoint) {
            (None, Some(published)) => Ok(published),
            (Some(_), _) => Err(ClientError::NoHost(format!("{name} is behind ssh, and this program makes no tunnel"))),
            (None, None) => Err(ClientError::NoHost(format!("{name} has no pubsub_endpoint in hosts.toml"))),
        }
    }

    /// Its keys: `given` by options count first. `environment` may add our own key, but no server's: that one belongs to
    /// another host.
    pub fn keys(&self, given: KeyNames, environment: &KeyNames) -> KeyNames {
        let keys = given.or(&self.keys);
        let own = environment.own.clone().filter(|_| keys.server.is_some());
        KeyNames { own: keys.own.or(own), ..keys }
    }
}

/// The file, as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts {
    path: PathBuf,
    hosts: BTreeMap<String, Host>,
    groups: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    hosts: BTreeMap<String, Entry>,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    key: Option<String>,
    timeout: Option<f64>,
    ssh_keyfile: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    endpoint: String,
    pubsub_endpoint: Option<String>,
    stats_endpoint: Option<String>,
    server_key: Option<String>,
    key: Option<String>,
    timeout: Option<f64>,
    ssh: Option<String>,
    ssh_keyfile: Option<String>,
}

/// Where the file is: `$XDG_CONFIG_HOME/circus/hosts.toml`, or else `~/.config/circus/hosts.toml`.
pub fn hosts_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    folder.map(|folder| folder.join("circus/hosts.toml"))
}

impl Hosts {
    /// Reads the file. One that others may write is refused: it says which keys are used where.
    pub fn read(path: Option<PathBuf>) -> Result<Self, ClientError> {
        let path = path.ok_or_else(|| {
            ClientError::NoHost("hosts.toml cannot be found: neither XDG_CONFIG_HOME nor HOME is a path".into())
        })?;
        match read_hosts_file(&path).map_err(ClientError::NoHost)? {
            Some(text) => Self::parse(&path, &text).map_err(ClientError::NoHost),
            None => Ok(Self { path, ..Self::default() }),
        }
    }

    /// What a text says that stands in this file. Paths of keys are relative to its directory.
    pub fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let wrong = |reason: String| format!("{}: {reason}", path.display());
        // The error shows the line, which may hold anything.
        let document: Document =
            toml::from_str(text).map_err(|error| wrong(escaped_lines(error.to_string().trim_end()).into_owned()))?;
        let mut hosts = BTreeMap::new();
        for (name, entry) in document.hosts {
            check_name(&name).map_err(&wrong)?;
            let host = host(path, &name, entry, &document.defaults)
                .map_err(|reason| wrong(format!("[hosts.{}]: {reason}", escaped(&name))))?;
            hosts.insert(name, host);
        }
        for name in document.groups.keys() {
            check_name(name).map_err(&wrong)?;
            if hosts.contains_key(name) {
                return Err(wrong(format!("'{name}' is a host and a group")));
            }
        }
        let found = Self { path: path.to_owned(), hosts, groups: document.groups };
        for (group, members) in &found.groups {
            for member in members {
                found.one(member).map_err(|reason| wrong(format!("group '{group}': {reason}")))?;
            }
        }
        Ok(found)
    }

    /// The hosts that a list of names means, each once: `web1`, `web1,db`, `web*`, or the name of a group.
    pub fn named(&self, list: &str) -> Result<Vec<Host>, ClientError> {
        let mut names: Vec<&String> = Vec::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let meant = match self.groups.get(word) {
                Some(members) => members.iter().map(|member| self.one(member)).collect::<Result<Vec<_>, _>>(),
                None => self.one(word).map(|names| vec![names]),
            };
            let meant = meant.map_err(|reason| {
                let missing = if self.hosts.is_empty() { ", which names no hosts" } else { "" };
                ClientError::NoHost(format!("{reason} (hosts are named in {}{missing})", self.path.display()))
            })?;
            for name in meant.into_iter().flatten() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            return Err(ClientError::NoHost(format!("'{}' names no host", escaped(list))));
        }
        Ok(names.into_iter().filter_map(|name| self.hosts.get(name).cloned()).collect())
    }

    /// The one host of a program that speaks with one.
    pub fn single(&self, name: &str) -> Result<Host, ClientError> {
        let mut hosts = self.named(name)?;
        match (hosts.pop(), hosts.len()) {
            (Some(host), 0) => Ok(host),
            (_, others) => {
                Err(ClientError::NoHost(format!("'{}' means {} hosts; name one", escaped(name), others + 1)))
            }
        }
    }

    /// The names of hosts and groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().chain(self.groups.keys()).map(String::as_str)
    }

    /// The hosts of a name or a pattern.
    fn one(&self, word: &str) -> Result<Vec<&String>, String> {
        if let Some((name, _)) = self.hosts.get_key_value(word) {
            return Ok(vec![name]);
        }
        if word.contains(PATTERN) {
            let selection = Selection { name: word.to_owned(), method: MatchMethod::Glob };
            let matches = matcher(&selection).map_err(|fault| fault.reason)?;
            let found: Vec<&String> = self.hosts.keys().filter(|name| matches(&name.to_lowercase())).collect();
            return if found.is_empty() { Err(format!("no host matches '{}'", escaped(word))) } else { Ok(found) };
        }
        Err(format!("no host is called '{}'{}", escaped(word), suggestion(word, self.names())))
    }
}

const PATTERN: [char; 3] = ['*', '?', '['];

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && c != ',' && !PATTERN.contains(&c);
    if !name.is_empty() && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(format!("'{}' is no name: it is empty, or has a blank or one of , * ? [", escaped(name)))
}

fn host(path: &Path, name: &str, entry: Entry, defaults: &Defaults) -> Result<Host, String> {
    let file = |name: &String| beside(path, name);
    let timeout = entry.timeout.or(defaults.timeout);
    if let Some(seconds) = timeout.filter(|seconds| !(*seconds > 0.0 && *seconds <= LONGEST)) {
        return Err(format!("timeout: {seconds} is not between 0 and {LONGEST} seconds"));
    }
    for (key, endpoint) in [
        ("endpoint", Some(&entry.endpoint)),
        ("pubsub_endpoint", entry.pubsub_endpoint.as_ref()),
        ("stats_endpoint", entry.stats_endpoint.as_ref()),
    ] {
        if let Some(endpoint) =
            endpoint.filter(|endpoint| !["tcp://", "ipc://"].iter().any(|t| endpoint.starts_with(t)))
        {
            return Err(format!("{key}: '{}' begins with neither tcp:// nor ipc://", escaped(endpoint)));
        }
    }
    let own = entry.key.as_ref().or(defaults.key.as_ref()).map(file);
    if entry.key.is_some() && entry.server_key.is_none() {
        return Err("it has a key, but no server_key".into());
    }
    let server = entry.server_key.map(|key| match PublicKey::parse(&key) {
        Some(_) => key,
        None => file(&key),
    });
    let own = own.filter(|_| server.is_some());
    Ok(Host {
        name: name.to_owned(),
        endpoint: entry.endpoint,
        pubsub_endpoint: entry.pubsub_endpoint,
        stats_endpoint: entry.stats_endpoint,
        keys: KeyNames { own, server, descriptor: None },
        timeout: timeout.map(Duration::from_secs_f64),
        ssh: entry.ssh.map(|server| Ssh {
            server,
            keyfile: entry.ssh_keyfile.as_ref().or(defaults.ssh_keyfile.as_ref()).map(file),
        }),
    })
}

/// A path that stands in a file is relative to the directory of the file.
fn beside(file: &Path, name: &str) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    folder.join(name).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [defaults]
        key = "me.key_secret"
        timeout = 2.5
        [hosts.web1]
        endpoint = "tcp://10.0.0.1:5555"
        pubsub_endpoint = "tcp://10.0.0.1:5556"
        server_key = "web1.key"
        [hosts.web2]
        endpoint = "tcp://10.0.0.2:5555"
        server_key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
        key = "/etc/other.key_secret"
        timeout = 9
        [hosts.db]
        endpoint = "ipc:///run/circus/control"
        ssh = "me@db:22"
        [groups]
        all = ["web*", "db"]
    "#;

    fn read(text: &str) -> Result<Hosts, String> {
        Hosts::parse(Path::new("/h/circus/hosts.toml"), text)
    }

    fn names(list: &str) -> Result<Vec<String>, String> {
        let hosts = read(TEXT).unwrap().named(list).map_err(|error| error.to_string())?;
        Ok(hosts.into_iter().map(|host| host.name).collect())
    }

    #[test]
    fn hosts_have_what_their_tables_and_the_defaults_say() {
        let hosts = read(TEXT).unwrap();
        let web1 = hosts.single("web1").unwrap();
        assert_eq!(web1.keys.own.as_deref(), Some("/h/circus/me.key_secret"));
        assert_eq!(web1.keys.server.as_deref(), Some("/h/circus/web1.key"));
        assert_eq!((web1.timeout, web1.ssh.clone()), (Some(Duration::from_millis(2500)), None));
        let web2 = hosts.single("web2").unwrap();
        assert_eq!(web2.keys.own.as_deref(), Some("/etc/other.key_secret"));
        assert!(web2.keys.server.is_some_and(|key| key.starts_with("Yne@")));
        let db = hosts.single("db").unwrap();
        assert_eq!((db.keys, db.ssh.map(|ssh| ssh.server)), (KeyNames::default(), Some("me@db:22".to_owned())));
    }

    #[test]
    fn lists_patterns_and_groups() {
        assert_eq!(names("db,web1, db").unwrap(), ["db", "web1"]);
        assert_eq!(names("web*").unwrap(), ["web1", "web2"]);
        assert_eq!(names("all").unwrap(), ["web1", "web2", "db"]);
        assert_eq!(names("WEB?").unwrap(), ["web1", "web2"]);
        let error = names("wbe1").unwrap_err();
        assert!(
            error.starts_with("--host: no host is called 'wbe1'; did you mean 'web1'? (hosts are named in /h/"),
            "{error}"
        );
        assert!(names("zz*").unwrap_err().starts_with("--host: no host matches 'zz*'"));
        assert!(names(" , ").is_err());
        let error = read(TEXT).unwrap().single("all").unwrap_err().to_string();
        assert_eq!(error, "--host: 'all' means 3 hosts; name one");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, words) in [
            ("[hosts.a]\nendpont = 'tcp://x:1'", "line 2"),
            ("[hosts.a]\ntimeout = 1", "missing field `endpoint`"),
            ("[hosts.a]\nendpoint = '10.0.0.1:5555'", "[hosts.a]: endpoint: '10.0.0.1:5555' begins with neither"),
            ("[hosts.a]\nendpoint = 'tcp://x:1'\ntimeout = 0", "timeout: 0 is not between"),
            ("[hosts.a]\nendpoint = 'tcp://x:1'\ntimeout = nan", "is not between"),
            ("[hosts.a]\nendpoint = 'tcp://x:1'\nkey = 'k'", "no server_key"),
            ("[hosts.'a,b']\nendpoint = 'tcp://x:1'", "'a,b' is no name"),
            ("[hosts.a]\nendpoint = 'tcp://x:1'\n[groups]\na = []", "'a' is a host and a group"),
            ("[hosts.a]\nendpoint = 'tcp://x:1'\n[groups]\ng = ['b']", "group 'g': no host is called 'b'"),
            ("[host.a]", "unknown field `host`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("/h/circus/hosts.toml: ") && error.contains(words), "{text}: {error}");
        }
        let hostile = read("[hosts.a]\n\"\\u001b\" = '\u{1b}[2J'").unwrap_err();
        assert!(!hostile.contains('\u{1b}'), "{hostile:?}");
    }

    #[test]
    fn the_environment_adds_no_server_key() {
        let variables = KeyNames { own: Some("mine".into()), server: Some("theirs".into()), descriptor: None };
        let host = |server: Option<&str>| Host {
            keys: KeyNames { server: server.map(Into::into), ..KeyNames::default() },
            ..Host::default()
        };
        assert_eq!(host(None).keys(KeyNames::default(), &variables), KeyNames::default());
        let keys = host(Some("s")).keys(KeyNames::default(), &variables);
        assert_eq!((keys.own.as_deref(), keys.server.as_deref()), (Some("mine"), Some("s")));
    }

    #[test]
    fn the_file_is_where_xdg_says() {
        let at = |xdg: Option<&str>, home: Option<&str>| {
            hosts_path(|name| if name == "HOME" { home.map(Into::into) } else { xdg.map(Into::into) })
        };
        assert_eq!(at(Some("/x"), Some("/h")), Some("/x/circus/hosts.toml".into()));
        assert_eq!(at(Some("relative"), Some("/h")), Some("/h/.config/circus/hosts.toml".into()));
        assert_eq!(at(None, None), None);
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.toml");
        assert_eq!(Hosts::read(Some(path.clone())).unwrap().names().count(), 0);
        std::fs::write(&path, TEXT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        let error = Hosts::read(Some(path.clone())).unwrap_err().to_string();
        assert!(error.contains("others may write to it (mode 0664): chmod 644"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Hosts::read(Some(path)).unwrap().names().count(), 4);
    }
}
