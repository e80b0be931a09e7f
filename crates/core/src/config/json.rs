//! A configuration as JSON: the same sections and keys, for programs that start circusd.
//!
//! ```json
//! {"circus": {"check_delay": 1}, "watchers": [{"name": "web", "cmd": "gunicorn", "args": ["a b"], "env": {"A": "1"}}],
//!  "sockets": [{"name": "web", "port": 8000}], "plugins": [{"name": "mine", "use": "my.Plugin"}],
//!  "slots": [{"name": "gpu", "values": ["0", "1"]}]}
//! ```
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
    let file: Arc<str> = Arc::from(file);
    let whole = Place { file: Arc::clone(&file), line: 0 };
    match serde_json::from_str::<Object>(text) {
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(0);
            (Ini::default(), vec![Problem::fatal(&Place { file, line }, format!("is not a JSON object: {error}"))])
        }
        Ok(object) => {
            let ini = Ini::in_order();
            let mut reader = Reader { place: whole, ini, problems: Vec::new() };
            for (key, value) in object {
                reader.part(&key, value);
            }
            (reader.ini, reader.problems)
        }
    }
}

struct Reader {
    place: Place,
    ini: Ini,
    problems: Vec<Problem>,
}

impl Reader {
    fn part(&mut self, key: &str, value: Value) {
        let list = LISTS.iter().find(|(list, _)| *list == key);
        match (list, value) {
            (Some((_, prefix)), Value::Array(items)) => {
                for (item, number) in items.into_iter().zip(1..) {
                    self.item(key, prefix, number, item);
                }
            }
            (None, Value::Object(options)) if key == CIRCUS => self.section(CIRCUS, options),
            (None, _) if key == CIRCUS => self.refuse(format!("{key} is not an object")),
            (Some(_), _) => self.refuse(format!("{key} is not a list")),
            (None, _) => {
                self.refuse(format!("unknown key '{key}'; there are circus, watchers, sockets, plugins and slots"))
            }
        }
    }

    fn item(&mut self, key: &str, prefix: &str, number: usize, item: Value) {
        let Value::Object(mut options) = item else {
            return self.refuse(format!("{key}: item {number} is not an object"));
        };
        let Some(Value::String(name)) = options.shift_remove("name") else {
            return self.refuse(format!("{key}: item {number} has no name"));
        };
        let section = format!("{prefix}{name}");
        if self.ini.section(&section).is_some() {
            return self.refuse(format!("{key}: '{name}' is there twice"));
        }
        self.section(&section, options);
    }

    fn section(&mut self, name: &str, options: Object) {
        let entries = options.into_iter().map(|(key, value)| Entry {
            comment: None,
            key,
            value: display(&value),
            json: Some(value),
            place: self.place.clone(),
        });
        self.ini.add(name, self.place.clone(), entries);
    }

    fn refuse(&mut self, text: String) {
        self.problems.push(Problem::fatal(&self.place, text));
    }
}

#[cfg(test)]
mod tests;
