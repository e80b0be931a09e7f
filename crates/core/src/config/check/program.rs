//! Whether a program can be found where a worker would look for it.

use std::path::Path;

use crate::config::Host;
use crate::config::facts::{Facts, FileKind};

/// Where a program is looked for when the worker's environment has no PATH.
pub const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Words that only a shell knows.
const SHELL_BUILTINS: [&str; 12] =
    [".", "alias", "cd", "eval", "export", "if", "for", "set", "source", "ulimit", "umask", "while"];

/// Where a program is looked for, and as which user.
pub(super) struct Search<'a> {
    /// The directories, as PATH has them.
    pub(super) path: &'a str,
    /// The directory that relative names start from.
    pub(super) cwd: &'a Path,
    pub(super) host: &'a Host,
    pub(super) facts: &'a dyn Facts,
}

impl Search<'_> {
    /// Why the program cannot be executed and what to do about it, if it cannot.
    pub(super) fn objection(&self, program: &str) -> Option<String> {
        if program.contains('/') {
            return self.file_objection(&self.cwd.join(program));
        }
        let candidates = || self.path.split(':').map(|directory| self.cwd.join(directory).join(program));
        let is_regular = |path: &Path| self.facts.file(path).is_ok_and(|file| file.kind == FileKind::Regular);
        match candidates().find(|path| is_regular(path)) {
            Some(_) if candidates().any(|path| self.file_objection(&path).is_none()) => None,
            Some(path) => self.file_objection(&path),
            None => Some(self.missing(program)),
        }
    }

    fn file_objection(&self, path: &Path) -> Option<String> {
        let shown = path.display();
        match self.facts.file(path) {
            Err(_) if self.facts.exists(path) => Some(format!("{shown} is a link that leads nowhere")),
            Err(_) => Some(format!("there is no file {shown}")),
            Ok(file) if file.kind == FileKind::Directory => Some(format!("{shown} is a directory, not a program")),
            Ok(file) if !file.executable => Some(format!("{shown} is not executable; chmod +x makes it so")),
            Ok(_) => None,
        }
    }

    fn missing(&self, program: &str) -> String {
        let advice = if program.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
            "write variables of the environment in a section [env:NAME]".to_owned()
        } else if program == "cd" {
            "it is a word of the shell; write working_dir = DIRECTORY instead".to_owned()
        } else if SHELL_BUILTINS.contains(&program) {
            "it is a word of the shell; write shell = yes".to_owned()
        } else if let Some(found) = self.in_own_path(program) {
            format!("circusd's own PATH has {found}: write that path, or copy_env = yes, or PATH in [env:NAME]")
        } else {
            "install it, write its path, or set PATH in [env:NAME]".to_owned()
        };
        format!("there is no program '{program}' in the worker's PATH ({}); {advice}", self.path)
    }

    /// Where circusd would find the program itself.
    fn in_own_path(&self, program: &str) -> Option<String> {
        let directories = self.host.env.get("PATH")?.split(':').filter(|directory| directory.starts_with('/'));
        let mut candidates = directories.map(|directory| Path::new(directory).join(program));
        let found = candidates.find(|path| self.file_objection(path).is_none())?;
        Some(found.display().to_string())
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::FakeMachine;

    fn objection(path: &str, program: &str) -> Option<String> {
        let machine = FakeMachine::default()
            .with_program("/usr/bin/sleep")
            .with_program("/srv/app/run")
            .with_program("/opt/venv/bin/uvicorn")
            .with("/usr/bin/data", "");
        let env = [("PATH".to_owned(), "/usr/bin:/opt/venv/bin".to_owned())].into();
        let host = Host { env, ..Host::default() };
        Search { path, cwd: Path::new("/srv/app"), host: &host, facts: &machine }.objection(program)
    }

    #[test]
    fn programs_are_found_as_the_worker_finds_them() {
        assert_eq!(objection(DEFAULT_PATH, "sleep"), None);
        assert_eq!(objection("/bin", "/usr/bin/sleep"), None);
        assert_eq!(objection("/bin", "./run"), None);
        assert_eq!(objection("", "run"), None);
        assert_eq!(objection("/bin:", "run"), None);
        assert_eq!(objection("../app", "run"), None);
    }

    #[test]
    fn program_that_cannot_run_is_reported_with_the_remedy() {
        for (program, text) in [
            ("./gone", "there is no file /srv/app/./gone"),
            ("/usr/bin", "/usr/bin is a directory, not a program"),
            ("data", "/usr/bin/data is not executable; chmod +x makes it so"),
            (
                "uvicorn",
                "there is no program 'uvicorn' in the worker's PATH (/bin:/usr/bin); circusd's own PATH has \
                         /opt/venv/bin/uvicorn: write that path, or copy_env = yes, or PATH in [env:NAME]",
            ),
            (
                "cd",
                "there is no program 'cd' in the worker's PATH (/bin:/usr/bin); it is a word of the shell; write \
                    working_dir = DIRECTORY instead",
            ),
            (
                "A=1",
                "there is no program 'A=1' in the worker's PATH (/bin:/usr/bin); write variables of the environment \
                in a section [env:NAME]",
            ),
        ] {
            assert_eq!(objection(DEFAULT_PATH, program).as_deref(), Some(text));
        }
    }
}
