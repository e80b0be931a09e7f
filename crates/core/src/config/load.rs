//! The main file and what it includes, read through the caller's [`Facts`].

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::assemble::{Assembled, assemble, forbids};
use super::check::{self, Report, Subject, Totals};
use super::differences::notes;
use super::env::{Environment, expand_os};
use super::facts::{Facts, FileKind};
use super::fnmatch::fnmatch;
use super::import::procfile;
use super::ini::{Ini, Repeat, Section};
use super::json;
use super::own_user;
use super::python::is_space;
use super::toml;
use super::{Config, Host, Place, Problem, Severity};

/// What a file and its includes mean, and everything that is wrong with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// `None` when circusd must not start.
    pub config: Option<Config>,
    /// Those of the main file first, each file's in the order of its lines.
    pub problems: Vec<Problem>,
    /// What the user that circusd runs as cannot do, or lets others do: the file is right for another user.
    pub of_user: Vec<Problem>,
}

impl Loaded {
    /// The configuration that replaces the one in force, and the warnings; or the errors that forbid it.
    ///
    /// At startup a faulty watcher is skipped; on reload that would stop its processes. So every error refuses the file,
    /// except those that were `known` when it was last read: what they leave out was left out then too.
    pub fn replacing(self, known: &[Problem]) -> Result<(Config, Vec<String>), Vec<String>> {
        let is_known = |problem: &Problem| known.iter().any(|other| problem.is_like(other));
        let (errors, rest): (Vec<_>, Vec<_>) =
            self.problems.into_iter().partition(|problem| problem.severity > Severity::Warning && !is_known(problem));
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        match self.config {
            Some(config) if errors.is_empty() => Ok((config, texts(rest))),
            Some(_) => Err(texts(errors)),
            None => Err(texts(errors.into_iter().chain(rest).collect())),
        }
    }
}

/// Where a configuration is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A file, which is read again where a configuration is to be read again.
    File(String),
    /// A text that was handed over once, through a descriptor.
    Text {
        /// What messages call it.
        name: String,
        /// All of it.
        text: String,
    },
}

/// Reads a configuration file: [`Origin::load`].
pub fn load(path: &str, host: &Host, facts: &dyn Facts) -> Loaded {
    Origin::File(path.to_owned()).load(host, facts)
}

/// Checks a configuration file: [`Origin::check`].
pub fn check(path: &str, host: &Host, facts: &dyn Facts) -> Report {
    Origin::File(path.to_owned()).check(host, facts)
}

impl Origin {
    /// What messages call it.
    pub fn name(&self) -> &str {
        match self {
            Self::File(name) | Self::Text { name, .. } => name,
        }
    }

    /// Reads the configuration. A relative path is relative to where circusd was started.
    pub fn load(&self, host: &Host, facts: &dyn Facts) -> Loaded {
        let mut problems = Vec::new();
        let read = self.read(host, facts, &mut problems);
        let mut of_user = Vec::new();
        let config = read.and_then(|(ini, include_dirs)| {
            let environment = Environment::new(&ini, host);
            let assembled = assemble(&ini, &environment, host, facts);
            of_user = own_user::problems(self.name(), &ini, &assembled, facts, Severity::Warning);
            let config = decide(self.name(), &ini, assembled, host, &mut problems)?;
            Some(Config { include_dirs, ..config })
        });
        sort(self.name(), &mut problems);
        Loaded { config, problems, of_user }
    }

    /// Reads it only to report what is wrong with it, and what differs from Circus 0.19.
    pub fn check(&self, host: &Host, facts: &dyn Facts) -> Report {
        let mut problems = Vec::new();
        let mut totals = Totals::default();
        if let Some((ini, _)) = self.read(host, facts, &mut problems) {
            let environment = Environment::new(&ini, host);
            let assembled = assemble(&ini, &environment, host, facts);
            totals = Totals::of(&assembled);
            let file = Path::new(&host.cwd).join(self.name());
            let directory = file.parent().filter(|_| matches!(self, Self::File(_)));
            let installed = OnceCell::new();
            let subject = Subject {
                ini: &ini,
                environment: &environment,
                assembled: &assembled,
                host,
                facts,
                directory,
                installed: &installed,
            };
            let found = check::problems(subject);
            problems.extend(own_user::problems(self.name(), &ini, &assembled, facts, Severity::Note));
            let _config = decide(self.name(), &ini, assembled, host, &mut problems);
            problems.extend(found);
            problems.extend(notes(&ini, host));
        }
        sort(self.name(), &mut problems);
        Report { problems, totals }
    }

    /// The sections of the text, and of what an INI file includes, and the directories of `include_dir`.
    fn read(&self, host: &Host, facts: &dyn Facts, problems: &mut Vec<Problem>) -> Option<(Ini, Vec<PathBuf>)> {
        let name = self.name();
        let text = match self {
            Self::File(path) => read_main(facts, Path::new(path)),
            Self::Text { text, .. } => Ok(text.clone()),
        };
        let text = text.map_err(|error| problems.push(Problem::fatal(&whole(name), error))).ok()?;
        if let Self::File(path) = self
            && Path::new(path).file_name().is_some_and(|name| procfile::is_named_so(&name.to_string_lossy()))
        {
            let directory = Path::new(&host.cwd).join(path);
            let directory = directory.parent().unwrap_or(Path::new("/"));
            let has_env_file = facts.exists(&directory.join(".env"));
            let (ini, found) = procfile::sections(name, &text, &directory.to_string_lossy(), has_env_file);
            problems.extend(found);
            return Some((ini, Vec::new()));
        }
        let is_toml = matches!(self, Self::File(path) if toml::is_toml(path));
        let mut ini = if is_toml || json::is_json(&text) {
            let (ini, found) = if is_toml { toml::parse(name, &text) } else { json::parse(name, &text) };
            problems.extend(found);
            ini
        } else {
            let mut ini = parse(name, &text, Severity::Fatal, problems);
            problems.extend(repeats(&mut ini));
            ini
        };
        let include_dirs = includes(name, &mut ini, host, facts, problems);
        Some((ini, include_dirs))
    }
}

/// The configuration, unless there is a reason not to start with it.
fn decide(path: &str, ini: &Ini, assembled: Assembled<'_>, host: &Host, problems: &mut Vec<Problem>) -> Option<Config> {
    let has_fatal = |problems: &[Problem]| problems.iter().any(|problem| problem.severity == Severity::Fatal);
    if assembled.watchers.is_empty() && !has_fatal(problems) && !has_fatal(&assembled.problems) {
        let text = "there is no [watcher:NAME], so nothing runs until a client adds a watcher";
        problems.push(Problem::warning(&whole(path), text));
    }
    let (config, found) = assembled.into_config(host);
    problems.extend(found);
    let config = config.filter(|_| problems.iter().all(|problem| problem.severity < Severity::Fatal))?;
    let forbidden = forbids(ini, &config, problems);
    let allowed = forbidden.is_none();
    problems.extend(forbidden);
    allowed.then_some(config)
}

fn parse(file: &str, text: &str, severity: Severity, problems: &mut Vec<Problem>) -> Ini {
    let (ini, bad) = Ini::parse(file, text);
    let place = |line| Place { file: Arc::from(file), line };
    problems.extend(bad.into_iter().map(|bad| Problem::new(severity, &place(bad.line), bad.text)));
    ini
}

/// A key that is written twice in a file with different values.
fn repeats(ini: &mut Ini) -> impl Iterator<Item = Problem> {
    std::mem::take(&mut ini.repeats).into_iter().map(|repeat| {
        let Repeat { section, key, first, place } = repeat;
        let text = format!("[{section}] {key}: is ignored, as line {} has {key} already", first.line);
        Problem::warning(&place, text)
    })
}

/// A watcher that two included files describe differently. The main file is expected to override what it includes.
fn rivals(main: &str, ini: &Ini, more: &Ini) -> Vec<Problem> {
    let rival = |section: &Section| {
        let (own, other) = (ini.section(&section.name)?.get("cmd")?, section.get("cmd")?);
        let text = format!("[{}] cmd: is ignored, as {} has another cmd", section.name, own.place.shown());
        (&*own.place.file != main && own.value != other.value).then(|| Problem::warning(&other.place, text))
    };
    more.sections().filter_map(rival).collect()
}

/// Merges the files that `[circus]` of the main file includes. One that cannot be read, or has a line that is not
/// understood, is left out as a whole: half of a file may mean something else than all of it. Returns the directories of
/// `include_dir`.
fn includes(main: &str, ini: &mut Ini, host: &Host, facts: &dyn Facts, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let (files, directories) = included(main, ini, host, facts, problems);
    for file in files {
        let name = file.to_string_lossy();
        match read_include(facts, &file) {
            Err(error) => problems.push(Problem::skipped(&whole(&name), error)),
            Ok(text) => {
                let before = problems.len();
                let mut more = parse(&name, &text, Severity::Skipped, problems);
                if problems.len() == before {
                    problems.extend(repeats(&mut more));
                    problems.extend(rivals(main, ini, &more));
                    ini.merge(more);
                }
            }
        }
    }
    directories
}

/// The files that are included, in the order in which they count, and the directories of `include_dir`.
fn included(
    main: &str,
    ini: &Ini,
    host: &Host,
    facts: &dyn Facts,
    problems: &mut Vec<Problem>,
) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let Some(section) = ini.section("circus") else { return Default::default() };
    let base = Path::new(main).parent().unwrap_or(Path::new(""));
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for (key, rest) in [("include", ""), ("include_dir", "*.ini")] {
        let Some(entry) = ini.entries(section).find(|entry| entry.key == key) else { continue };
        let value = expand_os(&entry.value, host);
        for word in value.split(is_space).filter(|word| !word.is_empty()) {
            let pattern = if rest.is_empty() { base.join(word) } else { base.join(word).join(rest) };
            if !rest.is_empty() {
                let is_pattern = word.contains(['*', '?', '[']);
                let named = base.join(word);
                directories.extend(if is_pattern { glob(facts, &named) } else { vec![named] });
            }
            let found = glob(facts, &pattern);
            if found.is_empty() {
                let text =
                    format!("[circus] {key}: '{word}' does not lead to any file; paths are relative to the main file");
                problems.push(Problem::warning(&entry.place, text));
            }
            files.extend(found);
        }
    }
    (files, directories)
}

/// The paths that match a pattern, in order. `*`, `?` and `[...]` do not reach across a slash, nor to a leading dot.
fn glob(facts: &dyn Facts, pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        match part.to_str().filter(|part| part.contains(['*', '?', '['])) {
            None => paths.iter_mut().for_each(|path| path.push(part)),
            Some(part) => paths = paths.iter().flat_map(|directory| matching(facts, directory, part)).collect(),
        }
    }
    paths.retain(|path| facts.exists(path));
    paths
}

fn matching(facts: &dyn Facts, directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let visible = |name: &String| !name.starts_with('.') || pattern.starts_with('.');
    let names = facts.names(here).into_iter().filter(visible);
    let mut names: Vec<String> = names.filter(|name| fnmatch(pattern, name)).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The main file may be a pipe, as in `circusd <(generate)`.
fn read_main(facts: &dyn Facts, path: &Path) -> Result<String, String> {
    match facts.file(path).map_err(cannot_read)?.kind {
        FileKind::Directory => Err("is a directory, not a configuration file".into()),
        FileKind::Regular | FileKind::Socket | FileKind::Other => read_text(facts, path),
    }
}

/// An included path came from a pattern, and reading a pipe or device that happens to match could block for ever.
fn read_include(facts: &dyn Facts, path: &Path) -> Result<String, String> {
    match facts.file(path).map_err(cannot_read)?.kind {
        FileKind::Regular => read_text(facts, path),
        FileKind::Directory | FileKind::Socket | FileKind::Other => {
            Err("is not a regular file, so it is not included".into())
        }
    }
}

fn read_text(facts: &dyn Facts, path: &Path) -> Result<String, String> {
    let bytes = facts.read(path).map_err(cannot_read)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        format!("is not UTF-8 text (line {line})")
    })?;
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte order mark; save it without".into());
    }
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_read(reason: String) -> String {
    format!("cannot be read: {reason}")
}

fn whole(file: &str) -> Place {
    Place { file: Arc::from(file), line: 0 }
}

/// The main file first, then the others in the order in which they were first complained about.
fn sort(main: &str, problems: &mut [Problem]) {
    let mut files: Vec<Arc<str>> = vec![Arc::from(main)];
    for problem in problems.iter() {
        if !files.contains(&problem.file) {
            files.push(Arc::clone(&problem.file));
        }
    }
    problems.sort_by_cached_key(|problem| {
        let file = files.iter().position(|file| *file == problem.file);
        (file, problem.severity == Severity::Fatal && problem.line == 0, problem.line)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::FakeMachine;

    /// A machine with these files, and what loading `/T/circus.ini` of it gives.
    struct Files(FakeMachine);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let add = |machine: FakeMachine, (name, text): &(&str, &str)| machine.with(&format!("/T/{name}"), *text);
            Self(files.iter().fold(FakeMachine::default().with_directory("/T"), add))
        }

        fn load(&self) -> Loaded {
            let env = [("NAME".to_owned(), "named".to_owned())].into();
            load("/T/circus.ini", &Host { env, cwd: "/T".into(), ..Host::default() }, &self.0)
        }

        fn problems(&self) -> Vec<String> {
            let shown = |problem: &Problem| format!("{:?} {problem}", problem.severity);
            self.load().problems.iter().map(shown).collect()
        }

        fn watchers(&self) -> Vec<String> {
            self.load().config.unwrap().watchers.into_iter().map(|watcher| watcher.name).collect()
        }
    }

    #[test]
    fn includes_are_relative_to_the_main_file_which_wins() {
        let files = Files::new(&[
            (
                "circus.ini",
                "[circus]\ncheck_delay = 0.5\ninclude = extra.ini sub/*.cfg /T/absolute.ini missing*.ini\n\
                 include_dir = conf.d\n[watcher:main]\ncmd = x\nflag = main\n",
            ),
            (
                "extra.ini",
                "[watcher:extra]\ncmd = x\n[watcher:main]\nflag = extra\nmore = 1\n\
                 [circus]\ncheck_delay = 9\ninclude = nested.ini\n",
            ),
            ("nested.ini", "[watcher:nested]\ncmd = x\n"),
            ("sub/one.cfg", "[watcher:one]\ncmd = x\n"),
            ("sub/.hidden.cfg", "[watcher:hidden]\ncmd = x\n"),
            ("sub/two.txt", "[watcher:two]\ncmd = x\n"),
            ("absolute.ini", "[watcher:abs]\ncmd = x\n"),
            ("conf.d/x.ini", "[watcher:x]\ncmd = x\nsend_hup = true\n"),
            ("conf.d/y.conf", "[watcher:y]\ncmd = x\n"),
        ]);
        assert_eq!(files.watchers(), ["abs", "extra", "main", "one", "x"]);
        let config = files.load().config.unwrap();
        assert_eq!(config.circus.check_delay, 0.5);
        let main = config.watchers.iter().find(|watcher| watcher.name == "main").unwrap();
        assert_eq!(main.freeform, [("flag".into(), "main".into()), ("more".into(), "1".into())].into());
        let missing = "Warning /T/circus.ini:3: [circus] include: 'missing*.ini' does not lead to any file; \
                       paths are relative to the main file";
        assert!(files.problems().contains(&missing.to_owned()));
    }

    #[test]
    fn earlier_includes_win_and_variables_name_them() {
        let files = Files::new(&[
            ("circus.ini", "[circus]\ninclude = $(circus.env.name).ini $(circus.env.a)\n\tb.ini\n[env]\na = b.ini\n"),
            ("named.ini", "[watcher:a]\ncmd = first\n"),
            ("b.ini", "[watcher:a]\ncmd = second\npriority = 2\n"),
        ]);
        let loaded = files.load();
        let watcher = loaded.config.unwrap().watchers.remove(0);
        assert_eq!((watcher.cmd.as_str(), watcher.priority), ("first", 2));
        assert!(files.problems().iter().any(|text| text.contains("'$(circus.env.a)' does not lead to any file")));
    }

    #[test]
    fn a_bad_included_file_leaves_the_others_running() {
        let mut files = Files::new(&[
            ("circus.ini", "[circus]\ninclude = bad.ini good.ini dir bytes.ini\n[watcher:main]\ncmd = x\n"),
            ("bad.ini", "[watcher:bad]\ncmd = x\nuid www\n[watcher:worse]\nnonsense\n"),
            ("good.ini", "[watcher:good]\ncmd = x\n"),
            ("dir/x", ""),
        ]);
        files.0 = files.0.with("/T/bytes.ini", b"[a]\nb=\xff\n");
        assert_eq!(files.watchers(), ["good", "main"]);
        assert_eq!(
            files.problems(),
            [
                "Skipped /T/bad.ini:3: 'uid www' is neither a [section] nor a key = value",
                "Skipped /T/bad.ini:5: 'nonsense' is neither a [section] nor a key = value",
                "Skipped /T/dir: is not a regular file, so it is not included",
                "Skipped /T/bytes.ini: is not UTF-8 text (line 2)",
            ]
        );
    }

    #[test]
    fn strict_makes_every_error_fatal() {
        let files = Files::new(&[
            ("circus.ini", "[circus]\nstrict = yes\ninclude = bad.ini\n[watcher:main]\ncmd = x\n"),
            ("bad.ini", "nonsense\n"),
        ]);
        assert_eq!(files.load().config, None);
        assert_eq!(
            files.problems(),
            [
                "Fatal /T/circus.ini:2: [circus] strict: there are errors (1), so circusd does not start",
                "Skipped /T/bad.ini:1: 'nonsense' stands before the first [section]",
            ]
        );
    }

    #[test]
    fn a_main_file_that_cannot_be_read_or_understood() {
        for (files, problem) in [
            (vec![], "Fatal /T/circus.ini: cannot be read: No such file or directory (os error 2)"),
            (vec![("circus.ini/x", "")], "Fatal /T/circus.ini: is a directory, not a configuration file"),
            (
                vec![("circus.ini", "\u{feff}[circus]\n")],
                "Fatal /T/circus.ini: begins with a byte order mark; save it without",
            ),
            (
                vec![("circus.ini", "check_delay = 1\n")],
                "Fatal /T/circus.ini:1: 'check_delay = 1' stands before the first [section]",
            ),
            (
                vec![("circus.ini", "[circus]\ncheck_delay = 1\nnonsense\n")],
                "Fatal /T/circus.ini:3: 'nonsense' is neither a [section] nor a key = value",
            ),
        ] {
            let files = Files::new(&files);
            assert_eq!(files.problems(), [problem]);
            assert_eq!(files.load().config, None);
        }
    }

    #[test]
    fn a_bad_line_does_not_hide_other_errors() {
        let files =
            Files::new(&[("circus.ini", "[circus]\nnonsense\ncheck_delay = fast\n[watcher:a]\nshell = maybe\n")]);
        let lines: Vec<u32> = files.load().problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
    }

    #[test]
    fn the_directory_of_a_stream_must_exist() {
        let files = Files::new(&[(
            "circus.ini",
            "[watcher:good]\ncmd = x\nstdout_stream.filename = bare.log\nstderr_stream.filename = /T/err.log\n\
             [watcher:bad]\ncmd = x\nstderr_stream.class = FileStream\nstderr_stream.filename = /T/no/err.log\n",
        )]);
        assert_eq!(files.watchers(), ["good"]);
        assert_eq!(
            files.problems(),
            ["Skipped /T/circus.ini:8: [watcher:bad] stderr_stream.filename: the directory /T/no does not exist"]
        );
    }

    #[test]
    fn globs() {
        let files =
            Files::new(&[("a1/x.ini", ""), ("a2/x.ini", ""), ("a2/y.ini", ""), ("b/x.ini", ""), (".a3/x.ini", "")]);
        let found = |pattern: &str| {
            let paths = glob(&files.0, &Path::new("/T").join(pattern));
            let shown = paths.iter().map(|path| path.strip_prefix("/T").unwrap().to_str().unwrap().to_owned());
            shown.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("a?/*.ini"), "a1/x.ini a2/x.ini a2/y.ini");
        assert_eq!(found("*/x.ini"), "a1/x.ini a2/x.ini b/x.ini");
        assert_eq!(found(".*/x.ini"), ".a3/x.ini");
        assert_eq!(found("a[!1]/y.ini"), "a2/y.ini");
        assert_eq!(found("b/x.ini"), "b/x.ini");
        assert_eq!(found("b/../b/*"), "b/../b/x.ini");
        assert_eq!(found("c/*"), "");
        assert_eq!(found("no.ini"), "");
    }

    #[test]
    fn a_file_with_a_new_error_replaces_nothing() {
        let sound = "[watcher:a]\ncmd = x\n";
        let broken = "[watcher:b]\ncmd = x\nmax_age = soon\n";
        let load = |text: &str| Files::new(&[("circus.ini", text)]).load();
        let known = load(sound).problems;
        assert_eq!(load(sound).replacing(&known).unwrap().1, Vec::<String>::new());
        assert!(load("nonsense").replacing(&known).is_err());
        let errors = load(&format!("{sound}{broken}")).replacing(&known).unwrap_err();
        assert!(matches!(errors.as_slice(), [error] if error.contains("circus.ini:5: ")), "{errors:?}");
    }

    #[test]
    fn known_error_is_not_reported_again() {
        let text = "[watcher:a]\ncmd = x\n[watcher:b]\ncmd = x\nmax_age = soon\n";
        let known = Files::new(&[("circus.ini", text)]).load().problems;
        let longer = format!("[watcher:c]\ncmd = x\nzork = 1\n{text}");
        let (config, warnings) = Files::new(&[("circus.ini", &longer)]).load().replacing(&known).unwrap();
        assert_eq!(config.watchers.len(), 2);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let other = text.replace("soon", "later");
        assert!(Files::new(&[("circus.ini", &other)]).load().replacing(&known).is_err());
    }
}
