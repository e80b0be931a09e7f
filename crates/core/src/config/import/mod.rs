//! Files of other managers, written anew as an INI file: a watcher for each program, and a comment for each thing that has
//! no equal here.
//!
//! One file reads each format. All are pure: what they are told of the machine stands in [`Source`].

mod draft;
mod pm2;
pub(super) mod procfile;
mod supervisor;
mod systemd;

/// A file of another manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `supervisord.conf`.
    Supervisor,
    /// `Procfile`, of foreman, honcho and Heroku.
    Procfile,
    /// `ecosystem.config.json` of PM2.
    Pm2,
    /// `NAME.service` of systemd.
    Systemd,
}

/// What an importer is told.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name of the file, without its directory.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
    /// The directory of the file, as an absolute path.
    pub directory: &'a str,
    /// How many processors there are, for files that ask for a process for each.
    pub cpus: usize,
    /// Whether there is a file `.env` in the directory.
    pub has_env_file: bool,
}

impl Format {
    /// All formats, with the names that they have on command lines.
    pub const ALL: [(&'static str, Self); 4] = [
        ("supervisor", Self::Supervisor),
        ("procfile", Self::Procfile),
        ("pm2", Self::Pm2),
        ("systemd", Self::Systemd),
    ];

    /// The format of a file, by its name, and where that says nothing by its text.
    pub fn of(name: &str, text: &str) -> Option<Self> {
        let has_line = |begin: &str| text.lines().any(|line| line.starts_with(begin));
        match name.rsplit_once('.') {
            _ if procfile::is_named_so(name) => Some(Self::Procfile),
            Some((_, "service")) => Some(Self::Systemd),
            Some((_, "json")) => Some(Self::Pm2),
            _ if text.trim_start().starts_with(['{', '[']) && text.contains("\"script\"") => Some(Self::Pm2),
            _ if has_line("[Service]") => Some(Self::Systemd),
            _ if supervisor::PREFIXES.iter().any(|(prefix, _)| has_line(&format!("[{prefix}"))) => {
                Some(Self::Supervisor)
            }
            _ if has_line("[supervisord]") => Some(Self::Supervisor),
            _ => None,
        }
    }
}

/// The file as an INI file of circusd. An error says why it cannot be read at all.
pub fn import(format: Format, source: &Source<'_>) -> Result<String, String> {
    let mut draft = match format {
        Format::Supervisor => supervisor::draft(source),
        Format::Procfile => procfile::draft(source),
        Format::Pm2 => pm2::draft(source),
        Format::Systemd => systemd::draft(source),
    }?;
    draft.about(source.name);
    Ok(draft.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::ini::Ini;

    /// Parts of files that mean something, in any order.
    const PARTS: &str = "\\[program:a\\]\n|\\[supervisord\\]\n|\\[Service\\]\n|command=|environment=|numprocs=3\n|ExecStart=|\
        Environment=|TimeoutStopSec=|LimitNOFILE=|process_name=|%\\(process_num\\)099d|%\\(ENV_A\\)s|%|%i|\\$\\{A\\}|\\$A|\\\\x2|\\\\\n|\
        'a|\"|,|=|;| ;|web: |\n|\\{\"apps\": \\[|\\{\"script\": \"a.js\"|\\}|\\]|é|\u{0}|[a-z0-9 ]{1,4}";

    proptest! {
        /// Whatever a file has, it is refused, or becomes one that can be read.
        #[test]
        fn any_text_becomes_a_file_or_is_refused(parts in proptest::collection::vec(PARTS, 0..12), begin in 0..5_usize) {
            let begin = ["", "[program:a]\ncommand=x\n", "[Service]\nExecStart=x\n", "{\"apps\": [{\"script\": \"x\", \"args\": \"", "web: x\n"][begin];
            let text = format!("{begin}{}", parts.concat());
            for (_, format) in Format::ALL {
                let source = Source { name: "a@b.service", text: &text, directory: "/d", cpus: 2, has_env_file: true };
                if let Ok(made) = import(format, &source) {
                    let (_, bad) = Ini::parse("f", &made);
                    prop_assert!(bad.is_empty(), "{:?}: {}", bad, made);
                }
            }
        }
    }

    #[test]
    fn files_are_known_by_their_names_and_by_what_they_say() {
        for (name, text, format) in [
            ("supervisord.conf", "; x\n[supervisord]\n", Some(Format::Supervisor)),
            ("web.ini", "[program:web]\ncommand=x\n", Some(Format::Supervisor)),
            ("Procfile", "web: x\n", Some(Format::Procfile)),
            ("Procfile.dev", "web: x\n", Some(Format::Procfile)),
            ("ecosystem.config.json", "{}", Some(Format::Pm2)),
            ("processes", "{\"apps\": [{\"script\": \"a.js\"}]}", Some(Format::Pm2)),
            ("web.service", "", Some(Format::Systemd)),
            ("web", "[Unit]\n[Service]\n", Some(Format::Systemd)),
            ("circus.ini", "[watcher:web]\ncmd = x\n", None),
        ] {
            assert_eq!(Format::of(name, text), format, "{name}");
        }
    }
}
