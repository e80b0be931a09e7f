//! A configuration as JSON: the same sections and keys, for programs that start circusd.
//!
//! ```json
//! {"circus": {"check_delay": 1}, "watchers": [{"name": "web", "cmd": "gunicorn", "args": ["a b"], "env": {"A": "1"}}],
//!  "sockets": [{"name": "web", "port": 8000}], "plugins": [{"name": "mine", "use": "my.Plugin"}],
//!  "slots": [{"name": "gpu", "values": ["0", "1"]}]}
//! ```
//!
//! In place of a list of items with names there may be an object: `{"watchers": {"web": {"cmd": "gunicorn"}}}`.
//!
//! It becomes the sections that a file would have, so that everything behind is the same, but watchers start in the order
//! in which they stand there, and every value is what it is: nothing is expanded, stripped or split. A value has the type that the control protocol gives it; a text is read as in
//! a file where the option is no text. `env` is an object of texts; null takes a variable away that `copy_env` copies.

use std::sync::Arc;

use serde_json::Value;

use super::ini::{Entry, Ini};
use super::python::display;
use super::{Place, Problem};
use crate::proto::Object;

/// The lists of a configuration, and the sections that their items become.
const LISTS: [(&str, &str); 4] =
    [("watchers", "watcher:"), ("sockets", "socket:"), ("plugins", "plugin:"), ("slots", "slots:")];
const CIRCUS: &str = "circus";

/// Whether a text is JSON: no INI file can begin with a brace.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// The sections of a configuration, and what is wrong with its form.
pub(super) fn parse(file: &str, text: &str) -> (Ini, Vec<Problem>) {
    match serde_json::from_str::<Object>(text) {
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(0);
            let place = Place { file: Arc::from(file), line };
            (Ini::default(), vec![Problem::fatal(&place, format!("is not a JSON object: {error}"))])
        }
        Ok(object) => sections(file, object.into_iter().map(|(key, value)| (key, Part::of_json(value))).collect()),
    }
}

/// A part of a configuration that is not INI, and its line in the file; 0 where that is not known.
pub(super) struct Part {
    pub(super) line: u32,
    pub(super) content: Content,
}

/// What a part is.
pub(super) enum Content {
    /// Options, or named items, in the order of the file.
    Table(Vec<(String, Part)>),
    List(Vec<Part>),
    Value(Value),
}

impl Part {
    fn of_json(value: Value) -> Self {
        let content = match value {
            Value::Object(object) => {
                Content::Table(object.into_iter().map(|(key, value)| (key, Self::of_json(value))).collect())
            }
            Value::Array(items) => Content::List(items.into_iter().map(Self::of_json).collect()),
            value => Content::Value(value),
        };
        Self { line: 0, content }
    }

    fn into_value(self) -> Value {
        match self.content {
            Content::Table(entries) => {
                Value::Object(entries.into_iter().map(|(key, part)| (key, part.into_value())).collect())
            }
            Content::List(items) => items.into_iter().map(Self::into_value).collect(),
            Content::Value(value) => value,
        }
    }
}

/// The sections that these parts become, and what is wrong with their form.
pub(super) fn sections(file: &str, parts: Vec<(String, Part)>) -> (Ini, Vec<Problem>) {
    let mut reader = Reader { file: Arc::from(file), ini: Ini::in_order(), problems: Vec::new() };
    for (key, part) in parts {
        reader.part(&key, part);
    }
    (reader.ini, reader.problems)
}

struct Reader {
    file: Arc<str>,
    ini: Ini,
    problems: Vec<Problem>,
}

impl Reader {
    fn part(&mut self, key: &str, Part { line, content }: Part) {
        // Where an editor finds the schema.
        if key == "$schema" {
            return;
        }
        let list = LISTS.iter().find(|(list, _)| *list == key);
        match (list, content) {
            (Some((_, prefix)), Content::List(items)) => {
                for (item, number) in items.into_iter().zip(1..) {
                    self.item(key, prefix, number, item);
                }
            }
            (Some((_, prefix)), Content::Table(items)) => {
                for (name, item) in items {
                    self.named(key, prefix, &name, item);
                }
            }
            (None, Content::Table(options)) if key == CIRCUS => self.section(CIRCUS, line, options),
            (None, _) if key == CIRCUS => self.refuse(line, format!("{key} is not an object")),
            (Some(_), _) => self.refuse(line, format!("{key} is neither a list nor an object")),
            (None, _) => {
                let text = format!("unknown key '{key}'; there are circus, watchers, sockets, plugins and slots");
                self.refuse(line, text);
            }
        }
    }

    /// An item of a list, which names itself.
    fn item(&mut self, key: &str, prefix: &str, number: usize, Part { line, content }: Part) {
        let Content::Table(mut options) = content else {
            return self.refuse(line, format!("{key}: item {number} is not an object"));
        };
        let at = options.iter().position(|(key, _)| key == "name");
        let name = at.map(|at| options.remove(at).1.into_value());
        let Some(Value::String(name)) = name else {
            return self.refuse(line, format!("{key}: item {number} has no name"));
        };
        self.entry(key, prefix, &name, line, options);
    }

    /// An item that its key names.
    fn named(&mut self, key: &str, prefix: &str, name: &str, Part { line, content }: Part) {
        match content {
            Content::Table(options) if options.iter().any(|(key, _)| key == "name") => {
                self.refuse(line, format!("{key}: '{name}' has a name already, by its key"));
            }
            Content::Table(options) => self.entry(key, prefix, name, line, options),
            Content::List(_) | Content::Value(_) => self.refuse(line, format!("{key}: '{name}' is not an object")),
        }
    }

    fn entry(&mut self, key: &str, prefix: &str, name: &str, line: u32, options: Vec<(String, Part)>) {
        let section = format!("{prefix}{name}");
        if self.ini.section(&section).is_some() {
            return self.refuse(line, format!("{key}: '{name}' is there twice"));
        }
        self.section(&section, line, options);
    }

    fn section(&mut self, name: &str, line: u32, options: Vec<(String, Part)>) {
        let place = |line| Place { file: Arc::clone(&self.file), line };
        let entries = options.into_iter().map(|(key, part)| {
            let place = place(part.line);
            let value = part.into_value();
            Entry { comment: None, key, value: display(&value), json: Some(value), place }
        });
        self.ini.add(name, place(line), entries);
    }

    fn refuse(&mut self, line: u32, text: String) {
        self.problems.push(Problem::fatal(&Place { file: Arc::clone(&self.file), line }, text));
    }
}

#[cfg(test)]
mod tests;
