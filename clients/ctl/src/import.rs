//! `circusctl import`: prints a file of another manager as an INI file. It asks no daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use circus_core::config::import::{Format, Source, import};
use clap::{Arg, Command, value_parser};

use super::{Exit, Outcome, SyntaxError};

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    format: Option<Format>,
    file: PathBuf,
}

const USAGE: &str = "usage: circusctl import [--format FORMAT] FILE";

/// The line of help.
pub(super) const SUMMARY: (&str, &str) =
    ("import", "Print a file of supervisor, PM2, systemd or a Procfile as an INI file");

impl Import {
    /// Reads what follows the word import.
    pub(super) fn parse(words: &[OsString]) -> Result<Self, SyntaxError> {
        let grammar = Command::new("import").no_binary_name(true).disable_help_flag(true).args([
            Arg::new("format").long("format").num_args(1),
            Arg::new("file").required(true).value_parser(value_parser!(PathBuf)),
        ]);
        let refuse = |reason: String| SyntaxError(format!("{reason}\n{USAGE}"), None);
        let matches = grammar.try_get_matches_from(words).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            refuse(if words.is_empty() { "import needs a file".into() } else { line })
        })?;
        let format = match matches.get_one::<String>("format") {
            None => None,
            Some(wanted) => {
                let found = Format::ALL.iter().find(|(name, _)| name == wanted).map(|(_, format)| *format);
                Some(found.ok_or_else(|| refuse(format!("'{wanted}' is no format: write {}", names())))?)
            }
        };
        Ok(Self { format, file: matches.get_one::<PathBuf>("file").cloned().unwrap_or_default() })
    }

    /// Prints the INI file.
    pub(super) fn run(&self) -> Outcome {
        match self.read() {
            Ok(text) => Outcome::done(text.trim_end()),
            Err(reason) => Outcome::failed(Exit::Failure, format!("error: {}: {reason}\n", self.file.display())),
        }
    }

    fn read(&self) -> Result<String, String> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        let path = std::path::absolute(&self.file).map_err(|error| error.to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let format = self.format.or_else(|| Format::of(&name, &text));
        let format = format.ok_or_else(|| format!("its format is not known; --format names it: {}", names()))?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let source = Source {
            name: &name,
            text: &text,
            directory: &directory.to_string_lossy(),
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            has_env_file: directory.join(".env").exists(),
        };
        import(format, &source)
    }
}

/// The formats, as a command line names them.
fn names() -> String {
    Format::ALL.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Import, SyntaxError> {
        Import::parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for (line, words) in [
            ("", "import needs a file"),
            ("--format ini a", "'ini' is no format: write supervisor, procfile, pm2, systemd"),
            ("a b", "unexpected argument 'b'"),
        ] {
            let SyntaxError(reason, _) = parse(line).unwrap_err();
            assert!(reason.starts_with(words) && reason.ends_with(USAGE), "{line}: {reason}");
        }
    }

    #[test]
    fn files_are_printed_or_refused() {
        let folder = std::env::temp_dir().join(format!("circus-import-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("Procfile");
        std::fs::write(&file, "web: x\n").unwrap();
        let printed = parse(&file.display().to_string()).unwrap().run();
        assert_eq!(printed.exit, Exit::Success, "{}", printed.stderr);
        let keys = format!("[watcher:web]\ncmd = x\nshell = yes\nworking_dir = {}\n", folder.display());
        assert!(printed.stdout.contains(&keys), "{}", printed.stdout);
        let forced = parse(&format!("--format supervisor {}", file.display())).unwrap().run();
        assert_eq!(forced.exit, Exit::Failure);
        assert!(forced.stderr.contains("neither [supervisord] nor"), "{}", forced.stderr);
        let missing = parse("/nowhere/Procfile").unwrap().run();
        assert!(missing.stderr.contains("No such file"), "{}", missing.stderr);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
