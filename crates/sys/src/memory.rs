//! Free memory goes back to the kernel.
#![expect(unsafe_code, reason = "mallopt and malloc_trim have no safe wrappers")]

/// What is larger has pages of its own, which go back to the kernel as soon as it is freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 * 1024;

/// Keeps the heap from growing with each large request or answer.
///
/// glibc begins with these limits, and raises them to the size of what is freed, up to 32 MiB: afterwards everything
/// below stays in the heap, where one small block behind it holds all of it (mallopt(3)). Other C libraries have no such
/// limits. Before other threads allocate.
pub fn bound_the_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes numbers, and locks the heap by itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    };
}

/// Returns the heap's free pages to the kernel, for the moments after a start, the reading of a configuration or a large
/// request or answer.
///
/// It does nothing where the C library is not glibc, the only one that keeps free pages (malloc_trim(3)).
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and locks the heap by itself.
    unsafe {
        libc::malloc_trim(0)
    };
}
