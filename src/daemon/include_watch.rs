//! `watch` of `[circus]`: the configuration is read again when a file in a directory of `include_dir` has changed.
//!
//! inotify(7) tells of changes. A file that was written to and not closed yet is half of one: until its writer closes it,
//! nothing is read. The directories that hold those of `include_dir` are watched for these alone, which may come and go.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::event_loop::Daemon;
use super::sources::{Source, Sources};
use crate::arbiter::{Event, Intent, Level, Mono};

/// How long nothing has to change before the configuration is read: several files are put there together.
const QUIET: Duration = Duration::from_millis(300);

/// The directories that are watched.
#[derive(Debug)]
pub(super) struct IncludeWatch {
    inotify: Inotify,
    /// What was asked for, to see whether something else is.
    directories: Vec<PathBuf>,
    watches: Vec<Watch>,
    /// Files that were written to and not closed since.
    half_written: BTreeSet<PathBuf>,
    /// When to read the configuration again.
    due: Option<Mono>,
}

#[derive(Debug)]
struct Watch {
    descriptor: WatchDescriptor,
    directory: PathBuf,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// One of `include_dir`: its files count.
    Files,
    /// One that has this directory of `include_dir` in it.
    Holder(OsString),
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Nothing that counts.
    None,
    /// A file is being written.
    Writing(PathBuf),
    /// A file is there, changed or gone.
    Done(PathBuf),
    /// A directory of `include_dir` came or went, or events were lost: all have to be watched anew.
    Directories,
}

impl IncludeWatch {
    fn new(directories: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut watches = Vec::new();
        for directory in &directories {
            let own = AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE;
            let holder = directory.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let come_and_go = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
            let name = directory.file_name().map(ToOwned::to_owned).unwrap_or_default();
            for (path, flags, kind) in [(&**directory, own, Kind::Files), (holder, come_and_go, Kind::Holder(name))] {
                // One directory may be both, and the kernel has one watch of it.
                let add = AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD) | AddWatchFlags::IN_ONLYDIR;
                match inotify.add_watch(path, flags | add) {
                    Ok(descriptor) => watches.push(Watch { descriptor, directory: path.to_owned(), kind }),
                    Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Self { inotify, directories, watches, half_written: BTreeSet::new(), due: None })
    }

    fn fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }

    /// When to look after it.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.due.filter(|_| self.half_written.is_empty())
    }

    /// What the kernel tells. Whether directories came or went.
    fn read(&mut self, now: Mono) -> io::Result<bool> {
        let mut anew = false;
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(anew),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for change in events.iter().flat_map(|event| changes(&self.watches, event)) {
                match change {
                    Change::None => continue,
                    Change::Writing(file) => {
                        self.half_written.insert(file);
                    }
                    Change::Done(file) => {
                        self.half_written.remove(&file);
                    }
                    Change::Directories => anew = true,
                }
                self.due = Some(now.after(QUIET));
            }
        }
    }
}

/// What an event means for each watch that it is of.
fn changes(watches: &[Watch], event: &InotifyEvent) -> Vec<Change> {
    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        return vec![Change::Directories];
    }
    let of = watches.iter().filter(|watch| watch.descriptor == event.wd);
    of.map(|watch| change(watch, event.mask, event.name.as_ref())).collect()
}

fn change(watch: &Watch, mask: AddWatchFlags, name: Option<&OsString>) -> Change {
    let is_config = |name: &&OsString| {
        let name = Path::new(name);
        name.extension().is_some_and(|extension| extension == "ini")
            && !name.as_os_str().as_encoded_bytes().starts_with(b".")
    };
    match (&watch.kind, name) {
        (Kind::Holder(wanted), Some(name)) if wanted == name && mask.intersects(AddWatchFlags::IN_ISDIR) => {
            Change::Directories
        }
        (Kind::Files, Some(name)) if is_config(&name) => {
            let file = watch.directory.join(name);
            if mask.contains(AddWatchFlags::IN_MODIFY) { Change::Writing(file) } else { Change::Done(file) }
        }
        (Kind::Files | Kind::Holder(_), _) => Change::None,
    }
}

impl Daemon {
    /// Watches the directories that the configuration names, after it was read. Where they are others than before, files may
    /// have changed since it was read, which is made up for.
    pub(super) fn watch_include_dirs(&mut self) {
        let directories =
            if self.resources.config.circus.watch { self.resources.config.include_dirs.clone() } else { Vec::new() };
        let watched = self.include_watch.as_ref().map_or(&[][..], |watch| &watch.directories);
        if watched != directories {
            self.watch_anew(directories);
        }
    }

    fn watch_anew(&mut self, directories: Vec<PathBuf>) {
        let Self { include_watch, sources, core, .. } = self;
        forget(include_watch, sources);
        if directories.is_empty() {
            return;
        }
        let watch = IncludeWatch::new(directories).and_then(|mut watch| {
            watch.due = Some(core.now.mono.after(QUIET));
            sources.add_fd(Source::IncludeDirs, watch.fd()).map(|()| watch)
        });
        match watch {
            Ok(watch) => *include_watch = Some(watch),
            Err(error) => core.log(Level::Error, format!("include_dir cannot be watched: {error}")),
        }
    }

    /// Reads what has changed, and has the configuration read again when nothing has changed for a while.
    pub(super) fn look_at_include_dirs(&mut self, is_ready: bool) {
        let now = self.core.now.mono;
        let Some(watch) = &mut self.include_watch else { return };
        let directories = watch.directories.clone();
        match if is_ready { watch.read(now) } else { Ok(false) } {
            Ok(false) => {}
            Ok(true) => self.watch_anew(directories),
            Err(error) => {
                self.core.log(Level::Error, format!("include_dir cannot be watched any more: {error}"));
                return forget(&mut self.include_watch, &mut self.sources);
            }
        }
        if let Some(watch) = &mut self.include_watch
            && watch.next_due().is_some_and(|due| due <= now)
        {
            watch.due = None;
            self.core.feed(Event::Intent(Intent::ReloadConfig));
        }
    }
}

fn forget(watch: &mut Option<IncludeWatch>, sources: &mut Sources) {
    if let Some(watch) = watch.take() {
        drop(sources.remove_fd(Source::IncludeDirs, watch.fd()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(kind: Kind) -> Watch {
        let inotify = Inotify::init(InitFlags::empty()).unwrap();
        let descriptor = inotify.add_watch("/", AddWatchFlags::IN_CREATE).unwrap();
        Watch { descriptor, directory: "/T/conf.d".into(), kind }
    }

    #[test]
    fn file_is_half_written_until_it_is_closed() {
        let files = watch(Kind::Files);
        let told = |mask, name: &str| change(&files, mask, Some(&name.into()));
        let file = || PathBuf::from("/T/conf.d/a.ini");
        assert_eq!(told(AddWatchFlags::IN_MODIFY, "a.ini"), Change::Writing(file()));
        for mask in [AddWatchFlags::IN_CLOSE_WRITE, AddWatchFlags::IN_MOVED_TO, AddWatchFlags::IN_DELETE] {
            assert_eq!(told(mask, "a.ini"), Change::Done(file()));
        }
    }

    #[test]
    fn what_is_not_read_does_not_count() {
        let files = watch(Kind::Files);
        for name in [".a.ini.swp", ".a.ini", "a.ini~", "a.ini.dpkg-new", "4913", "ini"] {
            assert_eq!(change(&files, AddWatchFlags::IN_CLOSE_WRITE, Some(&name.into())), Change::None, "{name}");
        }
    }

    #[test]
    fn directory_that_comes_is_watched() {
        let holder = watch(Kind::Holder("conf.d".into()));
        let come = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ISDIR;
        assert_eq!(change(&holder, come, Some(&"conf.d".into())), Change::Directories);
        assert_eq!(change(&holder, come, Some(&"other".into())), Change::None);
        assert_eq!(change(&holder, AddWatchFlags::IN_CREATE, Some(&"x.ini".into())), Change::None);
    }
}
