//! What `[circus]` and the sockets need on the machine: directories, paths that fit, addresses of their own.

use std::path::{Path, PathBuf};

use super::Subject;
use crate::access::{Holder, LocalRole, local_roles};
use crate::config::facts::{FileKind, OwnFile, is_directory};
use crate::config::ini::{Entry, Ini, Section};
use crate::config::{Account, Family, LogOutput, Problem, SocketConfig};

/// The kernel's limit for the path of a unix socket (`sun_path`, less the NUL).
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn problems(subject: Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(section) = subject.ini.section("circus") {
        let circus = Circus { subject, section };
        problems.extend(circus.files());
        problems.extend(circus.owner());
        problems.extend(circus.roles());
        problems.extend(circus.endpoints());
    }
    for (at, socket) in subject.assembled.sockets.iter().enumerate() {
        let earlier = subject.assembled.sockets.get(..at).unwrap_or_default();
        problems.extend(socket_problems(subject, socket, earlier));
    }
    problems
}

struct Circus<'a> {
    subject: Subject<'a>,
    section: &'a Section,
}

impl Circus<'_> {
    fn problem(&self, key: &str, text: &str) -> Problem {
        let place = entry(self.subject.ini, self.section, key).map_or(&self.section.place, |entry| &entry.place);
        Problem::fatal(place, format!("[circus] {key}: {text}"))
    }

    fn files(&self) -> Vec<Problem> {
        let circus = &self.subject.assembled.circus;
        let pidfile = circus.pidfile.as_deref().filter(|path| !path.is_empty());
        let log = circus.logoutput.as_deref().and_then(|output| LogOutput::parse(output).ok());
        let log = match &log {
            Some(LogOutput::File(path)) => Some(path.as_str()),
            Some(LogOutput::Stderr | LogOutput::Syslog(..)) | None => None,
        };
        let state = circus.state_file.as_deref().filter(|path| !path.is_empty());
        let files = [
            ("pidfile", pidfile, OwnFile::Plain),
            ("logoutput", log, OwnFile::Plain),
            ("audit_log", circus.audit_log.as_deref(), OwnFile::Audit),
            ("state_file", state, OwnFile::State),
            ("curve_server_key", circus.curve_server_key.as_deref(), OwnFile::SecretKey),
            ("curve_authorized_keys", circus.curve_authorized_keys.as_deref(), OwnFile::Keys),
        ];
        let mut problems = Vec::new();
        for (key, path, file) in files {
            let Some(path) = path else { continue };
            let is_written = matches!(file, OwnFile::Plain | OwnFile::Audit | OwnFile::State);
            let texts = match self.subject.file_objection(path).filter(|_| is_written) {
                Some(text) => vec![text],
                None => self.subject.facts.refusals(file, &self.subject.absolute(path)),
            };
            problems.extend(texts.iter().map(|text| self.problem(key, text)));
        }
        problems
    }

    fn owner(&self) -> Option<Problem> {
        let name = self.subject.assembled.circus.endpoint_owner.as_deref()?;
        let known = name.trim().parse::<u32>().is_ok() || self.subject.facts.user(name).is_some();
        (!known).then(|| self.problem("endpoint_owner", &format!("there is no user '{name}' on this machine")))
    }

    fn roles(&self) -> Vec<Problem> {
        let facts = self.subject.facts;
        let text = self.subject.assembled.circus.ipc_roles.as_deref().unwrap_or_default();
        let unknown = |role: LocalRole| match &role.holder {
            Holder::User(Account::Name(name)) if facts.user(name).is_none() => {
                Some(format!("there is no user '{name}'"))
            }
            Holder::Group(Account::Name(name)) if facts.group(name).is_none() => {
                Some(format!("there is no group '{name}'"))
            }
            Holder::User(_) | Holder::Group(_) => None,
        };
        let unknown = local_roles(text).unwrap_or_default().into_iter().filter_map(unknown);
        unknown.map(|text| self.problem("ipc_roles", &format!("{text} on this machine"))).collect()
    }

    fn endpoints(&self) -> Vec<Problem> {
        let circus = &self.subject.assembled.circus;
        let mut endpoints = vec![("endpoint", &circus.endpoint), ("pubsub_endpoint", &circus.pubsub_endpoint)];
        if circus.statsd {
            endpoints.push(("stats_endpoint", &circus.stats_endpoint));
        }
        let mut problems = Vec::new();
        for (at, (key, endpoint)) in endpoints.iter().enumerate() {
            problems.extend(self.subject.endpoint_objection(endpoint).map(|text| self.problem(key, &text)));
            let earlier = endpoints.iter().take(at).find(|(_, other)| is_same_endpoint(other, endpoint));
            problems.extend(earlier.map(|(other, _)| {
                self.problem(key, &format!("{endpoint} is the {other} too; each needs an address of its own"))
            }));
        }
        problems
    }
}

impl Subject<'_> {
    fn absolute(&self, path: &str) -> PathBuf {
        Path::new(&self.host.cwd).join(path)
    }

    /// Why no regular file can be written at this path, if it cannot.
    fn file_objection(&self, path: &str) -> Option<String> {
        let path = self.absolute(path);
        self.directory_objection(&path).or_else(|| {
            is_directory(self.facts, &path).then(|| format!("{} is a directory; name a file in it", path.display()))
        })
    }

    /// Why no file can be made at this path, if it cannot.
    fn directory_objection(&self, path: &Path) -> Option<String> {
        let directory = path.parent().unwrap_or(path);
        match self.facts.file(directory) {
            Ok(file) if file.kind == FileKind::Directory => None,
            Ok(_) => Some(format!("{} is not a directory", directory.display())),
            Err(_) => Some(format!("the directory {} does not exist; create it", directory.display())),
        }
    }

    /// Why no unix socket can be bound at this path, if it cannot.
    fn socket_path_objection(&self, path: &str, replace: bool) -> Option<String> {
        if path.len() > LONGEST_SOCKET_PATH {
            let length = path.len();
            return Some(format!("the path has {length} bytes; a unix socket's has {LONGEST_SOCKET_PATH} at most"));
        }
        let path = self.absolute(path);
        self.directory_objection(&path).or_else(|| {
            let file = self.facts.file(&path).ok().filter(|file| file.kind != FileKind::Socket && !replace)?;
            let what = if file.kind == FileKind::Directory { "a directory" } else { "a file that is not a socket" };
            Some(format!("{} is {what}; remove it or use another path", path.display()))
        })
    }

    fn endpoint_objection(&self, endpoint: &str) -> Option<String> {
        // An endpoint without a scheme is refused when the file is read.
        let (scheme, address) = endpoint.split_once("://")?;
        match scheme {
            // A name of the abstract namespace is no file.
            "ipc" if address.starts_with('@') => None,
            "ipc" => self.socket_path_objection(address, false),
            "tcp" => match address.rsplit_once(':').map(|(_, port)| port) {
                Some("*") => None,
                Some(port) if port.parse::<u16>().is_ok() => None,
                Some(port) => Some(format!("'{port}' is not a port; write a number up to 65535")),
                None => Some(format!("{endpoint} has no port; write tcp://HOST:PORT")),
            },
            _ => Some(format!("circusd cannot listen at {scheme}://; write tcp://HOST:PORT or ipc://PATH")),
        }
    }
}

fn is_same_endpoint(one: &str, other: &str) -> bool {
    // Where the kernel chooses the port, it chooses another one.
    one == other && !one.ends_with(":0") && !one.ends_with(":*")
}

fn socket_problems(subject: Subject<'_>, socket: &SocketConfig, earlier: &[SocketConfig]) -> Vec<Problem> {
    let Some(section) = socket_section(subject.ini, &socket.name) else { return Vec::new() };
    let place = |key: &str| entry(subject.ini, section, key).map_or(&section.place, |entry| &entry.place);
    let problem = |key: &str, text: &str| Problem::fatal(place(key), format!("[{}] {key}: {text}", section.name));
    let path = socket.path.as_deref().filter(|_| socket.family == Family::Unix);
    let mut problems: Vec<Problem> = path
        .and_then(|path| subject.socket_path_objection(path, socket.replace))
        .map(|text| problem("path", &text))
        .into_iter()
        .collect();
    if let Some(other) = earlier.iter().find(|other| is_same_address(other, socket)) {
        let key = if path.is_some() { "path" } else { "port" };
        problems.push(problem(key, &format!("[socket:{}] has the same address", other.name)));
    }
    problems
}

fn is_same_address(one: &SocketConfig, other: &SocketConfig) -> bool {
    let unix = |socket: &SocketConfig| socket.path.clone();
    if unix(one).is_some() || unix(other).is_some() {
        return unix(one) == unix(other);
    }
    let address = |socket: &SocketConfig| (socket.host.clone(), socket.port, socket.family, socket.kind);
    let shared = one.so_reuseport && other.so_reuseport;
    one.port != 0 && !shared && one.interface == other.interface && address(one) == address(other)
}

fn socket_section<'a>(ini: &'a Ini, name: &str) -> Option<&'a Section> {
    ini.sections().find(|section| section.name.strip_prefix("socket:").is_some_and(|own| own.to_lowercase() == name))
}

fn entry<'a>(ini: &'a Ini, section: &'a Section, key: &str) -> Option<&'a Entry> {
    ini.entries(section).find(|entry| entry.key == key)
}
