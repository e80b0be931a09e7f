//! Giving back what only a start needs.
//!
//! Reading arguments and a configuration, binding, the first of everything: most of the program's code runs once, and
//! then waits beside the little that turns for months. The kernel charges a process for every page of its file that it
//! has mapped, and maps sixteen around each one that is used, so that a circusd that has started is charged for nearly
//! all of its program. [`give_back`] unmaps it. What is used again is there again, from the page cache, at the price of
//! a minor fault for each 64 KiB. `layout/` has the other half: what runs from day to day lies side by side.
#![expect(unsafe_code, reason = "madvise takes addresses")]

use std::ptr::addr_of;

use libc::c_void;

unsafe extern "C" {
    /// Where the program begins in memory, by the linker (GNU ld, gold, lld, mold).
    static __executable_start: u8;
    /// Where its code ends.
    static etext: u8;
}

/// Unmaps the program's code, which the kernel maps again where it is used, and returns free memory of the heap.
///
/// For the moments after a start or the reading of a configuration. It never fails: what cannot be given back stays.
pub fn give_back() {
    let page = page_size();
    let begin = addr_of!(__executable_start).addr().next_multiple_of(page);
    // The page in which the code ends may be another's as well.
    let end = addr_of!(etext).addr() / page * page;
    if let Some(length) = end.checked_sub(begin).filter(|length| *length > 0) {
        let begin = addr_of!(__executable_start).with_addr(begin).cast_mut().cast::<c_void>();
        // SAFETY: the range holds the program's headers, constants and code, as the file has them: nobody writes there
        // (what the dynamic linker relocates lies behind the code), so that a page dropped comes back the same.
        unsafe { libc::madvise(begin, length, libc::MADV_DONTNEED) };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and locks the heap by itself.
    unsafe {
        libc::malloc_trim(0)
    };
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::give_back;

    /// Kibibytes of this program's file that are mapped, from `/proc/self/smaps`.
    fn mapped_code() -> u64 {
        let me = std::env::current_exe().unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut ours = false;
        let mut sum = 0;
        for line in smaps.lines() {
            if line.split(' ').next().is_some_and(|word| word.contains('-')) {
                ours = line.contains(" r-xp ") && line.ends_with(me.to_str().unwrap());
            } else if ours && let Some(rest) = line.strip_prefix("Rss:") {
                sum += rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
            }
        }
        sum
    }

    #[test]
    fn code_that_is_not_used_is_not_charged_and_works_when_it_is() {
        let works = || "1.5".parse::<f64>() == Ok(1.5);
        assert!(works());
        let before = mapped_code();
        give_back();
        let after = mapped_code();
        assert!(after < before, "{after} of {before} KiB are mapped");
        assert!(works());
    }
}
