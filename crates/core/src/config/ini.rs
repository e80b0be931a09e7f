//! The dialect: text to sections of keys, each with its place. What keys mean is not known here.
//!
//! Within a section the first definition of a key wins, and so does the file that was merged first. A line that
//! is invalid is noted, and reading goes on, so that one run shows all errors.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::Place;
use super::python::{is_space, trim};

/// A key of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    /// The value itself, where it came as JSON: it is taken as it is, and `value` only shows it.
    pub(super) json: Option<Value>,
    /// The comment behind the value, from its `;` on.
    pub(super) comment: Option<String>,
    pub(super) place: Place,
}

/// A section with the keys written in it, in the order of their first definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

/// A key that its section has already, with another value. The first one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) first: Place,
    pub(super) place: Place,
}

/// A line that is neither section nor key nor comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: u32,
    pub(super) text: String,
}

/// The sections of one file, or of several merged ones, in the order of their first appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ini {
    /// Whether watchers start in the order in which they stand here, rather than by name.
    pub(super) keeps_order: bool,
    sections: Vec<Section>,
    index: HashMap<String, usize>,
    /// Those of the files as they were read, not what merging them left out.
    pub(super) repeats: Vec<Repeat>,
}

const DEFAULT: &str = "DEFAULT";

impl Section {
    fn new(name: &str, place: Place) -> Self {
        Self { name: name.into(), place, entries: Vec::new(), index: HashMap::new() }
    }

    /// The key's entry in this section alone.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|at| self.entries.get(*at))
    }

    /// Keeps the first definition of a key and returns where that one stands.
    fn insert(&mut self, entry: Entry) -> usize {
        let at = *self.index.entry(entry.key.clone()).or_insert(self.entries.len());
        if at == self.entries.len() {
            self.entries.push(entry);
        }
        at
    }
}

impl Ini {
    /// Reads one file. The lines that were not understood come beside what was.
    pub(super) fn parse(file: &str, text: &str) -> (Self, Vec<BadLine>) {
        let mut reader = Reader::new(file);
        for (line, number) in lines(text).zip(1..) {
            reader.line(line, number);
        }
        (reader.ini, reader.bad)
    }

    /// Adds the sections and keys that are not there yet.
    pub(super) fn merge(&mut self, other: Self) {
        for section in other.sections {
            let at = self.open(&section.name, section.place);
            if let Some(own) = self.sections.get_mut(at) {
                for entry in section.entries {
                    own.insert(entry);
                }
            }
        }
    }

    /// No sections yet; watchers start in the order in which they will be added.
    pub(super) fn in_order() -> Self {
        Self { keeps_order: true, ..Self::default() }
    }

    /// Adds a section with these keys.
    pub(super) fn add(&mut self, name: &str, place: Place, entries: impl IntoIterator<Item = Entry>) {
        let at = self.open(name, place);
        if let Some(section) = self.sections.get_mut(at) {
            for entry in entries {
                section.insert(entry);
            }
        }
    }

    /// Every section but `[DEFAULT]`.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.name != DEFAULT)
    }

    /// The section of exactly this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).and_then(|at| self.sections.get(*at))
    }

    /// The keys of `[DEFAULT]`, which stand in every section that has none of the same name.
    pub(super) fn defaults(&self) -> &[Entry] {
        self.section(DEFAULT).map_or(&[], |section| &section.entries)
    }

    /// The keys of a section: those of `[DEFAULT]` first, as far as they are not its own.
    pub(super) fn entries<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Entry> {
        self.defaults().iter().filter(|entry| section.get(&entry.key).is_none()).chain(&section.entries)
    }

    /// Whether an entry stands in `[DEFAULT]`, and so in sections that it was perhaps not meant for.
    pub(super) fn is_default(&self, entry: &Entry) -> bool {
        self.defaults().iter().any(|default| std::ptr::eq(default, entry))
    }

    fn open(&mut self, name: &str, place: Place) -> usize {
        let at = *self.index.entry(name.into()).or_insert(self.sections.len());
        if at == self.sections.len() {
            self.sections.push(Section::new(name, place));
        }
        at
    }

    fn value_mut(&mut self, section: usize, entry: usize) -> Option<&mut String> {
        self.sections.get_mut(section)?.entries.get_mut(entry).map(|entry| &mut entry.value)
    }
}

/// Lines as Python's text mode knows them: ended by `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

struct Reader {
    file: Arc<str>,
    ini: Ini,
    bad: Vec<BadLine>,
    section: Option<usize>,
    /// What a continuation line continues. A key without a name cannot be.
    option: Option<usize>,
    headless: bool,
}

impl Reader {
    fn new(file: &str) -> Self {
        let file = Arc::from(file);
        Self { file, ini: Ini::default(), bad: Vec::new(), section: None, option: None, headless: false }
    }

    fn line(&mut self, line: &str, number: u32) {
        if is_skipped(line) {
            return;
        }
        if line.starts_with(is_space)
            && let (Some(section), Some(option)) = (self.section, self.option)
        {
            self.continuation(section, option, trim(line));
        } else if let Some(name) = header(line) {
            let place = self.place(number);
            self.section = Some(self.ini.open(name, place));
            self.option = None;
        } else {
            self.key(line, number);
        }
    }

    fn continuation(&mut self, section: usize, option: usize, more: &str) {
        if let Some(value) = self.ini.value_mut(section, option) {
            value.push('\n');
            value.push_str(more);
        }
    }

    fn key(&mut self, line: &str, number: u32) {
        let Some(section) = self.section else {
            // Everything up to the first header would be reported again; once is enough.
            if !std::mem::replace(&mut self.headless, true) {
                self.complain(number, format!("'{}' stands before the first [section]", trim(line)));
            }
            return;
        };
        let Some((key, value)) = line.split_once(['=', ':']) else {
            self.complain(number, format!("'{}' is neither a [section] nor a key = value", trim(line)));
            return;
        };
        let key = key.trim_end_matches(is_space).to_owned();
        let (value, comment) = clean(value);
        let comment = comment.map(str::to_owned);
        let entry = Entry { key, value: value.into(), json: None, comment, place: self.place(number) };
        let continuable = !entry.key.is_empty();
        self.note_repeat(section, &entry);
        let at = self.ini.sections.get_mut(section).map(|section| section.insert(entry));
        self.option = at.filter(|_| continuable);
    }

    fn note_repeat(&mut self, section: usize, entry: &Entry) {
        let Some(section) = self.ini.sections.get(section) else { return };
        let Some(first) = section.get(&entry.key).filter(|first| first.value != entry.value) else { return };
        self.ini.repeats.push(Repeat {
            section: section.name.clone(),
            key: entry.key.clone(),
            first: first.place.clone(),
            place: entry.place.clone(),
        });
    }

    fn complain(&mut self, line: u32, text: String) {
        self.bad.push(BadLine { line, text });
    }

    fn place(&self, line: u32) -> Place {
        Place { file: Arc::clone(&self.file), line }
    }
}

/// Blank lines, comments, and lines whose first word is `rem`.
fn is_skipped(line: &str) -> bool {
    let rem = || line.split(is_space).next().is_some_and(|word| word.eq_ignore_ascii_case("rem"));
    trim(line).is_empty() || line.starts_with(['#', ';']) || rem()
}

/// The name between the first `[`, which begins the line, and the last `]`.
fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.rsplit_once(']').map(|(name, _)| name).filter(|name| !name.is_empty())
}

/// What a file makes of the text behind the `=` of a key.
pub(super) fn value_of(raw: &str) -> &str {
    clean(raw).0
}

/// A value without blanks around it, and the comment behind it: from the first `;` on, if a blank stands before that.
fn clean(raw: &str) -> (&str, Option<&str>) {
    let value = trim(raw);
    let (kept, comment) = match value.find(';').and_then(|at| value.split_at_checked(at)) {
        // The original looks before the first character by looking at the last, so a blank at the end of the line
        // makes a comment of such a value.
        Some(("", comment)) if raw.ends_with(is_space) => ("", Some(comment)),
        Some((kept, comment)) if kept.ends_with(is_space) => (trim(kept), Some(comment)),
        Some(_) | None => (value, None),
    };
    (if kept == "\"\"" { "" } else { kept }, comment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `[section] key=value ...` of every section, for comparing at a glance.
    fn read(text: &str) -> String {
        let (ini, bad) = Ini::parse("f", text);
        let mut out = Vec::new();
        for section in ini.sections() {
            out.push(format!("[{}]", section.name));
            out.extend(ini.entries(section).map(|entry| format!("{:?}={:?}", entry.key, entry.value)));
        }
        out.extend(bad.iter().map(|bad| format!("bad {}", bad.line)));
        out.join(" ")
    }

    fn value(text: &str) -> String {
        let (ini, bad) = Ini::parse("f", &format!("[a]\n{text}"));
        assert_eq!(bad, [], "{text}");
        ini.section("a").and_then(|a| a.get("x")).map(|x| x.value.clone()).unwrap()
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("x = 1", "1"),
            ("x : 1", "1"),
            ("x == 1", "= 1"),
            ("x := 2", "= 2"),
            ("x =", ""),
            ("x = \"\"", ""),
            ("x = \"q\"", "\"q\""),
            ("x = 1 ; comment", "1"),
            ("x = a;b ;c", "a;b ;c"),
            ("x = ;c", ";c"),
            ("x = ;c ", ""),
            ("x = 1 # no comment", "1 # no comment"),
            ("x = 50% %(y)s", "50% %(y)s"),
            ("x = \u{a0}v\u{1c}", "v"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn continuation_lines() {
        for (text, expected) in [
            ("x = 1\n y", "1\ny"),
            ("x = 1\n\n   \n y", "1\ny"),
            ("x =\n  y", "\ny"),
            ("x = \"\"\n y", "\ny"),
            ("x = 1 ; c\n y ; d", "1\ny ; d"),
            ("x = 1\n#c\n y\n;c\n # data\nrem c\n w", "1\ny\n# data\nw"),
            ("x = 1\n [b]", "1\n[b]"),
            ("x = 1\nx = 2\n  3", "1\n3"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_and_rem() {
        assert_eq!(read("# c\n; c\n[a]\nrem foo = 2\nREM\nRem\tx\nremx = 3\n"), r#"[a] "remx"="3""#);
        assert_eq!(read("[a]\nrema\n"), "[a] bad 2");
    }

    #[test]
    fn headers() {
        assert_eq!(read("[a]]x] rest\nb=1"), r#"[a]]x] "b"="1""#);
        assert_eq!(read("[ a ]\n[A]\n[a] = 3"), "[ a ] [A] [a]");
        assert_eq!(read("[a]\n[[b] = 1"), "[a] [[b]");
        assert_eq!(read("[a]\n[b = 1"), r#"[a] "[b"="1""#);
        assert_eq!(read("[a]\n[]"), "[a] bad 2");
    }

    #[test]
    fn what_stands_before_the_first_header_is_reported_once() {
        assert_eq!(read("x = 1\ny = 2\n[a]\nz = 3"), r#"[a] "z"="3" bad 1"#);
        assert_eq!(read(" [a]\nx=1"), "bad 1");
        assert_eq!(read("\u{feff}[a]\nx=1"), "bad 1");
    }

    #[test]
    fn every_bad_line_is_reported() {
        assert_eq!(read("[a]\nnonsense\nx = 1\nmore\n y\n z"), r#"[a] "x"="1\ny\nz" bad 2 bad 4"#);
    }

    #[test]
    fn an_indented_first_key_keeps_its_indentation() {
        assert_eq!(read("[a]\n x = 1\n y = 2"), r#"[a] " x"="1\ny = 2""#);
        assert_eq!(read("[a]\nx = 1\n[a]\n y"), r#"[a] "x"="1" bad 4"#);
    }

    #[test]
    fn keys_are_case_sensitive_and_the_first_definition_wins() {
        assert_eq!(read("[a]\nx y = 1\nX = 2\nx y  = 3\n[b]\n[a]\nz = 4"), r#"[a] "x y"="1" "X"="2" "z"="4" [b]"#);
        assert_eq!(read("[a]\n= v\n w"), r#"[a] ""="v" bad 3"#);
    }

    #[test]
    fn default_reaches_every_section_and_is_none() {
        assert_eq!(
            read("[DEFAULT]\nq = 1\n[a]\nq = 2\n[b]\n[default]"),
            r#"[a] "q"="2" [b] "q"="1" [default] "q"="1""#
        );
    }

    #[test]
    fn all_line_ends_are_understood() {
        assert_eq!(read("[a]\r\nx = 1\r\ny = 2\rz = 3\n"), r#"[a] "x"="1" "y"="2" "z"="3""#);
        let (ini, _) = Ini::parse("f", "[a]\r\nx = 1\r\n");
        assert_eq!(ini.section("a").and_then(|a| a.get("x")).map(|x| x.place.line), Some(2));
    }

    #[test]
    fn what_was_merged_first_wins() {
        let (mut ini, _) = Ini::parse("main", "[a]\nx = 1\n[DEFAULT]\nd = main");
        ini.merge(Ini::parse("more", "[b]\ny = 1\n[a]\nx = 2\n  3\nz = 4\n[DEFAULT]\nd = more\ne = more").0);
        let a = ini.section("a").unwrap();
        assert_eq!(a.get("x").map(|x| x.value.as_str()), Some("1"));
        assert_eq!(a.get("z").map(|z| &*z.place.file), Some("more"));
        assert_eq!(ini.defaults().iter().map(|d| d.value.as_str()).collect::<Vec<_>>(), ["main", "more"]);
        assert_eq!(ini.sections().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "([\\[\\]=:;# \"rem\ta-c\r\n\u{a0}é]|\\PC){0,80}") {
            let (ini, bad) = Ini::parse("f", &text);
            let count = lines(&text).count();
            prop_assert!(bad.iter().all(|bad| (1..=count).contains(&(bad.line as usize))));
            for section in ini.sections() {
                prop_assert!(ini.entries(section).all(|entry| (entry.place.line as usize) <= count));
            }
        }
    }
}
