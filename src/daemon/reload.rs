//! The configuration file read again while everything runs: what of it is the daemon's own.

use super::boot::open_log;
use super::event_loop::Daemon;
use crate::arbiter::{Event, Level, SocketInfo};
use crate::config::{self, CircusConfig, Config};
use crate::sys;

impl Daemon {
    pub(super) fn load_config(&mut self) {
        self.trim_when_idle = true;
        let loaded = self.resources.origin.load(&self.resources.host, &sys::Machine);
        self.resources.problems_read.clone_from(&loaded.problems);
        let loaded = loaded.replacing(&self.resources.problems).map(|(mut config, warnings)| {
            // Plugins reach the circusd that runs, whose endpoints stay what they are until it is started again.
            let circus = config::in_force(&self.resources.config.circus, &config.circus);
            config::settle_plugins(&mut config, &circus);
            (config, warnings)
        });
        if let Ok((_, warnings)) = &loaded {
            for warning in warnings {
                self.log_line(Level::Warning, warning);
            }
        }
        self.feed(Event::ConfigLoaded(loaded.map(|(config, warnings)| (Box::new(config), warnings))));
    }

    /// Everything that can fail comes first.
    pub(super) fn take_over(&mut self, config: Config) -> Result<Vec<SocketInfo>, String> {
        let (before, circus) = (&self.resources.config.circus, &config.circus);
        let moved = (&before.loglevel, &before.logoutput) != (&circus.loglevel, &circus.logoutput);
        let log = if moved { Some(self.log_of(circus)?) } else { None };
        self.fds.exchange_sockets(&config.sockets)?;
        if let Some(log) = log {
            self.log = log;
        }
        self.follow_umask(config.circus.umask);
        self.launcher.workers_end_with_circusd = config.circus.workers_end_with_circusd;
        self.resources.config = config;
        self.resources.problems = std::mem::take(&mut self.resources.problems_read);
        Ok(self.fds.socket_infos())
    }

    pub(super) fn log_of(&self, circus: &CircusConfig) -> Result<super::log::Log, String> {
        open_log(circus, self.resources.log_level.as_deref(), self.resources.log_output.as_deref())
    }

    /// The umask of workers to come; without one, that which circusd was started with.
    pub(super) fn follow_umask(&mut self, umask: Option<u32>) {
        match (umask, self.resources.own_umask) {
            (Some(mask), Some(_)) => {
                sys::set_umask(mask);
            }
            (Some(mask), None) => self.resources.own_umask = Some(sys::set_umask(mask)),
            (None, Some(own)) => {
                sys::set_umask(own);
            }
            (None, None) => {}
        }
    }
}
