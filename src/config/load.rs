//! The one part that reads the disk: the main file and what it includes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::assemble::{assemble, forbids};
use super::env::expand_os;
use super::fnmatch::fnmatch;
use super::ini::Ini;
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

/// Reads a configuration file. A relative path is relative to where circusd was started.
pub fn load(path: &str, host: &Host) -> Loaded {
    let mut problems = Vec::new();
    let config = read(path, host, &mut problems);
    sort(path, &mut problems);
    Loaded { config, problems }
}

fn read(path: &str, host: &Host, problems: &mut Vec<Problem>) -> Option<Config> {
    let text = match read_main(Path::new(path)) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::fatal(&whole(path), error));
            return None;
        }
    };
    let mut ini = parse(path, &text, Severity::Fatal, problems);
    includes(path, &mut ini, host, problems);
    let (config, found) = assemble(&ini, host, &|directory| directory.is_dir());
    problems.extend(found);
    let config = config.filter(|_| problems.iter().all(|problem| problem.severity < Severity::Fatal))?;
    let forbidden = forbids(&ini, &config, problems);
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
