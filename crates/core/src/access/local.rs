//! Roles of local users, where `[circus]` has `ipc_roles`: at an endpoint of ipc the kernel tells whose process a client
//! is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Grant, Scope};
use crate::commands::Role;
use crate::config::Account;
use crate::escape::escaped;

/// A process at the other end of a local connection, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPeer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process id.
    pub pid: i32,
}

impl LocalPeer {
    /// From libzmq's address of a local peer, `localhost:UID:GID:PID`, or from what [`Display`](fmt::Display) makes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(4, ':');
        let (pid, gid, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = matches!(parts.next(), None | Some("" | "localhost"));
        let peer = Self { uid: uid.parse().ok()?, gid: gid.parse().ok()?, pid: pid.parse().ok()? };
        fits.then_some(peer)
    }
}

impl fmt::Display for LocalPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.uid, self.gid, self.pid)
    }
}

/// The numbers that stand, in a user namespace, for every user and every group that it does not map. A process with such a
/// number may be anyone's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmapped {
    /// Of users, where some are not mapped.
    pub user: Option<u32>,
    /// Of groups, where some are not mapped.
    pub group: Option<u32>,
}

impl Unmapped {
    /// From what `/proc/self/uid_map` and `/proc/sys/kernel/overflowuid` say, and the same of groups.
    pub fn parse([users, overflow_user]: [&str; 2], [groups, overflow_group]: [&str; 2]) -> Self {
        let number = |map: &str, overflow: &str| {
            let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
            (counts.sum::<u64>() < u64::from(u32::MAX)).then(|| overflow.trim().parse().unwrap_or(65_534))
        };
        Self { user: number(users, overflow_user), group: number(groups, overflow_group) }
    }
}

/// An entry of `ipc_roles`: `USER:ROLE`, `@GROUP:ROLE`, and behind another colon patterns of watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRole {
    /// Whose role it is.
    pub holder: Holder,
    /// The role.
    pub role: Role,
    /// The watchers that may be touched.
    pub watchers: Scope,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user.
    User(Account),
    /// The members of a group.
    Group(Account),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, account) = match self {
            Self::User(account) => ("", account),
            Self::Group(account) => ("@", account),
        };
        match account {
            Account::Name(name) => write!(f, "{mark}{}", escaped(name)),
            Account::Number(number) => write!(f, "{mark}{number}"),
        }
    }
}

/// The entries of `ipc_roles`, or what is wrong with the first that is wrong.
///
/// # Errors
/// Where an entry cannot be read, two have the same holder, or there is none.
pub fn local_roles(text: &str) -> Result<Vec<LocalRole>, String> {
    let mut roles: Vec<LocalRole> = Vec::new();
    for entry in text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let role = local_role(entry)?;
        if roles.iter().any(|other| other.holder == role.holder) {
            return Err(format!("{} has two entries; write one", role.holder));
        }
        roles.push(role);
    }
    if roles.is_empty() { Err("it names no user; write USER:ROLE or @GROUP:ROLE".to_owned()) } else { Ok(roles) }
}

fn local_role(entry: &str) -> Result<LocalRole, String> {
    let mut parts = entry.splitn(3, ':').map(str::trim);
    let (name, role, patterns) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let shown = escaped(entry);
    let (name, is_group) = name.strip_prefix('@').map_or((name, false), |name| (name, true));
    if name.is_empty() {
        return Err(format!("'{shown}' names no user; write USER:ROLE or @GROUP:ROLE"));
    }
    let role = role.ok_or_else(|| format!("'{shown}' has no role; write {shown}:read, :operate or :admin"))?;
    let role =
        Role::named(role).ok_or_else(|| format!("'{}' is no role; write read, operate or admin", escaped(role)))?;
    let account = Account::Name(name.to_owned());
    let account = account.number().map_or(account, Account::Number);
    let watchers: Vec<&str> = patterns.unwrap_or_default().split_whitespace().collect();
    if patterns.is_some() && watchers.is_empty() {
        return Err(format!("'{shown}' ends with a colon; name watchers behind it, or leave it out"));
    }
    if !is_group && (account == Account::Number(0) || name == "root") {
        return Err(format!("'{shown}': root has the role admin always; leave the entry out"));
    }
    let holder = if is_group { Holder::Group(account) } else { Holder::User(account) };
    Ok(LocalRole { holder, role, watchers: Scope::of(watchers) })
}

/// A group as the system describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembers {
    /// The number.
    pub gid: u32,
    /// The users that the group's entry in the database lists. Users whose primary group it is are not among them.
    pub members: BTreeSet<u32>,
}

/// The local users that may connect, and what each is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUsers {
    /// circusd's own user, which is allowed everything, like root.
    own: u32,
    unmapped: Unmapped,
    all: Arc<Grant>,
    users: BTreeMap<u32, Arc<Grant>>,
    groups: Vec<(GroupMembers, Arc<Grant>)>,
}

impl LocalUsers {
    /// Root and circusd's own user only.
    pub fn nobody_else(own: u32, unmapped: Unmapped) -> Self {
        let all =
            Arc::new(Grant { name: "root or circusd's own user".into(), role: Role::Admin, watchers: Scope::ALL });
        Self { own, unmapped, all, users: BTreeMap::new(), groups: Vec::new() }
    }

    /// The users of these entries, whose accounts are looked up.
    ///
    /// # Errors
    /// Every user and group that is not known.
    pub fn resolve(
        roles: Vec<LocalRole>,
        own: u32,
        unmapped: Unmapped,
        user: impl Fn(&Account) -> Result<u32, String>,
        group: impl Fn(&Account) -> Result<GroupMembers, String>,
    ) -> Result<Self, Vec<String>> {
        let (mut users, mut errors) = (Self::nobody_else(own, unmapped), Vec::new());
        if unmapped.user == Some(own) {
            errors.push(format!(
                "circusd's own user, uid {own}, stands in this user namespace for every user that is not mapped; run circusd \
                 as a user that is"
            ));
        }
        let stands_for_all = |holder: &Holder, what: &str| {
            Err(format!("{holder} stands in this user namespace for every {what} that is not mapped; leave it out"))
        };
        for LocalRole { holder, role, watchers } in roles {
            let grant = Arc::new(Grant { name: holder.to_string(), role, watchers });
            let added = match &holder {
                Holder::User(account) => user(account).and_then(|uid| match users.users.insert(uid, grant) {
                    _ if unmapped.user == Some(uid) => stands_for_all(&holder, "user"),
                    Some(other) => Err(format!("{holder} and {} are the same user; write one of them", other.name)),
                    None => Ok(()),
                }),
                Holder::Group(account) => group(account).and_then(|members| {
                    if unmapped.group == Some(members.gid) {
                        return stands_for_all(&holder, "group");
                    }
                    users.groups.push((members, grant));
                    Ok(())
                }),
            };
            errors.extend(added.err());
        }
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    /// What a process is allowed: by its user's entry; where there is none, by the first entry of a group that is the
    /// process's own, or that has its user as a member.
    pub fn find(&self, peer: LocalPeer) -> Option<&Arc<Grant>> {
        if self.unmapped.user == Some(peer.uid) {
            return None;
        }
        if peer.uid == 0 || peer.uid == self.own {
            return Some(&self.all);
        }
        let of_group = || {
            let is_in = |group: &GroupMembers| group.gid == peer.gid || group.members.contains(&peer.uid);
            self.groups.iter().find(|(group, _)| is_in(group)).map(|(_, grant)| grant)
        };
        self.users.get(&peer.uid).or_else(of_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(account: &Account) -> Result<u32, String> {
        match account {
            Account::Number(number) => Ok(*number),
            Account::Name(name) => match name.as_str() {
                "alice" => Ok(1000),
                "bob" => Ok(1001),
                other => Err(format!("there is no user '{other}'")),
            },
        }
    }

    fn group(account: &Account) -> Result<GroupMembers, String> {
        match account {
            Account::Name(name) if name == "ops" => Ok(GroupMembers { gid: 50, members: [1000, 1002].into() }),
            Account::Name(name) if name == "dev" => Ok(GroupMembers { gid: 60, members: [1002].into() }),
            other => Err(format!("there is no group {other:?}")),
        }
    }

    fn users(text: &str) -> Result<LocalUsers, Vec<String>> {
        LocalUsers::resolve(local_roles(text).unwrap(), 990, Unmapped::default(), user, group)
    }

    fn role(users: &LocalUsers, uid: u32, gid: u32) -> Option<(String, Role)> {
        users.find(LocalPeer { uid, gid, pid: 7 }).map(|grant| (grant.name.clone(), grant.role))
    }

    #[test]
    fn peer_is_what_libzmq_calls_it() {
        let peer = LocalPeer { uid: 1000, gid: 100, pid: 4711 };
        assert_eq!(LocalPeer::parse("localhost:1000:100:4711"), Some(peer));
        assert_eq!(LocalPeer::parse(":1000:100:4711"), Some(peer));
        assert_eq!(LocalPeer::parse(&peer.to_string()), Some(peer));
        for text in
            ["", "localhost", "127.0.0.1", "fe80::1:2:3", "x:0:0:1", "localhost:0:0", "localhost:-1:0:1", "a:b:c"]
        {
            assert_eq!(LocalPeer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn users_come_before_groups_and_groups_in_order() {
        let users = users("@dev:admin:web* db, alice:read\n@ops:operate, 1005:operate").unwrap();
        assert_eq!(role(&users, 1000, 1000), Some(("alice".into(), Role::Read)), "though ops may more");
        assert_eq!(role(&users, 1002, 50), Some(("@dev".into(), Role::Admin)), "the first group");
        assert_eq!(role(&users, 1003, 50), Some(("@ops".into(), Role::Operate)), "its primary group");
        assert_eq!(role(&users, 1005, 1), Some(("1005".into(), Role::Operate)));
        let dev = users.find(LocalPeer { uid: 1002, gid: 1, pid: 1 }).unwrap();
        assert!(dev.watchers.contains("web1") && dev.watchers.contains("db") && !dev.watchers.contains("x"));
    }

    #[test]
    fn only_root_and_circusd_itself_need_no_entry() {
        for users in [users("alice:read").unwrap(), LocalUsers::nobody_else(990, Unmapped::default())] {
            for uid in [0, 990] {
                assert_eq!(role(&users, uid, 4).map(|(_, role)| role), Some(Role::Admin));
            }
            for uid in [1, 1001, 65_534, u32::MAX] {
                assert_eq!(role(&users, uid, 0), None, "{uid}");
            }
        }
        // An entry takes nothing from circusd's own user.
        assert_eq!(role(&users("990:read").unwrap(), 990, 4).map(|(_, role)| role), Some(Role::Admin));
    }

    #[test]
    fn number_of_all_that_are_not_mapped_is_no_user() {
        let whole = ["         0          0 4294967295\n", "65534\n"];
        assert_eq!(Unmapped::parse(whole, whole), Unmapped::default());
        let container = ["0 100000 65536\n65536 7 10\n", "65534\n"];
        let none = ["", "65534\n"];
        let unmapped = Unmapped::parse(container, none);
        assert_eq!(unmapped, Unmapped { user: Some(65_534), group: Some(65_534) });
        let resolve = |text: &str, own: u32| {
            let user =
                |account: &Account| if *account == Account::Name("nobody".into()) { Ok(65_534) } else { user(account) };
            let group = |account: &Account| match account {
                Account::Name(name) if name == "nogroup" => Ok(GroupMembers { gid: 65_534, members: [1001].into() }),
                other => group(other),
            };
            LocalUsers::resolve(local_roles(text).unwrap(), own, unmapped, user, group)
        };
        let users = resolve("alice:read, @ops:operate", 990).unwrap();
        assert_eq!(role(&users, 65_534, 50), None, "its group does not count either");
        assert_eq!(role(&users, 1000, 65_534), Some(("alice".into(), Role::Read)));
        let own = resolve("alice:read", 65_534).unwrap_err();
        assert!(
            own[0].contains("circusd's own user, uid 65534, stands in this user namespace for every user"),
            "{own:?}"
        );
        let named = resolve("nobody:read, @nogroup:admin", 990).unwrap_err();
        assert_eq!(
            named,
            [
                "nobody stands in this user namespace for every user that is not mapped; leave it out",
                "@nogroup stands in this user namespace for every group that is not mapped; leave it out",
            ]
        );
        assert_eq!(role(&LocalUsers::nobody_else(65_534, unmapped), 65_534, 1), None);
    }

    #[test]
    fn everything_that_cannot_be_meant_is_refused() {
        for (text, words) in [
            ("", "it names no user"),
            (" ,\n", "it names no user"),
            ("alice", "'alice' has no role; write alice:read, :operate or :admin"),
            ("alice:boss", "'boss' is no role"),
            (":read", "':read' names no user"),
            ("@:read", "'@:read' names no user"),
            ("alice:read:", "ends with a colon"),
            ("alice:read, alice:admin", "alice has two entries"),
            ("root:read", "root has the role admin always"),
            ("0:admin", "root has the role admin always"),
            ("a\u{1b}:x\u{1b}", "'x\\u001b' is no role"),
        ] {
            let error = local_roles(text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert!(local_roles("@root:read").is_ok(), "the group of this name is not root");
        assert_eq!(
            users("1000:read, alice:admin").unwrap_err(),
            ["alice and 1000 are the same user; write one of them"]
        );
        let errors = users("carol:read, @none:read, bob:read").unwrap_err();
        assert_eq!(errors, ["there is no user 'carol'", "there is no group Name(\"none\")"]);
    }
}
