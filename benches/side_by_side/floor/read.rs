//! Two files of /proc, read and taken apart.

use std::fs::File;
use std::io::Read as _;

use nix::unistd::Pid;

/// What a report of a process cannot do without: ticks in user and kernel mode, resident pages.
#[derive(Default)]
pub(super) struct Usage {
    pub(super) user: u64,
    pub(super) system: u64,
    pub(super) resident: u64,
}

pub(super) fn usage(pid: Pid, buffer: &mut [u8]) -> Usage {
    let mut usage = Usage::default();
    if let Some(text) = contents(&format!("/proc/{pid}/stat"), buffer) {
        let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
        let mut numbers = after.split(' ').skip(11).map_while(|word| word.parse().ok());
        (usage.user, usage.system) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    }
    if let Some(text) = contents(&format!("/proc/{pid}/statm"), buffer) {
        usage.resident = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    }
    usage
}

fn contents<'b>(path: &str, buffer: &'b mut [u8]) -> Option<&'b str> {
    let length = File::open(path).ok()?.read(buffer).ok()?;
    std::str::from_utf8(buffer.get(..length)?).ok()
}
