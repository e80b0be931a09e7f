//! The upgrade of circusd in place, as far as it is the core's: one at a time, while the fleet is at work, and an answer
//! when it has succeeded or failed. The daemon does it ([`Action::Upgrade`]).

use crate::arbiter::action::Action;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::state::Arbiter;
use crate::arbiter::time::Now;
use crate::base::{Level, Pid};
use crate::config::WatcherOrigin;
use crate::proto::{Body, CIRCUSD, EventKind, Fault, Notice, Object, Reply, ReplyTo};

impl Arbiter {
    /// Whether circusd may be replaced now: not before the fleet has begun to start, nor while everything is stopped.
    pub fn may_be_upgraded(&self) -> Result<(), String> {
        self.phase.at_work().map_err(|fault| fault.reason)?;
        if self.phase.is_running() { Ok(()) } else { Err("circusd is starting".to_owned()) }
    }

    /// The workers that have a process: its pid, their watcher's name and their number. Those of plugins and of
    /// circusd-stats end with circusd and are left out.
    pub fn workers(&self) -> Vec<(Pid, String, u32)> {
        let own = self.fleet.watchers.values().filter(|watcher| watcher.config.origin == WatcherOrigin::User);
        own.flat_map(|watcher| {
            let processes = watcher.workers().values().filter_map(|worker| Some((worker.pid?, worker.wid.0)));
            processes.map(|(pid, wid)| (pid, watcher.config.name.clone(), wid))
        })
        .collect()
    }

    pub(in crate::arbiter) fn upgrade(&mut self, to: &ReplyTo, binary: Option<String>) -> Dispatch {
        self.may_be_upgraded().map_err(|reason| Fault::command(format!("not upgraded: {reason}")))?;
        if self.upgrade.is_some() {
            return Err(Fault::command("not upgraded: another upgrade is in progress"));
        }
        self.upgrade = Some(to.clone());
        self.outbox.act(Action::Upgrade(binary));
        Ok(None)
    }

    pub(in crate::arbiter) fn upgrade_by_signal(&mut self) {
        if let Err(fault) = self.upgrade(&ReplyTo::Discard, None) {
            self.outbox.log(Level::Error, fault.reason);
        }
    }

    pub(in crate::arbiter) fn upgrade_failed(&mut self, stage: &str, reason: &str, now: Now) {
        let Some(to) = self.upgrade.take() else { return };
        let fault = Fault::command(format!("not upgraded, at the stage '{stage}': {reason}"));
        self.outbox.log(Level::Error, fault.reason.as_str());
        self.outbox.reply(Reply { to, body: Body::Error(fault), time: now.unix });
    }

    pub(in crate::arbiter) fn upgraded(&mut self, version: String, pid: Pid, now: Now) {
        let Some(to) = self.upgrade.take() else { return };
        self.outbox.log(Level::Info, format!("circusd was upgraded, and is version {version} now"));
        let answer = [("version", version.as_str().into()), ("pid", pid.0.into())];
        let answer: Object = answer.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let kind = EventKind::Upgrade { version };
        self.outbox.act(Action::Publish(Notice { resource: CIRCUSD.into(), kind, time: now.unix }));
        self.outbox.reply(Reply { to, body: Body::Ok(answer), time: now.unix });
    }
}
