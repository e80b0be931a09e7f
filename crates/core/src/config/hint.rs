//! What can be done about a worker that could not be started.

use super::{DEFAULT_PATH, WatcherConfig};
use crate::base::errno::ENOENT;
use crate::proto::{SpawnError, Stage};

impl WatcherConfig {
    /// Where a program was looked for that was not found, and what makes it be looked for elsewhere.
    pub fn launch_hint(&self, error: &SpawnError) -> Option<String> {
        if error.stage != Stage::Exec || error.errno != ENOENT || error.detail.contains('/') {
            return None;
        }
        let path = self.env.as_ref().and_then(|env| env.get("PATH")).map_or(DEFAULT_PATH, String::as_str);
        let programs = self.virtualenv.as_ref().map(|root| format!("{root}/bin:")).unwrap_or_default();
        let copied = if self.copy_env { "" } else { "copy_env = True gives workers the PATH of circusd; " };
        let name = &self.name;
        Some(format!("it was looked for in {programs}{path}: {copied}PATH in [env:{name}] sets another"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(detail: &str, change: impl FnOnce(&mut WatcherConfig)) -> Option<String> {
        let mut watcher = WatcherConfig::new("web", detail, "/");
        change(&mut watcher);
        watcher.launch_hint(&SpawnError { stage: Stage::Exec, errno: ENOENT, detail: detail.into() })
    }

    #[test]
    fn missing_program_is_reported_with_its_path() {
        let text = "it was looked for in /bin:/usr/bin: copy_env = True gives workers the PATH of circusd; \
                    PATH in [env:web] sets another";
        assert_eq!(hint("uvicorn", |_| {}).as_deref(), Some(text));
        let copied = hint("uvicorn", |watcher| {
            watcher.copy_env = true;
            watcher.virtualenv = Some("/srv/venv".into());
            watcher.env = Some([("PATH".to_owned(), "/opt/bin".to_owned())].into());
        });
        let text = "it was looked for in /srv/venv/bin:/opt/bin: PATH in [env:web] sets another";
        assert_eq!(copied.as_deref(), Some(text));
    }

    #[test]
    fn path_of_a_program_needs_no_hint() {
        assert_eq!(hint("/usr/bin/none", |_| {}), None);
        let watcher = WatcherConfig::new("web", "x", "/");
        assert_eq!(watcher.launch_hint(&SpawnError { stage: Stage::Fork, errno: 11, detail: "x".into() }), None);
    }
}
