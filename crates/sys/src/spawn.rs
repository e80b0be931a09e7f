//! Starting a process, in one of two ways.
//!
//! **vfork** (`clone(CLONE_VM | CLONE_VFORK)` on a stack of its own) where the identity does not change. The child runs
//! in circusd's memory while circusd waits for its exec, so nothing need be copied, and a failure is simply there when
//! `clone` returns.
//!
//! **fork** with a status pipe where a uid, gid or group changes, or the control group (then by clone3 into that group). A vfork child that has become another user would
//! share our memory with that user's processes, and they could stop it (SIGSTOP) while our loop is suspended in it. The
//! loop reads the pipe: see [`read_status`](super::read_status).
//!
//! What vfork saves: the copying of page tables, and the faults that follow it. From the call until `/bin/true` runs
//! took, in the median of n = 400 on two shared cores (`what_vfork_and_fork_cost` in the tests, unoptimised):
//!
//! | circusd has touched | vfork | fork, then the loop goes on | fork, until the exec |
//! |---|---|---|---|
//! | its own few MB | 60 us | 70 us | 230 us |
//! | 16 MB more | 70 us | 260 us | 830 us |
//! | 256 MB more | 100 us | 4400 us | 9800 us |
//!
//! What vfork costs: the loop stands still until the exec. That is no longer than a fork takes it to return, unless the
//! `working_dir` or the program is on a dead file system: then circusd serves no client, where fork would leave only
//! that child hanging. A program whose first page comes slowly from a disk stalls it for as long.
//!
//! Both ways all signals are blocked around the clone: a handler that ran in the child would write to circusd's pipes.
#![expect(unsafe_code, reason = "clone, and the stack and the signal mask that belong to it")]

use std::ffi::{c_int, c_void};
use std::fs::{File, OpenOptions};
use std::num::NonZero;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getgroups, getresgid, getresuid, pipe2};

use super::child::{Script, become_program, become_program_or_tell};
use super::launch::{Credentials, Launch};
use super::status::Failure;
use circus_core::proto::{SpawnError, Stage};

/// A process that was created.
#[derive(Debug)]
pub enum Spawned {
    /// It runs its program.
    Running(Pid),
    /// It runs, and on its way to its program it changes its identity.
    Pending {
        /// Its pid.
        pid: Pid,
        /// Where it says whether it got there: see [`read_status`](super::read_status).
        status: OwnedFd,
    },
}

impl Spawned {
    /// The process.
    pub fn pid(&self) -> Pid {
        match self {
            Self::Running(pid) | Self::Pending { pid, .. } => *pid,
        }
    }
}

/// What starting processes needs again and again: an open `/dev/null`, and the stack of vfork children. Made once, so that a
/// daemon that runs out of descriptors or memory later can still start processes.
#[derive(Debug)]
pub struct Spawner {
    null: File,
    stack: Stack,
}

impl Spawner {
    /// Opens and maps what every start needs.
    pub fn new() -> Result<Self, SpawnError> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|error| SpawnError {
            stage: Stage::Descriptors,
            errno: error.raw_os_error().unwrap_or(0),
            detail: "/dev/null".into(),
        })?;
        Ok(Self { null, stack: Stack::map()? })
    }

    /// Starts a process.
    ///
    /// A child that fails on the vfork way has been waited for here, by its pid, so that the reaper never sees it; on the
    /// fork way the reaper collects it like any other, since by then it has a pid that the caller knows.
    pub fn spawn(&mut self, launch: &Launch<'_>) -> Result<Spawned, SpawnError> {
        let identity = launch.credentials.as_ref().filter(|credentials| !is_already(credentials));
        let mut script = launch.script(self.null.as_fd(), groups_may_be_refused(identity))?;
        match identity {
            Some(_) => fork(&mut script, launch.cgroup.as_ref()),
            None => {
                (script.groups, script.gid, script.uid) = (None, None, None);
                match &launch.cgroup {
                    // To move a process into a group takes the kernel milliseconds, for which a vfork would stop circusd.
                    Some(_) => fork(&mut script, launch.cgroup.as_ref()),
                    None => vfork(&mut script, &mut self.stack),
                }
            }
        }
    }
}

/// Starts a process, for programs that start few.
pub fn spawn(launch: &Launch<'_>) -> Result<Spawned, SpawnError> {
    Spawner::new()?.spawn(launch)
}

/// Whether these credentials change nothing: an unprivileged circusd whose watchers name its own user.
fn is_already(credentials: &Credentials) -> bool {
    let (Ok(users), Ok(groups), Ok(mut own)) = (getresuid(), getresgid(), getgroups()) else { return false };
    let same_user = |uid| [users.real, users.effective, users.saved].iter().all(|own| own.as_raw() == uid);
    let same_group = |gid| [groups.real, groups.effective, groups.saved].iter().all(|own| own.as_raw() == gid);
    let same_groups = |wanted: &Vec<u32>| {
        let mut wanted = wanted.clone();
        wanted.sort_unstable();
        own.sort_unstable_by_key(|gid| gid.as_raw());
        own.iter().map(|gid| gid.as_raw()).eq(wanted)
    };
    credentials.uid.is_none_or(same_user)
        && credentials.gid.is_none_or(same_group)
        && credentials.groups.as_ref().is_none_or(same_groups)
}

/// Whether a refused setgroups is no reason to fail, as in Circus: a circusd without the privilege to set groups has none
/// to give away. For root it is one, else the child would keep root's groups; save in a user namespace that forbids it.
fn groups_may_be_refused(identity: Option<&Credentials>) -> bool {
    identity.is_some_and(|identity| identity.groups.is_some())
        && (!nix::unistd::geteuid().is_root()
            || std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny"))
}

fn no_process(errno: Errno, detail: &str) -> SpawnError {
    SpawnError { stage: Stage::Fork, errno: errno as i32, detail: detail.into() }
}

fn vfork(script: &mut Script, stack: &mut Stack) -> Result<Spawned, SpawnError> {
    let mut shared = Shared { script, failure: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = (&raw mut shared).cast::<c_void>();
    let pid = with_signals_blocked(|| {
        // SAFETY: the stack is mapped and borrowed exclusively until the child has left it (CLONE_VFORK); `argument` is the
        // `Shared` that `enter` expects and outlives the child's use of it.
        Errno::result(unsafe { libc::clone(enter, stack.top().as_ptr(), flags, argument) })
    })
    .map_err(|errno| no_process(errno, "clone"))?;
    let pid = Pid::from_raw(pid);
    match shared.failure {
        None => Ok(Spawned::Running(pid)),
        Some(failure) => {
            collect(pid);
            let detail = String::from_utf8_lossy(shared.script.detail(failure)).into_owned();
            Err(SpawnError { stage: failure.stage, errno: failure.errno, detail })
        }
    }
}

/// What a vfork child and its parent share on purpose.
struct Shared<'a> {
    script: &'a mut Script,
    failure: Option<Failure>,
}

extern "C" fn enter(argument: *mut c_void) -> c_int {
    // SAFETY: the `Shared` of `vfork`, whose thread is suspended: for the time being it is ours alone.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    // SAFETY: this is the process that was created for it.
    unsafe { become_program(shared.script, &mut shared.failure) }
}

/// Waits for a child that is at its end already.
fn collect(pid: Pid) {
    while waitpid(pid, None) == Err(Errno::EINTR) {}
}

fn fork(script: &mut Script, cgroup: Option<&(BorrowedFd<'_>, String)>) -> Result<Spawned, SpawnError> {
    let (status, child_end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| SpawnError {
        stage: Stage::Pipe,
        errno: errno as i32,
        detail: "status pipe".into(),
    })?;
    let begin = |script: &mut Script, clone: &dyn Fn() -> libc::c_long| {
        with_signals_blocked(|| {
            let result = clone();
            if result == 0 {
                // SAFETY: this is the process that was created for it.
                unsafe { become_program_or_tell(script, child_end.as_raw_fd()) }
            }
            Errno::result(result)
        })
    };
    if let Some((folder, name)) = cgroup {
        match begin(script, &|| clone_into(folder.as_raw_fd())) {
            Ok(pid) => return Ok(Spawned::Pending { pid: Pid::from_raw(pid as i32), status }),
            // No clone3, or none that knows of groups: sandboxes, and Linux before 5.7. The child moves itself.
            Err(Errno::ENOSYS | Errno::EINVAL | Errno::E2BIG | Errno::EPERM) => {
                script.cgroup = Some(folder.as_raw_fd())
            }
            Err(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => return Err(no_process(errno, "clone3")),
            Err(errno) => return Err(SpawnError { stage: Stage::Cgroup, errno: errno as i32, detail: name.clone() }),
        }
    }
    // The bare system call: libc's fork takes the allocator's locks and runs handlers of libraries.
    // SAFETY: without CLONE_VM this is fork, and the child does nothing but become its program.
    let clone = || unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0_usize, 0_usize, 0_usize, 0_usize) };
    let pid = begin(script, &clone).map_err(|errno| no_process(errno, "clone"))?;
    Ok(Spawned::Pending { pid: Pid::from_raw(pid as i32), status })
}

/// fork into the control group of this folder.
fn clone_into(folder: RawFd) -> libc::c_long {
    /// `struct clone_args` of linux/sched.h.
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: u64::try_from(folder).unwrap_or_default(),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is fork, and the child does nothing but become its program. The kernel reads `args`.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) }
}

/// Blocks every signal of this thread, also those that libc keeps for itself and leaves out of its own sets.
fn with_signals_blocked<T>(action: impl FnOnce() -> T) -> T {
    let mut before = 0_u64;
    set_mask(u64::MAX, Some(&mut before));
    let result = action();
    set_mask(before, None);
    result
}

pub(super) fn set_mask(mask: u64, before: Option<&mut u64>) {
    let before = before.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: the kernel's signal set is eight bytes, which both are; a null pointer asks for nothing.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, before, 8_usize) };
}

const STACK_SIZE: usize = 64 * 1024;
const GUARD_SIZE: usize = 64 * 1024;

/// The vfork children's stack, one for all since each has left it before the next comes. It grows down towards a page that
/// faults.
#[derive(Debug)]
struct Stack {
    bottom: NonNull<c_void>,
}

// SAFETY: an address of memory that belongs to no thread; only the owner uses it.
unsafe impl Send for Stack {}

impl Stack {
    fn map() -> Result<Self, SpawnError> {
        let failed = |errno| no_process(errno, "a stack for the child");
        let size = NonZero::new(GUARD_SIZE + STACK_SIZE).unwrap_or(NonZero::<usize>::MIN);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let stack = Self { bottom: unsafe { mmap_anonymous(None, size, access, flags) }.map_err(failed)? };
        // SAFETY: the lower end of the mapping, which nothing uses.
        unsafe { mprotect(stack.bottom, GUARD_SIZE, ProtFlags::PROT_NONE) }.map_err(failed)?;
        Ok(stack)
    }

    /// The upper end.
    fn top(&mut self) -> NonNull<c_void> {
        // SAFETY: one past the end of the mapping.
        unsafe { self.bottom.byte_add(GUARD_SIZE + STACK_SIZE) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which no child uses any more: each has left it before `vfork` returned.
        let _unmapped = unsafe { munmap(self.bottom, GUARD_SIZE + STACK_SIZE) };
    }
}

#[cfg(test)]
mod tests;
