//! The core's hooks and [`HookRunner`], brought together.

use serde_json::Value;

use super::{HookCx, HookEvent, HookRunner, Place};
use crate::arbiter::{Event, HookCall, HookId, Principal};
use crate::config::{HookKind, WatcherConfig};
use crate::daemon::children::{Children, Owner};
use crate::daemon::control::{accept, changes, log_change};
use crate::daemon::core::Core;
use crate::daemon::fd_table::FdTable;
use crate::daemon::launch::Launcher;
use crate::daemon::resources::Resources;
use crate::daemon::signaller::Signaller;
use crate::daemon::sources::{Source, Sources};
use crate::proto::{Body, Envelope, Object, ReplyTo, RequestId, reply_value};
use circus_core::access::{AuditResult, Audited};

/// The hooks that the core has run.
pub(in crate::daemon) struct Hooks(pub(in crate::daemon) HookRunner);

/// What hooks use of the other parts of the daemon.
pub(in crate::daemon) struct Parts<'a> {
    pub(in crate::daemon) core: &'a mut Core,
    pub(in crate::daemon) launcher: &'a mut Launcher,
    pub(in crate::daemon) sources: &'a mut Sources,
    pub(in crate::daemon) children: &'a mut Children,
    pub(in crate::daemon) signaller: &'a mut Signaller,
    pub(in crate::daemon) fds: &'a FdTable,
    pub(in crate::daemon) resources: &'a Resources,
}

impl Parts<'_> {
    fn cx(&mut self) -> HookCx<'_> {
        HookCx { output: &mut self.launcher.output, sources: self.sources, children: self.children }
    }

    /// Where a watcher's processes import from, and where the configuration file is: its hooks are looked for there, too.
    fn import_paths(&mut self, config: &WatcherConfig) -> Vec<String> {
        if !config.hooks.values().any(|hook| matches!(hook.kind(), Ok(HookKind::Python(_)))) {
            return Vec::new();
        }
        // A fault of the environment is reported when a process is started with it.
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
}

impl Hooks {
    pub(in crate::daemon) fn run(&mut self, call: HookCall, parts: &mut Parts<'_>) {
        let python = parts.resources.config.circus.python.clone().unwrap_or_else(|| "python3".into());
        let paths = parts.import_paths(&call.config);
        let place = parts.place();
        self.0.run(&mut parts.cx(), call, &place, &python, &paths);
    }

    pub(in crate::daemon) fn end(&mut self, hook: HookId, parts: &mut Parts<'_>) {
        self.0.end(&mut parts.cx(), hook);
    }

    pub(in crate::daemon) fn end_host(&mut self, host: u64, parts: &mut Parts<'_>) {
        self.0.end_host(&mut parts.cx(), host);
    }

    /// Looks at what hooks have said.
    pub(in crate::daemon) fn read(&mut self, ready: &[Source], parts: &mut Parts<'_>) {
        if self.0.is_idle() {
            return;
        }
        self.0.look(&mut parts.cx(), ready);
    }

    /// A process of hooks was reaped.
    pub(in crate::daemon) fn exited(&mut self, owner: Owner, exit_code: i32, parts: &mut Parts<'_>) {
        match owner {
            Owner::Hook(id) => self.0.command_exited(&mut parts.cx(), id, exit_code),
            Owner::PythonHost(number) => self.0.python_exited(&mut parts.cx(), number, exit_code),
            Owner::Worker | Owner::ExecSink(_) | Owner::Probe(_) | Owner::UpgradeCheck => {}
        }
    }

    /// Takes up one thing that has come of hooks. Whether there was one.
    pub(in crate::daemon) fn take_event(&mut self, parts: &mut Parts<'_>) -> bool {
        match self.0.take() {
            None => return false,
            Some(HookEvent::Done(hook, outcome)) => parts.core.feed(Event::HookDone { hook, outcome }),
            Some(HookEvent::Say(level, text)) => parts.core.log(level, text),
            Some(HookEvent::NotYet(hook, reason)) => parts.core.feed(Event::HookNotYet { hook, reason }),
            Some(HookEvent::HostLost(host, error)) => parts.core.feed(Event::PythonHostLost { host, error }),
            Some(HookEvent::Kill(pid)) => parts.signaller.kill([pid]),
            Some(HookEvent::Call { host, number, command, properties }) => {
                self.called(host, number, command, properties, parts);
            }
        }
        true
    }

    /// A command of a hook: hooks run as circusd's user, so it is made for circusd.
    fn called(&mut self, host: u64, number: u64, command: String, properties: Object, parts: &mut Parts<'_>) {
        let to = ReplyTo::Hook { host, number };
        let envelope = Envelope { id: RequestId::Absent, command, properties: Some(properties), cast: false };
        log_change(&envelope, parts.core, || "a hook".to_owned());
        match accept(&envelope, &Principal::Daemon, &parts.core.arbiter) {
            Ok(request) => {
                if changes(&envelope) {
                    let audited = Audited::new(&envelope, Some("a hook"), None, None);
                    parts.core.tell_audit(&audited, &AuditResult::Accepted);
                }
                parts.core.feed(Event::Request(Box::new(to), request));
            }
            Err(refusal) => {
                let value = reply_value(&Body::Error(refusal.fault()), parts.core.now.unix);
                self.answer(host, number, &value, parts);
            }
        }
    }

    /// Hands the reply to a command to the Python host whose hook sent it.
    pub(in crate::daemon) fn answer(&mut self, host: u64, number: u64, value: &Value, parts: &mut Parts<'_>) {
        self.0.answer(&mut parts.cx(), host, number, value);
    }

    /// This life is over: no hook is waited for any more, and their processes are queued to be killed.
    pub(in crate::daemon) fn stop(&mut self, parts: &mut Parts<'_>) {
        let pids = self.0.close(&mut parts.cx());
        parts.signaller.kill(pids);
    }
}
