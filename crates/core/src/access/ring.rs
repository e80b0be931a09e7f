//! The keys that may connect.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Certificate, Grant, OWN_PROGRAMS, PublicKey, Scope};
use crate::commands::Role;
use crate::escape::{escaped, unfit_for_a_name};

/// A key that may connect, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub public: PublicKey,
    /// What it is allowed.
    pub grant: Arc<Grant>,
}

/// A file with keys, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingFile {
    /// What messages call it.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// The keys that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRing(HashMap<PublicKey, Arc<Grant>>);

impl KeyRing {
    /// The keys of these files; or everything that is wrong with them, with file and line.
    ///
    /// A file either is a [`Certificate`], or has a key in each line: `NAME ROLE KEY [WATCHER ...]`.
    ///
    /// # Errors
    /// Where anything is wrong: half of the keys may be worse than none.
    pub fn parse(files: &[RingFile]) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut ring = HashMap::new();
        let mut names = HashSet::new();
        for file in files {
            for (place, key) in keys(file) {
                let fresh = key.and_then(|key| {
                    let shown = escaped(&key.grant.name).into_owned();
                    if !names.insert(key.grant.name.clone()) {
                        return Err(format!("a key is named '{shown}' already"));
                    }
                    match ring.insert(key.public, key.grant) {
                        Some(other) => Err(format!("the key of '{shown}' is the one of '{}'", escaped(&other.name))),
                        None => Ok(()),
                    }
                });
                errors.extend(fresh.err().map(|reason| format!("{place}: {reason}")));
            }
        }
        if errors.is_empty() { Ok(Self(ring)) } else { Err(errors) }
    }

    /// What the holder of a key is allowed; nothing where the key is not among these.
    pub fn find(&self, key: &PublicKey) -> Option<&Arc<Grant>> {
        self.0.get(key)
    }

    /// Adds the key of circusd's own programs.
    pub fn admit_own(&mut self, key: PublicKey) {
        let grant = Grant { name: OWN_PROGRAMS.into(), role: Role::Admin, watchers: Scope::ALL };
        self.0.insert(key, Arc::new(grant));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The keys of a file with their places, or what is wrong there.
fn keys(file: &RingFile) -> Vec<(String, Result<Key, String>)> {
    if Certificate::is_one(&file.text) {
        let certificate = Certificate::parse(&file.text);
        let stem = file.path.rsplit('/').next().unwrap_or_default();
        let name = certificate.name.clone().unwrap_or_else(|| stem.strip_suffix(".key").unwrap_or(stem).to_owned());
        let watchers = certificate.watchers.as_deref().unwrap_or_default().split([' ', ',', '\t']);
        let watchers = watchers.filter(|pattern| !pattern.is_empty());
        let key = key(&name, certificate.role.as_deref(), certificate.public.as_deref(), watchers);
        return vec![(file.path.clone(), key)];
    }
    let lines = file.text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(number, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        let (name, role, public) = (words.next().unwrap_or_default(), words.next(), words.next());
        (format!("{}:{}", file.path, number + 1), key(name, role, public, words))
    };
    lines.map(read).collect()
}

fn key<'w>(
    name: &str,
    role: Option<&str>,
    public: Option<&str>,
    watchers: impl Iterator<Item = &'w str>,
) -> Result<Key, String> {
    let shown = escaped(name);
    if name.is_empty() || name == OWN_PROGRAMS || name.len() > 255 || unfit_for_a_name(name).is_some() {
        return Err(format!("'{shown}' is no name for a key"));
    }
    let role = match role {
        None => return Err(format!("the key '{shown}' has no role: write role = \"read\", \"operate\" or \"admin\"")),
        Some(role) => {
            Role::named(role).ok_or_else(|| format!("'{}' is no role: write read, operate or admin", escaped(role)))?
        }
    };
    let Some(public) = public.and_then(PublicKey::parse) else {
        return Err(format!("'{shown}' has no public key: 40 characters of Z85, as circusctl keygen writes them"));
    };
    Ok(Key { public, grant: Arc::new(Grant { name: name.to_owned(), role, watchers: Scope::of(watchers) }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    const OTHER: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    fn file(path: &str, text: &str) -> RingFile {
        RingFile { path: path.into(), text: text.into() }
    }

    fn grant(name: &str, role: Role, watchers: &[&str]) -> Arc<Grant> {
        Arc::new(Grant { name: name.into(), role, watchers: Scope::of(watchers.iter().copied()) })
    }

    #[test]
    fn lines_and_certificates_are_keys() {
        let certificate =
            format!("metadata\n  role = \"read\"\n  watchers = \"web*, db\"\ncurve\n  public-key = \"{OTHER}\"\n");
        let list = format!("# ours\n\nalice operate {KEY} web* db\n");
        let ring = KeyRing::parse(&[file("/k/list", &list), file("/k/bob.key", &certificate)]).unwrap();
        let find = |key| ring.find(&PublicKey::parse(key).unwrap()).cloned();
        assert_eq!(ring.len(), 2);
        assert_eq!(find(KEY), Some(grant("alice", Role::Operate, &["web*", "db"])));
        assert_eq!(find(OTHER), Some(grant("bob", Role::Read, &["web*", "db"])));
        assert_eq!(ring.find(&PublicKey::from_bytes([0; 32])), None);
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        let text =
            format!("a boss {KEY}\nb read short\nc\nd read {KEY}\nd read {OTHER}\ne admin {KEY}\nx\u{1b} read {KEY}");
        let errors = KeyRing::parse(&[file("/k", &text)]).unwrap_err();
        assert_eq!(
            errors,
            [
                "/k:1: 'boss' is no role: write read, operate or admin",
                "/k:2: 'b' has no public key: 40 characters of Z85, as circusctl keygen writes them",
                "/k:3: the key 'c' has no role: write role = \"read\", \"operate\" or \"admin\"",
                "/k:5: a key is named 'd' already",
                "/k:6: the key of 'e' is the one of 'd'",
                "/k:7: 'x\\u001b' is no name for a key",
            ]
        );
        let certificate = format!("curve\n public-key = \"{KEY}\"\n");
        let errors = KeyRing::parse(&[file("/k/a.key", &certificate)]).unwrap_err();
        assert_eq!(errors, ["/k/a.key: the key 'a' has no role: write role = \"read\", \"operate\" or \"admin\""]);
    }

    #[test]
    fn no_key_of_a_file_passes_for_circusds_own() {
        let text = format!("metadata\nname = \"{OWN_PROGRAMS}\"\nrole = \"read\"\npublic-key = \"{KEY}\"");
        assert!(KeyRing::parse(&[file("/k/a.key", &text)]).is_err());
        let mut ring = KeyRing::default();
        ring.admit_own(PublicKey::parse(KEY).unwrap());
        assert!(!ring.is_empty());
        assert_eq!(ring.find(&PublicKey::parse(KEY).unwrap()).unwrap().role, Role::Admin);
    }
}
