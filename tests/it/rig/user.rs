//! Acting as another user, in tests that root runs.
#![expect(unsafe_code, reason = "only the bare calls change the user of one thread")]

use std::os::unix::fs::PermissionsExt as _;

use circus::net::{CallError, Context, Dealer};
use serde_json::{Value, json};

use super::Site;

/// A user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// One of those that every Debian has.
    pub(crate) fn named(name: &str) -> Self {
        let user = nix::unistd::User::from_name(name).unwrap().unwrap();
        Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }

    /// Does `work` in a thread of this user's. Threads that it starts are this user's, too: those of libzmq.
    pub(crate) fn act<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let Self { uid, gid } = self;
        let act = move || {
            // SAFETY: plain numbers, and an empty list. The bare calls change this thread alone, which ends soon.
            let changed = unsafe {
                libc::syscall(libc::SYS_setgroups, 0_usize, std::ptr::null::<libc::gid_t>())
                    | libc::syscall(libc::SYS_setresgid, gid, gid, gid)
                    | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
            };
            assert_eq!(changed, 0, "only root can become {uid}");
            work()
        };
        std::thread::scope(|scope| match scope.spawn(act).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// What a new client of this user's is answered at an endpoint.
    pub(crate) fn asks(self, endpoint: &str, command: &str, properties: Value) -> Result<Value, CallError> {
        self.act(|| {
            let mut dealer = Dealer::connect(&Context::new().unwrap(), endpoint, None).unwrap();
            dealer.fail_when_refused(true);
            let Value::Object(request) = json!({"command": command, "properties": properties}) else { unreachable!() };
            dealer.call(request, super::DEADLINE).map(Value::Object)
        })
    }
}

impl Site {
    /// Lets every user enter the site, as the directory of an endpoint has to.
    pub(crate) fn open_to_all(&self) {
        std::fs::set_permissions(self.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
