//! The core's hooks and the desk where they run, brought together.

use serde_json::Value;

use super::{HookCx, HookEvent, Place};
use crate::arbiter::{Event, HookCall, Level, Pid, Principal};
use crate::config::{HookKind, WatcherConfig};
use crate::daemon::event_loop::Daemon;
use crate::daemon::sources::Source;
use crate::proto::{Body, Envelope, Object, Reply, ReplyTo, RequestId};

impl Daemon {
    pub(in crate::daemon) fn run_hook(&mut self, call: HookCall) {
        let python = self.resources.config.circus.python.clone().unwrap_or_else(|| "python3".into());
        let paths = self.import_paths(&call.config);
        let place = self.place();
        self.hooks.run(
            &mut HookCx { output: &mut self.launcher.output, sources: &mut self.sources, children: &mut self.children },
            call,
            &place,
            &python,
            &paths,
        );
    }

    /// Where a watcher's processes import from, and where the configuration file is: its hooks are looked for there, too.
    fn import_paths(&mut self, config: &WatcherConfig) -> Vec<String> {
        if !config.hooks.values().any(|hook| matches!(hook.kind(), Ok(HookKind::Python(_)))) {
            return Vec::new();
        }
        // What is wrong with the environment is said when a process is to have it.
        let env = self.launcher.environments.of(config).unwrap_or_default();
        let paths = env.into_iter().filter(|(name, _)| name == "PYTHONPATH");
        let paths = paths.flat_map(|(_, paths)| paths.split(':').map(str::to_owned).collect::<Vec<_>>());
        paths.chain(self.resources.directory_of_file()).collect()
    }

    fn place(&self) -> Place {
        let circus = &self.resources.config.circus;
        Place {
            endpoint: self.fds.control.endpoint.clone(),
            pubsub_endpoint: self.fds.events.endpoint.clone(),
            stats_endpoint: circus.stats_endpoint.clone(),
            check_delay: circus.check_delay,
        }
    }

    /// Looks at what hooks have said, and at those that are due.
    pub(in crate::daemon) fn read_hooks(&mut self, ready: &[Source]) {
        if self.hooks.is_idle() {
            return;
        }
        let place = self.place();
        self.hooks.look(
            &mut HookCx { output: &mut self.launcher.output, sources: &mut self.sources, children: &mut self.children },
            ready,
            &place,
            self.now,
        );
    }

    /// Takes up one thing that has come of hooks. Whether there was one.
    pub(in crate::daemon) fn take_hook_event(&mut self) -> bool {
        match self.hooks.take() {
            None => return false,
            Some(HookEvent::Done(hook, outcome)) => self.feed(Event::HookDone { hook, outcome }),
            Some(HookEvent::Say(level, text)) => self.log_line(level, &text),
            Some(HookEvent::Lost(call)) => {
                let name = &call.config.name;
                self.log_line(
                    Level::Warning,
                    &format!("{name}: the Python that ran its hook has ended; running it again"),
                );
                self.run_hook(*call);
            }
            Some(HookEvent::Kill(pid)) => self.kill_queue.push(pid),
            Some(HookEvent::Call { bridge, number, command, properties }) => {
                self.called(bridge, number, command, properties)
            }
        }
        true
    }

    /// A command of a hook: hooks run as circusd's user, so it is made for circusd.
    fn called(&mut self, bridge: u64, number: u64, command: String, properties: Object) {
        let to = ReplyTo::Hook { host: bridge, number };
        let envelope = Envelope { id: RequestId::Absent, command, properties: Some(properties), cast: false };
        self.log_change(&envelope, |_| "a hook".to_owned());
        match self.accept(&envelope, &Principal::Daemon) {
            Ok(request) => self.feed(Event::Request(Box::new(to), request)),
            Err(fault) => {
                self.reply(&Reply { to, body: Body::Error(fault), time: self.now.unix });
            }
        }
    }

    /// Hands the answer to a command to the Python host that called it.
    pub(in crate::daemon) fn answer_hook(&mut self, host: u64, number: u64, value: &Value) {
        self.hooks.answer(
            &mut HookCx { output: &mut self.launcher.output, sources: &mut self.sources, children: &mut self.children },
            host,
            number,
            value,
        );
    }

    /// This life is over: nobody waits for a hook any more.
    pub(in crate::daemon) fn stop_hooks(&mut self) {
        let pids: Vec<Pid> = self.hooks.close(&mut HookCx {
            output: &mut self.launcher.output,
            sources: &mut self.sources,
            children: &mut self.children,
        });
        self.kill_queue.extend(pids);
        self.kill_queued();
    }
}
