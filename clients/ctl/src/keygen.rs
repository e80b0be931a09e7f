//! `circusctl keygen`: makes a pair of keys in files. It asks no daemon.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use circus_client::generate_keys;
use circus_core::access::{Certificate, KeyRing, RingFile};
use circus_core::commands::Role;
use clap::{Arg, Command};

use super::{Exit, Outcome, SyntaxError};

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keygen {
    name: String,
    role: Option<String>,
    watchers: Option<String>,
    directory: PathBuf,
}

const USAGE: &str = "usage: circusctl keygen [--role ROLE] [--watchers PATTERNS] [--directory DIRECTORY] NAME";

impl Keygen {
    /// Reads what follows the word keygen.
    pub(super) fn parse(words: &[OsString]) -> Result<Self, SyntaxError> {
        let value = |name: &'static str| Arg::new(name).long(name).num_args(1);
        let grammar = Command::new("keygen").no_binary_name(true).disable_help_flag(true).args([
            value("role"),
            value("watchers"),
            value("directory"),
            Arg::new("name").required(true),
        ]);
        let refuse = |reason: String| SyntaxError(format!("{reason}\n{USAGE}"), None);
        let matches = grammar.try_get_matches_from(words).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            refuse(if words.is_empty() { "keygen needs a name for the key".into() } else { line })
        })?;
        let get = |name: &str| matches.get_one::<String>(name).cloned();
        let name = get("name").unwrap_or_default();
        if name.contains('/') || name.starts_with('.') {
            return Err(refuse(format!("'{name}' is no name for a key: it names the files")));
        }
        let role = get("role");
        if let Some(role) = role.as_deref().filter(|role| Role::named(role).is_none()) {
            return Err(refuse(format!("'{role}' is no role: write read, operate or admin")));
        }
        let watchers = get("watchers");
        if watchers.is_some() && role.is_none() {
            return Err(refuse("--watchers needs --role: a key without a role is for circusd itself".into()));
        }
        Ok(Self { name, role, watchers, directory: get("directory").unwrap_or_else(|| ".".into()).into() })
    }

    /// Makes the files, and tells what becomes of each.
    pub(super) fn run(&self) -> Outcome {
        match self.make() {
            Ok(text) => Outcome::done(&text),
            Err(reason) => Outcome::failed(Exit::Failure, format!("error: {reason}\n")),
        }
    }

    fn make(&self) -> Result<String, String> {
        let (public, secret) = generate_keys().map_err(|error| error.to_string())?;
        let shared = Certificate {
            name: Some(self.name.clone()),
            role: self.role.clone(),
            watchers: self.watchers.clone(),
            public: Some(public),
            secret: None,
        };
        let text = shared.text("A public key of CURVE (ZeroMQ). It may be shown to everyone.");
        if self.role.is_some() {
            let file = RingFile { path: self.name.clone(), text: text.clone() };
            KeyRing::parse(&[file]).map_err(|errors| errors.join("; "))?;
        }
        let secret = Certificate { secret: Some(secret.to_z85()), ..shared };
        let secret = secret.text("A SECRET key of CURVE (ZeroMQ). Its owner alone may read it.");
        let place = |end: &str| self.directory.join(format!("{}.{end}", self.name));
        let (public_path, secret_path) = (place("key"), place("key_secret"));
        write(&secret_path, &secret, 0o600)?;
        write(&public_path, &text, 0o644).inspect_err(|_| drop(std::fs::remove_file(&secret_path)))?;
        let (secret_path, public_path) = (secret_path.display(), public_path.display());
        Ok(match self.role {
            Some(_) => format!(
                "{secret_path}: the secret key, for the client: --curve-key or {}\n{public_path}: the public key, for the \
                 directory curve_authorized_keys of circusd; circusctl reloadconfig makes circusd read it",
                circus_client::KEY_VARIABLE
            ),
            None => format!(
                "{secret_path}: the secret key, for curve_server_key of circusd\n{public_path}: the public key, for \
                 clients: --curve-server-key or {}",
                circus_client::SERVER_KEY_VARIABLE
            ),
        })
    }
}

/// Writes a file that was not there.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// The line of help.
pub(super) const SUMMARY: (&str, &str) = ("keygen", "Make a pair of keys, for circusd or a client");

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parse(line: &str) -> Result<Keygen, SyntaxError> {
        Keygen::parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn what_makes_no_key_is_refused() {
        for (line, words) in [
            ("", "keygen needs a name"),
            ("a/b", "'a/b' is no name"),
            ("--role boss a", "'boss' is no role"),
            ("--watchers web* a", "--watchers needs --role"),
            ("--rule read a", "unexpected argument '--rule'"),
        ] {
            let SyntaxError(reason, _) = parse(line).unwrap_err();
            assert!(reason.starts_with(words) && reason.ends_with(USAGE), "{line}: {reason}");
        }
    }

    #[test]
    fn files_are_made_once_and_with_their_modes() {
        let folder = std::env::temp_dir().join(format!("circus-keygen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let line = format!("--directory {} --role operate --watchers web*,db alice", folder.display());
        let made = parse(&line).unwrap().run();
        assert_eq!(made.exit, Exit::Success, "{}", made.stderr);
        let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("alice.key"), mode("alice.key_secret")), (0o644, 0o600));
        let public = Certificate::parse(&std::fs::read_to_string(folder.join("alice.key")).unwrap());
        let secret = Certificate::parse(&std::fs::read_to_string(folder.join("alice.key_secret")).unwrap());
        assert_eq!((public.secret, public.watchers), (None, Some("web*,db".into())));
        assert_eq!((secret.public, secret.secret.map(|key| key.len())), (public.public, Some(40)));
        let again = parse(&line).unwrap().run();
        assert_eq!(again.exit, Exit::Failure);
        assert!(again.stderr.contains("alice.key_secret: File exists"), "{}", again.stderr);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
