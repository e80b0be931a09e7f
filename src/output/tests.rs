//! The thread with real pipes and files. Waiting is by `sync`, which is answered when all has been written.

use std::fs::{self, File};
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::*;
use crate::config::StreamConfig;
use crate::proto::{StreamName, TailRange};

const DEADLINE: Duration = Duration::from_secs(30);

/// A running thread, a folder, and what it has said.
struct Room {
    output: OutputHandle,
    woken: Receiver<()>,
    said: Vec<String>,
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let (wake, woken) = channel();
        let output = OutputHandle::start(move || {
            let _ = wake.send(());
        })
        .unwrap();
        Self { output, woken, said: Vec::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, name: &str, more: Value) -> StreamConfig {
        let mut options: std::collections::BTreeMap<String, Value> = serde_json::from_value(more).unwrap();
        options.insert("filename".into(), json!(self.path(name)));
        StreamConfig { class: "FileStream".into(), options }
    }

    fn file(&mut self, name: &str, more: Value) -> SinkId {
        let config = self.config(name, more);
        self.output.open(&config, kept("w")).unwrap()
    }

    /// A worker's end of a new pipe into `sink`.
    fn worker(&mut self, pid: i32, sink: SinkId) -> PipeWriter {
        let (reader, writer) = pipe().unwrap();
        self.output.attach(OwnedFd::from(reader), sink, Source { pid, wid: 1, name: StreamName::Stdout });
        writer
    }

    /// Waits until all that was written so far has arrived.
    fn settle(&mut self) {
        let id = self.output.sync();
        let messages = self.wait(|message| *message == Message::Synced(id));
        assert!(messages);
    }

    fn wait(&mut self, wanted: impl Fn(&Message) -> bool) -> bool {
        loop {
            let messages = self.output.take_messages();
            let found = messages.iter().any(&wanted);
            self.said.extend(messages.into_iter().filter_map(|message| match message {
                Message::Info(text) | Message::Warning(text) => Some(text),
                Message::Matched(_)
                | Message::Synced(_)
                | Message::LogLine { .. }
                | Message::Tailed(..)
                | Message::Output { .. } => None,
            }));
            if found {
                return true;
            }
            if self.woken.recv_timeout(DEADLINE).is_err() {
                return false;
            }
        }
    }

    fn wait_for_text(&mut self, part: &str) {
        let heard = self.said.iter().any(|text| text.contains(part));
        assert!(
            heard || self.wait(|message| matches!(message, Message::Info(t) | Message::Warning(t) if t.contains(part)))
        );
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn end(self) -> Vec<Message> {
        self.output.shutdown(DEADLINE)
    }
}

fn kept(watcher: &str) -> Kept {
    Kept { watcher: watcher.into(), stream: StreamName::Stdout, bytes: 64 * 1024 }
}

/// `count` numbered lines of 100 bytes.
fn lines(writer: &mut PipeWriter, name: usize, count: usize) {
    let mut text = Vec::new();
    for number in 0..count {
        writeln!(text, "{name} {number:<97}").unwrap();
    }
    writer.write_all(&text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test measures how long something took")]
fn clock() -> Instant {
    Instant::now()
}

#[test]
fn lines_arrive_and_the_file_is_appended_to() {
    let mut room = Room::new();
    fs::write(room.path("out.log"), "before\n").unwrap();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(1, sink);
    worker.write_all(b"hello\n\0\xff bytes\n").unwrap();
    room.settle();
    assert_eq!(fs::read(room.path("out.log")).unwrap(), b"before\nhello\n\0\xff bytes\n");
}

#[test]
fn eight_writers_tear_no_line() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let writers: Vec<_> = (0..8).map(|number| room.worker(number, sink)).collect();
    std::thread::scope(|scope| {
        for (name, mut writer) in writers.into_iter().enumerate() {
            scope.spawn(move || (0..200).for_each(|_| lines(&mut writer, name, 97)));
        }
    });
    room.settle();
    let text = room.read("out.log");
    assert_eq!(text.len(), 8 * 200 * 97 * 100);
    let mut next = [0; 8];
    for line in text.lines() {
        let mut words = line.split_whitespace().map(|word| word.parse::<usize>().unwrap());
        let (name, number) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!((line.len(), number), (99, next[name]));
        next[name] = (number + 1) % 97;
    }
}

#[test]
fn a_line_of_ten_megabytes_stays_whole_beside_others() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let (mut long, mut short) = (room.worker(1, sink), room.worker(2, sink));
    let line = [vec![b'x'; 10_000_000], b"\n".to_vec()].concat();
    std::thread::scope(|scope| {
        scope.spawn(|| long.write_all(&line).unwrap());
        scope.spawn(|| lines(&mut short, 7, 5000));
    });
    room.settle();
    let text = room.read("out.log");
    assert_eq!(text.len(), line.len() + 5000 * 100);
    assert!(text.lines().all(|line| line.len() == 99 || line.len() == 10_000_000));
}

#[test]
fn pipes_that_children_of_the_dead_hold_are_bounded() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut held = Vec::new();
    for pid in 1..=40 {
        held.push(room.worker(pid, sink));
        room.output.died(pid);
    }
    room.settle();
    let closed = held.iter_mut().filter_map(|writer| writer.write_all(b"still here\n").err()).count();
    assert_eq!(closed, 8, "the oldest go");
    room.wait_for_text("the Stdout of pid 1, which has exited, is closed");
    room.settle();
    assert_eq!(room.read("out.log").lines().count(), 32);
}

#[test]
fn a_prompt_is_shown_and_others_begin_on_a_new_line() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let (mut asks, mut talks) = (room.worker(1, sink), room.worker(2, sink));
    asks.write_all(b"password: ").unwrap();
    room.settle();
    assert_eq!(room.read("out.log"), "password: ");
    asks.write_all(b"secret\nagain: ").unwrap();
    room.settle();
    talks.write_all(b"hello\n").unwrap();
    room.settle();
    assert_eq!(room.read("out.log"), "password: secret\nagain: \nhello\n");
}

#[test]
fn last_words_without_an_end_are_written_at_the_end() {
    let mut room = Room::new();
    let plain = room.file("plain.log", json!({}));
    let stamped = room.file("stamped.log", json!({"time_format": "T"}));
    for sink in [plain, stamped] {
        room.worker(5, sink).write_all(b"one\nlast words").unwrap();
    }
    room.settle();
    assert_eq!(room.read("plain.log"), "one\nlast words");
    assert_eq!(room.read("stamped.log"), "T [5] | one\nT [5] | last words\n");
}

#[test]
fn one_file_under_two_names_has_each_streams_own_prefix() {
    let mut room = Room::new();
    let (out, err) = (room.file("v.log", json!({"time_format": "T"})), room.file("./v.log", json!({})));
    room.worker(1, out).write_all(b"v out\n").unwrap();
    room.settle();
    room.worker(1, err).write_all(b"v err\n").unwrap();
    room.settle();
    assert_eq!(room.read("v.log"), "T [1] | v out\nv err\n");
    assert!(room.said.is_empty(), "{:?}", room.said);
}

#[test]
fn files_are_rolled_by_size() {
    let mut room = Room::new();
    let plain = room.file("r.log", json!({"max_bytes": "25", "backup_count": "2"}));
    let stamped = room.file("s.log", json!({"max_bytes": "20", "backup_count": "1", "time_format": "2024"}));
    let emptied = room.file("e.log", json!({"max_bytes": 25}));
    for (sink, count) in [(plain, 9), (stamped, 4), (emptied, 5)] {
        let mut worker = room.worker(321, sink);
        for _ in 0..count {
            worker.write_all(b"abcdefghi\n").unwrap();
            room.settle();
        }
    }
    let ten = "abcdefghi\n";
    assert_eq!(["r.log", "r.log.1", "r.log.2"].map(|n| room.read(n)), [ten.into(), ten.repeat(2), ten.repeat(2)]);
    assert_eq!(["s.log", "s.log.1"].map(|n| room.read(n)), ["2024 [321] | abcdefghi\n"; 2]);
    assert_eq!(room.read("e.log"), ten);
    let mut names: Vec<_> = fs::read_dir(room.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["e.log", "r.log", "r.log.1", "r.log.2", "s.log", "s.log.1"]);
}

#[test]
fn two_rotations_of_one_file_are_spoken_of() {
    let mut room = Room::new();
    room.file("r.log", json!({"max_bytes": 25, "backup_count": 1}));
    room.file("r.log", json!({"max_bytes": 50, "backup_count": 1}));
    room.wait_for_text("from now on at 50 bytes");
}

#[test]
fn a_running_stream_changes_its_class() {
    let mut room = Room::new();
    let sink = room.file("w.log", json!({"max_bytes": 10}));
    let mut worker = room.worker(1, sink);
    let mut say = |room: &mut Room, text: &str| {
        worker.write_all(text.as_bytes()).unwrap();
        room.settle();
    };
    say(&mut room, "one\ntwo\nthree\n");
    assert_eq!(room.read("w.log"), "three\n", "emptied before it would hold 10 bytes");
    let mut watched = room.config("w.log", json!({}));
    watched.class = "WatchedFileStream".into();
    room.output.set(sink, ("w", StreamName::Stdout), &watched).unwrap();
    say(&mut room, "four\nfive\nsix\n");
    assert_eq!(room.read("w.log"), "three\nfour\nfive\nsix\n", "not rolled any more");
    fs::rename(room.path("w.log"), room.path("w.old")).unwrap();
    say(&mut room, "seven\n");
    assert_eq!(room.read("w.log"), "seven\n");
    let plain = room.config("w.log", json!({}));
    room.output.set(sink, ("w", StreamName::Stdout), &plain).unwrap();
    fs::rename(room.path("w.log"), room.path("w.old")).unwrap();
    say(&mut room, "eight\n");
    assert_eq!(room.read("w.old"), "seven\neight\n", "not watched any more");
    assert!(room.said.is_empty(), "{:?}", room.said);
}

#[test]
fn a_stream_that_goes_takes_its_rotation_with_it() {
    let mut room = Room::new();
    let small = room.file("r.log", json!({"max_bytes": 10}));
    let plain = room.file("r.log", json!({}));
    let mut worker = room.worker(1, plain);
    worker.write_all(b"one\ntwo\nthree\n").unwrap();
    room.settle();
    assert_eq!(room.read("r.log"), "three\n", "one file, one rotation");
    room.output.close(small);
    worker.write_all(b"four\nfive\n").unwrap();
    room.settle();
    assert_eq!(room.read("r.log"), "three\nfour\nfive\n");
}

#[test]
fn a_file_is_rolled_by_time_as_it_is_written() {
    let mut room = Room::new();
    fs::write(room.path("t.log"), "old\n").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
    File::options().write(true).open(room.path("t.log")).unwrap().set_modified(long_ago).unwrap();
    let mut timed = room.config("t.log", json!({"rotate_when": "h", "utc": "True", "time_format": "T"}));
    timed.class = "TimedRotatingFileStream".into();
    let sink = room.output.open(&timed, kept("w")).unwrap();
    room.worker(1, sink).write_all(b"new\n").unwrap();
    room.settle();
    assert_eq!(room.read("t.log.1970010200"), "old\n");
    assert_eq!(room.read("t.log"), "T [1] | new\n");
}

fn open_fifo(path: &Path) -> File {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// Reads what is in a FIFO until `enough`.
fn read_fifo(fifo: &mut File, room: &mut Room, enough: usize) -> Vec<u8> {
    let start = clock();
    let mut text = Vec::new();
    while text.len() < enough && start.elapsed() < DEADLINE {
        let mut block = [0; 65536];
        match fifo.read(&mut block) {
            Ok(read) => text.extend_from_slice(&block[..read]),
            Err(_) => {
                let _ = room.woken.recv_timeout(Duration::from_millis(1));
            }
        }
    }
    text
}

#[test]
fn a_blocked_fifo_holds_up_its_own_worker_only() {
    let mut room = Room::new();
    mkfifo(&room.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let (blocked, free) = (room.file("fifo", json!({})), room.file("free.log", json!({})));
    let (mut stuck, mut talks) = (room.worker(1, blocked), room.worker(2, free));
    let writer = std::thread::spawn(move || lines(&mut stuck, 1, 20_000));
    // The FIFO has no reader: its pipe and queue fill up, and the worker has to wait.
    for number in 0..50 {
        talks.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    let mut seen = String::new();
    let start = clock();
    while !seen.ends_with("49\n") && start.elapsed() < DEADLINE {
        let _ = room.woken.recv_timeout(Duration::from_millis(1));
        seen = room.read("free.log");
    }
    assert!(seen.ends_with("49\n") && !writer.is_finished());
    let mut fifo = open_fifo(&room.path("fifo"));
    let text = read_fifo(&mut fifo, &mut room, 2_000_000);
    writer.join().unwrap();
    assert_eq!(text.len(), 2_000_000);
    assert!(text.split_inclusive(|b| *b == b'\n').all(|line| line.len() == 100));
}

#[test]
fn the_end_does_not_wait_for_a_blocked_sink() {
    let mut room = Room::new();
    mkfifo(&room.path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let sink = room.file("fifo", json!({}));
    let mut worker = room.worker(1, sink);
    let writer = std::thread::spawn(move || {
        // Ends with a broken pipe when the thread has gone.
        let _ = worker.write_all(&b"a line\n".repeat(200_000));
    });
    let start = clock();
    let messages = room.output.shutdown(Duration::from_millis(50));
    assert!(start.elapsed() < DEADLINE);
    writer.join().unwrap();
    assert!(messages.iter().all(|message| matches!(message, Message::Warning(text) if text.contains("were lost"))));
}

#[test]
fn the_end_writes_what_is_there() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(1, sink);
    worker.write_all(b"one\nhalf").unwrap();
    let path = room.path("out.log");
    let folder = std::mem::replace(&mut room.folder, tempfile::tempdir().unwrap());
    assert_eq!(room.end(), []);
    assert_eq!(fs::read_to_string(path).unwrap(), "one\nhalf");
    drop(folder);
}

#[test]
fn a_grandchild_that_keeps_the_pipe_holds_nothing_up() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(9, sink);
    let mut grandchild = worker.try_clone().unwrap();
    worker.write_all(b"last words of the worker\n").unwrap();
    drop(worker);
    room.output.died(9);
    room.settle();
    assert_eq!(room.read("out.log"), "last words of the worker\n");
    room.output.close(sink);
    grandchild.write_all(b"still here\n").unwrap();
    room.settle();
    assert_eq!(room.read("out.log"), "last words of the worker\nstill here\n");
}

#[test]
fn a_full_disk_is_reported_once_and_stops_nobody() {
    let mut room = Room::new();
    std::os::unix::fs::symlink("/dev/full", room.path("full")).unwrap();
    let (full, free) = (room.file("full", json!({})), room.file("free.log", json!({})));
    let (mut unlucky, mut lucky) = (room.worker(1, full), room.worker(2, free));
    lines(&mut unlucky, 1, 10_000);
    lucky.write_all(b"fine\n").unwrap();
    room.settle();
    assert_eq!(room.read("free.log"), "fine\n");
    room.wait_for_text("the queue is full");
    assert_eq!(room.said.iter().filter(|text| text.starts_with("cannot write to")).count(), 1, "{:?}", room.said);
    let last = room.end();
    assert!(matches!(&last[..], [Message::Warning(text)] if text.contains("10000 lines (1000000 bytes) were lost")));
}

#[test]
fn a_renamed_file_is_written_on_until_it_is_reopened() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(1, sink);
    fs::rename(room.path("out.log"), room.path("old.log")).unwrap();
    worker.write_all(b"old\n").unwrap();
    room.settle();
    room.output.reopen_all();
    worker.write_all(b"new\n").unwrap();
    room.settle();
    assert_eq!((room.read("old.log"), room.read("out.log")), ("old\n".into(), "new\n".into()));
}

#[test]
fn a_running_stream_changes_its_file() {
    let mut room = Room::new();
    let sink = room.file("one.log", json!({}));
    let mut worker = room.worker(1, sink);
    worker.write_all(b"tick\n").unwrap();
    room.settle();
    let two = room.config("two.log", json!({}));
    room.output.set(sink, ("w", StreamName::Stdout), &two).unwrap();
    worker.write_all(b"tock\n").unwrap();
    room.settle();
    assert_eq!((room.read("one.log"), room.read("two.log")), ("tick\n".into(), "tock\n".into()));
    let nowhere = room.config("no/where.log", json!({}));
    assert!(room.output.set(sink, ("w", StreamName::Stdout), &nowhere).unwrap_err().contains("its directory"));
}

#[test]
fn nothing_is_left_open_after_many_workers() {
    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    room.settle();
    let before = descriptors();
    for pid in 0..500 {
        room.worker(pid, sink).write_all(b"x\n").unwrap();
        room.output.died(pid);
    }
    room.settle();
    // Other tests of this process open and close files at the same time.
    assert!(descriptors() < before + 200);
    assert_eq!(room.read("out.log").len(), 1000);
}

#[test]
fn a_hundred_megabytes_through_four_pipes() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let block = format!("{:<99}\n", "spam").repeat(40);
    let writers: Vec<_> = (0..4).map(|pid| room.worker(pid, sink)).collect();
    let start = clock();
    std::thread::scope(|scope| {
        for mut writer in writers {
            let block = block.as_bytes();
            scope.spawn(move || (0..25_000_000 / block.len()).for_each(|_| writer.write_all(block).unwrap()));
        }
    });
    room.settle();
    let took = start.elapsed();
    println!("100 MB through 4 pipes: {:.0} MB/s", 100.0 / took.as_secs_f64());
    assert_eq!(fs::metadata(room.path("out.log")).unwrap().len(), 100_000_000);
}

#[test]
fn an_unknown_sink_closes_the_pipe_and_says_so() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    room.output.close(sink);
    let _worker: PipeWriter = room.worker(3, sink);
    room.wait_for_text("its sink is closed");
}

#[test]
fn the_last_lines_can_be_asked_for_and_followed_whatever_the_sink_makes_of_them() {
    let mut room = Room::new();
    let sink = room.file("log", json!({"time_format": "%Y"}));
    let mut worker = room.worker(7, sink);
    worker.write_all(b"one\ntwo\nthr").unwrap();
    room.settle();
    let range = TailRange { lines: 9, wid: None, after: None };
    let ask = |room: &mut Room| {
        room.output.tail(5, "W".into(), StreamName::Stdout, range);
        let mut found = None;
        while found.is_none() {
            let messages = room.output.take_messages();
            found = messages.into_iter().find_map(|message| match message {
                Message::Tailed(5, tail) => Some(tail.lines.into_iter().map(|line| line.line).collect::<Vec<_>>()),
                _ => None,
            });
            let _ = room.woken.recv_timeout(Duration::from_millis(50));
        }
        found.unwrap()
    };
    assert_eq!(ask(&mut room), ["one", "two"], "without the time, and whole");
    room.output.follow(vec![b"output.w.".to_vec()]);
    worker.write_all(b"ee\n").unwrap();
    let published = room.wait(|message| {
        matches!(message, Message::Output { topic, body, .. }
            if &**topic == "output.w.stdout" && String::from_utf8_lossy(body).contains(r#""lines":["three"]"#))
    });
    assert!(published);
    room.output.follow(Vec::new());
    worker.write_all(b"last words").unwrap();
    drop(worker);
    room.output.close(sink);
    room.settle();
    assert_eq!(ask(&mut room), ["one", "two", "three", "last words"], "also when the sink is gone");
    room.output.retain(vec!["W".into()]);
    assert_eq!(ask(&mut room).len(), 4);
    room.output.forget("w".into());
    assert_eq!(ask(&mut room), [""; 0]);
}

/// A descriptor of this process, opened once more.
fn opened_again(name: OutputFd, fd: std::os::fd::RawFd) -> OwnedFd {
    let path = format!("/proc/self/fd/{fd}");
    let file = match name {
        OutputFd::Pipe(_) => File::open(path),
        OutputFd::Sink(_) => File::options().append(true).open(path),
    };
    file.unwrap().into()
}

#[test]
fn another_thread_goes_on_where_one_holds_still() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(1, sink);
    worker.write_all(b"one\ntw").unwrap();
    let paused = room.output.pause(DEADLINE).unwrap();
    let bytes = rmp_serde::to_vec_named(&paused.state).unwrap();
    worker.write_all(b"o\nthree\n").unwrap();
    let fds = paused.fds.iter().map(|(name, fd)| (*name, opened_again(*name, *fd))).collect();
    let (wake, woken) = channel();
    let state: SavedOutput = rmp_serde::from_slice(&bytes).unwrap();
    let next = OutputHandle::restore(state, fds, move || {
        let _ = wake.send(());
    })
    .unwrap();
    // The first thread never goes on, as it would not in another process.
    std::mem::forget(std::mem::replace(&mut room.output, next));
    std::mem::forget(paused);
    room.woken = woken;
    room.settle();
    assert_eq!(room.read("out.log"), "one\ntwo\nthree\n");
    assert_ne!(room.file("other.log", json!({})), sink, "numbers go on, too");
    drop(worker);
    room.settle();
    assert_eq!(room.end(), []);
}

#[test]
fn thread_that_held_still_goes_on_itself() {
    let mut room = Room::new();
    let sink = room.file("out.log", json!({}));
    let mut worker = room.worker(1, sink);
    let paused = room.output.pause(DEADLINE).unwrap();
    worker.write_all(b"one\n").unwrap();
    assert_eq!(room.read("out.log"), "");
    drop(paused);
    room.settle();
    assert_eq!(room.read("out.log"), "one\n");
}

#[test]
fn state_without_its_descriptors_is_refused() {
    let mut room = Room::new();
    room.file("out.log", json!({}));
    let Paused { state, .. } = room.output.pause(DEADLINE).unwrap();
    let error = OutputHandle::restore(state, Default::default(), || {}).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot go on with '") && error.to_string().contains("out.log': its descriptor"),
        "{error}"
    );
}
