//! The title of a process: its program, or for an interpreter the script that it runs.

use std::iter::Peekable;

/// Longer titles are cut.
const LONGEST: usize = 60;

/// The title of a process, of `/proc/PID/cmdline`: the last part of its program's path; of an interpreter the script or
/// module that it runs; whole, where the process has written its title itself, as Celery's and gunicorn's do.
pub(super) fn title(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline);
    let text = text.trim_end_matches('\0');
    let mut words = text.split('\0').peekable();
    let first = words.next().filter(|first| !first.trim().is_empty())?;
    let is_written_by_itself = words.peek().is_none() && first.trim().contains(' ');
    let title = if is_written_by_itself {
        first.trim()
    } else {
        let program = base(first);
        Interpreter::of(program).and_then(|interpreter| interpreter.script(words)).unwrap_or(program)
    };
    Some(title.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect())
}

fn base(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

/// How the command line of an interpreter names what it runs.
struct Interpreter {
    /// What follows is a name of its own: a module, an archive.
    named_by: &'static [&'static str],
    /// What follows is a program's text.
    text_by: &'static [&'static str],
    /// What follows belongs to the option.
    with_value: &'static [&'static str],
}

const PYTHON: Interpreter = Interpreter { named_by: &["-m"], text_by: &["-c"], with_value: &["-W", "-X"] };
const SHELL: Interpreter = Interpreter { named_by: &[], text_by: &["-c"], with_value: &["-o", "-O"] };
const NODE: Interpreter =
    Interpreter { named_by: &[], text_by: &["-e", "-p", "--eval"], with_value: &["-r", "--require", "--import"] };
const PERL: Interpreter = Interpreter { named_by: &[], text_by: &["-e", "-E"], with_value: &["-I"] };
const RUBY: Interpreter = Interpreter { named_by: &["-S"], text_by: &["-e"], with_value: &["-I", "-r"] };
const PHP: Interpreter = Interpreter { named_by: &["-f"], text_by: &["-r"], with_value: &["-c", "-d"] };
const JAVA: Interpreter =
    Interpreter { named_by: &["-jar"], text_by: &[], with_value: &["-cp", "-classpath", "--class-path", "-p"] };

impl Interpreter {
    fn of(program: &str) -> Option<Self> {
        // python3.11 is a python.
        let name = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        Some(match name {
            "python" | "pypy" => PYTHON,
            "sh" | "bash" | "dash" | "zsh" | "ksh" => SHELL,
            "node" | "nodejs" => NODE,
            "perl" => PERL,
            "ruby" => RUBY,
            "php" => PHP,
            "java" => JAVA,
            _ => return None,
        })
    }

    /// The script among its arguments; `None` where it runs none.
    fn script<'a>(&self, mut words: Peekable<impl Iterator<Item = &'a str>>) -> Option<&'a str> {
        while let Some(word) = words.next() {
            if self.named_by.contains(&word) {
                return words.next().map(base);
            } else if self.text_by.contains(&word) {
                return None;
            } else if self.with_value.contains(&word) {
                words.next();
            } else if !word.starts_with('-') && !word.is_empty() {
                return Some(base(word));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreter_is_named_by_its_script() {
        for (cmdline, expected) in [
            ("/usr/bin/sleep\x0060\0", Some("sleep")),
            ("/v/bin/python3.11\0/v/bin/celery\0-A\0proj\0worker\0", Some("celery")),
            ("python3\0-u\0-X\0dev\0manage.py\0runserver\0", Some("manage.py")),
            ("python3\0-m\0http.server\0", Some("http.server")),
            ("python3\0-c\0import x\0", Some("python3")),
            ("python3\0", Some("python3")),
            ("node\0--require\0./trace.js\0/srv/app/server.js\0", Some("server.js")),
            ("java\0-Xmx1g\0-jar\0/opt/app.jar\0", Some("app.jar")),
            ("java\0-cp\0a:b\0org.example.Main\0", Some("org.example.Main")),
            ("sh\0-c\0while :; do sleep 1; done\0", Some("sh")),
            ("bash\0/srv/run.sh\0", Some("run.sh")),
            ("gunicorn: master [app:app]\0\0\0\0", Some("gunicorn: master [app:app]")),
            (
                "[celeryd: w1@host:MainProcess] -active- (worker)\0",
                Some("[celeryd: w1@host:MainProcess] -active- (worker)"),
            ),
            ("a\x1b[31mb\0", Some("a?[31mb")),
            ("", None),
            ("\0\0", None),
        ] {
            assert_eq!(title(cmdline.as_bytes()).as_deref(), expected, "{cmdline:?}");
        }
        assert_eq!(title(&b"x".repeat(500)).map(|title| title.len()), Some(LONGEST));
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let title = title(&bytes).unwrap_or_default();
            proptest::prop_assert!(!title.chars().any(char::is_control));
        }
    }
}
