//! The keys of a client: where they are, and what is in those files.

use std::path::Path;

use circus_core::access::PublicKey;
use circus_net::{ClientKeys, SecretKey};
use circus_sys::{read_inherited, read_public_key, read_secret_key};

use super::ClientError;

/// The variable that names the file of a client's secret key.
pub const KEY_VARIABLE: &str = "CIRCUS_CURVE_KEY";
/// The variable that names the file of circusd's public key, or is that key.
pub const SERVER_KEY_VARIABLE: &str = "CIRCUS_CURVE_SERVER_KEY";
/// The variable by which circusd tells its own programs the number of the descriptor that has both.
pub const DESCRIPTOR_VARIABLE: &str = "CIRCUS_CURVE_FD";

/// Where the keys of a client are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// The file of its secret key.
    pub own: Option<String>,
    /// The file of circusd's public key, or that key.
    pub server: Option<String>,
    /// The descriptor that has both.
    pub descriptor: Option<String>,
}

impl KeyNames {
    /// What the environment says.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            own: variable(KEY_VARIABLE),
            server: variable(SERVER_KEY_VARIABLE),
            descriptor: variable(DESCRIPTOR_VARIABLE),
        }
    }

    /// These, and what they leave open as in `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let descriptor = other.descriptor.clone().filter(|_| self.own.is_none() && self.server.is_none());
        Self {
            own: self.own.or_else(|| other.own.clone()),
            server: self.server.or_else(|| other.server.clone()),
            descriptor: self.descriptor.or(descriptor),
        }
    }

    /// The keys; none where none are named.
    pub fn read(&self) -> Result<Option<ClientKeys>, ClientError> {
        self.load().map_err(ClientError::NoKeys)
    }

    fn load(&self) -> Result<Option<ClientKeys>, String> {
        match (&self.own, &self.server, &self.descriptor) {
            (Some(own), Some(server), _) => of_files(Path::new(own), server).map(Some),
            (Some(_), None, _) => Err(format!(
                "circusd's public key is missing: name it with --curve-server-key or {SERVER_KEY_VARIABLE}"
            )),
            (None, Some(_), _) => {
                Err(format!("a key of our own is missing: name its file with --curve-key or {KEY_VARIABLE}"))
            }
            (None, None, Some(number)) => {
                of_descriptor(number).map(Some).map_err(|error| format!("{DESCRIPTOR_VARIABLE}: {error}"))
            }
            (None, None, None) => Ok(None),
        }
    }
}

fn of_files(own: &Path, server: &str) -> Result<ClientKeys, String> {
    let shown = own.display();
    let certificate = read_secret_key(own)?;
    let secret = certificate.secret.as_deref().and_then(SecretKey::parse);
    let secret = secret.ok_or_else(|| format!("{shown}: it has no secret-key of 40 characters"))?;
    let public = certificate.public.filter(|key| PublicKey::parse(key).is_some());
    let public = public.ok_or_else(|| format!("{shown}: it has no public-key of 40 characters"))?;
    // Many paths of 40 characters are also keys.
    let server = match PublicKey::parse(server).filter(|_| !Path::new(server).exists()) {
        Some(_) => server.to_owned(),
        None => {
            let key = read_public_key(Path::new(server))?.public.filter(|key| PublicKey::parse(key).is_some());
            key.ok_or_else(|| format!("{server}: it has no public-key of 40 characters"))?
        }
    };
    Ok(ClientKeys { server, public, secret })
}

/// circusd's public key, ours, and our secret one: the first words of what circusd has written there.
fn of_descriptor(number: &str) -> Result<ClientKeys, String> {
    let number = number.parse().map_err(|_| format!("'{number}' is no number"))?;
    let text = read_inherited(number).map_err(|error| format!("descriptor {number}: {error}"))?;
    let mut words = text.split_whitespace();
    let mut key = || words.next().filter(|key| PublicKey::parse(key).is_some()).map(str::to_owned);
    match (key(), key(), key().as_deref().and_then(SecretKey::parse)) {
        (Some(server), Some(public), Some(secret)) => Ok(ClientKeys { server, public, secret }),
        _ => Err(format!("descriptor {number} has no keys")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use circus_core::access::Certificate;

    use super::*;

    fn names(own: Option<&str>, server: Option<&str>) -> KeyNames {
        KeyNames { own: own.map(Into::into), server: server.map(Into::into), descriptor: None }
    }

    #[test]
    fn options_win_over_the_environment() {
        let env = KeyNames::of_environment(|name| Some(name.to_lowercase()));
        assert_eq!(names(None, None).or(&env), env);
        let either = names(Some("a"), None).or(&env);
        assert_eq!(either, KeyNames { own: Some("a".into()), ..names(None, Some("circus_curve_server_key")) });
    }

    #[test]
    fn one_key_alone_is_refused() {
        for (own, server, words) in [(Some("a"), None, "--curve-server-key"), (None, Some("b"), "--curve-key")] {
            let error = names(own, server).read().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(names(None, None).read(), Ok(None));
    }

    #[test]
    fn keys_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let (public, secret) = circus_net::generate().unwrap();
        let path = folder.path().join("a.key_secret");
        let certificate =
            Certificate { public: Some(public.clone()), secret: Some(secret.to_z85()), ..Certificate::default() };
        std::fs::write(&path, certificate.text("a")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let name = path.to_str().unwrap();
        let expected = Some(ClientKeys { server: public.clone(), public: public.clone(), secret });
        // The path of a public key may look like a key itself.
        let folder_name = folder.path().to_str().unwrap();
        let letters = 40 - folder_name.len() - 1;
        let path40 = folder.path().join("a".repeat(letters));
        std::fs::write(&path40, certificate.text("a")).unwrap();
        std::fs::set_permissions(&path40, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(PublicKey::parse(path40.to_str().unwrap()).is_some());
        assert_eq!(names(Some(name), path40.to_str()).read(), Ok(expected.clone()));
        assert_eq!(names(Some(name), Some(&public)).read(), Ok(expected.clone()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let error = names(Some(name), Some(&public)).read().unwrap_err().to_string();
        assert!(error.contains("others may read or change it"), "{error}");
    }
}
