//! Work that has time.
#![expect(unsafe_code, reason = "setpriority has no safe wrapper")]

/// Has the calling thread give way to others that want the processor. For threads whose work nothing waits for.
pub fn yield_to_others() {
    const NICE: libc::c_int = 10;
    // SAFETY: it takes numbers. On Linux 0 is the calling thread, and not its process (setpriority(2), "C library/kernel
    // differences"). A thread that may not be nice runs as before.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
