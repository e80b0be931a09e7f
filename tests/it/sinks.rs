//! Where output goes, and what becomes of it when the place fails: no line is torn or lost that need not be, what is lost
//! is counted, and no other watcher waits.
#![expect(clippy::disallowed_methods, reason = "a test starts the programs that it needs, and measures answers")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::rig::{Circusd, DEADLINE, Figures, Site, ask, observe_for, run, wait_until};

fn datagram(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 17];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn listening(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

#[test]
fn system_log_gets_a_message_for_each_line() {
    let site = Site::new();
    let local = listening(&site.path("log"));
    let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
    remote.set_read_timeout(Some(DEADLINE)).unwrap();
    let circusd = site.start(&format!(
        "[watcher:web]
         cmd = {{knobs}} say hello warn oh
         stdout_stream.class = SyslogStream
         stdout_stream.address = {{dir}}/log
         stdout_stream.facility = local3
         stderr_stream.class = SyslogStream
         stderr_stream.address = {}
         stderr_stream.protocol = rfc5424
         stderr_stream.identifier = my-web",
        remote.local_addr().unwrap()
    ));
    let pid = circusd.wait_for_workers("web", 1)[0].0;
    let told = String::from_utf8(datagram(&local)).unwrap();
    // local3.info, a time, and no host: the system log of this machine knows it.
    assert!(told.starts_with("<158>") && told.ends_with(&format!(" web[{pid}]: hello")), "{told}");
    let mut buffer = [0; 1024];
    let length = remote.recv(&mut buffer).unwrap();
    let told = std::str::from_utf8(&buffer[..length]).unwrap();
    let words: Vec<&str> = told.split(' ').collect();
    let [head, time, host, name, process, "-", "-", "oh"] = words[..] else { panic!("{told}") };
    assert_eq!((head, name, process), ("<11>1", "my-web", pid.to_string().as_str()), "{told}");
    assert!(time.ends_with('Z') && time.contains('T') && !host.is_empty(), "{told}");
    // One that is started anew gets what comes then, and what could not be sent meanwhile.
    drop(local);
    std::fs::remove_file(circusd.path("log")).unwrap();
    circusd.tell("restart", json!({"name": "web", "waiting": true}));
    circusd.wait_for_log("cannot write to the system log at ");
    let anew = listening(&circusd.path("log"));
    let told = String::from_utf8(datagram(&anew)).unwrap();
    assert!(told.ends_with("]: hello"), "{told}");
    std::fs::remove_file(circusd.path("log")).unwrap();
}

#[test]
fn journal_gets_a_record_for_each_line() {
    let site = Site::new();
    let journal = listening(&site.path("journal"));
    let circusd = site.start(
        "[watcher:web]
         cmd = {knobs} say hello raw prompt
         stdout_stream.class = JournalStream
         stdout_stream.address = {dir}/journal
         stdout_stream.severity = notice",
    );
    let pid = circusd.wait_for_workers("web", 1)[0].0;
    let record = |line: &str| {
        format!(
            "PRIORITY=5\nSYSLOG_IDENTIFIER=web\nCIRCUS_WATCHER=web\nCIRCUS_STREAM=stdout\nSYSLOG_PID={pid}\nCIRCUS_WID=1\n\
             MESSAGE={line}\n"
        )
    };
    assert_eq!(String::from_utf8(datagram(&journal)).unwrap(), record("hello"));
    // A prompt is not waited for any longer than elsewhere, and an upgrade changes nothing.
    assert_eq!(String::from_utf8(datagram(&journal)).unwrap(), record("prompt"));
    circusd.tell("upgrade", json!({}));
    circusd.tell("restart", json!({"name": "web", "waiting": true}));
    assert!(String::from_utf8(datagram(&journal)).unwrap().ends_with("\nMESSAGE=hello\n"));
    std::fs::remove_file(circusd.path("journal")).unwrap();
}

/// The text of a file that gzip has made.
fn unpacked(path: &Path) -> String {
    let output = run(Command::new("gzip").arg("-dc").arg(path).stdin(Stdio::null()));
    assert_eq!(output.status, Some(0), "{}: {}", path.display(), output.stderr);
    output.stdout
}

#[test]
fn rotated_files_are_compressed_and_never_fill_the_disk() {
    const MOST: u64 = 300_000;
    let circusd = Site::new().start(&format!(
        "[watcher:w]
         cmd = {{knobs}} lines 60000 a-line-of-some-length
         stdout_stream.class = FileStream
         stdout_stream.filename = {{dir}}/w.log
         stdout_stream.max_bytes = 100000
         stdout_stream.max_total = {MOST}
         stdout_stream.compress = gzip"
    ));
    let files = || -> BTreeMap<String, u64> {
        let entries = std::fs::read_dir(circusd.path("")).unwrap().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("w.log"));
        let sized =
            ours.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())));
        sized.collect()
    };
    // The file that is being compressed is there twice, and counts once.
    wait_until("the last line is there", || {
        let total: u64 = files().iter().filter(|(name, _)| !name.ends_with(".compressing")).map(|(_, size)| size).sum();
        assert!(total <= MOST + 100_000, "{:?}", files());
        circusd.read("w.log").ends_with(" 59999\n")
    });
    wait_until("all are compressed", || {
        let names = files();
        names.len() > 2 && names.keys().all(|name| name == "w.log" || name.ends_with(".gz"))
    });
    let numbers: Vec<u64> = (1..)
        .map(|number| circusd.path(&format!("w.log.{number}.gz")))
        .take_while(|path| path.exists())
        .map(|path| unpacked(&path))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .chain([circusd.read("w.log")])
        .flat_map(|text| {
            text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a line is missing in what was kept");
    assert!(numbers.len() > 5000, "{}", numbers.len());
}

#[test]
fn reader_that_is_not_waited_for_delays_no_worker_and_losses_are_counted() {
    let site = Site::new();
    mkfifo(&site.path("fifo"), Mode::S_IRWXU).unwrap();
    let circusd = site.start(
        "[watcher:flood]
         cmd = {knobs} lines 100000 a-line-of-some-length write {dir}/done yes
         autostart = no
         stdout_stream.filename = {dir}/fifo
         stdout_stream.on_full = drop",
    );
    let reader =
        std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(circusd.path("fifo")).unwrap();
    circusd.tell("start", json!({"name": "flood", "waiting": true}));
    circusd.wait_for_text("done", "yes");
    circusd.wait_for_log("the queue is full, lines are dropped");
    // What is there is whole, and the rest is in the count.
    let mut text = Vec::new();
    wait_until("the losses are told", || {
        use std::io::Read as _;
        drop((&reader).take(1 << 20).read_to_end(&mut text));
        circusd.log().contains("is written again; ")
    });
    let log = circusd.log();
    let told = log.lines().find(|line| line.contains("is written again; ")).unwrap();
    let lost: usize = told.split("again; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    wait_until("everything that is left is read", || {
        use std::io::Read as _;
        drop((&reader).take(1 << 20).read_to_end(&mut text));
        text.iter().filter(|byte| **byte == b'\n').count() + lost == 100_000
    });
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.starts_with("a-line-of-some-length ")), "a line is torn");
}

#[test]
fn file_that_is_renamed_removed_or_truncated_goes_on() {
    let circusd = Site::new().start(
        "[watcher:plain]
         cmd = /bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done'
         stdout_stream.filename = {dir}/plain.log
         [watcher:watched]
         cmd = /bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done'
         stdout_stream.class = WatchedFileStream
         stdout_stream.filename = {dir}/watched.log",
    );
    let numbers = |name: &str| -> Vec<u64> {
        let text = circusd.read(name);
        let lines = text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok());
        lines.collect()
    };
    let grows = |name: &str| {
        let before = numbers(name).len();
        wait_until(&format!("{name} grows"), || numbers(name).len() > before + 3);
    };
    let rename = |from: &str, to: &str| std::fs::rename(circusd.path(from), circusd.path(to)).unwrap();
    for name in ["plain.log", "watched.log"] {
        grows(name);
    }
    // A file follows its name where that is watched, and otherwise when it is told to.
    rename("plain.log", "plain.old");
    rename("watched.log", "watched.old");
    grows("plain.old");
    grows("watched.log");
    circusd.tell("reopenlogs", json!({}));
    grows("plain.log");
    for name in ["plain", "watched"] {
        let all = [numbers(&format!("{name}.old")), numbers(&format!("{name}.log"))].concat();
        assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{name}: a line is missing: {all:?}");
    }
    // Removed: as renamed, without the old file.
    std::fs::remove_file(circusd.path("plain.log")).unwrap();
    std::fs::remove_file(circusd.path("watched.log")).unwrap();
    wait_until("it is there again", || circusd.path("watched.log").exists());
    circusd.tell("reopenlogs", json!({}));
    for name in ["plain.log", "watched.log"] {
        grows(name);
    }
    // Truncated: it goes on at the beginning, without a hole.
    for name in ["plain.log", "watched.log"] {
        std::fs::File::options().write(true).open(circusd.path(name)).unwrap().set_len(0).unwrap();
        grows(name);
        assert!(!circusd.read(name).contains('\0'), "{name} has a hole");
    }
    circusd.tell("stop", json!({"waiting": true}));
}

#[test]
fn output_to_a_closed_standard_output_harms_nobody() {
    let site = Site::new();
    let ini = site.ini(
        "circus.ini",
        "[watcher:w]
         cmd = {knobs} say hello write {dir}/said yes
         stdout_stream.class = StdoutStream
         [watcher:other]
         cmd = {knobs} say hello
         stdout_stream.filename = {dir}/other.log",
    );
    let mut command = site.command("/bin/sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&- <&-", env!("CARGO_BIN_EXE_circusd")]).arg(ini);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    circusd.wait_for_text("said", "yes");
    circusd.wait_for_text("other.log", "hello\n");
    // Nothing that circusd has opened is taken for standard output.
    assert_eq!(circusd.read("other.log"), "hello\n");
    assert_eq!(circusd.status("w"), "active");
    circusd.quit();
}

#[test]
fn bytes_of_every_kind_and_a_line_of_ten_megabytes_arrive_as_they_are() {
    const LONG: usize = 10_000_000;
    let site = Site::new();
    site.write(
        "bytes",
        "printf 'nul \\000 and \\377\\376 no text\\n'; head -c 10000000 /dev/zero | tr '\\000' x; echo; echo end; exec sleep 1000",
    );
    let circusd = site.start(
        "[watcher:bytes]
         cmd = /bin/sh {dir}/bytes
         stdout_stream.filename = {dir}/bytes.log
         tail_bytes = 4096
         [watcher:other]
         cmd = {knobs} say hello
         stdout_stream.filename = {dir}/other.log",
    );
    let read = || std::fs::read(circusd.path("bytes.log")).unwrap_or_default();
    wait_until("the end is there", || read().ends_with(b"x\nend\n"));
    let mut expected = b"nul \0 and \xff\xfe no text\n".to_vec();
    expected.extend(std::iter::repeat_n(b'x', LONG));
    expected.extend(b"\nend\n");
    assert!(read() == expected, "the bytes are others");
    let peak = circusd.process().status("VmHWM");
    assert!(peak < 64 * 1024, "a long line is not kept in memory: {peak} KiB");
    circusd.wait_for_text("other.log", "hello\n");
    // Clients get text.
    let tail = circusd.tell("tail", json!({"name": "bytes", "lines": 1}));
    assert_eq!(tail["lines"][0]["line"], "end", "{tail}");
}

/// How long `status` takes.
fn answers(circusd: &Circusd, count: usize) -> Figures {
    let mut client = circusd.client();
    Figures::of(count, || assert_eq!(ask(&mut client, "status", json!({"name": "other"}))["status"], "active"))
}

#[test]
fn flood_delays_no_other_and_memory_stays_bounded() {
    const ASKED: usize = 500;
    let circusd = Site::new().start(
        "[watcher:flood]
         cmd = {knobs} chatter 1000000000
         numprocesses = 2
         autostart = no
         stdout_stream.filename = {dir}/flood.log
         stdout_stream.max_bytes = 1000000
         stdout_stream.backup_count = 1
         [watcher:other]
         cmd = {knobs}",
    );
    circusd.wait_for_workers("other", 1);
    let usual = answers(&circusd, ASKED);
    circusd.tell("start", json!({"name": "flood", "waiting": true}));
    wait_until("it is a flood", || circusd.path("flood.log.1").exists());
    let before = circusd.process().status("VmRSS");
    let flooded = answers(&circusd, ASKED);
    observe_for(Duration::from_millis(500));
    let after = circusd.process().status("VmRSS");
    println!("status in a flood: {flooded}; without: {usual}; {before} KiB, then {after}");
    assert!(flooded.p99 < Duration::from_secs(1), "the flood delays the answers of others: {flooded}");
    assert!(after < before + 8 * 1024, "{before} KiB, then {after}");
    circusd.tell("stop", json!({"name": "flood", "waiting": true}));
    // What is left is whole lines, but for what the two workers could not end.
    let (now, before) = (circusd.read("flood.log"), circusd.read("flood.log.1"));
    let is_torn = |line: &&str| !(line.starts_with('<') && line.ends_with('>'));
    let torn: Vec<&str> = before.lines().chain(now.lines()).filter(is_torn).collect();
    assert!(torn.len() <= 2, "{torn:?}");
}

/// A circusd with a disk of its own, which nobody else sees.
struct Disk {
    circusd: Circusd,
}

impl Disk {
    /// Of eight mebibytes, at `disk`, mounted with these options.
    fn new(options: &str, sections: &str) -> Self {
        let site = Site::new();
        std::fs::create_dir(site.path("disk")).unwrap();
        let ini = site.ini("circus.ini", sections);
        let mount =
            format!("mount -t tmpfs -o size=8m,{options} none {} && exec \"$0\" \"$@\"", site.path("disk").display());
        let mut command = site.command("unshare");
        command
            .args(["-m", "--propagation", "private", "/bin/sh", "-c", &mount, env!("CARGO_BIN_EXE_circusd")])
            .arg(ini);
        let mut circusd = Circusd::launch_by(site, command);
        circusd.wait_until_it_listens();
        Self { circusd }
    }

    /// A file of the disk, from here.
    fn path(&self, name: &str) -> PathBuf {
        let inside = self.circusd.path("disk").join(name);
        PathBuf::from(format!("/proc/{}/root{}", self.circusd.process().0, inside.display()))
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Runs a program that sees the disk.
    fn run(&self, script: &str) {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.circusd.process().0.to_string(), "-m", "/bin/sh", "-c", script]);
        let output = run(command.stdin(Stdio::null()));
        assert_eq!(output.status, Some(0), "{script}: {}", output.stderr);
    }

    /// Takes all that is free.
    fn fill(&self) {
        let file = self.circusd.path("disk").join("fill");
        self.run(&format!("dd if=/dev/zero of={0} bs=1024 count=9000 2>/dev/null; dd if=/dev/zero of={0} bs=1 count=8192 oflag=append conv=notrunc 2>/dev/null; true", file.display()));
    }
}

/// So many lines, onto a full disk that has room again afterwards: the lines in the file, and how many were lost.
fn onto_a_full_disk(count: u64, more: &str) -> (Vec<u64>, u64) {
    let disk = Disk::new(
        "mode=0755",
        &format!(
            "[watcher:w]
             cmd = {{knobs}} until {{dir}}/go lines {count} a-line-of-some-length write {{dir}}/done yes
             stdout_stream.filename = {{dir}}/disk/w.log
             {more}
             [watcher:other]
             cmd = {{knobs}} say hello
             stdout_stream.filename = {{dir}}/other.log"
        ),
    );
    let circusd = &disk.circusd;
    circusd.wait_for_workers("w", 1);
    disk.fill();
    circusd.write("go", "");
    circusd.wait_for_log("No space left on device");
    // Others are served, and so is this one.
    circusd.wait_for_text("other.log", "hello\n");
    assert_eq!((circusd.status("w"), circusd.status("other")), ("active".into(), "active".into()));
    if !more.contains("block") {
        circusd.wait_for_text("done", "yes");
    } else {
        observe_for(Duration::from_millis(300));
        assert_eq!(circusd.read("done"), "", "the worker waits");
    }
    std::fs::remove_file(disk.path("fill")).unwrap();
    circusd.wait_for_log("is written again");
    circusd.wait_for_text("done", "yes");
    let log = circusd.log();
    let lost = log.lines().find_map(|line| line.split("is written again; ").nth(1)?.split(' ').next()?.parse().ok());
    let numbers = || -> Vec<u64> {
        disk.read("w.log")
            .lines()
            .map(|line| line.strip_prefix("a-line-of-some-length ").unwrap().parse().unwrap())
            .collect()
    };
    let lost: u64 = lost.unwrap_or(0);
    wait_until("every line is written or counted", || numbers().len() as u64 + lost == count);
    (numbers(), lost)
}

#[test]
#[ignore = "needs root"]
fn full_disk_loses_nothing_that_the_queue_holds() {
    let (numbers, lost) = onto_a_full_disk(2000, "");
    assert_eq!((numbers, lost), ((0..2000).collect(), 0));
}

#[test]
#[ignore = "needs root"]
fn full_disk_holds_no_worker_up_and_what_is_lost_is_counted() {
    let (numbers, lost) = onto_a_full_disk(20_000, "");
    assert!(lost > 0 && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{lost} lost");
}

#[test]
#[ignore = "needs root"]
fn full_disk_that_is_waited_for_loses_nothing() {
    let (numbers, lost) = onto_a_full_disk(100_000, "stdout_stream.on_full = block");
    assert_eq!((numbers, lost), ((0..100_000).collect(), 0));
}

#[test]
#[ignore = "needs root"]
fn disk_that_cannot_be_written_is_told_and_used_when_it_can() {
    let disk = Disk::new(
        "ro",
        "[watcher:w]
         cmd = {knobs} say hello
         max_retry = 2
         stdout_stream.filename = {dir}/disk/w.log
         [watcher:other]
         cmd = {knobs}",
    );
    let circusd = &disk.circusd;
    circusd.wait_for_workers("other", 1);
    wait_until("it is told", || circusd.circusctl(&["why", "w"]).stdout.contains("Read-only file system"));
    disk.run(&format!("mount -o remount,rw {}", circusd.path("disk").display()));
    circusd.tell("start", json!({"name": "w"}));
    wait_until("it is written", || disk.read("w.log") == "hello\n");
    let reply: Value = circusd.tell("list", json!({"name": "w"}));
    assert_eq!(reply["pids"].as_array().map(Vec::len), Some(1), "{reply}");
}
