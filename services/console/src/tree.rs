//! The machines that are shown: circusds, and those of fleets, which come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use crate::fleet::Fleet;
use crate::link::Machine;

/// The machines that are shown now, in the order in which they came. No two have one name.
#[derive(Clone, Default)]
pub struct Shown(Arc<Mutex<Vec<Machine>>>);

impl Shown {
    fn list(&self) -> MutexGuard<'_, Vec<Machine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Machine> {
        self.list().clone()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<Machine> {
        self.list().iter().find(|machine| machine.name() == name).cloned()
    }

    /// Shows one, unless there is one of its name.
    pub(crate) fn add(&self, machine: Machine) {
        let mut list = self.list();
        if !list.iter().any(|shown| shown.name() == machine.name()) {
            list.push(machine);
        }
    }

    /// Shows the one of this name no more.
    pub(crate) fn remove(&self, name: &str) {
        self.list().retain(|machine| machine.name() != name);
    }
}

/// The machines, and the fleets that they come from.
#[derive(Clone, Default)]
pub struct Machines {
    shown: Shown,
    fleets: Vec<Arc<Fleet>>,
}

impl Machines {
    /// What is shown of these fleets, and beside them.
    pub fn new(shown: Shown, fleets: Vec<Arc<Fleet>>) -> Self {
        Self { shown, fleets }
    }

    /// Those that are shown.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The one of this name. Fleets are asked, where it is not known.
    pub async fn named(&self, name: &str) -> Option<Machine> {
        if let Some(known) = self.shown.named(name) {
            return Some(known);
        }
        self.listed().await;
        self.shown.named(name)
    }

    async fn listed(&self) {
        let mut asked: JoinSet<_> =
            self.fleets.iter().cloned().map(|fleet| async move { fleet.fresh().await }).collect();
        while asked.join_next().await.is_some() {}
    }

    /// All of them, each with its board as its circusd is now.
    pub async fn fresh(&self) -> Vec<Machine> {
        self.listed().await;
        let all = self.shown.all();
        let mut asked: JoinSet<_> = all.iter().cloned().map(|machine| async move { machine.fresh().await }).collect();
        while asked.join_next().await.is_some() {}
        all
    }
}
