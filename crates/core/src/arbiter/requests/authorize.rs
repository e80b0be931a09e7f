//! Authorization: one pure function that every request passes before anything is looked up for it.
//!
//! Where clients are told apart, by keys, a request takes the role that `COMMANDS` declares for its command, and concerns
//! only watchers that the client may touch.
//!
//! With root's circusd and `endpoint_owner = alice`, alice reaches the control endpoint, and so do the programs that
//! connect to it. A request that arrives there acts for alice: it must not run, open or signal anything with the rights
//! of another user. The decision depends on the user that the workers of a watcher really run as, and on the authority
//! that each option declares in `WATCHER_OPTIONS`. What this file does not know is denied.

use std::sync::Arc;

use serde_json::Value;

use super::super::fleet::watcher::Watcher;
use super::super::state::Arbiter;
use crate::access::Grant;
use crate::commands::Role;
use crate::config::options::{Authority, find, opens_nothing};
use crate::config::{Account, WatcherConfig};
use crate::escape::escaped;
use crate::proto::{Fault, Notice, Object, Request, Selection, StreamName, output_topic};

/// The user that a request acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// For circusd's own user, or for circusd itself: hooks run with circusd's rights.
    Daemon,
    /// For another user: the owner of the control endpoint.
    User(User),
    /// For a client that is known, and no more than it is granted.
    Granted(Arc<Grant>),
}

/// A user as the system describes it: looked up when the endpoint is bound, not with each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Whether circusd runs as this user. Then only `uid` is judged, as in Circus.
    pub is_daemon: bool,
    /// The number.
    pub uid: u32,
    /// The name, where there is one.
    pub name: Option<String>,
    /// The groups the user belongs to, by number and, where there is one, name.
    pub groups: Vec<(u32, Option<String>)>,
}

/// What a decision depends on beside the request.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// The configurations of the watchers that the request would touch.
    pub watchers: Vec<&'a WatcherConfig>,
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// A sentence for the client.
    pub reason: String,
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::message(denial.reason)
    }
}

/// What a request concerns.
enum Reach<'a> {
    /// No watcher: the answer says at most how many there are.
    Nothing,
    /// circusd itself, and with it what all watchers share.
    Circusd,
    /// circusd itself, and every watcher.
    AllOfCircusd,
    /// A watcher that there is not yet.
    New(&'a str),
    /// The watcher of this name.
    Named(&'a str),
    /// The watchers that this selects.
    Selected(&'a Selection),
    /// Every watcher: the request names none.
    Every,
}

impl<'a> Reach<'a> {
    fn of(request: &'a Request) -> Self {
        match request {
            Request::DStats | Request::GlobalOptions { .. } | Request::NumWatchers => Self::Nothing,
            Request::ListSockets | Request::ReopenLogs | Request::Upgrade { .. } => Self::Circusd,
            Request::Quit { .. } | Request::ReloadConfig { .. } => Self::AllOfCircusd,
            Request::Add { name, .. } => Self::New(name),
            Request::Decr { name, .. }
            | Request::Get { name, .. }
            | Request::Incr { name, .. }
            | Request::Kill { name, .. }
            | Request::Options { name, .. }
            | Request::Rm { name, .. }
            | Request::Run { name, .. }
            | Request::Set { name, .. }
            | Request::Signal { name, .. }
            | Request::Tail { name, .. }
            | Request::Why { name } => Self::Named(name),
            Request::List { name }
            | Request::NumProcesses { name }
            | Request::Reload { name, .. }
            | Request::Stats { name, .. }
            | Request::Status { name, .. } => name.as_deref().map_or(Self::Every, Self::Named),
            Request::Restart { selection, .. } | Request::Start { selection, .. } | Request::Stop { selection, .. } => {
                selection.as_ref().map_or(Self::Every, Self::Selected)
            }
            Request::Enable { selection, .. } => Self::Selected(selection),
        }
    }
}

impl Principal {
    /// Whether answers show arguments and environments.
    pub fn sees_everything(&self) -> bool {
        match self {
            Self::Daemon | Self::User(_) => true,
            Self::Granted(grant) => grant.role >= Role::Admin,
        }
    }
}

/// Whether a request, of a command that takes this role, may be carried out. It has no effect and looks at nothing but
/// its arguments.
pub fn authorize(principal: &Principal, role: Role, request: &Request, facts: &Facts<'_>) -> Result<(), Denial> {
    let user = match principal {
        Principal::Daemon => return Ok(()),
        Principal::User(user) if user.is_daemon => return own_uid(user, request),
        Principal::User(user) => user,
        Principal::Granted(grant) => return granted(grant, role, request, facts),
    };
    match request {
        // Every user of the machine can find this out with ps and ss.
        Request::DStats
        | Request::GlobalOptions { .. }
        | Request::List { .. }
        | Request::ListSockets
        | Request::NumProcesses { .. }
        | Request::NumWatchers
        | Request::Stats { .. }
        | Request::Status { .. } => Ok(()),
        Request::Quit { .. } => deny("'quit' ends the watchers of every user"),
        Request::ReloadConfig { .. } => deny("'reloadconfig' changes the watchers of every user"),
        Request::ReopenLogs => deny("'reopenlogs' opens the files of every user's watchers"),
        Request::Upgrade { .. } => deny("'upgrade' runs a program with circusd's own rights"),
        Request::Restart { selection: None, .. } => deny("'restart' without a name restarts circusd itself"),
        Request::Add { options, .. } => add(user, options),
        Request::Set { options, .. } => {
            owns_all(user, facts)?;
            options.iter().try_for_each(|(key, value)| change(user, facts, key, value))
        }
        Request::Signal { childpid, children, recursive, .. } => {
            if childpid.is_some() || *children || *recursive {
                return deny("children of a worker may belong to another user than the worker");
            }
            owns_all(user, facts)
        }
        Request::Decr { .. }
        | Request::Enable { .. }
        | Request::Get { .. }
        | Request::Incr { .. }
        | Request::Kill { .. }
        | Request::Options { .. }
        | Request::Reload { .. }
        | Request::Restart { selection: Some(_), .. }
        | Request::Rm { .. }
        | Request::Run { .. }
        | Request::Start { .. }
        | Request::Stop { .. }
        | Request::Tail { .. }
        | Request::Why { .. } => owns_all(user, facts),
    }
}

/// What a client that is known may do: no more than its role, and with no other watchers than its own.
fn granted(grant: &Grant, role: Role, request: &Request, facts: &Facts<'_>) -> Result<(), Denial> {
    if role > grant.role {
        let (has, takes) = (grant.role.name(), role.name());
        return deny(&format!("'{}' has the role {has}, and this takes the role {takes}", escaped(&grant.name)));
    }
    if grant.watchers.is_all() {
        return Ok(());
    }
    let outside = |what: &str| deny(&format!("'{}' may not touch {what}", escaped(&grant.name)));
    let one = |name: &str| {
        if grant.watchers.contains(name) { Ok(()) } else { outside(&format!("watcher '{}'", escaped(name))) }
    };
    let selected = |selection: &Selection| match facts.watchers.as_slice() {
        [] => one(&selection.name),
        watchers => watchers.iter().try_for_each(|watcher| one(&watcher.name)),
    };
    match Reach::of(request) {
        Reach::Nothing => Ok(()),
        Reach::Circusd | Reach::AllOfCircusd => outside("what belongs to every watcher"),
        Reach::New(name) | Reach::Named(name) => one(name),
        Reach::Selected(selection) => selected(selection),
        Reach::Every => outside("every watcher; name those that it may touch"),
    }
}

/// Circus's own rule: the user that a request names is the owner of the endpoint, and `add` has to name one.
fn own_uid(user: &User, request: &Request) -> Result<(), Denial> {
    let fits = match request {
        Request::Add { options, .. } => options.get("uid").is_some_and(|uid| user.is(uid)),
        Request::Set { options, .. } => options.get("uid").is_none_or(|uid| user.is(uid)),
        _ => true,
    };
    if fits { Ok(()) } else { deny(OTHER_UID) }
}

/// A new watcher runs as the user, and is made of options that need no other rights.
fn add(user: &User, options: &Object) -> Result<(), Denial> {
    if !options.get("uid").is_some_and(|uid| user.is(uid)) {
        return deny(OTHER_UID);
    }
    let others = options.iter().filter(|(key, _)| *key != "uid");
    others.into_iter().try_for_each(|(key, value)| change(user, &Facts::default(), key, value))
}

/// One option of a watcher that runs as the user already, or will.
fn change(user: &User, facts: &Facts<'_>, key: &str, value: &Value) -> Result<(), Denial> {
    let Some((spec, _)) = find(key) else {
        return deny(&format!("'{}' is not an option that the owner of the endpoint may change", escaped(key)));
    };
    match spec.authority {
        Authority::Safe => Ok(()),
        Authority::RunsAsWorker => match key {
            "uid" if !user.is(value) => deny(OTHER_UID),
            "gid" if !user.is_in(value) => deny("gid is not a group of endpoint_owner"),
            _ => facts.watchers.iter().try_for_each(|watcher| runs_only_as(user, watcher, key)),
        },
        Authority::OpensAsDaemon if opens_nothing(key, value) => Ok(()),
        Authority::RunsAsDaemon | Authority::OpensAsDaemon | Authority::SignalsAsDaemon => {
            deny(&format!("'{}' takes effect with circusd's own rights", escaped(key)))
        }
    }
}

/// Whether what the workers of a watcher run, runs with no other rights than the user's.
fn runs_only_as(user: &User, watcher: &WatcherConfig, key: &str) -> Result<(), Denial> {
    if !watcher.gid.as_ref().is_none_or(|gid| user.has_group(gid)) {
        return deny(&format!("{} runs with a group that endpoint_owner is not a member of", named(watcher)));
    }
    // Functions of hooks run as circusd's user and are imported from where the environment of the watcher says.
    if key == "env" && !watcher.hooks.is_empty() {
        return deny(&format!("the hooks of {} run as circusd's user with this 'env'", named(watcher)));
    }
    Ok(())
}

fn owns_all(user: &User, facts: &Facts<'_>) -> Result<(), Denial> {
    let other = facts.watchers.iter().find(|watcher| !watcher.uid.as_ref().is_some_and(|uid| user.has_uid(uid)));
    other.map_or(Ok(()), |watcher| deny(&format!("{} does not run as endpoint_owner", named(watcher))))
}

/// Circus's own words.
const OTHER_UID: &str = "uid does not match endpoint_owner";

fn deny(reason: &str) -> Result<(), Denial> {
    Err(Denial { reason: if reason == OTHER_UID { reason.into() } else { format!("not allowed: {reason}") } })
}

fn named(watcher: &WatcherConfig) -> String {
    format!("watcher '{}'", escaped(&watcher.name))
}

impl User {
    /// Whether a value of `uid` means this user.
    fn is(&self, uid: &Value) -> bool {
        account(uid).is_some_and(|uid| self.has_uid(&uid))
    }

    /// Whether a value of `gid` means one of this user's groups.
    fn is_in(&self, gid: &Value) -> bool {
        account(gid).is_some_and(|gid| self.has_group(&gid))
    }

    fn has_uid(&self, account: &Account) -> bool {
        means(account, self.uid, self.name.as_deref())
    }

    fn has_group(&self, account: &Account) -> bool {
        self.groups.iter().any(|(gid, name)| means(account, *gid, name.as_deref()))
    }
}

fn account(value: &Value) -> Option<Account> {
    match value {
        Value::String(name) => Some(Account::Name(name.clone())),
        value => value.as_u64().and_then(|number| u32::try_from(number).ok()).map(Account::Number),
    }
}

/// Whether an account is the one of this number and name.
fn means(account: &Account, number: u32, name: Option<&str>) -> bool {
    match account.number() {
        Some(asked) => asked == number,
        None => matches!(account, Account::Name(asked) if name == Some(asked.as_str())),
    }
}

impl Arbiter {
    /// Whether a request, of a command that takes this role, may be carried out for `principal`.
    pub fn authorize(&self, principal: &Principal, role: Role, request: &Request) -> Result<(), Denial> {
        match principal {
            Principal::Daemon => authorize(principal, role, request, &Facts::default()),
            Principal::User(_) | Principal::Granted(_) => authorize(principal, role, request, &self.facts(request)),
        }
    }

    /// Whether clients of `principal` may read what workers print, as it is published under `topic`.
    pub fn may_follow(&self, principal: &Principal, topic: &str) -> bool {
        let user = match principal {
            // For keys, each subscription is judged.
            Principal::Daemon | Principal::Granted(_) => return true,
            Principal::User(user) if user.is_daemon => return true,
            Principal::User(user) => user,
        };
        let prints = |watcher: &&Watcher| {
            [StreamName::Stdout, StreamName::Stderr].iter().any(|name| output_topic(watcher.name(), *name) == topic)
        };
        let watchers: Vec<&WatcherConfig> = self.fleet.shown().filter(prints).map(|watcher| &*watcher.config).collect();
        !watchers.is_empty() && owns_all(user, &Facts { watchers }).is_ok()
    }

    /// An event without what clients of `principal` may not read: reasons and lines may quote what a watcher prints and what
    /// it is started with. Only the owner of an endpoint hears of watchers that it may not touch.
    pub fn shown_to(&self, principal: &Principal, notice: Notice) -> Notice {
        let user = match principal {
            Principal::Daemon | Principal::Granted(_) => return notice,
            Principal::User(user) if user.is_daemon => return notice,
            Principal::User(user) => user,
        };
        let of_it = self.fleet.shown().filter(|watcher| watcher.resource == notice.resource);
        let watchers: Vec<&WatcherConfig> = of_it.map(|watcher| &*watcher.config).collect();
        if !watchers.is_empty() && owns_all(user, &Facts { watchers }).is_ok() {
            return notice;
        }
        Notice { kind: notice.kind.without_texts(), ..notice }
    }

    fn facts(&self, request: &Request) -> Facts<'_> {
        let watchers: Vec<&Watcher> = match Reach::of(request) {
            Reach::Nothing | Reach::Circusd | Reach::New(_) => Vec::new(),
            Reach::Named(name) => self.fleet.named(name).ok().into_iter().collect(),
            Reach::Selected(selection) => self.selected(selection),
            Reach::AllOfCircusd | Reach::Every => self.fleet.shown().collect(),
        };
        Facts { watchers: watchers.into_iter().map(|watcher| &*watcher.config).collect() }
    }

    /// The watchers that a selection means; none where it means none.
    fn selected(&self, selection: &Selection) -> Vec<&Watcher> {
        let keys = self.select(selection).unwrap_or_default();
        keys.iter().filter_map(|key| self.fleet.get(*key)).collect()
    }
}

#[cfg(test)]
mod tests;
