//! circus-top in a real terminal: tmux, whose screen is read.

use std::path::Path;
use std::time::Duration;

use circus::net::{Context, Subscriber};
use circus::proto::OUTPUT_GREETING;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Http, Output, Process, Site, built, knob, observe_for, run, skipped, wait_for};

/// A terminal with circus-top in it. What it prints when that has ended is on its screen, too.
struct Terminal<'a> {
    site: &'a Site,
}

impl<'a> Terminal<'a> {
    /// Nothing, and a word about it, where there is no tmux.
    fn open(test: &str, site: &'a Site, width: u16, height: u16, args: &str) -> Option<Self> {
        let terminal = Self { site };
        let found = std::env::split_paths("/usr/local/bin:/usr/bin:/bin").any(|path| path.join("tmux").exists());
        if !found {
            skipped(test, "there is no tmux");
            return None;
        }
        let top = built("circus-top");
        let script = format!("echo before; {} {args}; echo ended $?; stty -a; exec cat", top.display());
        let size = [width.to_string(), height.to_string()];
        let words = ["-u", "-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "/bin/sh", "-c"];
        let started = terminal.tmux(&[&words[..], &[&script]].concat());
        assert_eq!((started.status, started.stderr.as_str()), (Some(0), ""));
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let mut command = self.site.command("tmux");
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        // Where hosts.toml is.
        command.env("XDG_CONFIG_HOME", self.site.path(""));
        run(command.arg("-S").arg(self.site.path("tmux")).args(args))
    }

    /// Presses keys, by tmux's names for them.
    fn press(&self, keys: &[&str]) {
        assert_eq!(self.tmux(&[&["send-keys"], keys].concat()).status, Some(0));
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).stdout
    }

    /// Waits for a screen of which this holds.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let last = std::cell::RefCell::new(String::new());
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || {
                let screen = self.screen();
                let good = holds(&screen);
                last.replace(screen.clone());
                good.then_some(screen)
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}; on the screen is:\n{}", last.borrow()))
    }

    /// Waits for a text on the screen.
    #[track_caller]
    fn shows(&self, text: &str) -> String {
        self.until(&format!("{text:?} is shown"), |screen| screen.contains(text))
    }

    /// Waits until circus-top has ended, and looks whether the terminal is as before.
    #[track_caller]
    fn is_given_back(&self, status: i32) {
        let screen = self.shows(&format!("ended {status}\n"));
        assert!(screen.starts_with("before\n"), "what was on the screen is there again:\n{screen}");
        let settings = self.shows("iexten");
        for setting in [" icanon", " echo", " isig"] {
            assert!(settings.replace('\n', " ").contains(setting), "{setting}:\n{settings}");
        }
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).stdout;
        assert_eq!(flags, "0 1\n", "the first screen, with a cursor");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        drop(std::fs::remove_file(self.site.path("tmux")));
    }
}

fn start() -> Circusd {
    let circusd = Site::new().start(
        "[circus]
         stats_endpoint = ipc://{dir}/stats
         stats_interval = 0.2
         [socket:web]
         host = 127.0.0.1
         port = 0
         [watcher:api]
         cmd = {knobs} open 20 hold 20
         numprocesses = 2
         [watcher:batch]
         cmd = {knobs} burn 40
         stop_children = True
         [watcher:web]
         cmd = {worker} serve --fd $(circus.sockets.web)
         use_sockets = True
         numprocesses = 3
         [watcher:night]
         cmd = {knobs}
         autostart = False",
    );
    circusd.wait_for_workers("circusd-stats", 1);
    circusd.wait_for_workers("web", 3);
    circusd
}

/// The words after each of these at the beginning of a line of the screen, in the order of the lines.
fn watchers(screen: &str) -> Vec<String> {
    let lines = screen.lines().filter_map(|line| line.strip_prefix("▾ ").or_else(|| line.strip_prefix("▸ ")));
    lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

fn visit(circusd: &Circusd) {
    let port = circusd.tell("listsockets", json!({}))["sockets"][0]["port"].as_u64().unwrap();
    for _ in 0..20 {
        Http(port as u16).get();
    }
}

#[test]
fn driven_by_keys_on_a_small_terminal() {
    let circusd = start();
    let test = "top::driven_by_keys_on_a_small_terminal";
    let Some(terminal) = Terminal::open(test, &circusd, 80, 24, "") else { return };
    visit(&circusd);
    let screen = terminal.until("every watcher is shown", |screen| {
        screen.contains("└ ") && screen.contains("3/3") && screen.contains("circusd-stats") && screen.contains("hits")
    });
    assert_eq!(screen.lines().count(), 24);
    assert_eq!(watchers(&screen), ["api", "batch", "night", "web", "circus"]);
    let night = screen.lines().find(|line| line.contains("night")).unwrap();
    assert_eq!(night.split_whitespace().collect::<Vec<_>>(), ["▾", "night", "stopped", "0/1", "-", "-", "-", "0"]);
    terminal.until("batch is at it", |screen| {
        let line = screen.lines().find(|line| line.starts_with("▾ batch")).unwrap_or_default();
        line.split_whitespace().nth(4).and_then(|cpu| cpu.parse::<f64>().ok()).is_some_and(|cpu| cpu > 20.0)
    });
    // Sort: the busiest first, and the other way round.
    terminal.press(&["c"]);
    terminal.until("the busiest is first", |screen| watchers(screen).first().is_some_and(|first| first == "batch"));
    terminal.press(&["n", "i"]);
    terminal.until("names go backwards", |screen| watchers(screen) == ["web", "night", "batch", "api", "circus"]);
    terminal.press(&["i"]);
    // Fold all, and one.
    terminal.press(&["f"]);
    terminal.until("all are folded", |screen| screen.contains("▸ web") && !screen.contains("├"));
    terminal.press(&["f", "Home", "Space"]);
    terminal.until("one is folded", |screen| screen.contains("▸ api") && screen.contains("▾ web"));
    // Filter: typed, and taken away.
    terminal.press(&["/", "w", "e", "b", "Enter"]);
    terminal.until("web is left", |screen| watchers(screen) == ["web"] && screen.contains("filter: web"));
    // Stop it, after a no.
    terminal.press(&["x"]);
    terminal.shows("Stop web, which has 3 processes?");
    terminal.press(&["n"]);
    terminal.shows("stop web: not done");
    assert_eq!(circusd.status("web"), "active");
    terminal.press(&["x"]);
    terminal.shows("Stop web, which has 3 processes?");
    terminal.press(&["y"]);
    terminal.until("it is stopped", |screen| screen.contains("stopped") && screen.contains("0/3"));
    assert_eq!(circusd.status("web"), "stopped");
    terminal.until("its events are shown", |screen| {
        screen.lines().any(|line| line.contains("web") && line.ends_with("stop"))
    });
    terminal.press(&["s", "y"]);
    terminal.shows("3/3");
    terminal.press(&["+", "y"]);
    circusd.wait_for_workers("web", 4);
    terminal.shows("4/4");
    terminal.press(&["Escape"]);
    terminal.until("there is no filter", |screen| watchers(screen).len() == 5);
    terminal.press(&["?"]);
    terminal.shows("To the watcher of the line");
    terminal.press(&["q", "q"]);
    terminal.is_given_back(0);
}

#[test]
fn a_large_terminal_becomes_a_small_one() {
    let circusd = start();
    let test = "top::a_large_terminal_becomes_a_small_one";
    let Some(terminal) = Terminal::open(test, &circusd, 200, 60, "") else { return };
    let screen = terminal.until("every watcher is shown", |screen| {
        screen.contains("MEM 3MIN") && screen.contains("circusd-stats") && screen.contains("3/3")
    });
    assert_eq!(screen.lines().count(), 60);
    let api = terminal.until("its descriptors are counted", |screen| {
        let line = screen.lines().find(|line| line.starts_with("▾ api")).unwrap_or_default();
        line.split_whitespace().nth(8).and_then(|fds| fds.parse::<u64>().ok()).is_some_and(|fds| fds >= 40)
    });
    assert!(api.contains("THR") && api.contains("FDS"));
    terminal.press(&["c"]);
    terminal.until("the busiest is first", |screen| watchers(screen).first().is_some_and(|first| first == "batch"));
    terminal.press(&["/", "a", "p", "i", "Enter", "Space"]);
    terminal.until("api is left, and folded", |screen| watchers(screen) == ["api"] && screen.contains("▸ api"));
    terminal.press(&["x", "y"]);
    terminal.until("it is stopped", |screen| screen.contains("stopped"));
    assert_eq!(circusd.status("api"), "stopped");
    assert_eq!(terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]).status, Some(0));
    let screen = terminal.until("it fits", |screen| {
        screen.lines().count() == 24 && screen.contains("RESTARTS CPU 3MIN") && screen.contains("filter: api")
    });
    assert!(!screen.contains("MEM 3MIN"));
    terminal.press(&["C-c"]);
    terminal.is_given_back(0);
}

/// How many descriptors this process has: for each of its connections at least one.
fn descriptors(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.0)).unwrap().count()
}

fn top_itself(site: &Site) -> Process {
    let is_top = |process: &Process| process.argv().first().is_some_and(|program| program.ends_with("circus-top"));
    site.inhabitants().into_iter().find(is_top).unwrap()
}

#[test]
fn output_of_the_selected_line_is_followed() {
    let circusd = Site::new().start(
        "[circus]
         stats_endpoint = ipc://{dir}/stats
         [watcher:chat]
         cmd = {knobs} say hello-$(circus.wid) warn oh-$(circus.wid) until {dir}/go lines 3 more-$(circus.wid)
         numprocesses = 2
         stdout_stream.class = MemoryStream
         stderr_stream.class = MemoryStream
         [watcher:mute]
         cmd = {knobs}",
    );
    circusd.wait_for_workers("circusd-stats", 1);
    circusd.wait_for_workers("chat", 2);
    let test = "top::output_of_the_selected_line_is_followed";
    let Some(terminal) = Terminal::open(test, &circusd, 80, 24, "") else { return };
    terminal.until("every watcher is shown", |screen| screen.contains("2/2") && screen.contains("circusd-stats"));
    circusd.tell("incr", json!({"name": "mute", "waiting": true}));
    terminal.until("all its connections stand", |screen| screen.lines().any(|line| line.contains(" spawn ")));
    let top = top_itself(&circusd);
    let before = descriptors(&top);
    terminal.press(&["o"]);
    let screen = terminal.until("the last lines are shown", |screen| {
        screen.contains("─ Output of chat ─") && screen.contains(" hello-1\n") && screen.contains(" hello-2\n")
    });
    assert!(!screen.contains("─ Events ─") && !screen.contains("oh-"), "{screen}");
    assert!(descriptors(&top) > before, "it is connected to hear of it");
    std::fs::write(circusd.path("go"), "").unwrap();
    terminal.until("what comes is shown", |screen| screen.contains(" more-1 2\n") && screen.contains(" more-2 2\n"));
    terminal.press(&["j"]);
    let screen = terminal.until("one worker's are shown", |screen| {
        screen.contains("─ Output of chat, worker ") && screen.contains(" more-")
    });
    assert_ne!(screen.contains("more-1"), screen.contains("more-2"), "{screen}");
    terminal.press(&["k", "O"]);
    terminal.until("complaints are shown", |screen| {
        screen.contains("─ Standard error of chat ─") && screen.contains(" oh-1\n") && screen.contains(" oh-2\n")
    });
    terminal.press(&["o", "f", "j"]);
    terminal.until("there is nothing to show", |screen| screen.contains("mute has no stdout_stream"));
    terminal.press(&["o"]);
    terminal.shows("─ Events ─");
    terminal.until("nothing is left of it", |_| descriptors(&top) == before);
    terminal.press(&["q"]);
    terminal.is_given_back(0);
}

#[test]
fn missed_output_is_counted_on_a_large_terminal() {
    /// More than circusd keeps for one subscriber, and than the kernel does.
    const EVENTS: usize = 25_000;
    let circusd = Site::new().start(
        "[circus]
         stats_endpoint = ipc://{dir}/stats
         [watcher:flood]
         cmd = {knobs} say ready until {dir}/go drip 1000000
         numprocesses = 30
         min_uptime = 0
         stdout_stream.class = MemoryStream",
    );
    circusd.wait_for_workers("circusd-stats", 1);
    circusd.wait_for_workers("flood", 30);
    let test = "top::missed_output_is_counted_on_a_large_terminal";
    let Some(terminal) = Terminal::open(test, &circusd, 200, 60, "") else { return };
    terminal.shows("30/30");
    terminal.press(&["f", "o"]);
    let screen = terminal.until("the last lines are shown", |screen| screen.matches(" ready\n").count() > 10);
    assert!(screen.contains("─ Output of flood ─") && screen.contains("─ Events ─"), "{screen}");
    let context = Context::new().unwrap();
    let mut reader = Subscriber::connect(&context, &circusd.pubsub_endpoint(), None, &["output.flood.stdout"]).unwrap();
    assert_eq!(reader.recv(DEADLINE).unwrap().1, OUTPUT_GREETING);
    let top = top_itself(&circusd);
    top.send(Signal::SIGSTOP);
    std::fs::write(circusd.path("go"), "").unwrap();
    for _ in 0..EVENTS {
        reader.recv(DEADLINE).unwrap();
    }
    top.send(Signal::SIGCONT);
    terminal.until("what was missed is counted", |screen| {
        let title = screen.lines().find(|line| line.contains("─ Output of flood (")).unwrap_or_default();
        let count = title.split_once('(').and_then(|(_, rest)| rest.split_once(" lines missed)"));
        count.is_some_and(|(count, _)| count.parse::<u64>().is_ok_and(|count| count > 0))
    });
    // In a flood it is at hand.
    terminal.press(&["?"]);
    terminal.shows("To the watcher of the line");
    terminal.press(&["q", "o"]);
    terminal.until("it is closed", |screen| !screen.contains("─ Output of"));
    terminal.press(&["q"]);
    terminal.is_given_back(0);
}

#[test]
fn without_circusd_it_says_so_and_goes_on_trying() {
    let mut circusd = Site::new().start("[circus]\nstats_endpoint = ipc://{dir}/stats\n[watcher:w]\ncmd = {knobs}");
    circusd.quit();
    let desk = Site::new();
    let test = "top::without_circusd_it_says_so_and_goes_on_trying";
    let args = format!("--control {}", circusd.endpoint());
    let Some(terminal) = Terminal::open(test, &desk, 80, 24, &args) else { return };
    let screen = terminal.shows("is circusd running?");
    assert!(screen.contains("Waiting for data") && screen.contains("no answer"), "{screen}");
    circusd.restart();
    terminal.until("it has found it", |screen| screen.contains("connected") && screen.contains("▾ w"));
    terminal.shows("circusd-stats");
    circusd.quit();
    terminal.shows("is circusd running?");
    terminal.press(&["x"]);
    terminal.until("it sends nothing", |screen| screen.contains("nothing is sent") || !screen.contains("▾"));
    // A signal, too, gives the terminal back.
    top_itself(&desk).send(Signal::SIGTERM);
    terminal.is_given_back(0);
}

#[test]
fn it_says_what_went_wrong_and_turns_to_the_next_host() {
    let test = "top::it_says_what_went_wrong_and_turns_to_the_next_host";
    let faulty = "[circus]
                  stats_endpoint = ipc://{dir}/stats
                  [watcher:faulty]
                  cmd = {knobs} say tables-are-missing exit 3
                  stdout_stream.class = MemoryStream";
    let one = Site::new().start(faulty);
    let two = Site::new().start("[circus]\nstats_endpoint = ipc://{dir}/stats\n[watcher:sound]\ncmd = {knobs}");
    let desk = Site::new();
    let host = |name: &str, circusd: &Circusd| format!("[hosts.{name}]\nendpoint = '{}'\n", circusd.endpoint());
    std::fs::create_dir_all(desk.path("circus")).unwrap();
    desk.write("circus/hosts.toml", &(host("first", &one) + &host("second", &two)));
    let Some(terminal) = Terminal::open(test, &desk, 100, 30, "--host first,second") else { return };
    terminal.until("both hosts are shown", |screen| {
        screen.contains("▾ faulty") && screen.contains("first (1 in trouble)  second")
    });
    terminal.press(&["g", "w"]);
    let screen = terminal.shows("What went wrong");
    terminal.until("the reason and the lines", |screen| {
        screen.contains("exited with status 3") && screen.contains("tables-are-missing")
    });
    assert!(screen.contains("faulty"), "{screen}");
    terminal.press(&["q", "Tab"]);
    terminal.until("the second host is shown", |screen| screen.contains("▾ sound") && !screen.contains("▾ faulty"));
    terminal.press(&["BTab"]);
    terminal.shows("▾ faulty");
    terminal.press(&["q"]);
    terminal.is_given_back(0);
}

fn top(circusd: &Site, args: &[&str]) -> Output {
    run(circusd.command(built("circus-top")).args(args))
}

#[test]
fn once_for_scripts() {
    let circusd = start();
    let table = top(&circusd, &["--once"]);
    assert_eq!((table.status, table.stderr.as_str()), (Some(0), ""));
    let names: Vec<&str> = table.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.first(), Some(&"NAME"), "{}", table.stdout);
    assert!(["api", "batch", "web", "night", "circus", "SOCKET"].iter().all(|name| names.contains(name)));
    let json = top(&circusd, &["--json"]);
    assert_eq!((json.status, json.stdout.lines().count()), (Some(0), 1), "{}", json.stderr);
    let object: Value = serde_json::from_str(&json.stdout).unwrap();
    let api = &object["watchers"][0];
    assert_eq!((&api["name"], &api["state"], &api["restarts"]), (&json!("api"), &json!("active"), &json!(0)));
    let pids = |watcher: &Value| -> Vec<i64> {
        watcher["processes"].as_array().unwrap().iter().map(|process| process["pid"].as_i64().unwrap()).collect()
    };
    let mut workers: Vec<i64> = circusd.workers("api").iter().map(|worker| worker.0.into()).collect();
    workers.sort_unstable();
    assert_eq!(pids(api), workers);
    assert!(api["rss"].as_u64() > Some(40 << 20) && api["fds"].as_u64() > Some(40), "{api}");
    assert_eq!(object["sockets"][0]["name"], "web");
}

#[test]
fn refusals_are_explained() {
    let site = Site::new();
    let version = top(&site, &["--version"]);
    assert_eq!((version.status, version.stdout.trim()), (Some(0), env!("CARGO_PKG_VERSION")));
    let bare = top(&site, &[]);
    assert!(bare.status == Some(1) && bare.stderr.contains("are not a terminal; use --once or --json"), "{bare:?}");
    let stats = format!("ipc://{}", site.path("stats").display());
    let alone = top(&site, &["--once", "--endpoint", &stats]);
    assert!(alone.status == Some(1) && alone.stderr.contains("is circusd running"), "{alone:?}");
    let missing = format!("ipc://{}", site.path("missing").display());
    let nowhere = top(&site, &["--once", "--control", &missing, "--endpoint", &stats]);
    let cause = format!("cannot connect to {missing}: there is no socket file");
    assert!(nowhere.status == Some(1) && nowhere.stderr.contains(&cause), "{nowhere:?}");
    let wrong = top(&site, &["--once", "--control", "nonsense"]);
    assert!(wrong.status == Some(1) && wrong.stderr.contains("nonsense: it names no transport"), "{wrong:?}");
    assert_eq!(top(&site, &["--process-timeout", "0"]).status, Some(2));
}

/// The block of README.
const BEGIN: &str = "<!-- begin circus-top -->\n```text\n";
const END: &str = "```\n<!-- end circus-top -->\n";

#[test]
fn the_picture_in_the_readme_is_of_this_program() {
    let circusd = start();
    let test = "top::the_picture_in_the_readme_is_of_this_program";
    let Some(terminal) = Terminal::open(test, &circusd, 80, 24, "") else { return };
    visit(&circusd);
    terminal.shows("circusd-stats");
    let blessing = knob("BLESS", 0) == 1;
    // A picture is of a fleet that has lived a little.
    for _ in 0..if blessing { 80 } else { 1 } {
        visit(&circusd);
        observe_for(Duration::from_millis(if blessing { 1000 } else { 1 }));
    }
    circusd.workers("web")[1].send(Signal::SIGKILL);
    let screen = terminal.until("there is something to see", |screen| {
        let batch = screen.lines().find(|line| line.starts_with("▾ batch")).unwrap_or_default();
        screen.contains("killed by signal 9") && screen.contains("3/3") && batch.contains(['▃', '▄', '▅', '▆'])
    });
    terminal.press(&["q"]);
    terminal.is_given_back(0);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&here).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (picture, after) = rest.split_once(END).unwrap();
    if blessing {
        let head = screen.lines().next().unwrap();
        // The endpoint is of this machine.
        let (head, _) = head.split_once("connected").unwrap();
        let head = format!("{head}connected");
        let lines = screen.lines().skip(1).map(str::trim_end).collect::<Vec<_>>().join("\n");
        let screen = format!("{head}\n{}\n", lines.trim_end());
        std::fs::write(&here, format!("{before}{BEGIN}{screen}{END}{after}")).unwrap();
    } else {
        let titles = |screen: &str| screen.lines().nth(1).map(str::to_owned);
        assert_eq!(titles(picture), titles(&screen), "BLESS=1 cargo test --test it top takes it anew");
        assert_eq!(watchers(picture), watchers(&screen));
        assert_eq!(picture.lines().last().map(str::trim), screen.lines().last().map(str::trim));
    }
}
