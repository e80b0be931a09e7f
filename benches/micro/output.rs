//! A worker's output on its way: a pipe, the output thread, a file.

use std::collections::BTreeMap;
use std::io::{PipeWriter, Write as _, pipe};
use std::sync::mpsc::{Receiver, channel};

use circus::config::StreamConfig;
use circus::output::{Kept, Message, OutputHandle, SinkId, Source};
use circus::proto::StreamName;
use criterion::{Criterion, Throughput};

/// As much as a pipe holds, in lines of 100 bytes.
const BLOCK: usize = 64_000;

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("output");
    group.throughput(Throughput::Bytes(BLOCK as u64));
    for (name, options) in [("plain", vec![]), ("with times", vec![("time_format", "%Y-%m-%d %H:%M:%S")])] {
        let mut pump = Pump::new(&options);
        let block: Vec<u8> = [[b'x'; 99].as_slice(), b"\n"].concat().repeat(BLOCK / 100);
        group.bench_function(format!("a pipe into a file, {name}"), |b| b.iter(|| pump.carry(&block)));
    }
}

/// The output thread with one worker's pipe and one file.
struct Pump {
    output: OutputHandle,
    woken: Receiver<()>,
    sink: SinkId,
    worker: PipeWriter,
    _folder: tempfile::TempDir,
}

impl Pump {
    fn new(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("output").to_string_lossy().into_owned();
        // Rotated, so that it does not fill the disk.
        let sized = [("filename", file.into()), ("max_bytes", 100_000_000.into()), ("backup_count", 1.into())];
        let options = options.iter().map(|(key, value)| (*key, (*value).into())).chain(sized);
        let options = options.map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>();
        let (wake, woken) = channel();
        let mut output = OutputHandle::start(move || {
            // The receiver is gone only at the very end.
            let _ = wake.send(());
        })
        .expect("a thread");
        // As much as watchers keep for `tail` unless they are told otherwise.
        let kept = Kept { watcher: "w".into(), stream: StreamName::Stdout, bytes: 65_536 };
        let sink = output.open(&StreamConfig { class: "FileStream".into(), options }, kept).expect("a file");
        let (reader, worker) = pipe().expect("a pipe");
        output.attach(reader.into(), sink, Source { pid: 1, wid: 1, name: StreamName::Stdout });
        Self { output, woken, sink, worker, _folder: folder }
    }

    /// Writes it as a worker would, and waits until all of it is in the file.
    fn carry(&mut self, block: &[u8]) -> SinkId {
        self.worker.write_all(block).expect("the pipe is read");
        let asked = self.output.sync();
        while !self.output.take_messages().contains(&Message::Synced(asked)) {
            self.woken.recv().expect("the thread lives");
        }
        self.sink
    }
}
