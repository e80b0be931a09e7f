//! The worker of the tests: its arguments are steps, done one after the other, as in `knobs say hello sleep 50 exit 3`.
//! After the last step it waits for a signal.
//!
//! - `say TEXT`: a line. `raw TEXT`: without its end. `warn TEXT`: a line on standard error.
//! - `lines N TEXT`: so many lines, numbered. `chatter N`: lines of all lengths.
//! - `write PATH TEXT`: into a file.
//! - `until PATH`: waits for the file. `drip N`: so many numbered lines, one each ms.
//! - `sleep MS`, `exit STATUS`, `fall`: dies of SIGKILL.
//! - `ignore`: SIGTERM does nothing. `polite TEXT`: at SIGTERM the worker prints a line, without its end, and leaves.
//! - `hup PATH`: SIGHUP writes the file, and kills no more.
//! - `session`: a session of its own.
//! - `child STEPS`: another of these, whose steps are the words of this one argument; in theirs, `+` is a space.
//! - `burn PERCENT`: uses so much of one processor from now on. `hold MIB`: so much memory. `open N`: so many descriptors.
//! - `serve FD`: answers HTTP on an inherited socket.
#![expect(unsafe_code, reason = "an inherited descriptor has to be trusted")]
#![expect(clippy::disallowed_methods, reason = "an example program, not the daemon: it may wait and start others")]

use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::FromRawFd as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use nix::time::{ClockId, clock_gettime};
use signal_hook::iterator::Signals;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    while let Some(step) = words.next() {
        let mut word = || words.next().ok_or_else(|| io::Error::other(format!("{step}: an argument is missing")));
        match step.as_str() {
            "say" => println!("{}", word()?),
            "raw" => print(&word()?)?,
            "warn" => eprintln!("{}", word()?),
            "lines" => {
                let (count, text) = (number(&word()?)?, word()?);
                print(&(0..count).map(|n| format!("{text} {n}\n")).collect::<String>())?;
            }
            "chatter" => chatter(number(&word()?)?)?,
            "write" => std::fs::write(word()?, word()?)?,
            "until" => {
                let path = word()?;
                while !std::path::Path::new(&path).exists() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            "drip" => drip(number(&word()?)?)?,
            "sleep" => std::thread::sleep(Duration::from_millis(number(&word()?)?)),
            "exit" => std::process::exit(i32::try_from(number(&word()?)?).map_err(io::Error::other)?),
            "fall" => raise(Signal::SIGKILL)?,
            "ignore" => at_signal(libc::SIGTERM, || ()),
            "polite" => {
                let text = word()?;
                at_signal(libc::SIGTERM, move || {
                    drop(print(&text));
                    std::process::exit(0)
                });
            }
            "hup" => {
                let path = word()?;
                at_signal(libc::SIGHUP, move || drop(std::fs::write(&path, "heard")));
            }
            "session" => drop(nix::unistd::setsid()?),
            "child" => {
                let steps = word()?;
                std::process::Command::new(std::env::current_exe()?)
                    .args(steps.split_whitespace().map(|word| word.replace('+', " ")))
                    .spawn()?;
            }
            "burn" => {
                let share = number(&word()?)? as f64 / 100.0;
                std::thread::spawn(move || burn(share));
            }
            "hold" => {
                let mut memory = vec![1_u8; usize::try_from(number(&word()?)?).map_err(io::Error::other)? << 20];
                std::hint::black_box(&mut memory);
                std::mem::forget(memory);
            }
            "open" => {
                for _ in 0..number(&word()?)? {
                    std::mem::forget(std::fs::File::open("/dev/null")?);
                }
            }
            "serve" => serve(i32::try_from(number(&word()?)?).map_err(io::Error::other)?)?,
            unknown => return Err(io::Error::other(format!("{unknown} is no step"))),
        }
    }
    loop {
        std::thread::park();
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::Error::other(format!("{text} is no number")))
}

/// Past the buffer of standard output, which ends its writes at line ends.
fn print(text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = nix::unistd::write(io::stdout(), rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Uses so much of one processor, and for no moment much more: of what it did not get, because others were faster, it makes
/// up for so many seconds only.
fn burn(share: f64) {
    const DEBT: f64 = 0.005;
    let (mut last, mut allowed) = (Instant::now(), 0.0);
    loop {
        let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .map_or(0.0, |t| t.tv_sec() as f64 + t.tv_nsec() as f64 / 1e9);
        let now = Instant::now();
        allowed = (allowed + share * (now - last).as_secs_f64()).min(used + DEBT);
        last = now;
        if used < allowed {
            for n in 0..10_000 {
                std::hint::black_box(n);
            }
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn drip(count: u64) -> io::Result<()> {
    for n in 0..count {
        print(&format!("{n}\n"))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Lines of all lengths in writes that end anywhere, so that a reader who does not put them together tears them.
fn chatter(count: u64) -> io::Result<()> {
    let pid = std::process::id();
    let mut rest = String::new();
    for n in 0..count {
        let body = "x".repeat(usize::try_from(n.wrapping_mul(37) % 300).unwrap_or(0));
        rest.push_str(&format!("<{pid} {n} {body}>\n"));
        if rest.len() > 1000 {
            print(rest.get(..1000).unwrap_or_default())?;
            rest.drain(..1000);
        }
    }
    print(&rest)
}

fn at_signal(signal: i32, mut act: impl FnMut() + Send + 'static) {
    match Signals::new([signal]) {
        Ok(mut signals) => drop(std::thread::spawn(move || signals.forever().for_each(|_| act()))),
        Err(error) => eprintln!("signal {signal}: {error}"),
    }
}

/// Answers on a listening socket of either family, until the process ends.
fn serve(fd: i32) -> io::Result<()> {
    // SAFETY: circusd passed this socket at this number, and nothing else here owns it. The type is only a way to ask.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    if listener.local_addr().is_ok() {
        listener.set_nonblocking(false)?;
        loop {
            answer(listener.accept()?.0)?;
        }
    }
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(listener));
    listener.set_nonblocking(false)?;
    loop {
        answer(listener.accept()?.0)?;
    }
}

fn answer(mut connection: impl io::Read + io::Write) -> io::Result<()> {
    // To the blank line: closing with unread data resets the connection.
    let mut head = BufReader::new(&mut connection);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = format!("{}\n", std::process::id());
    write!(connection, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
