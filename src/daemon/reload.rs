//! Reading the configuration file again while circusd runs: the part that concerns the daemon itself.

use std::sync::Arc;

use super::boot::{open_log, refuse_unsafe_places};
use super::control::Control;
use super::core::Core;
use super::door::{Door, read_users};
use super::events::EventPublisher;
use super::fd_table::FdTable;
use super::keys::read_ring;
use super::launch::Launcher;
use super::log::Audit;
use super::resources::Resources;
use super::state_file::StateFile;
use super::survivors;
use crate::arbiter::{Event, Level, SocketInfo};
use crate::config::{self, CircusConfig, Config};
use crate::sys;

/// Takes over what of a configuration is the daemon's own. Everything that can fail comes first.
pub(super) fn take_over(
    config: Config,
    resources: &mut Resources,
    fds: &mut FdTable,
    launcher: &mut Launcher,
    state_file: Option<&StateFile>,
    core: &mut Core,
) -> Result<Vec<SocketInfo>, String> {
    let (before, circus) = (&resources.config.circus, &config.circus);
    let of = |circus: &CircusConfig| (circus.loglevel.clone(), circus.logoutput.clone(), circus.log_format);
    let moved = of(before) != of(circus);
    refuse_unsafe_places(circus, None, resources.log_output.as_deref())?;
    let log = if moved { Some(resources.log_of(circus)?) } else { None };
    let audit = if Audit::differs(before, circus) { Some(Audit::open(circus)?) } else { None };
    fds.exchange_sockets(&config.sockets)?;
    if let Some(file) = state_file {
        file.sockets(&fds.sockets);
    }
    if let Some(log) = log {
        core.replace_log(log);
    }
    if let Some(audit) = audit {
        core.audit = audit;
    }
    resources.follow_umask(config.circus.umask);
    launcher.workers_end_with_circusd = config.circus.workers_end_with_circusd;
    launcher.workers_are_adopted = survivors::are_adopted(&config.circus);
    resources.config = config;
    resources.problems = std::mem::take(&mut resources.problems_read);
    Ok(fds.socket_infos())
}

impl Resources {
    /// Reads the configuration file again, for the arbiter.
    pub(super) fn load_config(&mut self, core: &mut Core) {
        let loaded = self.load();
        if let Ok((_, warnings)) = &loaded {
            for warning in warnings {
                core.log(Level::Warning, warning.as_str());
            }
        }
        core.feed(Event::ConfigLoaded(loaded.map(|(config, warnings)| (Box::new(config), warnings))));
    }

    /// Reads the configuration anew, and settles it for the circusd that runs.
    fn load(&mut self) -> Result<(Config, Vec<String>), Vec<String>> {
        let loaded = self.origin.load(&self.host, &sys::Machine);
        self.problems_read.clone_from(&loaded.problems);
        let (mut config, warnings) = loaded.replacing(&self.problems)?;
        // Nothing else may have changed, and then this configuration does not replace the one in force.
        self.config.include_dirs.clone_from(&config.include_dirs);
        // The options of keys stay what they are until circusd is started again; the files are read anew.
        self.ring_read =
            self.config.circus.curve_server_key.as_ref().map(|_| read_ring(&self.config.circus)).transpose()?;
        let circus = config::in_force(&self.config.circus, &config.circus);
        self.users_read = read_users(&circus)?;
        // Plugins reach the circusd that runs, whose endpoints stay what they are until it is started again.
        config::settle_plugins(&mut config, &circus);
        Ok((config, warnings))
    }

    /// Lets the keys and users count that were read last: at once, also for clients that are connected.
    pub(super) fn apply_guests(&mut self, door: &mut Door, control: &mut Control, events: &mut EventPublisher) {
        if let (Some(ring), Some(keys)) = (self.ring_read.take(), &mut door.guests.keys) {
            keys.replace_ring(ring);
        }
        if let (Some(read), Some(users)) = (self.users_read.take(), &mut door.guests.users) {
            *users = Arc::new(read);
        }
        control.known = door.known_for(control.router.endpoint());
        if door.known_for(events.publisher.endpoint()).is_some() {
            door.judge(&mut events.publisher);
        }
    }

    /// The log that `[circus]` asks for, where the command line does not say otherwise.
    pub(super) fn log_of(&self, circus: &CircusConfig) -> Result<super::log::Log, String> {
        open_log(circus, self.log_level.as_deref(), self.log_output.as_deref())
    }

    /// The umask of workers to come; without one, that which circusd was started with.
    pub(super) fn follow_umask(&mut self, umask: Option<u32>) {
        match (umask, self.own_umask) {
            (Some(mask), Some(_)) => {
                sys::set_umask(mask);
            }
            (Some(mask), None) => self.own_umask = Some(sys::set_umask(mask)),
            (None, Some(own)) => {
                sys::set_umask(own);
            }
            (None, None) => {}
        }
    }
}
