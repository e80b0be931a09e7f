//! Whether a hook that is a Python function exists: its module is looked for as Python would, and nothing is imported.

use std::path::{Path, PathBuf};

use super::Subject;
use crate::config::facts::{FileKind, is_directory};

/// Where Python imports from.
pub(super) struct ImportPaths<'a> {
    pub(super) subject: Subject<'a>,
    /// What circusd adds: PYTHONPATH, the virtual environment, the directory of the file, its own working directory.
    pub(super) known: Vec<PathBuf>,
}

enum Module {
    File(PathBuf),
    /// A package, or a file that is no Python source.
    Other,
}

impl ImportPaths<'_> {
    /// What is wrong with the dotted name of a function, as far as is known.
    pub(super) fn objection(&self, function: &str) -> Option<String> {
        let (module, function) = function.rsplit_once([':', '.'])?;
        let parts: Vec<&str> = module.split('.').collect();
        let (first, rest) = parts.split_first()?;
        let found = self.known.iter().find(|directory| self.module(directory, first).is_some()).cloned();
        let Some(directory) = found else {
            let installed = self.subject.installed()?;
            let is_there = installed.iter().any(|directory| {
                // An archive that modules may be in.
                self.module(directory, first).is_some()
                    || self.subject.facts.file(directory).is_ok_and(|file| file.kind == FileKind::Regular)
            });
            return (!is_there).then(|| self.nowhere(first));
        };
        match self.inner(directory, first, rest)? {
            Module::File(file) => self.lacks(&file, function),
            Module::Other => None,
        }
    }

    /// A module of this name in a directory.
    fn module(&self, directory: &Path, name: &str) -> Option<Module> {
        let file = directory.join(format!("{name}.py"));
        if self.subject.facts.file(&file).is_ok() {
            return Some(Module::File(file));
        }
        let is_compiled = || {
            let names = self.subject.facts.names(directory);
            names.iter().any(|found| found.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
        };
        (is_directory(self.subject.facts, &directory.join(name)) || is_compiled()).then_some(Module::Other)
    }

    /// The module that the last part names, where it is one file and not an attribute of another.
    fn inner(&self, directory: PathBuf, first: &str, rest: &[&str]) -> Option<Module> {
        let (mut directory, mut name) = (directory, first);
        for part in rest {
            directory.push(name);
            name = part;
        }
        self.module(&directory, name)
    }

    /// A file in which the name of the function does not even occur has no such function.
    fn lacks(&self, file: &Path, function: &str) -> Option<String> {
        let text = self.subject.facts.read(file).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let may_have = text.contains("import *") || words.any(|word| word == function || word == "__getattr__");
        (!may_have).then(|| format!("{} has no function '{function}'", file.display()))
    }

    fn nowhere(&self, module: &str) -> String {
        let mut places: Vec<String> = Vec::new();
        for directory in &self.known {
            let shown = directory.display().to_string();
            if !places.contains(&shown) {
                places.push(shown);
            }
        }
        format!(
            "there is no Python module '{module}' in {}, nor where {} imports from; put it beside the configuration \
            file, or set PYTHONPATH in [env:NAME]",
            places.join(", "),
            self.subject.python()
        )
    }
}
