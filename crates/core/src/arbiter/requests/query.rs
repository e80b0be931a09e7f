//! Requests that only read. They are answered at once, whatever else is in progress; `stats` has those that need the
//! kernel.

use serde_json::Value;

use crate::arbiter::event::SocketAddress;
use crate::arbiter::fleet::watcher::Watcher;
use crate::arbiter::requests::change::Dispatch;
use crate::arbiter::state::Arbiter;
use crate::config::options;
use crate::proto::{Environment, Fault, Object};

/// An object of one key.
fn one(key: &str, value: impl Into<Value>) -> Object {
    let mut object = Object::new();
    object.insert(key.into(), value.into());
    object
}

/// Puts the environment that workers get in the place of the option.
fn show_environment(values: &mut Object, env: Option<Environment>) {
    if let (Some(shown), Some(env)) = (values.get_mut("env"), env) {
        *shown = env.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Object>().into();
    }
}

impl Arbiter {
    pub(in crate::arbiter) fn list(&self, name: Option<&str>) -> Dispatch {
        if let Some(name) = name {
            let mut pids: Vec<i32> = self.fleet.named(name)?.pids().iter().map(|pid| pid.0).collect();
            pids.sort_unstable();
            return Ok(Some(one("pids", pids)));
        }
        let mut names: Vec<String> = self.fleet.shown().map(|watcher| watcher.name().to_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(Some(one("watchers", names)))
    }

    pub(in crate::arbiter) fn status(&self, name: Option<&str>) -> Dispatch {
        if let Some(name) = name {
            return Ok(Some(one("status", self.fleet.named(name)?.state.name())));
        }
        let mut watchers: Vec<&Watcher> = self.fleet.shown().collect();
        watchers.sort_by(|a, b| a.name().cmp(b.name()));
        let statuses: Object = watchers.iter().map(|w| (w.name().to_owned(), w.state.name().into())).collect();
        Ok(Some(one("statuses", statuses)))
    }

    pub(in crate::arbiter) fn num_processes(&self, name: Option<String>) -> Dispatch {
        let count = |watcher: &Watcher| watcher.pids().len();
        let Some(name) = name else {
            return Ok(Some(one("numprocesses", self.fleet.shown().map(count).sum::<usize>())));
        };
        let mut answer = one("numprocesses", count(self.fleet.named(&name)?));
        answer.insert("watcher_name".into(), name.into());
        Ok(Some(answer))
    }

    pub(in crate::arbiter) fn num_watchers(&self) -> Dispatch {
        Ok(Some(one("numwatchers", self.fleet.shown().count())))
    }

    pub(in crate::arbiter) fn options(&self, name: &str, all: bool, env: Option<Environment>) -> Dispatch {
        let mut values = options::shown(&self.fleet.named(name)?.config, all);
        show_environment(&mut values, env);
        Ok(Some(one("options", values)))
    }

    pub(in crate::arbiter) fn get(&self, name: &str, keys: &[String], env: Option<Environment>) -> Dispatch {
        let watcher = self.fleet.named(name)?;
        let mut values = Object::new();
        for key in keys {
            let value = options::get(&watcher.config, key);
            values.insert(key.clone(), value.ok_or_else(|| Fault::message(format!("'{key}' option not found")))?);
        }
        show_environment(&mut values, env);
        Ok(Some(one("options", values)))
    }

    pub(in crate::arbiter) fn global_options(&self, option: Option<&str>) -> Dispatch {
        let circus = &self.circus;
        let all: [(&str, Value); 5] = [
            ("endpoint", circus.endpoint.as_str().into()),
            ("stats_endpoint", circus.stats_endpoint.as_str().into()),
            ("pubsub_endpoint", circus.pubsub_endpoint.as_str().into()),
            ("check_delay", circus.check_delay.into()),
            ("multicast_endpoint", circus.multicast_endpoint.as_str().into()),
        ];
        let Some(option) = option else {
            let values: Object = all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            return Ok(Some(one("options", values)));
        };
        match all.into_iter().find(|(key, _)| *key == option) {
            Some((key, value)) => Ok(Some(one("options", one(key, value)))),
            None => Err(Fault::message(format!("'{option}' not an existing option"))),
        }
    }

    pub(in crate::arbiter) fn list_sockets(&self) -> Dispatch {
        let mut sockets: Vec<&crate::arbiter::event::SocketInfo> = self.sockets.open.iter().collect();
        sockets.sort_by_key(|socket| socket.number);
        let rows: Vec<Value> = sockets
            .into_iter()
            .map(|socket| {
                let mut row = one("fd", socket.number);
                row.insert("name".into(), socket.name.as_str().into());
                row.insert("backlog".into(), socket.backlog.into());
                match &socket.address {
                    SocketAddress::Inet(host, port) => {
                        row.insert("host".into(), host.as_str().into());
                        row.insert("port".into(), (*port).into());
                    }
                    SocketAddress::Unix(path) => drop(row.insert("path".into(), path.as_str().into())),
                }
                row.into()
            })
            .collect();
        Ok(Some(one("sockets", rows)))
    }
}
