//! Stops a watcher whose processes die too often, and starts it again after a while.
//!
//! Only unexpected exits count. circusd publishes `kill` before it sends a stop signal, so the deaths of
//! stop, restart, reload, decr, max_age and kill are announced, and an operator who restarts a watcher ten times is not
//! taken for a crash loop.
//!
//! circusd itself slows a crash loop down: before a process that died young is replaced it pauses, for check_delay at
//! most. So that this does not hide from us what it is there for, the deaths of a flapping watcher may be check_delay
//! further apart than `window` says, for each pause between them. With two attempts that is the original's rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use circus_plugin_sdk::{Client, Event, Names, Plugin, Settings};
use serde_json::Value;

use crate::builtin::{Registration, boxed};

pub(super) const PLUGIN: Registration =
    Registration { name: "flapping", make: |context| boxed(Flapping::new(&context.settings, context.check_delay)) };

/// When a watcher is taken for flapping, and what then.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    active: bool,
    attempts: usize,
    window: Duration,
    retry_in: Duration,
    /// `None` is for ever.
    max_retry: Option<u32>,
}

impl Rule {
    fn read(settings: &Settings) -> Result<Self, String> {
        let retries: i64 = settings.needed_number("max_retry")?;
        Ok(Self {
            active: settings.text("active").is_none() || settings.flag("active")?,
            attempts: settings.needed_number("attempts")?,
            window: settings.seconds("window")?,
            retry_in: settings.seconds("retry_in")?,
            max_retry: u32::try_from(retries).ok(),
        })
    }

    /// The time that the deaths of a flapping watcher take at most.
    fn span(&self, check_delay: Duration) -> Duration {
        let pauses = u32::try_from(self.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.window.saturating_add(check_delay.saturating_mul(pauses))
    }
}

/// A watcher under observation.
#[derive(Debug, Default)]
struct Case {
    /// What its options make of the rule; `None` until they were asked for.
    rule: Option<Rule>,
    /// When processes died unasked, the latest last.
    deaths: VecDeque<Duration>,
    /// Processes whose end was announced.
    expected: BTreeSet<i64>,
    /// The last death, or our last start.
    last: Option<Duration>,
    tries: u32,
    /// It is stopped until then.
    retry_at: Option<Duration>,
}

/// What is to be done about a death.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Retry { attempt: u32 },
    GiveUp,
}

impl Case {
    /// A process has exited unexpectedly.
    fn died(&mut self, rule: &Rule, check_delay: Duration, now: Duration) -> Verdict {
        let span = rule.span(check_delay);
        // A watcher that ran well for longer than that begins anew.
        if self.last.replace(now).is_some_and(|last| now.saturating_sub(last) > span) {
            (self.tries, self.deaths) = (0, VecDeque::new());
        }
        self.deaths.push_back(now);
        while self.deaths.len() > rule.attempts.max(1) {
            self.deaths.pop_front();
        }
        let first = self.deaths.front().copied().unwrap_or(now);
        if self.deaths.len() < rule.attempts || now.saturating_sub(first) > span {
            return Verdict::Nothing;
        }
        self.deaths.clear();
        if rule.max_retry.is_some_and(|most| self.tries >= most) {
            self.tries = 0;
            return Verdict::GiveUp;
        }
        self.tries += 1;
        self.retry_at = Some(now + rule.retry_in);
        Verdict::Retry { attempt: self.tries }
    }
}

/// The plugin.
#[derive(Debug)]
struct Flapping {
    settings: Settings,
    rule: Rule,
    check_delay: Duration,
    names: Names,
    cases: BTreeMap<String, Case>,
}

impl Flapping {
    fn new(settings: &Settings, check_delay: f64) -> Result<Self, String> {
        Ok(Self {
            settings: settings.clone(),
            rule: Rule::read(settings)?,
            // Where it is switched off, circusd pauses for the default.
            check_delay: Duration::try_from_secs_f64(check_delay)
                .ok()
                .filter(|delay| !delay.is_zero())
                .unwrap_or(Duration::from_secs(5)),
            names: Names::default(),
            cases: BTreeMap::new(),
        })
    }

    fn reaped(&mut self, event: &Event, client: &mut dyn Client) {
        let rule = self.rule_of(&event.watcher, client);
        let case = self.cases.entry(event.watcher.clone()).or_default();
        let expected = event.pid().is_some_and(|pid| case.expected.remove(&pid));
        if expected || !rule.active || case.retry_at.is_some() {
            return;
        }
        let verdict = case.died(&rule, self.check_delay, client.now());
        let name = self.names.of(&event.watcher, client);
        match verdict {
            Verdict::Nothing => {}
            Verdict::Retry { attempt } => {
                let seconds = rule.retry_in.as_secs();
                client.info(&format!("{name}: flapping detected: retry in {seconds:2}s (attempt number {attempt})"));
                client.stop(&name);
            }
            Verdict::GiveUp => {
                client.warn(&format!("{name}: flapping detected: reached max retry limit"));
                client.stop(&name);
            }
        }
    }

    /// The rule, with what the watcher's own options say.
    fn rule_of(&mut self, watcher: &str, client: &mut dyn Client) -> Rule {
        if let Some(rule) = self.cases.get(watcher).and_then(|case| case.rule.clone()) {
            return rule;
        }
        let name = self.names.of(watcher, client);
        let rule = match client.options(&name) {
            Ok(options) => self.overridden(&options).unwrap_or_else(|text| {
                client.warn(&format!("{name}: flapping.{text}; the value in the plugin's section is used"));
                self.rule.clone()
            }),
            Err(refusal) => {
                client.warn(&format!("{name}: its options cannot be read: {refusal}"));
                return self.rule.clone();
            }
        };
        self.cases.entry(watcher.to_owned()).or_default().rule = Some(rule.clone());
        rule
    }

    fn overridden(&self, options: &serde_json::Map<String, Value>) -> Result<Rule, String> {
        let keys = ["active", "attempts", "window", "retry_in", "max_retry"];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = |key: &str| {
            let own = options.get(&format!("flapping.{key}")).map(text);
            Some((key.to_owned(), own.or_else(|| self.settings.text(key).map(str::to_owned))?))
        };
        Rule::read(&Settings::new(keys.into_iter().filter_map(value)))
    }

    /// Other events.
    fn noted(&mut self, event: &Event) {
        let Some(case) = self.cases.get_mut(&event.watcher) else { return };
        match event.kind.as_str() {
            "updated" => case.rule = None,
            // It runs, by whomever: there is nothing to retry any more.
            "start" => case.retry_at = None,
            "remove" => {
                self.cases.remove(&event.watcher);
                self.names.forget(&event.watcher);
            }
            _ => {}
        }
    }
}

impl Plugin for Flapping {
    fn on_event(&mut self, event: &Event, client: &mut dyn Client) {
        match event.kind.as_str() {
            "reap" => self.reaped(event, client),
            "kill" => {
                self.cases.entry(event.watcher.clone()).or_default().expected.extend(event.pid());
            }
            "spawn" => {
                // The pid belongs to another process now.
                if let (Some(case), Some(pid)) = (self.cases.get_mut(&event.watcher), event.pid()) {
                    case.expected.remove(&pid);
                }
            }
            _ => self.noted(event),
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.cases.values().filter_map(|case| case.retry_at).min()
    }

    fn on_tick(&mut self, client: &mut dyn Client) {
        let now = client.now();
        for (watcher, case) in &mut self.cases {
            if case.retry_at.is_some_and(|at| at <= now) {
                (case.retry_at, case.last) = (None, Some(now));
                let name = self.names.of(watcher, client);
                client.start(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use circus_core::config::Builtin;
    use circus_plugin_sdk::FakeClient;
    use serde_json::json;

    use super::*;

    struct Stage {
        plugin: Flapping,
        client: FakeClient,
        pid: i64,
    }

    impl Stage {
        fn new(settings: &[(&str, &str)], options: Value) -> Self {
            let settings = Settings::new(settings.iter().copied()).with_defaults_of(Builtin::find("flapping").unwrap());
            let mut client = FakeClient::default();
            client.answer("options", json!({"status": "ok", "options": options}));
            Self { plugin: Flapping::new(&settings, 5.0).unwrap(), client, pid: 0 }
        }

        fn event(&mut self, kind: &str, pid: i64) {
            let event = self.client.event("w", kind, json!({"process_pid": pid}));
            self.plugin.on_event(&event, &mut self.client);
        }

        /// A new process dies, so many milliseconds later.
        fn dies(&mut self, after: u64) {
            self.pass(after);
            self.pid += 1;
            self.event("spawn", self.pid);
            self.event("reap", self.pid);
        }

        fn pass(&mut self, ms: u64) {
            let end = self.client.time + Duration::from_millis(ms);
            while let Some(at) = self.plugin.next_tick().filter(|at| *at <= end) {
                self.client.time = at;
                self.plugin.on_tick(&mut self.client);
            }
            self.client.time = end;
        }

        /// What it had done, without its questions.
        fn done(&mut self) -> Vec<String> {
            let mut sent = self.client.take_sent();
            sent.retain(|sent| !sent.starts_with("options"));
            sent
        }
    }

    const STOP: &str = r#"stop {"name":"w"}"#;
    const START: &str = r#"start {"name":"w"}"#;

    #[test]
    fn a_crash_loop_is_stopped_retried_and_given_up() {
        let mut stage = Stage::new(&[], json!({}));
        for attempt in 1..=5 {
            stage.dies(100);
            assert_eq!(stage.done(), [""; 0]);
            stage.dies(100);
            assert_eq!(stage.done(), [STOP]);
            let said = format!("w: flapping detected: retry in  7s (attempt number {attempt})");
            assert_eq!(stage.client.take_said(), [said]);
            stage.pass(6999);
            assert_eq!(stage.done(), [""; 0]);
            stage.pass(1);
            assert_eq!(stage.done(), [START]);
        }
        stage.dies(100);
        stage.dies(100);
        assert_eq!(stage.done(), [STOP]);
        assert_eq!(stage.client.take_said(), ["w: flapping detected: reached max retry limit"]);
        stage.pass(3_600_000);
        assert_eq!(stage.done(), [""; 0], "it stays stopped");
    }

    #[test]
    fn the_back_off_of_circusd_hides_nothing() {
        let mut stage = Stage::new(&[("attempts", "5")], json!({}));
        for pause in [100, 200, 400, 800] {
            stage.dies(pause);
            assert_eq!(stage.done(), [""; 0]);
        }
        stage.dies(1600);
        assert_eq!(stage.done(), [STOP]);
    }

    #[test]
    fn a_death_now_and_then_is_none() {
        let mut stage = Stage::new(&[], json!({}));
        for _ in 0..20 {
            stage.dies(6001);
        }
        assert_eq!(stage.done(), [""; 0]);
        stage.dies(6000);
        assert_eq!(stage.done(), [STOP]);
    }

    #[test]
    fn steady_watcher_regains_all_attempts() {
        let mut stage = Stage::new(&[("max_retry", "1")], json!({}));
        for _ in 0..3 {
            stage.dies(100_000);
            stage.dies(100);
            assert_eq!(stage.done(), [STOP]);
            stage.pass(7000);
            assert_eq!(stage.done(), [START]);
        }
    }

    #[test]
    fn deaths_that_were_asked_for_do_not_count() {
        let mut stage = Stage::new(&[], json!({}));
        for pid in 1..100 {
            stage.event("kill", pid);
            stage.event("reap", pid);
        }
        assert_eq!(stage.done(), [""; 0]);
        // A number that is given again is another process.
        stage.event("kill", 7);
        stage.event("spawn", 7);
        stage.event("reap", 7);
        stage.dies(1);
        assert_eq!(stage.done(), [STOP]);
    }

    #[test]
    fn options_of_watcher_override_and_are_reread() {
        let mut stage = Stage::new(&[], json!({"flapping.attempts": "3", "flapping.retry_in": 1}));
        stage.client.answer("options", json!({"status": "ok", "options": {"flapping.active": "False"}}));
        stage.dies(1);
        stage.dies(1);
        assert_eq!(stage.done(), [""; 0]);
        stage.dies(1);
        assert_eq!(stage.done(), [STOP]);
        stage.pass(1000);
        assert_eq!(stage.done(), [START]);
        stage.event("updated", 0);
        for _ in 0..10 {
            stage.dies(1);
        }
        assert_eq!(stage.done(), [""; 0]);
    }

    #[test]
    fn a_wrong_option_is_told_and_the_section_holds() {
        let mut stage = Stage::new(&[], json!({"flapping.window": "wide"}));
        stage.dies(1);
        let text = "w: flapping.window: 'wide' is not a valid number; the value in the plugin's section is used";
        assert_eq!(stage.client.take_said(), [text]);
        stage.dies(1);
        assert_eq!(stage.done(), [STOP]);
    }

    #[test]
    fn start_by_an_operator_ends_the_wait() {
        let mut stage = Stage::new(&[("max_retry", "-1")], json!({}));
        stage.dies(1);
        stage.dies(1);
        stage.event("start", 0);
        stage.pass(60_000);
        assert_eq!(stage.done(), [STOP]);
        stage.dies(1);
        stage.event("remove", 0);
        assert_eq!(stage.plugin.next_tick(), None);
    }
}
