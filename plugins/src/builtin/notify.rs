//! Tells a person that a watcher has gone wrong, and that it is back to normal: by a command or by a web server that
//! passes messages on. Few messages: one when trouble begins, one in a while as long as it lasts, one when it is over.

mod delivery;
mod history;
mod template;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use circus_plugin_sdk::{Client, Event, Names, Plugin, Settings};
use serde_json::Value;

use crate::builtin::{Registration, boxed};
use crate::support::background::Background;
use crate::support::selection::{Kinds, Selection};
use crate::support::why::{Why, of_exit};
use delivery::Delivery;
use history::History;
use template::{Facts, Template};
use trouble::{Said, Trouble};

pub(super) const PLUGIN: Registration =
    Registration { name: "notify", make: |context| boxed(Notify::new(&context.settings)) };

/// Deaths that were announced and have not come are kept for so many processes.
const MOST_EXPECTED: usize = 1000;

/// The plugin.
#[derive(Debug)]
struct Notify {
    kinds: Kinds,
    selection: Selection,
    template: Template,
    repeat: Duration,
    calm: Duration,
    budget: Budget,
    names: Names,
    troubles: BTreeMap<String, Trouble>,
    /// Processes whose end was asked for.
    expected: BTreeSet<i64>,
    history: History,
    work: Background<String, Option<String>>,
    dropped: u64,
}

/// So many messages in so long.
#[derive(Debug)]
struct Budget {
    messages: usize,
    window: Duration,
    sent: VecDeque<Duration>,
    suppressed: u64,
}

impl Budget {
    /// Whether one more may be sent now.
    fn admit(&mut self, now: Duration) -> bool {
        while self.sent.front().is_some_and(|then| now.saturating_sub(*then) >= self.window) {
            self.sent.pop_front();
        }
        let admitted = self.sent.len() < self.messages;
        if admitted {
            self.sent.push_back(now);
        } else {
            self.suppressed += 1;
        }
        admitted
    }
}

impl Notify {
    fn new(settings: &Settings) -> Result<Self, String> {
        let delivery = Delivery::new(settings)?;
        let template = Template::new(settings.text("template"), delivery.takes_json())?;
        let work = Background::start(settings.needed_number("queue")?, move |text: String| delivery.deliver(&text));
        Ok(Self {
            kinds: Kinds::new(settings),
            selection: Selection::new(settings)?,
            template,
            repeat: settings.seconds("repeat")?,
            calm: settings.seconds("calm")?,
            budget: Budget {
                messages: settings.needed_number("max_messages")?,
                window: settings.seconds("window")?,
                sent: VecDeque::new(),
                suppressed: 0,
            },
            names: Names::default(),
            troubles: BTreeMap::new(),
            expected: BTreeSet::new(),
            history: History::new(settings)?,
            work: work.map_err(|error| format!("cannot start a thread for messages: {error}"))?,
            dropped: 0,
        })
    }

    /// What an event says went wrong; `None` where nothing did.
    fn fault(&mut self, event: &Event, watcher: &str, client: &mut dyn Client) -> Option<Why> {
        let text = |key: &str| event.body.get(key).and_then(Value::as_str).map(str::to_owned);
        match event.kind.as_str() {
            "reap" => {
                let (pid, code) = (event.pid()?, event.body.get("exit_code").and_then(Value::as_i64)?);
                if self.expected.remove(&pid) || code == 0 {
                    return None;
                }
                let why = of_exit(event, watcher, client);
                let plain = || format!("process {pid} ended with {code}");
                Some(Why { text: Some(why.text.unwrap_or_else(plain)), ..why })
            }
            // A stop that was asked for has no reason.
            "stop" => Some(Why { text: Some(format!("stopped: {}", text("reason")?)), ..Why::default() }),
            kind @ ("unhealthy" | "reload_failed") => {
                let lines = event.body.get("lines").and_then(Value::as_array).into_iter().flatten();
                let lines = lines.filter_map(|line| line.as_str().map(str::to_owned)).collect();
                let text = format!("{kind}: {}", text("reason").unwrap_or_default());
                Some(Why { text: Some(text), lines, ..Why::default() })
            }
            "hook_failure" => {
                let (name, error) = (text("name").unwrap_or_default(), text("error").unwrap_or_default());
                Some(Why { text: Some(format!("hook {name} failed: {error}")), ..Why::default() })
            }
            _ => None,
        }
    }

    fn tell(&mut self, facts: &Facts, client: &mut dyn Client) {
        if !self.budget.admit(client.now()) {
            if self.budget.suppressed == 1 {
                client.warn("there are too many messages: they are left out until there are fewer");
            }
            return;
        }
        let suppressed = std::mem::take(&mut self.budget.suppressed);
        let text = self.template.fill(facts, suppressed);
        if let Err(error) = self.history.add(facts, suppressed) {
            client.warn(&format!("the history cannot be written: {error}"));
        }
        if !self.work.push(text) {
            if self.dropped == 0 {
                client.warn("messages are delivered too slowly: the queue is full, and messages are dropped");
            }
            self.dropped += 1;
        }
    }

    /// The time has come to look whether a watcher does its work again.
    fn look(&mut self, resource: &str, client: &mut dyn Client) {
        let watcher = self.names.of(resource, client);
        let properties = serde_json::json!({"name": watcher}).as_object().cloned().unwrap_or_default();
        let state = client.call("status", properties).ok();
        let state = state.as_ref().and_then(|reply| reply.get("status")).and_then(Value::as_str);
        let now = client.now();
        let Some(trouble) = self.troubles.get_mut(resource) else { return };
        match state {
            // It was removed.
            None => drop(self.troubles.remove(resource)),
            Some("active") => {
                let facts = trouble.is_over(&watcher, now);
                let was_told = trouble.was_told();
                self.troubles.remove(resource);
                if was_told {
                    self.tell(&facts, client);
                }
            }
            // It is being started again, or stays stopped: an operator knows, or was told why.
            Some(_) => trouble.look_later(now, self.calm),
        }
    }
}

impl Plugin for Notify {
    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        if event.kind == "kill" {
            self.expected.extend(event.pid());
            if self.expected.len() > MOST_EXPECTED {
                self.expected.pop_first();
            }
            return;
        }
        if event.kind == "remove" {
            self.troubles.remove(&event.watcher);
            self.names.forget(&event.watcher);
            return;
        }
        if !self.kinds.contain(&event.kind) {
            return;
        }
        let watcher = self.names.of(&event.watcher, client);
        if !self.selection.contains(&watcher, client) {
            return;
        }
        let Some(why) = self.fault(event, &watcher, client) else { return };
        let now = client.now();
        let trouble = self.troubles.entry(event.watcher.clone()).or_insert_with(|| Trouble::new(now));
        if let Said::Now(facts) = trouble.fault(&watcher, why, now, self.repeat, self.calm) {
            self.tell(&facts, client);
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.troubles.values().map(Trouble::look_at).min()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        let now = client.now();
        let due = self.troubles.iter().filter(|(_, trouble)| trouble.look_at() <= now);
        for resource in due.map(|(resource, _)| resource.clone()).collect::<Vec<_>>() {
            self.look(&resource, client);
        }
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.work.source())
    }

    fn on_readable(&mut self, client: &mut dyn Client) {
        for why in self.work.results().into_iter().flatten() {
            client.warn(&format!("a message was not delivered: {why}"));
        }
        if self.dropped > 0 {
            client.warn(&format!("{} messages were dropped", std::mem::take(&mut self.dropped)));
        }
    }
}

#[cfg(test)]
mod tests {
    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use serde_json::json;

    use super::*;

    struct Stage {
        plugin: Notify,
        client: FakeClient,
        folder: tempfile::TempDir,
    }

    impl Stage {
        /// Messages go to a file, a line each.
        fn new(more: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let command = format!("sh -c 'cat >>{0}/told; echo >>{0}/told'", folder.path().display());
            let history = folder.path().join("history");
            let own = [("command", command.as_str()), ("history", history.to_str().unwrap())];
            let own = own.into_iter().chain([("template", "$(watcher) $(state): $(text) ($(count))")]);
            let settings = Settings::new(more.iter().copied().chain(own));
            let plugin = Notify::new(&settings.with_defaults_of(Builtin::find("notify").unwrap())).unwrap();
            let mut client = FakeClient::default();
            let statuses = json!({"web": "active", "db": "active"});
            client.answer("status", json!({"status": "active", "statuses": statuses}));
            Self { plugin, client, folder }
        }

        fn event(&mut self, watcher: &str, kind: &str, body: Value) {
            let event = self.client.event(watcher, kind, body);
            self.plugin.on_event(&event, &mut self.client);
        }

        fn crash(&mut self, watcher: &str, pid: i64) {
            self.event(watcher, "reap", json!({"process_pid": pid, "exit_code": 3}));
        }

        fn pass(&mut self, seconds: u64) {
            self.client.time += Duration::from_secs(seconds);
            self.plugin.on_tick(&mut self.client);
        }

        /// So many messages come.
        fn told(&mut self, count: usize) -> Vec<String> {
            let read = |folder: &std::path::Path| {
                let text = std::fs::read_to_string(folder.join("told")).unwrap_or_default();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            };
            while read(self.folder.path()).len() < count {
                let source = PollFd::new(self.plugin.work.source(), PollFlags::POLLIN);
                assert_eq!(poll(&mut [source], PollTimeout::from(30_000_u16)), Ok(1));
                self.plugin.on_readable(&mut self.client);
            }
            read(self.folder.path())
        }
    }

    #[test]
    fn trouble_is_told_when_it_begins_while_it_lasts_and_when_it_is_over() {
        let mut stage = Stage::new(&[("repeat", "600"), ("calm", "60")]);
        for pid in 1..=5 {
            stage.crash("web", pid);
            stage.pass(1);
        }
        stage.pass(50);
        stage.client.time += Duration::from_secs(600);
        stage.crash("web", 6);
        stage.pass(59);
        assert_eq!(
            stage.told(2),
            ["web failed: process 1 ended with 3 (1)", "web still fails: process 6 ended with 3 (6)"]
        );
        stage.pass(1);
        let told = stage.told(3);
        assert!(told[2].starts_with("web is back to normal: after 6 failures in 11 min"), "{told:?}");
        assert_eq!(stage.plugin.next_tick(), None, "nothing is watched any more");
        let history = std::fs::read_to_string(stage.folder.path().join("history")).unwrap();
        let states: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            states.iter().map(|line| line["state"].as_str().unwrap()).collect::<Vec<_>>(),
            ["failed", "still fails", "is back to normal"]
        );
    }

    #[test]
    fn exits_that_were_asked_for_are_no_trouble() {
        let mut stage = Stage::new(&[]);
        stage.event("web", "kill", json!({"process_pid": 7}));
        stage.event("web", "reap", json!({"process_pid": 7, "exit_code": -9}));
        stage.event("web", "reap", json!({"process_pid": 8, "exit_code": 0}));
        stage.event("web", "stop", json!({}));
        assert!(stage.plugin.troubles.is_empty());
        stage.event("db", "stop", json!({"reason": "given up"}));
        assert_eq!(stage.told(1), ["db failed: stopped: given up (1)"]);
    }

    #[test]
    fn watcher_that_does_not_run_is_not_back_to_normal() {
        let mut stage = Stage::new(&[("calm", "60")]);
        stage.client = FakeClient::default();
        let statuses = json!({"web": "active"});
        stage.client.answer("status", json!({"status": "ok", "statuses": statuses}));
        stage.client.answer("status", json!({"status": "stopped"}));
        stage.client.answer("status", json!({"status": "active"}));
        stage.crash("web", 1);
        stage.pass(60);
        assert_eq!(stage.told(1).len(), 1);
        stage.pass(60);
        assert!(stage.told(2)[1].starts_with("web is back to normal"));
    }

    #[test]
    fn too_many_messages_are_left_out_and_counted() {
        let mut stage = Stage::new(&[("max_messages", "2"), ("window", "600"), ("repeat", "0")]);
        for pid in 1..=4 {
            stage.crash("web", pid);
        }
        assert_eq!(stage.client.take_said(), ["there are too many messages: they are left out until there are fewer"]);
        stage.client.time += Duration::from_secs(600);
        stage.crash("web", 5);
        let told = stage.told(3);
        assert_eq!(told[2], "web still fails: process 5 ended with 3 (5) (2 messages were left out)");
    }

    #[test]
    fn command_that_fails_is_logged() {
        let mut stage = Stage::new(&[]);
        let settings = Settings::new([("command", "sh -c 'echo no mail >&2; exit 4'")]);
        stage.plugin = Notify::new(&settings.with_defaults_of(Builtin::find("notify").unwrap())).unwrap();
        stage.crash("web", 1);
        let source = PollFd::new(stage.plugin.work.source(), PollFlags::POLLIN);
        assert_eq!(poll(&mut [source], PollTimeout::from(30_000_u16)), Ok(1));
        stage.plugin.on_readable(&mut stage.client);
        assert_eq!(stage.client.take_said(), ["a message was not delivered: exit status: 4: no mail"]);
    }

    #[test]
    fn what_is_wrong_with_a_section_is_said() {
        let refused = |settings: &[(&str, &str)]| {
            let settings = Settings::new(settings.iter().copied());
            Notify::new(&settings.with_defaults_of(Builtin::find("notify").unwrap())).unwrap_err()
        };
        assert_eq!(refused(&[]), "either command or url is needed");
        assert_eq!(refused(&[("command", "x"), ("url", "http://x")]), "either command or url is needed, and not both");
        assert!(refused(&[("url", "ftp://x")]).starts_with("url: 'ftp://x' begins neither"));
        assert!(refused(&[("command", "'x")]).starts_with("command "));
        assert!(
            refused(&[("command", "x"), ("template", "$(watchr)")]).starts_with("template: '$(watchr)' is none of")
        );
    }
}
