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

use std::path::Path;

use super::assemble::Assembled;
use super::env::Environment;
use super::ini::Ini;
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
}

/// Everything that the rules find.
pub(super) fn problems(subject: Subject<'_>) -> Vec<Problem> {
    let assembled = subject.assembled;
    let mut problems = places::problems(subject);
    for watcher in assembled.watchers.iter().chain(&assembled.unsound) {
        problems.extend(watcher::problems(subject, watcher));
    }
    problems
}

#[cfg(test)]
mod tests;
