//! What the readers of all sections share.

use super::env::Environment;
use super::ini::{Entry, Ini, Section};
use super::nearest::suggestion;
use super::options::{Setting, Support};
use super::{Host, Problem, Severity, foreign};

/// The files, what their variables mean, and what is found wrong with them on the way.
pub(super) struct Source<'a> {
    pub(super) ini: &'a Ini,
    pub(super) environment: &'a Environment<'a>,
    pub(super) host: &'a Host,
    pub(super) problems: Vec<Problem>,
}

impl Source<'_> {
    /// Fills in what a section says. Errors have this severity; the result is whether there were none.
    pub(super) fn fill<C>(
        &mut self,
        section: &Section,
        table: &[Setting<C>],
        target: &mut C,
        severity: Severity,
    ) -> bool {
        let before = self.problems.len();
        for entry in self.ini.entries(section) {
            match table.iter().find(|setting| setting.key == entry.key) {
                Some(setting) => self.set(section, setting, entry, target, severity),
                None => self.unknown_key(section, entry, table.iter().map(|setting| setting.key)),
            }
        }
        self.problems.iter().skip(before).all(|problem| problem.severity < severity)
    }

    fn set<C>(&mut self, section: &Section, setting: &Setting<C>, entry: &Entry, target: &mut C, severity: Severity) {
        let value = match &entry.json {
            Some(value) => setting.kind.given(setting.key, value),
            None => setting.kind.read(&self.environment.expand(&entry.value)),
        };
        let stored = value.and_then(|value| (setting.put)(target, &value).map(|()| value));
        let place = |text: String| format!("{}: {text}", named(section, &entry.key));
        let (severity, text) = match stored.map(|value| setting.objection(&value)) {
            Err(error) => (severity, place(error)),
            Ok(Support::Refused(reason)) => (severity, place(format!("refused: {reason}"))),
            Ok(Support::Ignored(reason)) => (Severity::Warning, place(reason.into())),
            Ok(Support::Works) => return,
        };
        self.problems.push(Problem::new(severity, &entry.place, text));
    }

    /// Notes an unknown key. Those of `[DEFAULT]` are judged on their own.
    pub(super) fn unknown_key<'k>(
        &mut self,
        section: &Section,
        entry: &Entry,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        if self.ini.is_default(entry) {
            return;
        }
        let name = super::python::trim(&entry.key);
        if name.len() < entry.key.len() {
            let text =
                format!("'{name}' in [{}] is indented, so it is not a key; begin it in the first column", section.name);
            self.problems.push(Problem::warning(&entry.place, text));
            return;
        }
        let is_program = ["watcher:", "plugin:"].iter().any(|prefix| section.name.starts_with(prefix));
        let hint = match foreign::key(name).filter(|_| is_program) {
            Some(instead) => format!("; here it is {instead}"),
            None => suggestion(name, known),
        };
        let text = format!("unknown key '{name}' in [{}]{hint}", section.name);
        self.problems.push(Problem::warning(&entry.place, text));
    }
}

/// A key with its section, as messages name it.
pub(super) fn named(section: &Section, key: &str) -> String {
    format!("[{}] {key}", section.name)
}
