//! A configuration as TOML: the sections and keys of the JSON form, with their lines.
//!
//! ```toml
//! [circus]
//! check_delay = 1
//!
//! [watchers.web]
//! cmd = "gunicorn"
//! args = ["--bind", "fd://$(circus.sockets.web)"]
//! ```

use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ini::Ini;
use super::json::{Content, Part, sections};
use super::{Place, Problem};

/// Whether a file is TOML: by its name.
pub(super) fn is_toml(file: &str) -> bool {
    file.ends_with(".toml")
}

/// The sections of a configuration, and what is wrong with its form.
pub(super) fn parse(file: &str, text: &str) -> (Ini, Vec<Problem>) {
    let lines = Lines { text };
    match DeTable::parse(text) {
        Err(error) => {
            let line = error.span().map_or(0, |span| lines.of(span.start));
            let place = Place { file: Arc::from(file), line };
            (Ini::default(), vec![Problem::fatal(&place, format!("is not TOML: {}", error.message()))])
        }
        Ok(table) => sections(file, lines.entries(table.into_inner())),
    }
}

struct Lines<'t> {
    text: &'t str,
}

impl Lines<'_> {
    /// The line in which this byte stands, counted from 1.
    fn of(&self, byte: usize) -> u32 {
        let before = self.text.as_bytes().get(..byte).unwrap_or_default();
        u32::try_from(before.iter().filter(|byte| **byte == b'\n').count()).map_or(0, |lines| lines.saturating_add(1))
    }

    /// The entries of a table in the order of the file, which watchers start in.
    fn entries(&self, table: DeTable<'_>) -> Vec<(String, Part)> {
        let mut entries: Vec<_> =
            table.into_iter().map(|(key, value)| (key.span().start, key.into_inner(), value)).collect();
        entries.sort_by_key(|(start, ..)| *start);
        let part = |(start, key, value): (usize, std::borrow::Cow<'_, str>, _)| {
            (key.into_owned(), Part { line: self.of(start), ..self.part(value) })
        };
        entries.into_iter().map(part).collect()
    }

    fn part(&self, value: Spanned<DeValue<'_>>) -> Part {
        let line = self.of(value.span().start);
        let content = match value.into_inner() {
            DeValue::Table(table) => Content::Table(self.entries(table)),
            DeValue::Array(items) => Content::List(items.into_iter().map(|item| self.part(item)).collect()),
            DeValue::String(text) => Content::Value(text.into_owned().into()),
            // What is no number of JSON keeps its text, which the option refuses or reads.
            DeValue::Integer(number) => Content::Value(match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => number.as_str().into(),
            }),
            DeValue::Float(number) => Content::Value(match number.as_str().parse::<f64>() {
                Ok(value) if value.is_finite() => value.into(),
                Ok(_) | Err(_) => number.as_str().into(),
            }),
            DeValue::Boolean(flag) => Content::Value(flag.into()),
            DeValue::Datetime(time) => Content::Value(Value::String(time.to_string())),
        };
        Part { line, content }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeMachine;
    use super::super::{Args, Host, Loaded, load};

    fn loaded(text: &str) -> Loaded {
        let machine = FakeMachine::default().with_directory("/T").with("/T/circus.toml", text);
        load("/T/circus.toml", &Host { cwd: "/T".into(), ..Host::default() }, &machine)
    }

    #[test]
    fn arguments_and_variables_are_what_they_are() {
        let loaded = loaded(
            r#"
            [circus]
            check_delay = 0.5
            [watchers.b]
            cmd = "echo"
            args = ["a b", "", '$HOME % $(circus.env.home)']
            numprocesses = 2
            env = { T = "two\nlines", U = 'x' }
            stdout_stream = { class = "StdoutStream" }
            graceful_timeout = 0x10
            [watchers.a]
            cmd = "x"
            autostart = false
            [[sockets]]
            name = "web"
            port = 0
            [slots.gpu]
            values = ["0", "1"]
            "#,
        );
        assert_eq!(loaded.problems, []);
        let config = loaded.config.unwrap();
        let names: Vec<&str> = config.watchers.iter().map(|watcher| watcher.name.as_str()).collect();
        assert_eq!((names, config.circus.check_delay), (vec!["b", "a"], 0.5));
        let watcher = &config.watchers[0];
        let args = ["a b", "", "$HOME % $(circus.env.home)"].map(str::to_owned).to_vec();
        assert_eq!((&watcher.args, watcher.numprocesses), (&Some(Args::List(args)), 2));
        assert_eq!(watcher.env.as_ref().unwrap()["T"], "two\nlines");
        assert_eq!((watcher.graceful_timeout, config.watchers[1].autostart), (16.0, false));
        assert_eq!(config.sockets[0].name, "web");
    }

    #[test]
    fn problems_name_their_line() {
        for (text, problem) in [
            ("[watchers.w]\ncmd = \"x\"\nnumprocesses = \"many\"\n", "/T/circus.toml:3: [watcher:w] numprocesses: "),
            ("[watchers.w]\ncmd = \"x\"\ntypo = 1\n[watcher.x]\n", "/T/circus.toml:4: unknown key 'watcher'"),
            ("[watchers]\nw = 1\n", "/T/circus.toml:2: watchers: 'w' is not an object"),
            ("[watchers.w]\nname = \"x\"\n", "/T/circus.toml:1: watchers: 'w' has a name already"),
            ("[circus]\ncheck_delay = = 1\n", "/T/circus.toml:2: is not TOML: "),
            ("[[sockets]]\nname = \"a\"\n[[sockets]]\nname = \"a\"\n", "/T/circus.toml:3: sockets: 'a' is there twice"),
        ] {
            let problems = loaded(text).problems;
            assert!(problems.iter().any(|found| found.to_string().starts_with(problem)), "{text}: {problems:?}");
        }
    }
}
