//! The one part that reads the disk: the main file and what it includes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::assemble::{assemble, forbids};
use super::differences::notes;
use super::env::expand_os;
use super::fnmatch::fnmatch;
use super::ini::Ini;
use super::json;
use super::python::is_space;
use super::{Config, Host, Place, Problem, Severity};

/// What a file and its includes mean, and everything that is wrong with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// `None` when circusd must not start.
    pub config: Option<Config>,
    /// Those of the main file first, each file's in the order of its lines.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// The configuration, to take the place of one that is in force, and the warnings; or why it cannot.
    ///
    /// What has an error would be left out, which at start costs nobody anything; here it would end processes that run.
    /// So every error refuses the file, but for those that were `known` when it was last read: what they leave out was
    /// left out then too.
    pub fn replacing(self, known: &[Problem]) -> Result<(Config, Vec<String>), Vec<String>> {
        let is_known = |problem: &Problem| known.iter().any(|other| problem.is_like(other));
        let (errors, rest): (Vec<_>, Vec<_>) =
            self.problems.into_iter().partition(|problem| problem.severity > Severity::Warning && !is_known(problem));
        let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        match self.config {
            Some(config) if errors.is_empty() => Ok((config, told(rest))),
            Some(_) => Err(told(errors)),
            None => Err(told(errors.into_iter().chain(rest).collect())),
        }
    }
}

/// Where a configuration is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub fn load(path: &str, host: &Host) -> Loaded {
    Origin::File(path.to_owned()).load(host)
}

/// Checks a configuration file: [`Origin::check`].
pub fn check(path: &str, host: &Host) -> Vec<Problem> {
    Origin::File(path.to_owned()).check(host)
}

impl Origin {
    /// What messages call it.
    pub fn name(&self) -> &str {
        match self {
            Self::File(name) | Self::Text { name, .. } => name,
        }
    }

    /// Reads the configuration. A relative path is relative to where circusd was started.
    pub fn load(&self, host: &Host) -> Loaded {
        let mut problems = Vec::new();
        let config = self.read(host, &mut problems).and_then(|ini| understand(&ini, host, &mut problems));
        sort(self.name(), &mut problems);
        Loaded { config, problems }
    }

    /// Reads it only to tell what is wrong with it, and what means something else than in Circus 0.19.
    pub fn check(&self, host: &Host) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(ini) = self.read(host, &mut problems) {
            let _config = understand(&ini, host, &mut problems);
            problems.extend(notes(&ini, host));
        }
        sort(self.name(), &mut problems);
        problems
    }

    /// The sections of the text, and of what an INI file includes.
    fn read(&self, host: &Host, problems: &mut Vec<Problem>) -> Option<Ini> {
        let name = self.name();
        let text = match self {
            Self::File(path) => read_main(Path::new(path)),
            Self::Text { text, .. } => Ok(text.clone()),
        };
        let text = text.map_err(|error| problems.push(Problem::fatal(&whole(name), error))).ok()?;
        if json::is_json(&text) {
            let (ini, found) = json::parse(name, &text);
            problems.extend(found);
            return Some(ini);
        }
        let mut ini = parse(name, &text, Severity::Fatal, problems);
        includes(name, &mut ini, host, problems);
        Some(ini)
    }
}

fn understand(ini: &Ini, host: &Host, problems: &mut Vec<Problem>) -> Option<Config> {
    let (config, found) = assemble(ini, host, &|directory| directory.is_dir());
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

/// Merges the files that `[circus]` of the main file includes. One that cannot be read, or has a line that is not
/// understood, is left out as a whole: half of a file may mean something else than all of it.
fn includes(main: &str, ini: &mut Ini, host: &Host, problems: &mut Vec<Problem>) {
    for file in included(main, ini, host, problems) {
        let name = file.to_string_lossy();
        match read_include(&file) {
            Err(error) => problems.push(Problem::skipped(&whole(&name), error)),
            Ok(text) => {
                let before = problems.len();
                let more = parse(&name, &text, Severity::Skipped, problems);
                if problems.len() == before {
                    ini.merge(more);
                }
            }
        }
    }
}

/// The files that are included, in the order in which they count.
fn included(main: &str, ini: &Ini, host: &Host, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let Some(section) = ini.section("circus") else { return Vec::new() };
    let base = Path::new(main).parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for (key, rest) in [("include", ""), ("include_dir", "*.ini")] {
        let Some(entry) = ini.entries(section).find(|entry| entry.key == key) else { continue };
        let value = expand_os(&entry.value, host);
        for word in value.split(is_space).filter(|word| !word.is_empty()) {
            let pattern = if rest.is_empty() { base.join(word) } else { base.join(word).join(rest) };
            let found = glob(&pattern);
            if found.is_empty() {
                let text =
                    format!("[circus] {key}: '{word}' does not lead to any file; paths are relative to the main file");
                problems.push(Problem::warning(&entry.place, text));
            }
            files.extend(found);
        }
    }
    files
}

/// The paths that match a pattern, in order. `*`, `?` and `[...]` do not reach across a slash, nor to a leading dot.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        match part.to_str().filter(|part| part.contains(['*', '?', '['])) {
            None => paths.iter_mut().for_each(|path| path.push(part)),
            Some(part) => paths = paths.iter().flat_map(|directory| matching(directory, part)).collect(),
        }
    }
    paths.retain(|path| path.symlink_metadata().is_ok());
    paths
}

fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let visible = |name: &String| !name.starts_with('.') || pattern.starts_with('.');
    let mut names: Vec<String> = names.filter(visible).filter(|name| fnmatch(pattern, name)).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The main file may be a pipe, as in `circusd <(generate)`.
fn read_main(path: &Path) -> Result<String, String> {
    let is_directory = fs::metadata(path).map_err(cannot_read)?.is_dir();
    if is_directory { Err("is a directory, not a configuration file".into()) } else { read_text(path) }
}

/// An included path came from a pattern, and reading a pipe or device that happens to match could block for ever.
fn read_include(path: &Path) -> Result<String, String> {
    let is_file = fs::metadata(path).map_err(cannot_read)?.is_file();
    if is_file { read_text(path) } else { Err("is not a regular file, so it is not included".into()) }
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(cannot_read)?;
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
fn cannot_read(error: io::Error) -> String {
    format!("cannot be read: {error}")
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

    /// A directory with these files, and what loading `circus.ini` of it gives, the directory shown as `T`.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let files_ = Self(tempfile::tempdir().unwrap());
            for (name, text) in files {
                let path = files_.0.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("{T}", &files_.root())).unwrap();
            }
            files_
        }

        fn root(&self) -> String {
            self.0.path().to_str().unwrap().into()
        }

        fn load(&self) -> Loaded {
            let env = [("NAME".to_owned(), "named".to_owned())].into();
            load(&format!("{}/circus.ini", self.root()), &Host { env, cwd: self.root(), ..Host::default() })
        }

        fn problems(&self) -> Vec<String> {
            let shown = |problem: &Problem| format!("{:?} {}", problem.severity, problem).replace(&self.root(), "T");
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
                "[circus]\ncheck_delay = 0.5\ninclude = extra.ini sub/*.cfg {T}/absolute.ini missing*.ini\n\
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
        let missing = "Warning T/circus.ini:3: [circus] include: 'missing*.ini' does not lead to any file; \
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
        let files = Files::new(&[
            ("circus.ini", "[circus]\ninclude = bad.ini good.ini dir bytes.ini\n[watcher:main]\ncmd = x\n"),
            ("bad.ini", "[watcher:bad]\ncmd = x\nuid www\n[watcher:worse]\nnonsense\n"),
            ("good.ini", "[watcher:good]\ncmd = x\n"),
            ("dir/x", ""),
        ]);
        fs::write(files.0.path().join("bytes.ini"), b"[a]\nb=\xff\n").unwrap();
        assert_eq!(files.watchers(), ["good", "main"]);
        assert_eq!(
            files.problems(),
            [
                "Skipped T/bad.ini:3: 'uid www' is neither a [section] nor a key = value",
                "Skipped T/bad.ini:5: 'nonsense' is neither a [section] nor a key = value",
                "Skipped T/dir: is not a regular file, so it is not included",
                "Skipped T/bytes.ini: is not UTF-8 text (line 2)",
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
                "Fatal T/circus.ini:2: [circus] strict: there are errors (1), so circusd does not start",
                "Skipped T/bad.ini:1: 'nonsense' stands before the first [section]",
            ]
        );
    }

    #[test]
    fn a_main_file_that_cannot_be_read_or_understood() {
        for (files, problem) in [
            (vec![], "Fatal T/circus.ini: cannot be read: No such file or directory (os error 2)"),
            (vec![("circus.ini/x", "")], "Fatal T/circus.ini: is a directory, not a configuration file"),
            (
                vec![("circus.ini", "\u{feff}[circus]\n")],
                "Fatal T/circus.ini: begins with a byte order mark; save it without",
            ),
            (
                vec![("circus.ini", "check_delay = 1\n")],
                "Fatal T/circus.ini:1: 'check_delay = 1' stands before the first [section]",
            ),
            (
                vec![("circus.ini", "[circus]\ncheck_delay = 1\nnonsense\n")],
                "Fatal T/circus.ini:3: 'nonsense' is neither a [section] nor a key = value",
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
            "[watcher:good]\ncmd = x\nstdout_stream.filename = bare.log\nstderr_stream.filename = {T}/err.log\n\
             [watcher:bad]\ncmd = x\nstderr_stream.class = FileStream\nstderr_stream.filename = {T}/no/err.log\n",
        )]);
        assert_eq!(files.watchers(), ["good"]);
        assert_eq!(
            files.problems(),
            ["Skipped T/circus.ini:8: [watcher:bad] stderr_stream.filename: the directory T/no does not exist"]
        );
    }

    #[test]
    fn globs() {
        let files =
            Files::new(&[("a1/x.ini", ""), ("a2/x.ini", ""), ("a2/y.ini", ""), ("b/x.ini", ""), (".a3/x.ini", "")]);
        let found = |pattern: &str| {
            let paths = glob(&files.0.path().join(pattern));
            let shown =
                paths.iter().map(|path| path.strip_prefix(files.0.path()).unwrap().to_str().unwrap().to_owned());
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
    fn an_error_that_was_there_before_is_no_news() {
        let text = "[watcher:a]\ncmd = x\n[watcher:b]\ncmd = x\nmax_age = soon\n";
        let files = Files::new(&[("circus.ini", text)]);
        let known = files.load().problems;
        let path = format!("{}/circus.ini", files.root());
        fs::write(&path, format!("[watcher:c]\ncmd = x\nzork = 1\n{text}")).unwrap();
        let (config, warnings) = files.load().replacing(&known).unwrap();
        assert_eq!(config.watchers.len(), 2);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        fs::write(&path, text.replace("soon", "later")).unwrap();
        assert!(files.load().replacing(&known).is_err());
    }
}
