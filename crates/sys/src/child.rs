//! What runs in the child between its creation and the program: the only code that does.
//!
//! circusd has threads, so the child may only do what is async-signal-safe; and a vfork child shares circusd's memory,
//! so it may not even touch a lock or the allocator of a process that is not its own. Hence raw system calls on a
//! [`Script`] that the parent prepared, no allocation, no panic, and no libc wrapper that is more than its system call
//! (libc's `setuid` walks the threads of the *parent*).
#![expect(unsafe_code, reason = "between clone and exec there is only the kernel to talk to")]

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::os::fd::RawFd;

use libc::{SYS_setgid as SETGID, SYS_setgroups as SETGROUPS, SYS_setuid as SETUID};

use super::limits::ResourceNumber;
use super::status::Failure;
use circus_core::proto::Stage;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the raw system calls of sys/child.rs are those of 64-bit Linux");

/// The exit status of a child that never became its program.
pub(super) const EXIT_NOT_STARTED: c_int = 127;

/// The item of a failure at [`Stage::Uid`] that is about `no_new_privs`.
const NO_NEW_PRIVS: usize = 1;

/// A descriptor of ours and its number in the child.
pub(super) struct Move {
    pub(super) source: RawFd,
    pub(super) target: RawFd,
    /// What it is, for an error.
    pub(super) what: &'static str,
}

/// A resource limit, soft and hard, and what to take instead where the kernel refuses it.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) resource: ResourceNumber,
    pub(super) value: [u64; 2],
    pub(super) instead: Option<[u64; 2]>,
}

/// Everything the child does, prepared by the parent.
pub(super) struct Script {
    pub(super) moves: Vec<Move>,
    /// The numbers the child keeps, in ascending order: 0, 1, 2 and the targets.
    pub(super) kept: Vec<RawFd>,
    /// Where `close_range` is missing, descriptors below this are closed one by one.
    pub(super) open_max: RawFd,
    pub(super) cwd: CString,
    /// The folder of the control group that it moves into, where the kernel has not created it there.
    pub(super) cgroup: Option<RawFd>,
    pub(super) nice: Option<i32>,
    pub(super) ionice: Option<u16>,
    pub(super) cpu_affinity: Vec<u64>,
    /// As the file takes it.
    pub(super) oom_score_adj: Option<Vec<u8>>,
    pub(super) limits: Vec<Limit>,
    pub(super) groups: Option<Vec<u32>>,
    /// The kernel refuses the groups to processes like ours, and its refusal is no error.
    pub(super) groups_optional: bool,
    pub(super) gid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) umask: Option<u32>,
    pub(super) ends_with_us: bool,
    /// No program that it executes gains rights, by a set-user-id bit, say.
    pub(super) no_new_privs: bool,
    /// The paths to try, in order.
    pub(super) programs: Vec<CString>,
    /// Pointers into `argv_text`, the last one null.
    pub(super) argv: Vec<*const c_char>,
    /// Pointers into `env_text`, the last one null.
    pub(super) envp: Vec<*const c_char>,
    /// `LISTEN_PID=` with room for a number: only the child knows its pid. And its place in `envp`.
    pub(super) listen_pid: Option<(ListenPid, usize)>,
    /// What each stage is about, for errors.
    pub(super) details: Details,
    /// Keeps alive what `argv` and `envp` point to.
    pub(super) _text: (Vec<CString>, Vec<CString>),
}

/// Texts of errors that cannot be made in the child.
pub(super) struct Details {
    pub(super) program: String,
    pub(super) cgroup: String,
    pub(super) nice: String,
    pub(super) ionice: String,
    pub(super) cpu_affinity: String,
    pub(super) oom_score_adj: String,
    pub(super) gid: String,
    pub(super) uid: String,
}

/// `LISTEN_PID=` and the digits of a pid.
pub(super) struct ListenPid([u8; Self::NAME.len() + 12]);

impl ListenPid {
    const NAME: &[u8] = b"LISTEN_PID=";

    pub(super) fn new() -> Self {
        let mut text = [0; Self::NAME.len() + 12];
        for (to, from) in text.iter_mut().zip(Self::NAME) {
            *to = *from;
        }
        Self(text)
    }

    /// Writes the number behind the `=`; what follows it are zeros.
    fn set(&mut self, pid: u32) -> *const c_char {
        let mut digits = [0_u8; 10];
        let mut rest = pid;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0'.wrapping_add((rest % 10) as u8);
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let skip = digits.len().saturating_sub(count);
        for (to, from) in self.0.iter_mut().skip(Self::NAME.len()).zip(digits.iter().skip(skip)) {
            *to = *from;
        }
        self.0.as_ptr().cast()
    }
}

impl Script {
    /// What a failure was about. Allocates nothing, as the child needs it too.
    pub(super) fn detail(&self, failure: Failure) -> &[u8] {
        match failure.stage {
            Stage::Descriptors => self.moves.get(failure.item).map_or(b"status pipe", |m| m.what.as_bytes()),
            Stage::Chdir => self.cwd.as_bytes(),
            Stage::Cgroup => self.details.cgroup.as_bytes(),
            Stage::Nice => self.details.nice.as_bytes(),
            Stage::Ionice => self.details.ionice.as_bytes(),
            Stage::CpuAffinity => self.details.cpu_affinity.as_bytes(),
            Stage::OomScoreAdj => self.details.oom_score_adj.as_bytes(),
            Stage::Rlimit => self.limits.get(failure.item).map_or(b"", |limit| limit.name.as_bytes()),
            Stage::Groups => b"supplementary groups",
            Stage::Gid => self.details.gid.as_bytes(),
            Stage::Uid if failure.item == NO_NEW_PRIVS => b"no_new_privs",
            Stage::Uid => self.details.uid.as_bytes(),
            Stage::Exec => self.details.program.as_bytes(),
            Stage::Command
            | Stage::Environment
            | Stage::User
            | Stage::Socket
            | Stage::Pipe
            | Stage::Fork
            | Stage::Setsid
            | Stage::Close => b"",
        }
    }
}

/// The child of a vfork: becomes the program, or leaves in `failure` why it did not.
///
/// # Safety
/// Only in a process of its own, created for this.
pub(super) unsafe fn become_program(script: &mut Script, failure: &mut Option<Failure>) -> ! {
    let Err(why) = steps(script, &mut None);
    *failure = Some(why);
    leave()
}

/// The child of a fork: becomes the program, which closes the pipe `status`, or writes to it why it did not.
///
/// # Safety
/// Only in a process of its own, created for this.
pub(super) unsafe fn become_program_or_tell(script: &mut Script, status: RawFd) -> ! {
    let mut status = Some(status);
    let Err(why) = steps(script, &mut status);
    let mut message = [0_u8; super::status::MESSAGE_MAX];
    let length = super::status::encode(why, script.detail(why), &mut message);
    // SAFETY: `message` is readable for `length` bytes, which `encode` keeps within it.
    unsafe { libc::syscall(libc::SYS_write, status.unwrap_or(-1), message.as_ptr(), length) };
    leave()
}

fn leave() -> ! {
    loop {
        // SAFETY: ends the process, which is the child alone.
        unsafe { libc::syscall(libc::SYS_exit_group, EXIT_NOT_STARTED) };
    }
}

/// Each place of the order has its reason: what needs privileges stands before `setuid`,
/// `chdir` before it as in Circus, and signals are let in only when nothing of circusd's is left for them to run.
fn steps(script: &mut Script, status: &mut Option<RawFd>) -> Result<Infallible, Failure> {
    default_dispositions();
    if let Some(folder) = script.cgroup {
        // 0 is the process that writes.
        at(Stage::Cgroup, 0, write_to(folder, c"cgroup.procs", b"0"))?;
    }
    at(Stage::Setsid, 0, call0(libc::SYS_setsid))?;
    arrange(script, status)?;
    at(Stage::Chdir, 0, chdir(&script.cwd))?;
    set_scheduling(script)?;
    set_limits(&script.limits)?;
    change_identity(script)?;
    if script.no_new_privs {
        // SAFETY: takes no pointers.
        let result =
            unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1_usize, 0_usize, 0_usize, 0_usize) };
        at(Stage::Uid, NO_NEW_PRIVS, checked(result))?;
    }
    close_others(script, *status)?;
    if let Some(umask) = script.umask {
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_umask, umask) };
    }
    if script.ends_with_us {
        // Behind the change of identity, which would take it back.
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0_usize, 0_usize, 0_usize) };
    }
    if let Some((text, place)) = &mut script.listen_pid {
        // SAFETY: takes no arguments.
        let pid = unsafe { libc::syscall(libc::SYS_getpid) };
        if let Some(slot) = script.envp.get_mut(*place) {
            *slot = text.set(pid as u32);
        }
    }
    unblock_signals();
    execute(script)
}

fn at(stage: Stage, item: usize, result: Result<c_long, i32>) -> Result<c_long, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(errno) => Err(Failure { stage, errno, item }),
    }
}

/// Turns the -1 of libc's `syscall` into the error number.
fn checked(result: c_long) -> Result<c_long, i32> {
    if result != -1 {
        return Ok(result);
    }
    // SAFETY: the calling thread's errno; a vfork child uses that of the thread it suspended, which expects no less.
    Err(unsafe { *libc::__errno_location() })
}

fn call0(number: c_long) -> Result<c_long, i32> {
    // SAFETY: only used with calls that take no arguments.
    checked(unsafe { libc::syscall(number) })
}

/// All signals, not only those that circusd handles: an ignored one stays ignored across exec, and a handler of ours
/// must not run here, where it would write into circusd's own memory and pipes.
fn default_dispositions() {
    // A `struct kernel_sigaction` of any architecture: SIG_DFL, no flags, an empty mask are all zeros.
    let default = [0_u64; 8];
    for signal in 1..=64_i32 {
        // SAFETY: `default` is larger than the kernel's structure; SIGKILL and SIGSTOP are refused, which is right.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0_usize, 8_usize) };
    }
}

fn unblock_signals() {
    let none = 0_u64;
    // SAFETY: the kernel's signal set is eight bytes, which `none` is.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0_usize, 8_usize) };
}

/// Gives every descriptor its number: first every source out of the way of the targets, then each to its place.
fn arrange(script: &mut Script, status: &mut Option<RawFd>) -> Result<(), Failure> {
    let above = script.kept.last().copied().unwrap_or(2).saturating_add(1);
    if let Some(fd) = status
        && *fd < above
    {
        *fd = at(Stage::Descriptors, usize::MAX, lift(*fd, above))? as RawFd;
    }
    for (item, m) in script.moves.iter_mut().enumerate() {
        if m.source != m.target && m.source < above {
            m.source = at(Stage::Descriptors, item, lift(m.source, above))? as RawFd;
        }
    }
    for (item, m) in script.moves.iter().enumerate() {
        // dup onto itself would leave FD_CLOEXEC as it is (dup2) or refuse (dup3).
        let placed = if m.source == m.target { keep_across_exec(m.target) } else { place(m.source, m.target) };
        at(Stage::Descriptors, item, placed)?;
    }
    Ok(())
}

fn lift(fd: RawFd, above: RawFd) -> Result<c_long, i32> {
    // SAFETY: takes no pointers.
    let result = checked(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, above) });
    // The kernel calls a lowest number beyond the limit invalid; what is wrong is the limit.
    result.map_err(|errno| if errno == libc::EINVAL { libc::EMFILE } else { errno })
}

fn place(source: RawFd, target: RawFd) -> Result<c_long, i32> {
    // SAFETY: takes no pointers; the descriptor it replaces is the child's copy.
    checked(unsafe { libc::syscall(libc::SYS_dup3, source, target, 0) })
}

fn keep_across_exec(fd: RawFd) -> Result<c_long, i32> {
    // SAFETY: takes no pointers.
    checked(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) })
}

fn chdir(path: &CStr) -> Result<c_long, i32> {
    // SAFETY: a string that ends in NUL.
    checked(unsafe { libc::syscall(libc::SYS_chdir, path.as_ptr()) })
}

/// Before the limits, which may forbid to open a file, and before the identity, with which the rights for it may go.
fn set_scheduling(script: &Script) -> Result<(), Failure> {
    /// `PRIO_PROCESS` of setpriority(2) and `IOPRIO_WHO_PROCESS` of ioprio_set(2).
    const PRIO_PROCESS: usize = 0;
    const IOPRIO_WHO_PROCESS: usize = 1;
    if let Some(nice) = script.nice {
        // SAFETY: takes no pointers; 0 is the calling process.
        let result = unsafe { libc::syscall(libc::SYS_setpriority, PRIO_PROCESS, 0_usize, nice) };
        at(Stage::Nice, 0, checked(result))?;
    }
    if let Some(number) = script.ionice {
        // SAFETY: as above.
        let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0_usize, usize::from(number)) };
        at(Stage::Ionice, 0, checked(result))?;
    }
    if !script.cpu_affinity.is_empty() {
        let mask = &script.cpu_affinity;
        // SAFETY: `mask` is readable for its length in bytes.
        let result =
            unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0_usize, size_of_val(mask.as_slice()), mask.as_ptr()) };
        at(Stage::CpuAffinity, 0, checked(result))?;
    }
    if let Some(score) = &script.oom_score_adj {
        at(Stage::OomScoreAdj, 0, write_to(libc::AT_FDCWD, c"/proc/self/oom_score_adj", score))?;
    }
    Ok(())
}

fn write_to(folder: RawFd, path: &CStr, text: &[u8]) -> Result<c_long, i32> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: a string that ends in NUL.
    let fd = checked(unsafe { libc::syscall(libc::SYS_openat, folder, path.as_ptr(), flags, 0_usize) })?;
    // SAFETY: `text` is readable for its length.
    let written = checked(unsafe { libc::syscall(libc::SYS_write, fd, text.as_ptr(), text.len()) });
    // SAFETY: takes no pointers; it is the descriptor of just now.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    written
}

fn set_limits(limits: &[Limit]) -> Result<(), Failure> {
    for (item, limit) in limits.iter().enumerate() {
        let result = match (set_limit(limit.resource, &limit.value), &limit.instead) {
            (Err(_), Some(instead)) => set_limit(limit.resource, instead),
            (result, _) => result,
        };
        at(Stage::Rlimit, item, result)?;
    }
    Ok(())
}

fn set_limit(resource: ResourceNumber, value: &[u64; 2]) -> Result<c_long, i32> {
    // SAFETY: the kernel's `struct rlimit64` is two 64-bit numbers, soft and hard.
    checked(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, value.as_ptr(), 0_usize) })
}

fn change_identity(script: &Script) -> Result<(), Failure> {
    if let Some(groups) = &script.groups {
        // SAFETY: `groups` is readable for its length; gid_t is 32 bits wide.
        let result = checked(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) });
        if !(script.groups_optional && result == Err(libc::EPERM)) {
            at(Stage::Groups, 0, result)?;
        }
    }
    if let Some(gid) = script.gid {
        // SAFETY: takes no pointers; the raw call changes this one thread, which is the whole child.
        at(Stage::Gid, 0, checked(unsafe { libc::syscall(SETGID, gid) }))?;
    }
    if let Some(uid) = script.uid {
        // SAFETY: as above.
        at(Stage::Uid, 0, checked(unsafe { libc::syscall(SETUID, uid) }))?;
    }
    verify_identity(script)
}

/// Nothing of the old identity may be left, in none of the three places that it has, and root may not come back: security
/// bits or capabilities of circusd's could keep it.
fn verify_identity(script: &Script) -> Result<(), Failure> {
    let (refused, mut ids) = (Err(libc::EPERM), [0_u32; 3]);
    let [real, effective, saved] = &mut ids;
    if let Some(gid) = script.gid {
        // SAFETY: three places of 32 bits, as gid_t is.
        let result = checked(unsafe {
            libc::syscall(libc::SYS_getresgid, &raw mut *real, &raw mut *effective, &raw mut *saved)
        });
        at(Stage::Gid, 0, result)?;
        if [*real, *effective, *saved] != [gid; 3] {
            at(Stage::Gid, 0, refused)?;
        }
    }
    if let Some(uid) = script.uid {
        // SAFETY: the same of uid_t.
        let result = checked(unsafe {
            libc::syscall(libc::SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved)
        });
        at(Stage::Uid, 0, result)?;
        // SAFETY: takes no pointers.
        let regains = || uid != 0 && checked(unsafe { libc::syscall(SETUID, 0) }).is_ok();
        if [*real, *effective, *saved] != [uid; 3] || regains() {
            at(Stage::Uid, 0, refused)?;
        }
    }
    Ok(())
}

/// Closes everything but what the child is to have: libraries' descriptors are not reliably close-on-exec. The status
/// pipe stays, as it is, and stands above everything that is kept.
fn close_others(script: &Script, status: Option<RawFd>) -> Result<(), Failure> {
    let mut next: RawFd = 0;
    for fd in script.kept.iter().copied().chain(status) {
        if next < fd {
            close_span(next as u32, fd.saturating_sub(1) as u32, script.open_max)?;
        }
        next = fd.saturating_add(1);
    }
    close_span(next as u32, u32::MAX, script.open_max)
}

fn close_span(first: u32, last: u32, open_max: RawFd) -> Result<(), Failure> {
    // SAFETY: takes no pointers; the descriptors are the child's copies.
    match checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        // ENOSYS before Linux 5.9; EPERM from sandboxes that do not know the call.
        Err(libc::ENOSYS | libc::EPERM) => {
            close_each(first, last.min(open_max as u32));
            Ok(())
        }
        result => at(Stage::Close, 0, result).map(drop),
    }
}

fn close_each(first: u32, last: u32) {
    for fd in first..=last {
        // SAFETY: takes no pointers; most of these are not open, which is no error.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
}

/// Tries each path. What is not there is passed over; any other refusal is what is reported when none can be run, so
/// that a program without execute permission does not read as missing. A script without `#!` is refused (ENOEXEC), as
/// in Python: it is the caller's to say `shell = True`.
fn execute(script: &Script) -> Result<Infallible, Failure> {
    let mut errno = libc::ENOENT;
    for program in &script.programs {
        // SAFETY: a string that ends in NUL and two arrays of such that end in a null pointer, all owned by `script`.
        let result =
            unsafe { libc::syscall(libc::SYS_execve, program.as_ptr(), script.argv.as_ptr(), script.envp.as_ptr()) };
        if let Err(refusal) = checked(result)
            && matches!(errno, libc::ENOENT | libc::ENOTDIR)
        {
            errno = refusal;
        }
    }
    Err(Failure { stage: Stage::Exec, errno, item: 0 })
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd as _;

    use super::*;
    use crate::testing::alone;

    #[test]
    fn a_pid_becomes_text_without_an_allocator() {
        for pid in [0, 1, 9, 10, 4711, 4_194_304, u32::MAX] {
            let mut text = ListenPid::new();
            text.set(pid);
            assert_eq!(CStr::from_bytes_until_nul(&text.0).unwrap().to_str(), Ok(format!("LISTEN_PID={pid}").as_str()));
        }
    }

    #[test]
    fn where_close_range_is_missing_descriptors_go_one_by_one() {
        alone("child::tests::where_close_range_is_missing_descriptors_go_one_by_one", || {
            let open = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
            let fds: Vec<RawFd> = (0..4).map(|_| std::fs::File::open("/dev/null").unwrap().into_raw_fd()).collect();
            close_each(fds[1] as u32, fds[2] as u32);
            assert_eq!(fds.into_iter().map(open).collect::<Vec<_>>(), [true, false, false, true]);
        });
    }
}
