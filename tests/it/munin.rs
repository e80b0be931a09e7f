//! circus-munin, alone and under a real munin-node.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::rig::{Circusd, Output, Process, Site, built, free_port, run, skipped, spawn, wait_for, wait_until};

fn start() -> Circusd {
    let circusd = Site::new().start(
        "[socket:front]
         host = 127.0.0.1
         port = 0
         [watcher:My App]
         cmd = {knobs} hold 30 burn 40
         numprocesses = 2
         [watcher:root]
         cmd = {knobs}
         autostart = False
         [watcher:pool]
         cmd = sh -c '/bin/sleep 1000 & /bin/sleep 1000 & wait'",
    );
    circusd.wait_for_workers("my app", 2);
    circusd
}

/// Links the program into a directory of plugins.
fn install(site: &Site, names: &[&str]) {
    std::fs::create_dir_all(site.path("munin/plugins")).unwrap();
    for name in names {
        let link = site.path("munin/plugins").join(name);
        std::os::unix::fs::symlink(built("circus-munin"), link).unwrap();
    }
}

fn call(site: &Site, name: &str, word: &str) -> Output {
    let mut command = site.command(site.path("munin/plugins").join(name));
    run(command.env("endpoint", site.endpoint()).arg(word))
}

/// The value of a field in what was fetched.
#[track_caller]
fn value(text: &str, field: &str) -> String {
    let start = format!("{field}.value ");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {field} in:\n{text}")).to_owned()
}

#[test]
fn figures_by_hand() {
    let circusd = start();
    install(&circusd, &["circus", "circus_cpu", "circus_mem", "circus_procs", "circus_restarts", "circus_sockets"]);
    let fetch = |name: &str| {
        let output = call(&circusd, name, "fetch");
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{name}");
        output.stdout
    };
    let cpu = || value(&fetch("circus_cpu"), "My_App").parse::<u64>().unwrap();
    let first = cpu();
    wait_until("it grows as they burn", || cpu() > first);
    assert_eq!(value(&fetch("circus_cpu"), "__root"), "0", "it was never started");
    let memory = || value(&fetch("circus_mem"), "My_App").parse::<u64>().unwrap();
    wait_until("both hold what they are to hold", || (60 << 20..80 << 20).contains(&memory()));
    assert_eq!(
        (value(&fetch("circus_procs"), "My_App"), value(&fetch("circus_procs"), "__root")),
        ("2".into(), "0".into())
    );
    wait_until("a pool's processes are counted", || value(&fetch("circus_procs"), "pool") == "3");
    let before = cpu();
    circusd.workers("my app")[0].send(Signal::SIGKILL);
    wait_until("the restart is counted", || value(&fetch("circus_restarts"), "My_App") == "1");
    circusd.wait_for_workers("my app", 2);
    // The killed worker has used half of it.
    let after = wait_for("it is known again", || value(&fetch("circus_cpu"), "My_App").parse::<u64>().ok());
    assert!(after >= before, "processor time does not fall at a restart: {before} to {after}");
    let port = circusd.tell("listsockets", json!({}))["sockets"][0]["port"].as_u64().unwrap() as u16;
    assert_eq!(value(&fetch("circus_sockets"), "front"), "0");
    let _visitors = [(); 2].map(|()| TcpStream::connect(("127.0.0.1", port)).unwrap());
    wait_until("they wait", || value(&fetch("circus_sockets"), "front") == "2");
    assert_eq!(fetch("circus").matches("multigraph ").count(), 7);
    assert_eq!(call(&circusd, "circus", "autoconf").stdout, "yes\n");
}

#[test]
fn missing_circusd_delays_no_fetch() {
    let circusd = start();
    install(&circusd, &["circus", "circus_procs"]);
    circusd.send(Signal::SIGSTOP);
    let before = circus::sys::since_boot();
    let output = call(&circusd, "circus", "fetch");
    let taken = circus::sys::since_boot() - before;
    circusd.send(Signal::SIGCONT);
    assert_eq!((output.status, output.stdout.matches("total.value U\n").count()), (Some(0), 7), "{output:?}");
    assert!(taken.as_millis() < 1500, "{taken:?}");
    let away = Site::new();
    install(&away, &["circus_procs"]);
    assert_eq!(call(&away, "circus_procs", "fetch").stdout, "total.value U\n");
    let answer = format!("no (no answer from {})\n", away.endpoint());
    assert_eq!(call(&away, "circus_procs", "autoconf").stdout, answer);
}

/// A munin-node. Dropping it ends it.
struct Node {
    child: Child,
    port: u16,
}

/// What it says to a command that has a dot at its end.
struct Talk {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.stream, "{command}").unwrap();
        let mut text = String::new();
        loop {
            match self.line() {
                line if line == ".\n" || line.is_empty() => return text,
                line => text += &line,
            }
        }
    }
}

impl Node {
    /// Nothing, and a word about it, where it is not installed.
    fn start(test: &str, site: &Site) -> Option<Self> {
        let defaults = "/usr/share/perl5/Munin/Common/Defaults.pm";
        let node = "/usr/sbin/munin-node";
        if !std::fs::exists(node).unwrap_or(false) || !std::fs::exists(defaults).unwrap_or(false) {
            skipped(test, "there is no munin-node of Debian's");
            return None;
        }
        let port = free_port();
        let user = run(site.command("id").arg("-un")).stdout.trim().to_owned();
        let group = run(site.command("id").arg("-gn")).stdout.trim().to_owned();
        for directory in ["munin/plugin-conf.d", "perl/Munin/Common", "munin/state"] {
            std::fs::create_dir_all(site.path(directory)).unwrap();
        }
        // Its directory of plugins is built into it; this is the same module with another one.
        site.write(
            "perl/Munin/Common/Defaults.pm",
            &format!(
                "do '{defaults}' or die;\nno warnings 'once';\n\
                 $Munin::Common::Defaults::MUNIN_CONFDIR = '{{dir}}/munin';\n\
                 $Munin::Common::Defaults::MUNIN_PLUGSTATE = '{{dir}}/munin/state';\n1;\n"
            ),
        );
        site.write(
            "munin/munin-node.conf",
            &format!(
                "log_level 4\nlog_file {{dir}}/node.log\npid_file {{dir}}/node\nbackground 0\nsetsid 0\n\
                 user {user}\ngroup {group}\nhost 127.0.0.1\nport {port}\nallow ^127\\.0\\.0\\.1$\n"
            ),
        );
        // The second of the two files that README names.
        site.write(
            "munin/plugin-conf.d/circus",
            &format!("[circus*]\nuser {user}\nenv.endpoint {}\nenv.My_App_critical 1:9\n", site.endpoint()),
        );
        let mut command = site.command(node);
        command.env("PERL5LIB", site.path("perl")).arg("--config").arg(site.path("munin/munin-node.conf"));
        let log = std::fs::File::create(site.path("node.out")).unwrap();
        let child = spawn(command.arg("--foreground").stderr(log));
        Some(Self { child, port })
    }

    fn talk(&self) -> Talk {
        let stream = wait_for("munin-node listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        let mut talk = Talk { lines: BufReader::new(stream.try_clone().unwrap()), stream };
        assert!(talk.line().starts_with("# munin node at "));
        talk
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        Process(self.child.id() as i32).send(Signal::SIGTERM);
        drop(self.child.wait());
    }
}

#[test]
fn a_real_munin_node_lists_configures_and_fetches() {
    let circusd = start();
    install(&circusd, &["circus", "circus_procs", "circus_restarts"]);
    let Some(node) = Node::start("munin::a_real_munin_node_lists_configures_and_fetches", &circusd) else { return };
    let mut talk = node.talk();
    writeln!(talk.stream, "cap multigraph dirtyconfig").unwrap();
    assert!(talk.line().starts_with("cap "));
    writeln!(talk.stream, "list").unwrap();
    let listed = talk.line();
    let names: Vec<&str> = listed.split_whitespace().collect();
    assert!(["circus", "circus_procs", "circus_restarts"].iter().all(|name| names.contains(name)), "{listed}");
    let config = talk.ask("config circus_procs");
    assert!(config.contains("graph_title Circus: processes\n"), "{config}{}", circusd.read("node.log"));
    assert!(config.contains("My_App.label My App\n") && config.contains("My_App.critical 1:9\n"), "{config}");
    assert_eq!(value(&config, "My_App"), "2", "the figures come with it where munin can take them");
    assert_eq!(value(&talk.ask("fetch circus_restarts"), "My_App"), "0");
    let all = talk.ask("fetch circus");
    assert_eq!(all.matches("multigraph circus_").count(), 7, "{all}");
    assert_eq!(value(&all, "front"), "0");
    writeln!(talk.stream, "quit").unwrap();
}

#[test]
fn munin_node_configure_finds_it() {
    let program = std::fs::read(built("circus-munin")).unwrap();
    let has = |line: &[u8]| program.windows(line.len()).any(|window| window == line);
    assert!(has(b"\n#%# family=auto\n#%# capabilities=autoconf suggest\n"));
}
