//! Users and groups by name or number. Nothing is cached, so a user added while circusd runs is found; each look-up may
//! ask the network (NSS), so it is made only where a watcher names a user.

use std::ffi::CString;

use circus_core::base::CollectOrdered as _;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use super::Credentials;
use circus_core::access::{GroupMembers, LocalUsers, Unmapped, local_roles};
use circus_core::config::Account;
use circus_core::proto::{SpawnError, Stage};

/// The credentials for a watcher's `uid` and `gid`, as at each of its spawns; `None` where there is nothing to change.
///
/// As in Circus: a user alone brings its primary group; a user brings its supplementary groups, a group alone leaves
/// them; 0 is no change, since only root could ask for it. A user that is not root never keeps root's groups. Unlike in
/// Circus, a number need not be known.
pub fn resolve(uid: Option<&Account>, gid: Option<&Account>) -> Result<Option<Credentials>, SpawnError> {
    let user = uid.map(user).transpose()?;
    let group = match (gid.map(group).transpose()?, &user) {
        (Some(group), _) => Some(group),
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
    let name = user.name.unwrap_or_else(|| user.uid.to_string());
    Ok(Identity { uid: user.uid.as_raw(), name, groups })
}

/// The local users that `ipc_roles` names, looked up with their groups, or everything that is wrong with it.
pub fn local_users(ipc_roles: &str) -> Result<LocalUsers, Vec<String>> {
    let roles = local_roles(ipc_roles).map_err(|error| vec![error])?;
    let number = |account: &Account| user(account).map(|user| user.uid.as_raw()).map_err(|error| said(&error));
    let own = geteuid().as_raw();
    LocalUsers::resolve(roles, own, unmapped(), number, |account| members(account).map_err(|error| said(&error)))
}

/// What stands in this user namespace for those that it does not map.
pub fn unmapped() -> Unmapped {
    // A kernel without user namespaces has no maps.
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|_| "0 0 4294967295".to_owned());
    let (users, groups) = (read("/proc/self/uid_map"), read("/proc/self/gid_map"));
    let (user, group) = (read("/proc/sys/kernel/overflowuid"), read("/proc/sys/kernel/overflowgid"));
    Unmapped::parse([&users, &user], [&groups, &group])
}

/// A group with the users that its entry lists. One that the system does not know any more is no member.
fn members(account: &Account) -> Result<GroupMembers, SpawnError> {
    let gid = group(account)?;
    let listed = known(Group::from_gid(gid).map(|entry| Some(entry.map(|entry| entry.mem))), "group", account)?;
    let uid = |name: &String| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    Ok(GroupMembers { gid: gid.as_raw(), members: listed.unwrap_or_default().iter().filter_map(uid).collect_set() })
}

fn said(error: &SpawnError) -> String {
    match error.errno {
        0 => error.detail.clone(),
        errno => format!("{}: {}", error.detail, std::io::Error::from_raw_os_error(errno)),
    }
}

/// The number of a user given by name or number.
pub fn user_id(text: &str) -> Result<u32, SpawnError> {
    user(&account(text)).map(|user| user.uid.as_raw())
}

/// The number of a group given by name or number.
pub fn group_id(text: &str) -> Result<u32, SpawnError> {
    group(&account(text)).map(Gid::as_raw)
}

/// The name of a user given by number, where it has one.
pub(super) fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

fn account(text: &str) -> Account {
    text.trim().parse().map_or_else(|_| Account::Name(text.to_owned()), Account::Number)
}

/// The group of a user that no database knows, where no `gid` names one: it owns nothing.
const NOGROUP: Gid = Gid::from_raw(65_534);

/// A user as far as its processes need it.
struct Person {
    uid: Uid,
    gid: Gid,
    /// None where only its number is known.
    name: Option<String>,
}

/// A number need not be in the database: containers run users that only have one.
fn user(account: &Account) -> Result<Person, SpawnError> {
    let found = match (account.number(), account) {
        (Some(uid), _) => {
            let uid = Uid::from_raw(possible(uid, "user", account)?);
            User::from_uid(uid)
                .map(|user| user.map_or(Person { uid, gid: NOGROUP, name: None }, Person::from))
                .map(Some)
        }
        (None, Account::Name(name)) => User::from_name(name).map(|user| user.map(Person::from)),
        (None, Account::Number(_)) => Ok(None),
    };
    known(found, "user", account)
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self { uid: user.uid, gid: user.gid, name: Some(user.name) }
    }
}

fn group(account: &Account) -> Result<Gid, SpawnError> {
    let found = match (account.number(), account) {
        (Some(gid), _) => Ok(Some(Gid::from_raw(possible(gid, "group", account)?))),
        (None, Account::Name(name)) => Group::from_name(name).map(|group| group.map(|group| group.gid)),
        (None, Account::Number(_)) => Ok(None),
    };
    known(found, "group", account)
}

/// The kernel takes the highest number for "no change".
fn possible(number: u32, kind: &str, account: &Account) -> Result<u32, SpawnError> {
    if number == u32::MAX { Err(unknown(0, format!("there is no {kind} {}", shown(account)))) } else { Ok(number) }
}

fn shown(account: &Account) -> String {
    match account {
        Account::Number(number) => number.to_string(),
        Account::Name(name) => format!("'{name}'"),
    }
}

fn known<T>(found: nix::Result<Option<T>>, kind: &str, account: &Account) -> Result<T, SpawnError> {
    match found {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(unknown(0, format!("there is no {kind} {}", shown(account)))),
        Err(errno) => Err(unknown(errno as i32, format!("{kind} {}", shown(account)))),
    }
}

fn groups_of(user: &Person, group: Gid) -> Result<Vec<u32>, SpawnError> {
    let Some(name) = &user.name else { return Ok(vec![group.as_raw()]) };
    let groups = getgrouplist(&CString::new(name.as_str()).unwrap_or_default(), group)
        .map_err(|errno| unknown(errno as i32, format!("the groups of user '{name}'")))?;
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
    fn number_need_not_be_known() {
        for account in [Account::Number(4_000_000_000), name("4000000000")] {
            let credentials = resolve(Some(&account), None).unwrap().unwrap();
            let (number, nogroup) = (4_000_000_000, 65_534);
            let expected = Credentials { uid: Some(number), gid: Some(nogroup), groups: Some(vec![nogroup]) };
            assert_eq!(credentials, expected, "and never root's groups");
            let credentials = resolve(Some(&account), Some(&account)).unwrap().unwrap();
            let expected = Credentials { uid: Some(number), gid: Some(number), groups: Some(vec![number]) };
            assert_eq!(credentials, expected);
        }
        assert_eq!(identity("4000000000").unwrap().name, "4000000000");
    }

    #[test]
    fn what_is_not_known_is_named() {
        let unknown = |uid: Option<Account>, gid: Option<Account>| {
            let error = resolve(uid.as_ref(), gid.as_ref()).unwrap_err();
            assert_eq!(error.stage, Stage::User);
            error.detail
        };
        assert_eq!(unknown(Some(name("no such user")), None), "there is no user 'no such user'");
        assert_eq!(unknown(Some(Account::Number(u32::MAX)), None), "there is no user 4294967295");
        assert_eq!(unknown(None, Some(name("4294967295"))), "there is no group '4294967295'");
        assert_eq!(unknown(None, Some(name("nosuchgroup"))), "there is no group 'nosuchgroup'");
        assert_eq!(user_id("root"), Ok(0));
        assert_eq!(user_id(" 0 "), Ok(0));
        assert_eq!(group_id("root"), Ok(0));
        assert!(group_id("-1").is_err());
    }
}
