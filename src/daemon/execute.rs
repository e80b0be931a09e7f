//! Executes the actions of the arbiter by calling the parts of the daemon.

use nix::unistd::Pid as SysPid;

use super::children::Owner;
use super::event_loop::{Daemon, Outcome};
use super::launch::Reporting;
use super::reload::take_over;
use crate::arbiter::{Action, Event, Launch, Level, Measure, Measured, Pid};
use crate::config::WatcherOrigin;
use crate::proto::{Reply, ReplyTo, SpawnError, Stage, reply_value};
use crate::sys;

impl Daemon {
    pub(super) fn execute(&mut self, action: Action) {
        let Self { core, control, events, launcher, children, signaller, leftovers, cgroups, fds, sources, .. } = self;
        match action {
            Action::OpenSockets(_) => core.feed(Event::SocketsOpened(fds.socket_infos())),
            Action::Signal { pid, signal, reach, .. } if self.adopted.signal(pid, signal, reach, cgroups.of(pid)) => {}
            Action::Signal { pid, signal, reach, watcher } => {
                signaller.signal((pid, signal, reach), watcher, (leftovers, cgroups), core);
            }
            Action::SignalRequest { job, mut pids, signal, target } => {
                pids.retain(|pid| !self.adopted.is_gone(*pid));
                let (signalled, result) = signaller.signal_requested(&pids, signal, target, leftovers);
                core.feed(Event::SignalDone { job, signalled, result });
            }
            Action::Sample { job, targets } => self.samples.begin(job, targets),
            Action::WatchClock => self.watch_clock(),
            Action::ReopenOutput => self.launcher.output.reopen_all(),
            Action::RememberRun { watcher, time } => {
                if let Some(file) = &self.state_file {
                    file.ran(&watcher, time);
                }
            }
            Action::Publish(notice) => events.push(core.arbiter.shown_to(&control.peers, notice)),
            Action::RunHook(call) => {
                let (hooks, mut parts) = self.hooks();
                hooks.run(*call, &mut parts);
            }
            Action::EndHook(hook) => {
                let (hooks, mut parts) = self.hooks();
                hooks.end(hook, &mut parts);
            }
            Action::Probe(call) => {
                let (probes, mut cx) = self.probes();
                probes.begin(&call, &mut cx);
            }
            Action::ForgetStored(watcher) => self.notify.forget(watcher),
            Action::EndProbe(probe) => self.probes.end(probe, sources, signaller),
            Action::StartSinkCommand(id) => launcher.exec_sinks.start_again(id, children, core),
            Action::KillSinkCommand(pid) => signaller.kill([pid]),
            Action::EndPythonHost(host) => {
                let (hooks, mut parts) = self.hooks();
                hooks.end_host(host, &mut parts);
            }
            Action::Reply(Reply { to: ReplyTo::Client(client), body, time }) => {
                // A client that has its reply has the events before it, too, as far as that is in circusd's hands.
                events.flush();
                control.reply(&client, &body, time, core);
            }
            Action::Reply(Reply { to: ReplyTo::Hook { host, number }, body, time }) => {
                let (hooks, mut parts) = self.hooks();
                hooks.answer(host, number, &reply_value(&body, time), &mut parts);
            }
            Action::Reply(Reply { to: ReplyTo::Discard, .. }) => {}
            Action::Log(level, text) => core.log(level, text),
            Action::WatchSocket { name, on } => {
                if let Err(error) = fds.watch_socket(sources, &name, on) {
                    core.log(Level::Error, error);
                }
            }
            Action::CountConnections { watcher, sockets } => {
                let open = fds.connections(&sockets);
                core.feed(Event::Connections { watcher, open });
            }
            Action::Measure { watcher, what } => {
                let result = match what {
                    Measure::Queue(names) => {
                        let own = launcher.worker_sockets.of_watcher(watcher);
                        fds.waiting(&names, own).map(Measured::Waiting)
                    }
                    Measure::Cpu(pids) => {
                        let time = |pid: Pid| Some((pid, sys::cpu_time(SysPid::from_raw(pid.0))?));
                        Ok(Measured::Cpu(pids.into_iter().filter_map(time).collect()))
                    }
                };
                core.feed(Event::Measured { watcher, result });
            }
            Action::Tail { job, watcher, stream, range } => launcher.output.tail(job.0, watcher, stream, range),
            Action::ForgetOutput(watcher) => launcher.output.forget(watcher),
            Action::CloseStreams(watcher) => launcher.close_streams(watcher, core),
            Action::UpdateStreams(watcher, config) => {
                if let Err(error) = launcher.update_streams(watcher, &config, children, core) {
                    core.log(Level::Error, format!("{}: {error}", config.name));
                }
            }
            Action::LoadConfig => {
                self.trim_when_idle = true;
                self.resources.load_config(core);
                self.watch_include_dirs();
            }
            Action::TakeOver(config) => {
                let result = take_over(*config, &mut self.resources, fds, launcher, self.state_file.as_ref(), core);
                if result.is_ok() {
                    self.resources.apply_guests(&mut self.door, &mut self.control, &mut self.events);
                    self.watch_include_dirs();
                }
                self.core.feed(Event::TakenOver(result));
            }
            Action::Remember(memories) => {
                if let Some(file) = &self.state_file {
                    file.remember(memories);
                }
            }
            Action::Upgrade(program) => self.begin_upgrade(program),
            Action::Restart => self.outcome = Some(Outcome::Restart),
            Action::Exit(status) => self.outcome = Some(Outcome::Exit(status)),
        }
    }

    /// Starts a worker.
    pub(super) fn launch(&mut self, launch: Launch) {
        if let Some(survivor) = self.adopted.take(&launch.config.name, launch.wid.0) {
            return self.adopt(&launch, survivor);
        }
        let Self { core, launcher, children, leftovers, cgroups, fds, sources, starting, notify, door, .. } = self;
        let worker = launch.worker;
        let (wid, config) = (launch.wid, std::sync::Arc::clone(&launch.config));
        let address = match config.checks.are_notified().then(|| notify.address(sources)).transpose() {
            Ok(address) => address.map(str::to_owned),
            Err(detail) => {
                let error = SpawnError { stage: Stage::Environment, errno: 0, detail };
                return core.feed(Event::SpawnFailed { worker, error });
            }
        };
        let reporting = Reporting { address: address.as_deref(), stored: notify.stored(worker.watcher, wid) };
        let group = match cgroups.make(&launch) {
            Ok(group) => group,
            Err(error) => return core.feed(Event::SpawnFailed { worker, error }),
        };
        let spawned =
            match launcher.start(launch, reporting, (door.guests.keys.as_ref(), group.as_ref()), fds, children, core) {
                Ok(spawned) => spawned,
                Err(error) => {
                    if let Some(group) = group {
                        group.remove();
                    }
                    return core.feed(Event::SpawnFailed { worker, error });
                }
            };
        let pid = Pid(spawned.pid().as_raw());
        children.insert(pid, Owner::Worker);
        if address.is_some() {
            notify.started(pid, worker.watcher, wid, &config.name);
        }
        // Plugins and circusd-stats end with circusd.
        if let Some(file) = self.state_file.as_ref().filter(|_| config.origin == WatcherOrigin::User) {
            file.started(pid, &config.name, wid.0);
        }
        leftovers.worker_started(pid, core);
        if let Some(group) = group {
            cgroups.started(pid, group);
        }
        match spawned {
            sys::Spawned::Running(_) => core.feed(Event::Spawned { worker, pid }),
            sys::Spawned::Pending { status, .. } => starting.watch(pid, worker, status, sources, core),
        }
    }

    /// A worker of the circusd before takes the place of one that is to be launched.
    fn adopt(&mut self, launch: &Launch, survivor: sys::Survivor) {
        let Self { core, launcher, children, .. } = self;
        let (name, wid, worker) = (&launch.config.name, launch.wid.0, launch.worker);
        let identity = survivor.identity();
        let has_slots = launch.slots.iter().all(|(name, value)| survivor.has_variable(name, value));
        let attached = launcher.attach_survivor(launch, &survivor, children, core);
        let watched = attached
            .map_err(|error| error.detail)
            .and_then(|()| if has_slots { Ok(()) } else { Err("another worker has its values of slots".to_owned()) })
            .and_then(|()| self.adopted.watch(survivor, &mut self.sources).map_err(|error| error.to_string()));
        match watched {
            Ok(pid) => {
                core.log(
                    Level::Info,
                    format!("{name}: worker of the previous circusd goes on wid={wid} pid={}", pid.0),
                );
                if let Some(file) = &self.state_file {
                    file.started(pid, name, wid);
                }
                self.cgroups.adopted(pid);
                core.feed(Event::Adopted { worker, pid });
            }
            Err(detail) => {
                core.log(Level::Error, format!("{name}: worker {wid} of the previous circusd cannot go on: {detail}"));
                identity.send(&sys::Proc::default(), crate::proto::Signal::KILL);
                let error = SpawnError { stage: Stage::Pipe, errno: 0, detail };
                core.feed(Event::SpawnFailed { worker, error });
            }
        }
    }
}
