//! What the files of /proc say.

use std::str::{FromStr, SplitAsciiWhitespace};

use crate::process::{is_zombie, stat_fields};
use circus_core::config::split_words;

/// The figures of `/proc/PID/stat`, in the kernel's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// It has ended and waits for its parent.
    pub(super) zombie: bool,
    /// Processor time of its own, in ticks.
    pub(super) busy: u64,
    /// That of children that were collected, and of theirs.
    pub(super) collected: u64,
    /// Both, and the time it waited for disks.
    pub(super) total: u64,
    pub(super) nice: i32,
    pub(super) threads: u64,
    /// When it was created, in ticks since boot.
    pub(super) started: u64,
    /// In bytes.
    pub(super) mapped: u64,
    /// In pages.
    pub(super) resident: u64,
}

/// The fields after the name, by their numbers in proc(5), in ascending order.
struct Fields<'a> {
    rest: SplitAsciiWhitespace<'a>,
    next: usize,
}

impl<'a> Fields<'a> {
    fn text(&mut self, number: usize) -> Option<&'a str> {
        let field = self.rest.nth(number.checked_sub(self.next)?)?;
        self.next = number + 1;
        Some(field)
    }

    fn number<T: FromStr>(&mut self, number: usize) -> Option<T> {
        self.text(number)?.parse().ok()
    }

    /// One that the kernel writes with a sign and that is never below 0.
    fn count(&mut self, number: usize) -> Option<u64> {
        self.number::<i64>(number).map(|count| u64::try_from(count).unwrap_or(0))
    }
}

pub(super) fn figures(text: &[u8]) -> Option<Figures> {
    let mut fields = Fields { rest: stat_fields(text)?, next: 3 };
    let zombie = is_zombie(fields.text(3)?);
    let busy = fields.number::<u64>(14)?.saturating_add(fields.number(15)?);
    let collected = fields.count(16)?.saturating_add(fields.count(17)?);
    let nice = fields.number(19)?;
    let threads = fields.count(20)?;
    let started = fields.number(22)?;
    let mapped = fields.number(23)?;
    let resident = fields.count(24)?;
    // Old kernels do not count it.
    let waited = fields.number(42).unwrap_or(0);
    let total = busy.saturating_add(collected).saturating_add(waited);
    Some(Figures { zombie, busy, collected, total, nice, threads, started, mapped, resident })
}

/// The user that a process runs as, of `/proc/PID/status`. (The owner of `/proc/PID` is another: root, where the process
/// has changed its user, and the effective one elsewhere.)
pub(super) fn real_uid(status: &[u8]) -> Option<u32> {
    number_after(status, b"Uid:")
}

/// How often the first thread gave the processor away, and how often it was taken, of `/proc/PID/status`.
pub(super) fn switches(status: &[u8]) -> Option<u64> {
    let given: u64 = number_after(status, b"voluntary_ctxt_switches:")?;
    Some(given.saturating_add(number_after(status, b"nonvoluntary_ctxt_switches:")?))
}

/// Bytes that a process had read from disks, and written to them, of `/proc/PID/io`.
pub(super) fn disk(io: &[u8]) -> Option<(u64, u64)> {
    Some((number_after(io, b"read_bytes:")?, number_after(io, b"write_bytes:")?))
}

/// The memory of a process in bytes, what it shares counted in proportion, of `/proc/PID/smaps_rollup`.
pub(super) fn proportional(rollup: &[u8]) -> Option<u64> {
    number_after(rollup, b"Pss:").map(|kilobytes: u64| kilobytes.saturating_mul(1024))
}

/// The machine's RAM in bytes, of `/proc/meminfo`.
pub(super) fn ram(meminfo: &[u8]) -> Option<u64> {
    number_after(meminfo, b"MemTotal:").map(|kilobytes: u64| kilobytes.saturating_mul(1024))
}

/// When the machine was booted, in seconds since the epoch, of `/proc/stat`.
pub(super) fn boot_time(stat: &[u8]) -> Option<u64> {
    number_after(stat, b"btime")
}

/// The number after the key that begins a line.
fn number_after<T: FromStr>(text: &[u8], key: &[u8]) -> Option<T> {
    let rest = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// What a process calls itself, of `/proc/PID/cmdline`: the last part of the path that is the first word of its first
/// argument. A title such as `nginx: master process` has words, too.
pub(super) fn command(cmdline: &[u8]) -> Option<String> {
    let first = cmdline.split(|byte| *byte == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let word = first_word(&first)?;
    Some(word.rsplit('/').next().unwrap_or_default().to_owned())
}

/// The first word as a shell would see it; up to the first space, where the shell would wait for a closing quote.
fn first_word(text: &str) -> Option<String> {
    if text.contains(['\'', '"', '\\'])
        && let Ok(words) = split_words(text)
    {
        return words.into_iter().next();
    }
    text.split_ascii_whitespace().next().map(str::to_owned)
}

/// The pids of a list of children.
pub(super) fn pids(text: &[u8]) -> impl Iterator<Item = i32> {
    let words = text.split(u8::is_ascii_whitespace);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &[u8] = b"4711 (a) S b) (c) S 4700 4711 4711 0 -1 4194304 122 33 0 0 150 25 7 3 20 -5 2 0 35130 \
        2625536 430 18446744073709551615 1 2 3 4 5 0 0 0 6 7 8 9 17 1 0 0 12 0 0 1 2 3 4 5 6 7 0\n";

    #[test]
    fn the_figures_of_a_process() {
        let expected = Figures {
            zombie: false,
            busy: 175,
            collected: 10,
            total: 197,
            nice: -5,
            threads: 2,
            started: 35130,
            mapped: 2_625_536,
            resident: 430,
        };
        assert_eq!(figures(STAT), Some(expected));
        let old = b"1 (x) Z 0 0 0 0 0 0 0 0 0 0 1 2 -3 4 20 0 1 0 9 0 0";
        let figures = figures(old).unwrap();
        assert_eq!((figures.zombie, figures.busy, figures.total), (true, 3, 7));
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        let last = STAT.windows(4).position(|window| window == b" 430").unwrap();
        for length in 0..=last {
            assert_eq!(figures(&STAT[..length]), None, "{length}");
        }
    }

    #[test]
    fn numbers_of_other_files() {
        let status = b"Name:\tUid: 5\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1\t1\t1\t1\n";
        assert_eq!(real_uid(status), Some(1000));
        assert_eq!(real_uid(b"Name:\tx\n"), None);
        assert_eq!(ram(b"MemTotal:       24625916 kB\nMemFree: 1 kB\n"), Some(24_625_916 * 1024));
        assert_eq!(boot_time(b"cpu  1 2 3\nintr 1 2 3\nctxt 9\nbtime 1700000000\nprocesses 7\n"), Some(1_700_000_000));
        let status = b"Threads:\t3\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!((switches(status), switches(b"voluntary_ctxt_switches:\t150\n")), (Some(157), None));
        let io = b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!((disk(io), disk(b"")), (Some((4096, 8192)), None));
        let rollup = b"5000-7ff0 ---p 00000000 00:00 0    [rollup]\nRss:  900 kB\nPss:   300 kB\nPss_Anon: 1 kB\n";
        assert_eq!(proportional(rollup), Some(300 << 10));
        assert_eq!(pids(b"12 13 140 ").collect::<Vec<_>>(), [12, 13, 140]);
        assert_eq!(pids(b"").count(), 0);
    }

    #[test]
    fn what_a_process_calls_itself() {
        for (cmdline, name) in [
            (&b"/bin/sleep\x001000\x00"[..], Some("sleep")),
            (b"sleep", Some("sleep")),
            (b"-bash\x00", Some("-bash")),
            (b"nginx: master process /usr/sbin/nginx\x00", Some("nginx:")),
            (b"/opt/my\\ app/run me\x00", Some("run")),
            (b"'/opt/my app/run'\x00", Some("run")),
            (b"it's/here x\x00", Some("here")),
            (b"#1 x\x00", Some("#1")),
            (b"caf\xc3\xa9 \xff\x00", Some("caf\u{e9}")),
            (b"/\x00", Some("")),
            (b"\x00\x00", None),
            (b"", None),
        ] {
            assert_eq!(command(cmdline).as_deref(), name, "{}", String::from_utf8_lossy(cmdline));
        }
    }

    proptest! {
        #[test]
        fn a_mangled_file_is_no_panic(
            file in proptest::sample::select(vec![
                STAT,
                b"Uid:\t1000\t0\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n",
                b"read_bytes: 4096\nwrite_bytes: 8192\n",
                b"Pss:   300 kB\n",
                b"/opt/my\\ app/run me\0x\0",
            ]),
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
            length in any::<usize>(),
        ) {
            let mut text = file.to_vec();
            for (at, byte) in changes {
                let at = at % text.len();
                text[at] = byte;
            }
            text.truncate(length % (text.len() + 1));
            let _ = (figures(&text), real_uid(&text), switches(&text), disk(&text), proportional(&text), command(&text));
        }

        #[test]
        fn no_text_is_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (figures(&text), real_uid(&text), ram(&text), boot_time(&text), command(&text));
            let _ = (switches(&text), disk(&text), proportional(&text));
            let _ = pids(&text).count();
        }
    }
}
