//! Users and groups by name or number. Nothing is cached, so a user added while circusd runs is found; each look-up may
//! ask the network (NSS), so it is made only where a watcher names a user.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::Credentials;
use circus_core::config::Account;
use circus_core::proto::{SpawnError, Stage};

/// The credentials for a watcher's `uid` and `gid`, as at each of its spawns; `None` where there is nothing to change.
///
/// As in Circus: a user alone brings its primary group; a user brings its supplementary groups, a group alone leaves
/// them; 0 is no change, since only root could ask for it. A user that is not root never keeps root's groups.
pub fn resolve(uid: Option<&Account>, gid: Option<&Account>) -> Result<Option<Credentials>, SpawnError> {
    let user = uid.map(user).transpose()?;
    let group = match (gid.map(group).transpose()?, &user) {
        (Some(group), _) => Some(group.gid),
        (None, user) => user.as_ref().map(|user| user.gid),
    };
    let changed_group = group.filter(|gid| gid.as_raw() != 0);
    let changed_user = user.as_ref().filter(|user| !user.uid.is_root());
    if changed_group.is_none() && changed_user.is_none() {
        return Ok(None);
    }
    let groups = match (&user, group) {
        (Some(user), Some(group)) => Some(groups_of(user, group)?),
        (Some(_) | None, _) => None,
    };
    Ok(Some(Credentials {
        uid: changed_user.map(|user| user.uid.as_raw()),
        gid: changed_group.map(Gid::as_raw),
        groups,
    }))
}

/// A user, and the groups that its processes have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number.
    pub uid: u32,
    /// The name.
    pub name: String,
    /// The groups, by number and, where there is one, name.
    pub groups: Vec<(u32, Option<String>)>,
}

/// The user of this name or number, looked up with its groups.
pub fn identity(text: &str) -> Result<Identity, SpawnError> {
    let user = user(&account(text))?;
    let named = |gid: u32| (gid, Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name));
    let groups = groups_of(&user, user.gid)?.into_iter().map(named).collect();
    Ok(Identity { uid: user.uid.as_raw(), name: user.name, groups })
}

/// The number of a user given by name or number.
pub fn user_id(text: &str) -> Result<u32, SpawnError> {
    user(&account(text)).map(|user| user.uid.as_raw())
}

/// The number of a group given by name or number.
pub fn group_id(text: &str) -> Result<u32, SpawnError> {
    group(&account(text)).map(|group| group.gid.as_raw())
}

/// The name of a user given by number, where it has one.
pub(super) fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

fn account(text: &str) -> Account {
    text.trim().parse().map_or_else(|_| Account::Name(text.to_owned()), Account::Number)
}

fn user(account: &Account) -> Result<User, SpawnError> {
    let found = match account {
        Account::Number(uid) => User::from_uid(Uid::from_raw(*uid)),
        Account::Name(name) => match account.number() {
            Some(uid) => User::from_uid(Uid::from_raw(uid)),
            None => User::from_name(name),
        },
    };
    known(found, "user", account)
}

fn group(account: &Account) -> Result<Group, SpawnError> {
    let found = match account {
        Account::Number(gid) => Group::from_gid(Gid::from_raw(*gid)),
        Account::Name(name) => match account.number() {
            Some(gid) => Group::from_gid(Gid::from_raw(gid)),
            None => Group::from_name(name),
        },
    };
    known(found, "group", account)
}

fn known<T>(found: nix::Result<Option<T>>, kind: &str, account: &Account) -> Result<T, SpawnError> {
    let shown = match account {
        Account::Number(number) => number.to_string(),
        Account::Name(name) => format!("'{name}'"),
    };
    match found {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(unknown(0, format!("there is no {kind} {shown}"))),
        Err(errno) => Err(unknown(errno as i32, format!("{kind} {shown}"))),
    }
}

fn groups_of(user: &User, group: Gid) -> Result<Vec<u32>, SpawnError> {
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    let groups = getgrouplist(&name, group)
        .map_err(|errno| unknown(errno as i32, format!("the groups of user '{}'", user.name)))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

fn unknown(errno: i32, detail: String) -> SpawnError {
    SpawnError { stage: Stage::User, errno, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Account {
        Account::Name(name.into())
    }

    #[test]
    fn root_is_no_change() {
        assert_eq!(resolve(None, None), Ok(None));
        assert_eq!(resolve(Some(&name("root")), None), Ok(None));
        assert_eq!(resolve(Some(&Account::Number(0)), Some(&Account::Number(0))), Ok(None));
    }

    #[test]
    fn a_user_brings_its_groups() {
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let credentials = resolve(Some(&name("daemon")), None).unwrap().unwrap();
        assert_eq!((credentials.uid, credentials.gid), (Some(daemon.uid.as_raw()), Some(daemon.gid.as_raw())));
        assert!(credentials.groups.unwrap().contains(&daemon.gid.as_raw()));
        // Its own user, group 0: no change of group, but root's other groups go.
        let credentials = resolve(Some(&name("daemon")), Some(&name("root"))).unwrap().unwrap();
        assert_eq!((credentials.uid, credentials.gid), (Some(daemon.uid.as_raw()), None));
        assert!(credentials.groups.is_some());
    }

    #[test]
    fn a_group_alone_leaves_the_others() {
        let gid = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        let credentials = resolve(None, Some(&name("daemon"))).unwrap();
        assert_eq!(credentials, Some(Credentials { uid: None, gid: Some(gid), groups: None }));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let unknown = |uid: Option<Account>, gid: Option<Account>| {
            let error = resolve(uid.as_ref(), gid.as_ref()).unwrap_err();
            assert_eq!(error.stage, Stage::User);
            error.detail
        };
        assert_eq!(unknown(Some(name("no such user")), None), "there is no user 'no such user'");
        assert_eq!(unknown(Some(Account::Number(4_000_000_000)), None), "there is no user 4000000000");
        assert_eq!(unknown(None, Some(name("nosuchgroup"))), "there is no group 'nosuchgroup'");
        assert_eq!(user_id("root"), Ok(0));
        assert_eq!(user_id(" 0 "), Ok(0));
        assert_eq!(group_id("root"), Ok(0));
        assert!(group_id("-1").is_err());
    }
}
