//! Notes section by section.

use super::super::env::Environment;
use super::super::ini::{Entry, Ini, Section};
use super::super::section::named;
use super::super::{Host, Problem, python};
use super::{env, script};

/// Every note about these files.
pub(in crate::config) fn notes(ini: &Ini, host: &Host) -> Vec<Problem> {
    let environment = Environment::new(ini, host);
    let mut notes = Vec::new();
    env::notes(ini, host, &mut notes);
    for section in ini.sections() {
        let reader = Reader { ini, environment: &environment, section };
        match section.name.split_once(':') {
            None if section.name == "circus" => reader.circus(&mut notes),
            Some(("watcher", _)) => reader.watcher(host, &mut notes),
            Some(("socket", _)) => reader.socket(&mut notes),
            Some(("plugin", _)) => notes.extend(reader.flapping()),
            Some(_) | None => {}
        }
    }
    notes
}

/// A section, as far as notes need to understand it.
struct Reader<'a> {
    ini: &'a Ini,
    environment: &'a Environment<'a>,
    section: &'a Section,
}

impl Reader<'_> {
    fn entry(&self, key: &str) -> Option<&Entry> {
        self.ini.entries(self.section).find(|entry| entry.key == key)
    }

    /// The value of a key, with variables replaced; empty where there is none.
    fn text(&self, key: &str) -> String {
        self.entry(key).map(|entry| self.environment.expand(&entry.value).into_owned()).unwrap_or_default()
    }

    fn is(&self, key: &str) -> bool {
        python::boolean(&self.text(key)) == Some(true)
    }

    /// A note at a key, if the section has it.
    fn note(&self, key: &str, text: &str) -> Option<Problem> {
        let entry = self.entry(key)?;
        Some(Problem::note(&entry.place, format!("{}: {text}", named(self.section, key))))
    }

    // -- [circus] ----------------------------------------------------------------------------------------------------

    fn circus(&self, notes: &mut Vec<Problem>) {
        if python::float(&self.text("check_delay")).is_ok_and(|delay| delay <= 0.0) {
            let text = "workers that exit are replaced anyway, with pauses of at most 5 s in a crash loop; 0.19 then \
                        replaced none";
            notes.extend(self.note("check_delay", text));
        }
        let others_write = python::octal(&self.text("umask")).is_ok_and(|umask| umask & 0o022 != 0o022);
        for key in ["endpoint", "pubsub_endpoint"] {
            if others_write && self.text(key).starts_with("ipc://") && self.entry("endpoint_mode").is_none() {
                let text = "has the mode 0600; 0.19 left it to the umask. endpoint_mode lets other users connect";
                notes.extend(self.note(key, text));
            }
        }
    }

    // -- [watcher:NAME] ----------------------------------------------------------------------------------------------

    fn watcher(&self, host: &Host, notes: &mut Vec<Problem>) {
        notes.extend(self.shell());
        for key in ["cmd", "args", "shell_args"] {
            notes.extend(self.spelling(key));
        }
        for stream in ["stdout_stream", "stderr_stream"] {
            notes.extend(self.unlimited(stream));
            notes.extend(self.local_time(stream));
        }
        if self.is("copy_env") {
            notes.extend(self.entry("copy_env").and_then(|entry| env::copied(self.section, entry, host)));
        }
        if self.is("copy_path") {
            let text =
                "PYTHONPATH is the import path of the python3 in circusd's own PATH; 0.19 used its own import path";
            notes.extend(self.note("copy_path", text));
        }
        if !self.text("executable").is_empty() {
            notes.extend(self.note("executable", "is executed in place of the first word of cmd; 0.19 ignored it"));
        }
        if self.is("on_demand") {
            let text = "the first connection to a socket of this watcher starts it, and so does the start command; \
                        0.19 polled all sockets every check_delay, and only for the first watcher";
            notes.extend(self.note("on_demand", text));
        }
        if python::int(&self.text("max_retry")) == Ok(-1) {
            let text = "a command that cannot be executed is tried for ever, with pauses; 0.19 froze";
            notes.extend(self.note("max_retry", text));
        }
    }

    fn shell(&self) -> Option<Problem> {
        let script = format!("{} {}", self.text("cmd"), self.text("args"));
        let active = script::active(&script).filter(|_| self.is("shell"))?;
        let there = match active {
            '\n' => "a new line was a blank".to_owned(),
            active => format!("the program got '{active}' unchanged"),
        };
        let shown = active.escape_debug();
        let text = format!(
            "cmd and args are a script, so that the shell acts on '{shown}'; 0.19 quoted every word again, and {there}"
        );
        self.note("shell", &text)
    }

    fn spelling(&self, key: &str) -> Option<Problem> {
        let text = self.text(key).to_lowercase();
        let is_socket = |name: &str| {
            self.ini
                .sections()
                .any(|other| other.name.strip_prefix("socket:").is_some_and(|socket| socket.to_lowercase() == name))
        };
        let mut spelt = text.split("${socket:").skip(1).filter_map(|rest| rest.split_once('}'));
        if let Some((name, _)) = spelt.find(|(name, _)| is_socket(name)) {
            let text = format!("${{socket:{name}}} is the number of the socket; 0.19 did not replace it");
            return self.note(key, &text);
        }
        let gone = ["$(circus.__name__)", "((circus.__name__))"];
        gone.iter().find(|name| text.contains(*name)).and_then(|name| {
            let text = format!("{name} is not replaced; 0.19 replaced it by the name of the section");
            self.note(key, &text)
        })
    }

    fn unlimited(&self, stream: &str) -> Option<Problem> {
        let number = |key: &str| python::int(&self.text(&format!("{stream}.{key}"))).unwrap_or(0);
        let class = self.text(&format!("{stream}.class"));
        let rotates = class.is_empty() || class.rsplit('.').next() == Some("FileStream");
        let bounded = number("max_total") > 0 || number("max_age") > 0;
        let limited = number("max_bytes") > 0 && number("backup_count") <= 0 && !bounded;
        let text = "a full file is emptied, since backup_count is 0; 0.19 let it grow";
        self.note(&format!("{stream}.max_bytes"), text).filter(|_| rotates && limited)
    }

    fn local_time(&self, stream: &str) -> Option<Problem> {
        let key = format!("{stream}.utc");
        let text = "is read as yes or no; in 0.19 any text meant yes";
        self.note(&key, text).filter(|_| python::boolean(&self.text(&key)) == Some(false))
    }

    // -- [socket:NAME] -----------------------------------------------------------------------------------------------

    fn socket(&self, notes: &mut Vec<Problem>) {
        notes.extend(self.umask());
        // A name may have addresses of both families, a number has its own.
        if self.text("family").eq_ignore_ascii_case("AF_INET6") && !self.text("host").contains(':') {
            let text = "an IPv6 address is bound; 0.19 took an IPv4 one where the host has both";
            notes.extend(self.note("family", text));
        }
    }

    fn umask(&self) -> Option<Problem> {
        let text = self.text("umask");
        let here = python::octal(&text).ok()?;
        let there = python::int(&text).ok().and_then(|mask| u32::try_from(mask).ok())?;
        let mode = |mask: u32| 0o777 & !mask;
        if self.entry("path").is_none() || mode(here) == mode(there) {
            return None;
        }
        let text = format!(
            "is octal, so the mode is {:04o}; 0.19 read it as decimal, which was {there:#o}, and the mode {:04o}",
            mode(here),
            mode(there)
        );
        self.note("umask", &text)
    }

    // -- [plugin:NAME] -----------------------------------------------------------------------------------------------

    fn flapping(&self) -> Option<Problem> {
        let class = self.text("use");
        let is_flapping = class.starts_with("circus.plugins.") && class.ends_with(".Flapping");
        let text = "0.19 refused every stop that it asked for, so it never stopped a watcher; here it can. Crash loops \
                    are slowed down without it (min_uptime, check_delay)";
        self.note("use", text).filter(|_| is_flapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The notes about a text, each as `LINE: TEXT` up to the first comma, semicolon or full stop.
    fn of(text: &str) -> Vec<String> {
        let (ini, bad) = Ini::parse("f", text);
        assert_eq!(bad, []);
        let env = [("HOME".to_owned(), "/h".to_owned()), ("PS1".to_owned(), "$USER> ".to_owned())].into();
        let notes = notes(&ini, &Host { env, cwd: "/".into(), ..Host::default() });
        let short = |text: &str| text.split([',', ';']).next().unwrap_or_default().to_owned();
        notes.iter().map(|note| format!("{}: {}", note.line, short(&note.text))).collect()
    }

    #[test]
    fn a_file_that_means_the_same_has_no_notes() {
        let text = "[circus]\ncheck_delay = 2\nendpoint = ipc:///x\numask = 022\n\
                    [env]\nA = $HOME/x ${A} $lower\n[env:web]\nB = $UNKNOWN\n\
                    [watcher:web]\ncmd = web --fd $(circus.sockets.web)\nshell = yes\nmax_retry = 5\n\
                    stdout_stream.filename = f\nstdout_stream.max_bytes = 10\nstdout_stream.backup_count = 2\n\
                    [socket:web]\npath = /x\numask = 7\n[socket:tcp]\nhost = ::1\nfamily = AF_INET6\numask = 022\n\
                    [plugin:mine]\nuse = my.Flapping\n";
        assert_eq!(of(text), [""; 0]);
    }

    #[test]
    fn shells() {
        assert_eq!(
            of("[watcher:w]\ncmd = x\nargs = a | b\nshell = 1\n[watcher:v]\ncmd = a | b\n"),
            ["4: [watcher:w] shell: cmd and args are a script"]
        );
    }

    #[test]
    fn spellings() {
        assert_eq!(
            of("[watcher:w]\ncmd = x ${socket:Web}\nargs = ${socket:no} $(circus.__NAME__)\n[socket:web]\nport=1\n"),
            [
                "2: [watcher:w] cmd: ${socket:web} is the number of the socket",
                "3: [watcher:w] args: $(circus.__name__) is not replaced"
            ]
        );
    }

    #[test]
    fn references_in_env_sections() {
        assert_eq!(
            of("[env]\nB = $A\nA = 1\nC = $A$HOME\nD = 5$$\n[env:w]\nE = $(circus.env.home)\nF=$C\n"),
            [
                "4: [env] C: $A is replaced by the value of the env sections",
                "5: [env] D: $$ stands for one dollar sign",
                "7: [env:w] E: $(circus.env.NAME) is replaced",
                "8: [env:w] F: $C is replaced by the value of the env sections",
            ]
        );
        assert_eq!(
            of("[watcher:w]\ncmd = x\ncopy_env = True\n"),
            ["3: [watcher:w] copy_env: copied variables stay as they are"]
        );
    }

    #[test]
    fn sockets_and_endpoints() {
        assert_eq!(
            of("[circus]\numask = 002\nendpoint = ipc:///x\n[socket:s]\npath = /s\numask = 022\n[socket:t]\n\
                family = af_inet6\n"),
            [
                "3: [circus] endpoint: has the mode 0600",
                "6: [socket:s] umask: is octal",
                "8: [socket:t] family: an IPv6 address is bound"
            ]
        );
        let (ini, _) = Ini::parse("f", "[socket:s]\npath = /s\numask = 022\n");
        let notes = notes(&ini, &Host::default());
        assert_eq!(
            notes.first().unwrap().diagnostic(),
            "f:3: note: [socket:s] umask: is octal, so the mode is 0755; 0.19 read it as decimal, which was 0o26, and \
             the mode 0751"
        );
    }

    #[test]
    fn the_rest() {
        let text = "[circus]\ncheck_delay = -1\n[watcher:w]\ncmd = x\nmax_retry = -1\non_demand = yes\n\
                    copy_path = yes\nexecutable = /bin/x\nstdout_stream.filename = f\nstdout_stream.max_bytes = 5\n\
                    stderr_stream.class = TimedRotatingFileStream\nstderr_stream.utc = False\n\
                    [plugin:flap]\nuse = circus.plugins.flapping.Flapping\n";
        assert_eq!(
            of(text),
            [
                "2: [circus] check_delay: workers that exit are replaced anyway",
                "10: [watcher:w] stdout_stream.max_bytes: a full file is emptied",
                "12: [watcher:w] stderr_stream.utc: is read as yes or no",
                "7: [watcher:w] copy_path: PYTHONPATH is the import path of the python3 in circusd's own PATH",
                "8: [watcher:w] executable: is executed in place of the first word of cmd",
                "6: [watcher:w] on_demand: the first connection to a socket of this watcher starts it",
                "5: [watcher:w] max_retry: a command that cannot be executed is tried for ever",
                "14: [plugin:flap] use: 0.19 refused every stop that it asked for",
            ]
        );
    }
}
