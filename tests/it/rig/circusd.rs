//! A circusd that runs.
use std::fs::File;
use std::ops::Deref;
use std::process::{Child, Command};

use circus::net::{Context, Dealer};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::events::Events;
use super::process::Process;
use super::site::{Site, spawn};
use super::wait::{DEADLINE, look_until, wait_until};

/// How a circusd ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `None` where a signal ended it.
    pub(crate) status: Option<i32>,
}

/// A circusd and its site. When it is dropped it is stopped, and has to leave nothing behind.
pub(crate) struct Circusd {
    child: Child,
    context: Context,
    /// Dropped after everything else.
    site: Site,
}

impl Deref for Circusd {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Circusd {
    /// Starts circusd and waits until it listens.
    #[track_caller]
    pub(crate) fn start(site: Site, args: &[&str]) -> Self {
        let mut circusd = Self::launch(site, args);
        circusd.wait_until_it_listens();
        circusd
    }

    /// Starts circusd. Its log is `circusd.log`, its standard output `circusd.out`.
    pub(crate) fn launch(site: Site, args: &[&str]) -> Self {
        let mut command = site.circusd();
        command.args(args);
        Self::launch_by(site, command)
    }

    /// Starts circusd by a command of the test's own.
    pub(crate) fn launch_by(site: Site, command: Command) -> Self {
        Self { child: launch(&site, command), context: Context::new().unwrap(), site }
    }

    /// Starts the site's circusd again, after it has ended.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        assert!(!self.lives());
        let mut command = self.site.circusd();
        command.arg(self.path("circus.ini"));
        self.child = launch(&self.site, command);
        // Clients of the previous circusd are another test's affair.
        self.context = Context::new().unwrap();
        self.wait_until_it_listens();
    }

    #[track_caller]
    pub(crate) fn wait_until_it_listens(&mut self) {
        // Its signals and sockets are ready when the core has begun.
        wait_until("circusd listens", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "circusd ended at once:\n{}", self.log());
            self.log().contains("Arbiter now waiting for commands")
        });
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id() as i32)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.read("circusd.log")
    }

    /// A client of its own.
    pub(crate) fn client(&self) -> Dealer {
        Dealer::connect(&self.context, &self.endpoint(), None).unwrap()
    }

    /// Sends a request and returns the reply, whatever it says.
    #[track_caller]
    pub(crate) fn ask(&self, command: &str, properties: Value) -> Value {
        ask(&mut self.client(), command, properties)
    }

    /// Sends a request that has to be granted.
    #[track_caller]
    pub(crate) fn tell(&self, command: &str, properties: Value) -> Value {
        let reply = self.ask(command, properties);
        assert_ne!(reply["status"], "error", "{command}: {reply}");
        reply
    }

    /// What `status` says of a watcher when it is asked for more.
    #[track_caller]
    pub(crate) fn details(&self, watcher: &str) -> Value {
        self.ask("status", json!({"name": watcher, "verbose": true}))["details"].take()
    }

    /// Runs circusctl: what it says on standard error, and its exit status.
    pub(crate) fn ctl(&self, args: &[&str]) -> (String, Option<i32>) {
        let output = self.circusctl(args);
        (output.stderr, output.status)
    }

    /// The state of a watcher.
    #[track_caller]
    pub(crate) fn status(&self, watcher: &str) -> String {
        self.ask("status", json!({"name": watcher}))["status"].as_str().unwrap().to_owned()
    }

    /// The pids of a watcher's workers.
    #[track_caller]
    pub(crate) fn workers(&self, watcher: &str) -> Vec<Process> {
        let reply = self.tell("list", json!({"name": watcher}));
        reply["pids"].as_array().unwrap().iter().map(|pid| Process(pid.as_i64().unwrap() as i32)).collect()
    }

    /// Waits until a watcher has so many workers, which run their program, and returns them.
    #[track_caller]
    pub(crate) fn wait_for_workers(&self, watcher: &str, count: usize) -> Vec<Process> {
        let mut workers = Vec::new();
        wait_until(&format!("{watcher} has {count} workers"), || {
            workers = self.workers(watcher);
            workers.len() == count && workers.iter().all(|worker| worker.lives() && worker.has_its_program())
        });
        workers
    }

    /// Waits for a file that contains this.
    #[track_caller]
    pub(crate) fn wait_for_text(&self, name: &str, text: &str) -> String {
        wait_until(&format!("{name} contains {text:?}"), || self.read(name).contains(text));
        self.read(name)
    }

    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait_for_text("circusd.log", text);
    }

    /// Subscribes to all events, from now on.
    #[track_caller]
    pub(crate) fn events(&self) -> Events {
        Events::subscribe(self, &self.context)
    }

    pub(crate) fn send(&self, signal: Signal) {
        self.process().send(signal);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> Ended {
        let mut status = None;
        wait_until("circusd has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        Ended { status: status.unwrap().code() }
    }

    /// Tells it to quit; it has to exit with 0.
    #[track_caller]
    pub(crate) fn quit(&mut self) {
        self.tell("quit", json!({}));
        assert_eq!(self.wait_for_end().status, Some(0), "{}", self.log());
    }

    /// Whether it runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

fn launch(site: &Site, mut command: Command) -> Child {
    command.stderr(File::create(site.path("circusd.log")).unwrap());
    command.stdout(File::create(site.path("circusd.out")).unwrap());
    spawn(&mut command)
}

/// The last lines of a text.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Sends a request and returns the reply.
#[track_caller]
pub(crate) fn ask(client: &mut Dealer, command: &str, properties: Value) -> Value {
    let request = json!({"command": command, "properties": properties});
    let Value::Object(request) = request else { unreachable!("it is an object") };
    match client.call(request, DEADLINE) {
        Ok(reply) => Value::Object(reply),
        Err(error) => panic!("{command}: {error}"),
    }
}

impl Drop for Circusd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The output of a test that passes is not shown.
            println!("--- the end of circusd's log ---\n{}", end_of(&self.log()));
        } else if self.lives() {
            self.send(Signal::SIGTERM);
            look_until(DEADLINE, || (!self.lives()).then_some(()));
        }
        let ended = self.child.try_wait().unwrap();
        if ended.is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if !std::thread::panicking() {
            let log = self.log();
            assert!(ended.is_some(), "circusd did not end:\n{log}");
            assert!(!log.contains("panicked at"), "{log}");
        }
    }
}
