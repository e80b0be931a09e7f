//! Error numbers of Linux, errno(3): those that circusd's own decisions and messages know.

/// Operation not permitted.
pub const EPERM: i32 = 1;
/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Try again.
pub const EAGAIN: i32 = 11;
/// Out of memory.
pub const ENOMEM: i32 = 12;
/// Too many open files in the system.
pub const ENFILE: i32 = 23;
/// Too many open files in the process.
pub const EMFILE: i32 = 24;
/// The program's file is being written.
pub const ETXTBSY: i32 = 26;

/// The names of the error numbers that a start can fail with.
const NAMES: [(i32, &str); 26] = [
    (EPERM, "EPERM"),
    (ENOENT, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (EAGAIN, "EAGAIN"),
    (ENOMEM, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (ENFILE, "ENFILE"),
    (EMFILE, "EMFILE"),
    (ETXTBSY, "ETXTBSY"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (80, "ELIBBAD"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
];

/// The name of an error number, `ENOENT`; `errno N` where it has none here.
pub fn name(errno: i32) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_owned())
}

/// Whether what failed with this number may succeed a little later by itself.
pub fn is_transient(errno: i32) -> bool {
    [EAGAIN, ENOMEM, EMFILE, ENFILE, ETXTBSY].contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names() {
        assert_eq!((name(ENOENT).as_str(), name(13).as_str(), name(4000).as_str()), ("ENOENT", "EACCES", "errno 4000"));
        let mut numbers: Vec<i32> = NAMES.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), NAMES.len());
        assert!(is_transient(EMFILE) && !is_transient(ENOENT));
    }
}
