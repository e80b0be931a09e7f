//! Free memory goes back to the kernel.
#![expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]

/// Returns the heap's free pages to the kernel, for the moments after a start or the reading of a configuration.
///
/// It does nothing where the C library is not glibc, the only one that keeps free pages (malloc_trim(3)).
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and locks the heap by itself.
    unsafe {
        libc::malloc_trim(0)
    };
}
