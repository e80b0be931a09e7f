//! `circusd --check`: everything about a configuration that can be known without starting anything.
//!
//! What loading finds is reported, and beyond that what the machine lacks: programs, users, directories. The rules are
//! pure functions of the configuration and of the [`Facts`]. What is certain to fail when circusd starts is an error,
//! what is suspicious a warning, and what merely differs from Circus 0.19 a note.

mod hook_module;
mod places;
mod program;
mod report;
mod shell;
mod watcher;

pub use program::DEFAULT_PATH;
pub use report::{Report, Totals};

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::assemble::Assembled;
use super::env::Environment;
use super::ini::{Entry, Ini, Section};
use super::{Facts, Host, Problem};

/// What the rules judge.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) ini: &'a Ini,
    pub(super) environment: &'a Environment<'a>,
    pub(super) assembled: &'a Assembled<'a>,
    pub(super) host: &'a Host,
    pub(super) facts: &'a dyn Facts,
    /// Where the configuration file is.
    pub(super) directory: Option<&'a Path>,
    /// Where the interpreter of Python hooks imports from: it is started once, for the first hook that needs it.
    pub(super) installed: &'a OnceCell<Option<Vec<PathBuf>>>,
}

impl<'a> Subject<'a> {
    /// The interpreter of Python hooks.
    fn python(self) -> &'a str {
        self.assembled.circus.python.as_deref().unwrap_or("python3")
    }

    fn installed(self) -> Option<&'a [PathBuf]> {
        self.installed.get_or_init(|| self.facts.python_path(self.python())).as_deref()
    }
}

/// Everything that the rules find.
pub(super) fn problems(subject: Subject<'_>) -> Vec<Problem> {
    let assembled = subject.assembled;
    let mut problems = places::problems(subject);
    problems.extend(cut_variables(subject.ini));
    for watcher in assembled.watchers.iter().chain(&assembled.unsound) {
        problems.extend(watcher::problems(subject, watcher));
    }
    problems
}

/// Variables whose values end at a ` ;`: passwords and lists may well have one.
fn cut_variables(ini: &Ini) -> Vec<Problem> {
    let sections = ini.sections().filter(|section| section.name == "env" || section.name.starts_with("env:"));
    let entries = sections.flat_map(|section| ini.entries(section).map(move |entry| (section, entry)));
    let cut = |(section, entry): (&Section, &Entry)| {
        let text = format!("[{}] {}: {}", section.name, entry.key, cut(entry.comment.as_ref()?));
        Some(Problem::note(&entry.place, text))
    };
    entries.filter_map(cut).collect()
}

/// What a comment behind a value comes to.
fn cut(comment: &str) -> String {
    format!(
        "a ';' after a blank begins a comment, so '{comment}' is not part of the value; write the ';' without a blank \
         before it, or the comment in a line of its own"
    )
}

#[cfg(test)]
mod tests;
