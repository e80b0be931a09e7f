//! The keys of a plugin's section, typed.

use std::collections::BTreeMap;

use circus_core::base::python;
use circus_core::config::Builtin;

/// The keys of a section and their values; what is empty counts as not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Settings from keys and values.
    pub fn new<K: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { values: values.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// Settings from the argument `--config`: `key:value`, with `:::` between them.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split(":::").filter_map(|item| item.split_once(':'));
        Self::new(pairs.map(|(key, value)| (key.trim(), value.trim())))
    }

    /// These settings, and for what they lack the defaults of one of our plugins.
    #[must_use]
    pub fn with_defaults_of(mut self, builtin: &Builtin) -> Self {
        for key in builtin.keys {
            let value = self.values.entry(key.name.to_owned()).or_default();
            if value.is_empty() {
                key.default.clone_into(value);
            }
        }
        self
    }

    /// A value, if it is written.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A value that has to be written.
    pub fn needed(&self, key: &str) -> Result<&str, String> {
        self.text(key).ok_or_else(|| format!("{key}: is missing"))
    }

    /// A number, if it is written.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        let read = |text: &str| text.trim().parse().map_err(|_| format!("{key}: '{text}' is not a valid number"));
        self.text(key).map(read).transpose()
    }

    /// A number that has to be written, or has a default.
    pub fn needed_number<T: std::str::FromStr>(&self, key: &str) -> Result<T, String> {
        self.number(key)?.ok_or_else(|| format!("{key}: is missing"))
    }

    /// Seconds that have to be written, or have a default.
    pub fn seconds(&self, key: &str) -> Result<std::time::Duration, String> {
        let seconds: f64 = self.needed_number(key)?;
        std::time::Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("{key}: {seconds} is not a time in seconds"))
    }

    /// yes or no; what is not written is no.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        let Some(text) = self.text(key) else { return Ok(false) };
        python::boolean(text).ok_or_else(|| format!("{key}: '{text}' is neither yes nor no"))
    }

    /// Words with commas or white space between them.
    pub fn list(&self, key: &str) -> Vec<String> {
        let words = self.text(key).unwrap_or_default().split([',', ' ', '\t', '\n']);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_of_the_original() {
        let settings = Settings::parse("name:plugin:x:::window: 1.5 :::nothing:::url:http://a:1/:::empty:");
        assert_eq!(settings.text("name"), Some("plugin:x"));
        assert_eq!(settings.text("url"), Some("http://a:1/"));
        assert_eq!(settings.number("window"), Ok(Some(1.5)));
        assert_eq!((settings.text("empty"), settings.text("nothing")), (None, None));
    }

    #[test]
    fn errors_are_explained_and_defaults_apply() {
        let settings = Settings::new([("attempts", "two"), ("active", "perhaps"), ("window", "-1"), ("l", "a, b\nc")]);
        assert_eq!(settings.number::<u32>("attempts"), Err("attempts: 'two' is not a valid number".into()));
        assert_eq!(settings.flag("active"), Err("active: 'perhaps' is neither yes nor no".into()));
        assert!(settings.seconds("window").is_err());
        assert_eq!(settings.needed("x"), Err("x: is missing".into()));
        assert_eq!(settings.list("l"), ["a", "b", "c"]);
        let flapping = Builtin::find("flapping").unwrap();
        assert_eq!(settings.with_defaults_of(flapping).needed_number("max_retry"), Ok(5));
    }
}
