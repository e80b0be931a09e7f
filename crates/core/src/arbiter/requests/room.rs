//! Whether there is room for more watchers and workers: what could never be started is refused when it is asked for.

use crate::arbiter::ids::WatcherKey;
use crate::arbiter::state::Arbiter;
use crate::config::{Limit, MOST_WATCHERS, WatcherConfig};
use crate::proto::Fault;

/// How many descriptors circusd has for the output of each worker, at least: a pipe for each stream of its own.
fn pipes(config: &WatcherConfig) -> u64 {
    u64::from(config.stdout_stream.is_some() && !config.close_child_stdout)
        + u64::from(config.stderr_stream.is_some() && !config.close_child_stderr)
}

impl Arbiter {
    /// Refuses one watcher too many.
    pub(in crate::arbiter) fn has_room_for_a_watcher(&self) -> Result<(), Fault> {
        if self.fleet.watchers.len() < MOST_WATCHERS {
            return Ok(());
        }
        Err(Fault::command(format!("there are {MOST_WATCHERS} watchers, and there can be no more")))
    }

    /// Refuses `count` workers of this configuration where they and those that other watchers want, as far as those are up,
    /// are more than the machine allows. `key`: the watcher whose they are, if it is there already.
    pub(in crate::arbiter) fn has_room(
        &self,
        key: Option<WatcherKey>,
        config: &WatcherConfig,
        count: u32,
    ) -> Result<(), Fault> {
        let others = self.fleet.watchers.iter().filter(|(other, w)| Some(**other) != key && w.is_up());
        let own = (u64::from(count), u64::from(count).saturating_mul(pipes(config)));
        let (processes, descriptors) = others.fold(own, |(processes, descriptors), (_, w)| {
            let number = u64::from(w.config.numprocesses);
            let more = number.saturating_mul(pipes(&w.config));
            (processes.saturating_add(number), descriptors.saturating_add(more))
        });
        let name = &config.name;
        let refuse = |wanted: u64, limit: Option<&Limit>, what: &str| match limit {
            Some(Limit { most, name: limit }) if wanted > *most => Err(Fault::command(format!(
                "{name}: {count} workers cannot be started: {wanted} {what} are wanted in all, and {limit} allows {most}"
            ))),
            _ => Ok(()),
        };
        refuse(processes, self.host.room.processes.as_ref(), "processes")?;
        refuse(descriptors, self.host.room.descriptors.as_ref(), "descriptors for output")
    }
}
