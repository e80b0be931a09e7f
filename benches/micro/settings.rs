//! Configurations to work with.

use std::collections::BTreeMap;
use std::fs;

use circus::config::{Config, Host, load};

/// What a file with this text means.
pub(crate) fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("circus.ini");
    fs::write(&path, text).expect("a temporary file");
    load(&path.to_string_lossy(), &host(), &circus::sys::Machine).config.expect("a configuration without errors")
}

pub(crate) fn host() -> Host {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    Host { env, cwd: "/".to_owned(), ..Host::default() }
}
