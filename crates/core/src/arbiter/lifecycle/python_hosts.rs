//! The Python processes that run hooks which are Python functions.
//!
//! One takes every hook. A function cannot be ended, only the Python that runs it: when the core ends such a hook, its
//! host gets nothing more, is ended as soon as the others that it runs have answered, and the next hook starts another.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::ids::HookId;
use crate::arbiter::outbox::Outbox;
use crate::base::CollectOrdered as _;

/// A host, as long as it is of use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Host {
    /// What was asked of it and not answered yet.
    under_way: BTreeSet<HookId>,
    /// It is given nothing more.
    retiring: bool,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct PythonHosts {
    hosts: BTreeMap<u64, Host>,
    next: u64,
}

impl PythonHosts {
    /// The host that is to run this hook.
    pub(in crate::arbiter) fn assign(&mut self, hook: HookId) -> u64 {
        let taking = self.hosts.iter_mut().find(|(_, host)| !host.retiring);
        if let Some((number, host)) = taking {
            host.under_way.insert(hook);
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.hosts.insert(number, Host { under_way: once(hook).collect_set(), retiring: false });
        number
    }

    /// A hook has answered.
    pub(in crate::arbiter) fn answered(&mut self, hook: HookId, outbox: &mut Outbox) {
        self.drop_hook(hook, false, outbox);
    }

    /// A hook was ended before it has answered.
    pub(in crate::arbiter) fn ended(&mut self, hook: HookId, outbox: &mut Outbox) {
        self.drop_hook(hook, true, outbox);
    }

    fn drop_hook(&mut self, hook: HookId, retires: bool, outbox: &mut Outbox) {
        let running = self.hosts.iter_mut().find(|(_, host)| host.under_way.contains(&hook));
        let Some((number, host)) = running else { return };
        let number = *number;
        host.under_way.remove(&hook);
        host.retiring |= retires;
        if host.retiring && host.under_way.is_empty() {
            self.hosts.remove(&number);
            outbox.act(Action::EndPythonHost(number));
        }
    }

    /// A host has ended, or is of no use any more. Returns the hooks that it ran.
    pub(in crate::arbiter) fn lost(&mut self, number: u64) -> BTreeSet<HookId> {
        self.hosts.remove(&number).map(|host| host.under_way).unwrap_or_default()
    }

    /// Every host has ended with the daemon that started it.
    pub(in crate::arbiter) fn forget_all(&mut self) {
        self.hosts.clear();
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn check(&self, runs: impl Fn(HookId) -> bool) {
        for (number, host) in &self.hosts {
            assert!(!host.retiring || !host.under_way.is_empty(), "host {number} is of no use, and was not ended");
            assert!(host.under_way.iter().all(|hook| runs(*hook)), "host {number} runs a hook that is not under way");
        }
    }
}
