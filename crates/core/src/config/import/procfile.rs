//! `Procfile`: a line `NAME: COMMAND` for each program, run by a shell in the directory of the file, with the variables of
//! `.env` and a PORT of its own.

use std::sync::Arc;

use super::Source;
use super::draft::{Draft, Section};
use crate::config::ini::{Entry, Ini};
use crate::config::{Place, Problem};

/// The PORT of the first program, and what the next one's is more.
const PORT: (u32, u32) = (5000, 100);
/// What Heroku runs once before the others.
const RELEASE: &str = "release";

/// Whether a file of this name is a Procfile.
pub(in crate::config) fn is_named_so(name: &str) -> bool {
    name == "Procfile" || name.starts_with("Procfile.")
}

/// A program, by the number of its line.
struct Process<'t> {
    line: u32,
    name: &'t str,
    command: &'t str,
}

/// The programs, and the numbers of lines that name none.
fn processes(text: &str) -> (Vec<Process<'_>>, Vec<u32>) {
    let (mut processes, mut bad) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        match line.split_once(':').map(|(name, command)| (name.trim_end(), command.trim())) {
            Some((name, command)) if is_name(name) && !command.is_empty() => {
                processes.push(Process { line: number, name, command });
            }
            _ => bad.push(number),
        }
    }
    (processes, bad)
}

/// The keys of a program's watcher.
fn watcher(process: &Process<'_>, all: &[Process<'_>], directory: &str, has_env_file: bool) -> Section {
    let mut watcher = Section::new(format!("watcher:{}", process.name));
    watcher.set_command(process.command);
    watcher.set("shell", "yes");
    watcher.set("working_dir", directory);
    watcher.set("copy_env", "yes");
    if has_env_file {
        watcher.set("env_file", ".env");
    }
    if process.name == RELEASE {
        watcher.set("kind", "oneshot");
    } else if all.iter().any(|other| other.name == RELEASE) {
        watcher.set("after", RELEASE);
    }
    // The shell may wait for the program.
    watcher.set("stop_children", "yes");
    watcher
}

/// The variables of a program.
fn variables(process: &Process<'_>, number: u32) -> Section {
    let mut variables = Section::new(format!("env:{}", process.name));
    variables.set("PORT", (PORT.0 + PORT.1 * number).to_string());
    variables
}

pub(super) fn draft(source: &Source<'_>) -> Result<Draft, String> {
    let (processes, bad) = processes(source.text);
    if processes.is_empty() {
        return Err("there is no line NAME: COMMAND".into());
    }
    let mut draft = Draft::default();
    for number in bad {
        draft.note(format!("line {number} is no line NAME: COMMAND"));
    }
    for (process, number) in processes.iter().zip(0..) {
        draft.add(watcher(process, &processes, source.directory, source.has_env_file));
        draft.add(variables(process, number));
    }
    Ok(draft)
}

/// The sections that the file means, each key with the line that it comes from: circusd reads a Procfile as it is.
pub(in crate::config) fn sections(file: &str, text: &str, directory: &str, has_env_file: bool) -> (Ini, Vec<Problem>) {
    let file: Arc<str> = Arc::from(file);
    let place = |line| Place { file: Arc::clone(&file), line };
    let (processes, bad) = processes(text);
    let mut problems: Vec<Problem> =
        bad.into_iter().map(|line| Problem::fatal(&place(line), "is no line NAME: COMMAND")).collect();
    let mut ini = Ini::in_order();
    for (process, number) in processes.iter().zip(0..) {
        let place = place(process.line);
        if ini.section(&format!("watcher:{}", process.name)).is_some() {
            problems.push(Problem::fatal(&place, format!("there is a '{}' already", process.name)));
            continue;
        }
        for section in [watcher(process, &processes, directory, has_env_file), variables(process, number)] {
            let (name, keys) = section.into_keys();
            let entries = keys.into_iter().map(|(key, value)| {
                // The command is one line here: it can hold what an INI file cannot.
                let value = if key == "cmd" { process.command.to_owned() } else { value };
                Entry { key, value, json: None, comment: None, place: place.clone() }
            });
            ini.add(&name, place.clone(), entries);
        }
    }
    (ini, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAILS: &str = "web: bundle exec puma -t 5:5 -p ${PORT:-3000} -e ${RACK_ENV:-development}\n\
                         # a comment\n\nworker:bundle exec sidekiq ; true\nrelease: rake db:migrate\nnonsense\n";

    #[test]
    fn programs_of_a_procfile() {
        let source = Source { name: "Procfile", text: RAILS, directory: "/srv/app", cpus: 2, has_env_file: true };
        let text = draft(&source).unwrap().to_string();
        for part in [
            "# line 6 is no line NAME: COMMAND\n",
            "[watcher:web]\ncmd = bundle exec puma -t 5:5 -p ${PORT:-3000} -e ${RACK_ENV:-development}\nshell = yes\n\
             working_dir = /srv/app\ncopy_env = yes\nenv_file = .env\nafter = release\nstop_children = yes\n\n\
             [env:web]\nPORT = 5000\n",
            "[watcher:worker]\ncmd = bundle exec sidekiq; true\n",
            "[env:worker]\nPORT = 5100\n",
            "[watcher:release]\ncmd = rake db:migrate\n",
            "kind = oneshot\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(draft(&Source { text: "# nothing\n", ..source }).is_err());
    }

    #[test]
    fn circusd_knows_the_lines_of_a_procfile() {
        let (ini, problems) = sections("Procfile", RAILS, "/srv/app", false);
        let entry = ini.section("watcher:worker").and_then(|section| section.get("cmd")).unwrap();
        assert_eq!((entry.value.as_str(), entry.place.line), ("bundle exec sidekiq ; true", 4));
        assert_eq!(problems.len(), 1);
        assert_eq!(sections("Procfile", "a: x\na: y\n", "/", false).1.len(), 1);
    }
}
