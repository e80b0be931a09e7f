//! What the daemon does for plugins: it finds the program circus-plugin, and logs their output.

use std::path::{Path, PathBuf};

use super::core::Core;
use super::launch::Launcher;
use crate::arbiter::Level;
use crate::config::{Runner, WatcherConfig};

/// The program with our own plugins: the one beside circusd's. Without it the PATH is searched.
pub(super) fn program() -> Option<String> {
    let own = std::fs::read_link("/proc/self/exe").ok()?;
    let program = beside(&own);
    program.is_file().then(|| program.to_string_lossy().into_owned())
}

/// A program whose file was replaced while it ran is said to be deleted; its folder is the same.
fn beside(own: &Path) -> PathBuf {
    own.with_file_name("circus-plugin")
}

impl Launcher {
    /// The program that a watcher runs without saying so.
    pub(super) fn program_of(&self, config: &WatcherConfig) -> Option<String> {
        match config.plugin.as_ref().map(|plugin| &plugin.runner) {
            Some(Runner::Builtin(_)) => self.plugin_program.clone(),
            Some(Runner::Command | Runner::Python { .. }) | None => None,
        }
    }
}

/// Logs a line that a plugin or a hook printed. It may begin with its level, as for systemd: `<3>` is an error.
pub(super) fn log_speaker(core: &mut Core, speaker: &str, level: Level, line: &str) {
    let (level, text) = levelled(level, line);
    core.log(level, format!("{speaker}: {text}"));
}

fn levelled(otherwise: Level, line: &str) -> (Level, &str) {
    let Some((number, text)) = line.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
        return (otherwise, line);
    };
    match number {
        "0" | "1" | "2" => (Level::Critical, text),
        "3" => (Level::Error, text),
        "4" => (Level::Warning, text),
        "5" | "6" => (Level::Info, text),
        "7" => (Level::Debug, text),
        _ => (otherwise, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_begin_with_its_level() {
        assert_eq!(levelled(Level::Info, "<3>no"), (Level::Error, "no"));
        assert_eq!(levelled(Level::Info, "<7>"), (Level::Debug, ""));
        assert_eq!(levelled(Level::Info, "<b>bold</b>"), (Level::Info, "<b>bold</b>"));
        assert_eq!(levelled(Level::Debug, "plain"), (Level::Debug, "plain"));
    }

    #[test]
    fn the_program_stands_beside_circusd() {
        assert_eq!(beside(Path::new("/opt/bin/circusd (deleted)")), Path::new("/opt/bin/circus-plugin"));
    }
}
