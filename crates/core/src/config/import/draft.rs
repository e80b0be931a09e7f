//! An INI file that is being written.

use std::fmt;

use crate::config::ini;

/// The file: comments on all of it, and its sections.
#[derive(Debug, Default)]
pub(super) struct Draft {
    head: Vec<String>,
    sections: Vec<Section>,
}

/// A section with its lines.
#[derive(Debug)]
pub(super) struct Section {
    name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Key(String, String),
    Note(String),
}

impl Draft {
    /// Says where the file comes from.
    pub(super) fn about(&mut self, file: &str) {
        self.head.insert(
            0,
            format!("Made from {file} by circusctl import. A line that begins with # has no equal here, or says"),
        );
        self.head.insert(1, "what is different; circusd --check reports what this machine lacks.".into());
    }

    /// A comment on the whole file.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.head.push(text.into());
    }

    /// Adds a section, unless it is empty.
    pub(super) fn add(&mut self, section: Section) {
        if !section.lines.is_empty() {
            self.sections.push(section);
        }
    }

    /// A name for a watcher that no other has: those of other managers may have characters that mean something here.
    pub(super) fn watcher_name(&self, wanted: &str) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = wanted.trim().chars().map(allowed).collect();
        let name = if name.is_empty() { "app".to_owned() } else { name };
        let is_taken = |name: &str| {
            let taken = self.sections.iter().filter_map(|section| section.name.strip_prefix("watcher:"));
            taken.into_iter().any(|taken| taken.eq_ignore_ascii_case(name))
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(name)
    }
}

impl Section {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lines: Vec::new() }
    }

    /// Sets a key, unless it is set. A value that the file cannot hold becomes a comment.
    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if self.has(key) {
            return;
        }
        match holds(&value) && is_key(key) {
            true => self.lines.push(Line::Key(key.into(), value)),
            false => {
                self.note(format!("{key} = {value}: a file cannot hold this value (a line break, or a blank before ;)"))
            }
        }
    }

    /// Sets the command. Where a semicolon would begin a comment, the blank before it is left out.
    pub(super) fn set_command(&mut self, command: &str) {
        let line = command.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let line = match line.split_once(';') {
            Some((before, after)) if !holds(&line) && !is_quoted(before) => format!("{};{after}", before.trim_end()),
            _ => line,
        };
        self.set("cmd", line);
    }

    /// Sets a variable of an env section, whose value has no references.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) {
        self.set(name, value.replace('$', "$$"));
    }

    /// A comment.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Note(text.into()));
    }

    /// Its name and its keys.
    pub(super) fn into_keys(self) -> (String, Vec<(String, String)>) {
        let key = |line| match line {
            Line::Key(key, value) => Some((key, value)),
            Line::Note(_) => None,
        };
        (self.name, self.lines.into_iter().filter_map(key).collect())
    }

    /// Whether a key is set.
    pub(super) fn has(&self, wanted: &str) -> bool {
        self.lines.iter().any(|line| matches!(line, Line::Key(key, _) if key == wanted))
    }
}

/// Whether a file gives a value back as it is.
fn holds(value: &str) -> bool {
    !value.contains(|c: char| c.is_control() && c != '\t')
        && value != "\"\""
        && ini::value_of(&format!(" {value}")) == value
}

/// Whether a line that begins with this is a key: names of variables come from the file.
fn is_key(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && !"=:[]#;".contains(c))
}

/// Whether a text ends between quotes.
fn is_quoted(text: &str) -> bool {
    let mut quote = None;
    for c in text.chars().filter(|c| matches!(c, '\'' | '"')) {
        match quote {
            None => quote = Some(c),
            Some(open) if open == c => quote = None,
            Some(_) => {}
        }
    }
    quote.is_some()
}

/// A text of one line, for a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.head {
            writeln!(f, "# {}", one_line(note))?;
        }
        for section in &self.sections {
            writeln!(f, "\n[{}]", section.name)?;
            for line in &section.lines {
                match line {
                    Line::Key(key, value) => writeln!(f, "{key} = {value}")?,
                    Line::Note(text) => writeln!(f, "# {}", one_line(text))?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::ini::Ini;

    fn written(set: impl FnOnce(&mut Section)) -> String {
        let (mut draft, mut section) = (Draft::default(), Section::new("watcher:web"));
        set(&mut section);
        draft.add(section);
        draft.to_string()
    }

    #[test]
    fn a_semicolon_begins_no_comment() {
        let command = |text: &str| written(|section| section.set_command(text));
        assert_eq!(command("cd x ; y ; z"), "\n[watcher:web]\ncmd = cd x; y ; z\n");
        assert_eq!(command("a\n  b"), "\n[watcher:web]\ncmd = a b\n");
        assert!(command("sh -c 'a ; b'").contains("# cmd = sh -c 'a ; b': a file cannot hold"));
    }

    #[test]
    fn a_name_that_is_no_key_becomes_a_comment() {
        for name in ["[a]", "a b", "", "#a", "a=b", "a\nb"] {
            assert!(written(|section| section.set(name, "x")).starts_with("\n[watcher:web]\n# "), "{name}");
        }
    }

    #[test]
    fn names_are_plain_and_differ() {
        let mut draft = Draft::default();
        assert_eq!(draft.watcher_name("a b*"), "a-b-");
        let mut section = Section::new("watcher:Web");
        section.note("x");
        draft.add(section);
        assert_eq!((draft.watcher_name("web"), draft.watcher_name("")), ("web-2".into(), "app".into()));
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_again(value in "([ ;#\"$=\n\t]|\\PC){0,20}") {
            let text = written(|section| section.set("x", value.clone()));
            let (ini, bad) = Ini::parse("f", &text);
            prop_assert!(bad.is_empty());
            if let Some(entry) = ini.section("watcher:web").and_then(|section| section.get("x")) {
                prop_assert_eq!(&entry.value, &value);
            }
        }
    }
}
