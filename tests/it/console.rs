//! circusctl at a terminal, and what other shells complete for it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use nix::pty::{OpenptyResult, openpty};

use crate::rig::{Circusd, Site, built, wait_for};

/// circusctl with a terminal before it.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
    /// How much of the screen has been looked at.
    seen: usize,
}

impl Terminal {
    fn open(site: &Site) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut command = site.command(built("circusctl"));
        let end = |fd: &OwnedFd| fd.try_clone().unwrap();
        command.env("TERM", "xterm").stdin(end(&slave)).stdout(end(&slave)).stderr(end(&slave));
        let child = command.spawn().unwrap();
        drop((command, slave));
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut output, written) = (File::from(end(&master)), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error when the other end is closed.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keys: File::from(master), screen, seen: 0 }
    }

    /// Waits until this is shown, behind what was seen before, and then a prompt.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        for text in [text, "(circusctl) "] {
            self.sees_bare(text);
        }
    }

    #[track_caller]
    fn sees_bare(&mut self, text: &str) {
        let screen = Arc::clone(&self.screen);
        let found = wait_for(&format!("the terminal shows {text:?}"), || {
            let shown = screen.lock().unwrap();
            shown.get(self.seen..)?.find(text)
        });
        self.seen += found + text.len();
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn ends_with(mut self, status: i32) {
        let ended = wait_for("circusctl has ended", || self.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(status));
    }
}

fn fleet() -> Circusd {
    Site::new().start(
        "[watcher:Two Words]
         cmd = {knobs}
         autostart = no
         [watcher:web]
         cmd = {knobs}
         [watcher:wiki:1]
         cmd = {knobs}
         autostart = no",
    )
}

#[test]
fn the_shell_edits_completes_and_calls_back() {
    let circusd = fleet();
    let mut terminal = Terminal::open(&circusd);
    terminal.sees("wiki:1     \x1b[2mdisabled\x1b[0m");
    // The tabulator: a command, a watcher, one with a blank.
    terminal.types("numw\t\r");
    terminal.sees("\n3\r\n");
    terminal.types("status we\t\r");
    terminal.sees("\nactive\r\n");
    terminal.types("status Tw\t\r");
    terminal.sees("\nstopped\r\n");
    // An empty line does nothing, and the arrow brings back what came before.
    terminal.types("\r");
    terminal.sees_bare("(circusctl) ");
    terminal.types("\x1b[A\x1b[A\r");
    terminal.sees("\nactive\r\n");
    // An abandoned line does not count, and a refused one changes nothing.
    terminal.types("quit\x03");
    terminal.sees_bare("(circusctl) ");
    terminal.types("status nope\r");
    // Coloured, so that the words stand apart.
    terminal.sees("program nope not found");
    // quit is confirmed, exit leaves.
    terminal.types("quit\r");
    terminal.sees_bare("Stop circusd? [y/N] ");
    terminal.types("n\r");
    terminal.sees_bare("(circusctl) ");
    terminal.types("exit\r");
    terminal.ends_with(0);
    assert_eq!(circusd.status("web"), "active");
}

#[test]
fn a_usage_error_ends_the_shell_at_a_terminal_too() {
    let circusd = fleet();
    let mut terminal = Terminal::open(&circusd);
    terminal.sees("wiki:1");
    terminal.types("list --zork\r");
    terminal.sees_bare("unrecognized arguments: --zork");
    terminal.ends_with(2);
}

/// What bash would complete a line to, one a line.
fn completed(site: &Site, line: &str) -> String {
    let script = "
        eval \"$(circusctl completion bash)\"
        COMP_LINE=$1 COMP_POINT=${#1}
        complete -p circusctl >/dev/null || exit 1
        _circusctl circusctl
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let programs = built("circusctl");
    let programs = programs.parent().unwrap();
    let mut bash: Command = site.command("bash");
    bash.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
    let output = crate::rig::run(bash.args(["-c", script, "bash", line]));
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    output.stdout
}

#[test]
fn bash_completes_with_the_watchers_of_the_daemon() {
    let circusd = fleet();
    for (line, words) in [
        ("circusctl num", "numprocesses\nnumwatchers\n"),
        ("circusctl stop ", "Two\\ Words\nweb\nwiki:1\n"),
        ("circusctl stop w", "web\nwiki:1\n"),
        ("circusctl stop wiki:", "1\n"),
        ("circusctl stop 'Two", "Two\\ Words\n"),
        ("circusctl stop --match g", "glob\n"),
        ("circusctl get web numproc", "numprocesses\n"),
        ("circusctl set web stop_signal US", "USR1\nUSR2\n"),
        ("circusctl nonsense ", "\n"),
    ] {
        assert_eq!(completed(&circusd, line), words, "{line}");
    }
    let pid = circusd.wait_for_workers("web", 1)[0].0;
    assert_eq!(completed(&circusd, "circusctl kill web "), format!("{pid}\n"));
}

#[test]
fn completion_of_the_original_works() {
    let circusd = fleet();
    let complete = |words: &str, word: &str| {
        let mut command = circusd.command(built("circusctl"));
        command.env("AUTO_COMPLETE", "1").env("COMP_WORDS", words).env("COMP_CWORD", word);
        let output = crate::rig::run(&mut command);
        assert_eq!(output.status, Some(0), "{output:?}");
        output.stdout
    };
    assert_eq!(complete("circusctl num", "1"), "numprocesses numwatchers\n");
    assert_eq!(complete("circusctl status w", "2"), "web wiki:1\n");
}
