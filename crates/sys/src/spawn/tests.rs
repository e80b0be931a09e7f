//! Children of the real kernel.

use std::io::pipe;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::testing::{alone, output, shell, start, start_by, wait};
use crate::{OpenFileLimit, SocketPassing, StatusRead, Stdio, read_status};

const NOBODY: u32 = 65534;

fn nobody() -> Option<Credentials> {
    Some(Credentials { uid: Some(NOBODY), gid: Some(NOBODY), groups: Some(vec![NOBODY]) })
}

fn failure(launch: &Launch<'_>) -> (Stage, i32, String) {
    let error = start(launch).unwrap_err();
    (error.stage, error.errno, error.detail)
}

/// One of the two ways to start a process.
#[derive(Clone, Copy, Debug)]
enum Way {
    Vfork,
    /// Taken where the identity changes.
    Fork,
}

impl Way {
    /// The same launch, this way.
    fn of<'fd>(self, launch: &Launch<'fd>) -> Launch<'fd> {
        match self {
            Self::Vfork => launch.clone(),
            Self::Fork => Launch { credentials: nobody(), ..launch.clone() },
        }
    }

    /// As [`alone`] of the test in the module `name`.
    #[track_caller]
    fn alone(self, name: &str, test: impl FnOnce()) {
        let way = match self {
            Self::Vfork => "vfork",
            Self::Fork => "fork",
        };
        alone(&format!("spawn::tests::{name}::{way}"), test);
    }
}

fn on(way: Way, launch: &Launch<'_>, check: impl FnOnce(&Launch<'_>)) {
    check(&way.of(launch));
}

/// A test of both ways.
macro_rules! on_both_ways {
    (fn $name:ident($way:ident: Way) $body:block) => {
        mod $name {
            use super::*;

            fn check($way: Way) $body

            #[test]
            fn vfork() {
                check(Way::Vfork);
            }

            #[test]
            #[ignore = "needs root"]
            fn fork() {
                check(Way::Fork);
            }
        }
    };
}

on_both_ways! {
    fn a_program_runs_and_its_exit_is_seen(way: Way) {
    on(way, &shell("exit 7"), |launch| assert_eq!(wait(start(launch).unwrap()), 7));
}
}

#[test]
fn the_environment_is_what_was_given_and_nothing_else() {
    let mut launch = Launch::new(vec!["/usr/bin/env".into()]);
    assert_eq!(output(&mut launch), (String::new(), 0));
    launch.env = vec![("A".into(), "1 $B %s \"quoted\"".into()), ("B".into(), "é=".into())];
    assert_eq!(output(&mut launch).0, "A=1 $B %s \"quoted\"\nB=é=\n");
    let raw = crate::raw_text::from_os(std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9".to_vec()));
    let mut launch = shell("printf %s \"$RAW\" | od -An -tx1");
    launch.env.push(("RAW".into(), raw));
    assert_eq!(output(&mut launch).0, " 63 61 66 e9\n", "the bytes as they were");
}

#[test]
fn the_child_leads_a_session_of_its_own_in_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut launch = shell("cut -d' ' -f1,5,6 /proc/self/stat; pwd; umask; cut -d' ' -f1,5,6 /proc/$$/stat");
    launch.cwd = directory.path().to_str().unwrap().into();
    launch.umask = Some(0o027);
    let (text, _) = output(&mut launch);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..3], [launch.cwd.as_str(), "0027"]);
    let ids: Vec<&str> = lines[3].split(' ').collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "pid, group and session differ: {ids:?}");
}

on_both_ways! {
    fn signals_are_as_if_nobody_had_touched_them(way: Way) {
    way.alone("signals_are_as_if_nobody_had_touched_them", || {
        use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
        for ignored in [Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGHUP, Signal::SIGTERM] {
            // SAFETY: ignores a signal in a process that is this test's alone.
            unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
        }
        SigSet::all().thread_block().unwrap();
        let mask: Vec<Signal> = SigSet::thread_get_mask().unwrap().iter().collect();
        let launch = Launch::new(vec!["/bin/cat".into(), "/proc/self/status".into()]);
        on(way, &launch, |launch| {
            let (text, _) = output(&mut launch.clone());
            let masks: Vec<&str> = text.lines().filter(|line| line.starts_with("Sig")).collect();
            for name in ["SigBlk", "SigIgn", "SigCgt"] {
                assert!(masks.contains(&format!("{name}:\t0000000000000000").as_str()), "{masks:?}");
            }
        });
        assert!(SigSet::thread_get_mask().unwrap().iter().eq(mask), "the parent's mask is its own again");
    });
}
}

/// A script that prints the numbers of its own open descriptors. The glob's own is gone when `test` looks.
const DESCRIPTORS: &str = "for f in /proc/$$/fd/*; do test -e $f -o -h $f && printf '%s ' ${f##*/}; done";

on_both_ways! {
    fn a_child_holds_0_1_2_and_nothing_else(way: Way) {
    let (leak, _other) = pipe().unwrap();
    // What a careless library does: a descriptor that would survive exec.
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    on(way, &shell(DESCRIPTORS), |launch| assert_eq!(output(&mut launch.clone()).0, "0 1 2 "));
}
}

on_both_ways! {
    fn managed_sockets_keep_their_numbers_and_come_without_variables(way: Way) {
    let sockets: Vec<_> = (0..3).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let mut numbers = [0, 1, 2, fds[0].as_raw_fd(), fds[2].as_raw_fd()];
    // The shell lists them as text.
    numbers.sort_unstable_by_key(|number| number.to_string());
    let expected: String = numbers.iter().map(|number| format!("{number} ")).collect();
    let mut launch = shell(&format!("{DESCRIPTORS}; echo; env | grep -c LISTEN"));
    launch.sockets = SocketPassing::SameNumbers([fds[2], fds[0]].map(|fd| (fd.as_raw_fd(), fd)).to_vec());
    on(way, &launch, |launch| assert_eq!(output(&mut launch.clone()).0, format!("{expected}\n0\n")));
}
}

on_both_ways! {
    fn named_sockets_are_moved_to_3_and_announced_as_systemd_does(way: Way) {
    let sockets: Vec<_> = (0..3).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let inode = |socket: &std::net::UdpSocket| {
        std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().to_str().unwrap().to_owned()
    };
    let script = "readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5; test $LISTEN_PID = $$ && echo mine; \
                  echo $LISTEN_FDS $LISTEN_FDNAMES";
    let mut launch = shell(&format!("{script}; {DESCRIPTORS}"));
    launch.env.push(("LISTEN_PID".into(), "another process".into()));
    launch.sockets = SocketPassing::Listen(
        [("web", 2), ("a:b", 0), ("admin", 1)].map(|(name, n)| (name.into(), sockets[n].as_fd())).to_vec(),
    );
    let expected = format!(
        "{}\n{}\n{}\nmine\n3 web:a_b:admin\n0 1 2 3 4 5 ",
        inode(&sockets[2]),
        inode(&sockets[0]),
        inode(&sockets[1])
    );
    on(way, &launch, |launch| assert_eq!(output(&mut launch.clone()).0, expected));
}
}

on_both_ways! {
    fn sources_and_targets_may_overlap_in_every_order(way: Way) {
    way.alone("sources_and_targets_may_overlap_in_every_order", || {
        // In a process of its own the next descriptors are low and consecutive: the children's targets.
        let sockets: Vec<_> = (0..3).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let inode = |n: usize| {
            std::fs::read_link(format!("/proc/self/fd/{}", sockets[n].as_raw_fd())).unwrap().display().to_string()
        };
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut launch = shell("readlink /proc/$$/fd/0 /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5");
            launch.stdin = Stdio::Fd(sockets[order[1]].as_fd());
            launch.sockets = SocketPassing::Listen(order.map(|n| (n.to_string(), sockets[n].as_fd())).to_vec());
            let expected: String = [1, 0, 1, 2].map(|place| format!("{}\n", inode(order[place]))).concat();
            on(way, &launch, |launch| assert_eq!(output(&mut launch.clone()).0, expected, "{order:?}"));
        }
    });
}
}

#[test]
fn null_is_null_and_inherited_is_ours() {
    let mut launch = shell("readlink /proc/$$/fd/0 /proc/$$/fd/2");
    launch.stderr = Stdio::Inherit;
    let ours = std::fs::read_link("/proc/self/fd/2").unwrap();
    assert_eq!(output(&mut launch).0, format!("/dev/null\n{}\n", ours.display()));
}

#[test]
fn the_program_is_looked_for_in_the_childs_path() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "#!/bin/sh\necho $0\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let found = place("good/tool", 0o755);
    place("bad/tool", 0o644);
    std::fs::write(directory.path().join("file"), "").unwrap();
    let with_path = |name: &str, path: &str| {
        let path = path.replace('@', directory.path().to_str().unwrap());
        Launch { env: vec![("PATH".into(), path)], ..Launch::new(vec![name.into()]) }
    };
    // What is missing, is no directory, or cannot be executed does not end the search.
    assert_eq!(output(&mut with_path("tool", "@/none:@/file:@/bad:@/good")).0.trim(), found);
    // But having seen one that cannot be executed is what is told.
    let refused = failure(&with_path("tool", "@/file:@/bad:@/none"));
    assert_eq!(refused, (Stage::Exec, libc::EACCES, "tool".into()));
    assert_eq!(failure(&with_path("tool", "@/none")).1, libc::ENOENT);
    assert_eq!(failure(&with_path("tool", "@/file")).1, libc::ENOTDIR);
    // Without PATH, the default.
    assert_eq!(wait(start(&Launch::new(vec!["true".into()])).unwrap()), 0);
}

#[test]
fn an_executable_of_another_name() {
    let mut launch = shell("echo $0");
    launch.argv = vec!["worker".into(), "-c".into(), "cat /proc/$$/cmdline".into()];
    launch.executable = Some("sh".into());
    assert!(output(&mut launch).0.starts_with("worker\0"));
}

on_both_ways! {
    fn each_failure_says_where_and_why(way: Way) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let program = |path: &str| Launch::new(vec![path.into()]);
    let fails = |launch: &Launch<'_>, stage, errno, detail: &str| {
        on(way, launch, |launch| assert_eq!(failure(launch), (stage, errno, detail.into())));
    };
    fails(&program("nosuchprogram"), Stage::Exec, libc::ENOENT, "nosuchprogram");
    fails(&program("/etc/passwd/x"), Stage::Exec, libc::ENOTDIR, "/etc/passwd/x");
    fails(&program("/"), Stage::Exec, libc::EACCES, "/");
    let path = script("plain", "echo", 0o644);
    fails(&program(&path), Stage::Exec, libc::EACCES, &path);
    let path = script("noshebang", "echo", 0o755);
    fails(&program(&path), Stage::Exec, libc::ENOEXEC, &path);
    let path = script("badinterpreter", "#!/nonexistent/python\n", 0o755);
    fails(&program(&path), Stage::Exec, libc::ENOENT, &path);
    let long = Launch { argv: vec!["true".into(), "x".repeat(200_000)], ..program("true") };
    fails(&long, Stage::Exec, libc::E2BIG, "true");
    let chdir = |cwd: &str| Launch { cwd: cwd.into(), ..program("true") };
    fails(&chdir("/nonexistent"), Stage::Chdir, libc::ENOENT, "/nonexistent");
    fails(&chdir("/etc/passwd"), Stage::Chdir, libc::ENOTDIR, "/etc/passwd");
    fails(&chdir(""), Stage::Chdir, libc::ENOENT, "");
}
}

#[test]
fn a_descriptor_beyond_the_limit_is_a_failure_of_the_descriptors() {
    alone("spawn::tests::a_descriptor_beyond_the_limit_is_a_failure_of_the_descriptors", || {
        use nix::sys::resource::{Resource, setrlimit};
        let (file, _writer) = pipe().unwrap();
        let mut spawner = Spawner::new().unwrap();
        let sockets = (0..20).map(|n| (n.to_string(), file.as_fd())).collect();
        let launch = Launch { sockets: SocketPassing::Listen(sockets), ..Launch::new(vec!["true".into()]) };
        setrlimit(Resource::RLIMIT_NOFILE, 16, nofile_hard()).unwrap();
        let error = start_by(&mut spawner, &launch).unwrap_err();
        setrlimit(Resource::RLIMIT_NOFILE, nofile_hard(), nofile_hard()).unwrap();
        assert_eq!((error.stage, error.errno, error.detail.as_str()), (Stage::Descriptors, libc::EMFILE, "stdin"));
        wait(start_by(&mut spawner, &launch).unwrap());
    });
}

fn nofile_hard() -> u64 {
    crate::nofile().unwrap().hard
}

#[test]
#[ignore = "needs root"]
fn out_of_processes_and_out_of_descriptors_are_told_and_survived() {
    alone("spawn::tests::out_of_processes_and_out_of_descriptors_are_told_and_survived", || {
        use nix::sys::resource::{Resource, setrlimit};
        let hard = nofile_hard();
        let mut spawner = Spawner::new().unwrap();
        let other = Launch { credentials: nobody(), ..Launch::new(vec!["true".into()]) };
        // No descriptor is left for the status pipe; the vfork way needs none.
        setrlimit(Resource::RLIMIT_NOFILE, 4, hard).unwrap();
        let held: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let refused = start_by(&mut spawner, &other).unwrap_err();
        let vforked = start_by(&mut spawner, &Launch::new(vec!["true".into()])).map(wait);
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        drop(held);
        let expected = SpawnError { stage: Stage::Pipe, errno: libc::EMFILE, detail: "status pipe".into() };
        assert_eq!(refused, expected);
        assert_eq!(vforked, Ok(0));
        assert_eq!(wait(start(&other).unwrap()), 0);
        // A user without the right to another process.
        nix::unistd::setgroups(&[]).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 0, 0).unwrap();
        nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
        assert_eq!(failure(&Launch::new(vec!["true".into()])), (Stage::Fork, libc::EAGAIN, "clone".into()));
    });
}

on_both_ways! {
    fn limits_are_soft_and_hard(way: Way) {
    let mut launch = shell("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc");
    launch.rlimits = vec![("nofile".into(), Some(123)), ("CORE".into(), Some(0))];
    launch.nofile = Some(OpenFileLimit { soft: 50, hard: 60 });
    on(way, &launch, |launch| assert_eq!(output(&mut launch.clone()).0, "123\n123\n0\n0\n"));
}
}

#[test]
fn children_get_the_open_files_that_circusd_was_started_with() {
    let mut launch = shell("ulimit -Sn; ulimit -Hn");
    launch.nofile = Some(OpenFileLimit { soft: 50, hard: 60 });
    assert_eq!(output(&mut launch).0, "50\n60\n");
}

#[test]
fn unlimited_open_files_are_as_many_as_there_may_be() {
    let mut launch = shell("ulimit -Sn; ulimit -Hn");
    launch.rlimits = vec![("nofile".into(), None)];
    let hard = nofile_hard();
    assert_eq!(output(&mut launch).0, format!("{hard}\n{hard}\n"));
}

on_both_ways! {
    fn a_limit_that_the_kernel_refuses(way: Way) {
    let mut launch = shell("true");
    launch.rlimits = vec![("core".into(), Some(0)), ("nofile".into(), Some(u64::MAX - 1))];
    on(way, &launch, |launch| assert_eq!(failure(launch), (Stage::Rlimit, libc::EPERM, "nofile".into())));
}
}

#[test]
#[ignore = "needs root"]
fn another_user_with_its_groups_and_no_others() {
    let mut launch = shell("id -u; id -g; id -G; grep -E '^(Uid|Gid)' /proc/self/status");
    launch.credentials = Some(Credentials { uid: Some(12345), gid: Some(23456), groups: Some(vec![23456, 34567]) });
    let expected = "12345\n23456\n23456 34567\nUid:\t12345\t12345\t12345\t12345\nGid:\t23456\t23456\t23456\t23456\n";
    assert_eq!(output(&mut launch).0, expected);
    // The group alone: the user and the supplementary groups stay.
    launch.credentials = Some(Credentials { uid: None, gid: Some(23456), groups: None });
    assert!(output(&mut launch).0.starts_with("0\n23456\n"));
    assert!(nix::unistd::geteuid().is_root(), "the parent keeps its user");
}

#[test]
#[ignore = "needs root"]
fn groups_that_cannot_be_set() {
    let groups = Some(vec![1; 65_537]);
    let credentials = Some(Credentials { uid: Some(NOBODY), gid: Some(NOBODY), groups });
    let launch = Launch { credentials, ..Launch::new(vec!["true".into()]) };
    assert_eq!(failure(&launch), (Stage::Groups, libc::EINVAL, "supplementary groups".into()));
}

#[test]
#[ignore = "needs root"]
fn who_lacks_the_privilege_can_become_nobody_but_itself() {
    alone("spawn::tests::who_lacks_the_privilege_can_become_nobody_but_itself", || {
        nix::unistd::setgroups(&[NOBODY.into()]).unwrap();
        nix::unistd::setresgid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
        nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
        let become_user = |uid, gid, groups| {
            let credentials = Some(Credentials { uid, gid, groups });
            Launch { credentials, ..Launch::new(vec!["true".into()]) }
        };
        let own = become_user(Some(NOBODY), Some(NOBODY), Some(vec![NOBODY]));
        assert!(matches!(spawn(&own), Ok(Spawned::Running(_))), "nothing changes, so nothing is forked");
        assert_eq!(wait(start(&become_user(Some(NOBODY), None, Some(vec![1]))).unwrap()), 0, "groups are optional");
        let other = become_user(None, Some(1), None);
        assert_eq!(failure(&other), (Stage::Gid, libc::EPERM, "gid 1".into()));
        let other = become_user(Some(1), None, Some(vec![1]));
        assert_eq!(failure(&other), (Stage::Uid, libc::EPERM, "uid 1".into()));
    });
}

#[test]
#[ignore = "needs root"]
fn an_unread_status_pipe_tells_the_end_after_the_child_is_gone() {
    let launch = Launch { credentials: nobody(), ..Launch::new(vec!["nosuchprogram".into()]) };
    let Spawned::Pending { pid, status } = spawn(&launch).unwrap() else { panic!("not forked") };
    assert_eq!(wait(pid), 127);
    let error = SpawnError { stage: Stage::Exec, errno: libc::ENOENT, detail: "nosuchprogram".into() };
    assert_eq!(read_status(&status), StatusRead::Failed(error));
    assert_eq!(read_status(&status), StatusRead::Started, "the end of the file, which is not read after a failure");
}

on_both_ways! {
    fn a_thousand_spawns_leave_no_descriptor_behind(way: Way) {
    way.alone("a_thousand_spawns_leave_no_descriptor_behind", || {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mut spawner = Spawner::new().unwrap();
        let before = open();
        let good = Launch::new(vec!["/bin/true".into()]);
        let bad = Launch::new(vec!["nosuchprogram".into()]);
        for launch in [&good, &bad] {
            on(way, launch, |launch| {
                for _ in 0..250 {
                    let _pid = start_by(&mut spawner, launch).map(wait);
                }
            });
        }
        assert_eq!(open(), before);
    });
}
}

/// The figures in this module's documentation: `cargo test --lib vfork_and_fork -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn what_vfork_and_fork_cost() {
    alone("spawn::tests::what_vfork_and_fork_cost", || {
        use std::time::{Duration, Instant};
        const N: usize = 400;
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[N / 2].as_micros()
        };
        let measure = |create: fn(&mut Script, &mut Stack) -> Result<Spawned, SpawnError>| {
            let mut spawner = Spawner::new().unwrap();
            let launch = Launch::new(vec!["/bin/true".into()]);
            let (mut away, mut running) = (Vec::new(), Vec::new());
            for _ in 0..N {
                let before = Instant::now();
                let mut script = launch.script(spawner.null.as_fd(), false).unwrap();
                let spawned = create(&mut script, &mut spawner.stack).unwrap();
                away.push(before.elapsed());
                let pid = match spawned {
                    Spawned::Running(pid) => pid,
                    Spawned::Pending { pid, status } => {
                        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
                        poll(&mut [PollFd::new(status.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
                        pid
                    }
                };
                running.push(before.elapsed());
                wait(pid);
            }
            (median(away), median(running))
        };
        let mut held = Vec::new();
        for megabytes in [0, 16, 256] {
            held.resize(megabytes << 20, 1_u8);
            println!(
                "{megabytes} MB held: vfork {:?}, fork {:?} (us until the caller goes on, until exec)",
                measure(vfork),
                measure(|script, _| fork(script, None))
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn child_that_could_become_root_again_does_not_start() {
    alone("spawn::tests::child_that_could_become_root_again_does_not_start", || {
        let launch = Launch { credentials: nobody(), ..shell("true") };
        wait(start(&launch).unwrap());
        // With this bit, setuid leaves all capabilities.
        const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;
        // SAFETY: takes no pointers; the process is the test's own.
        #[expect(unsafe_code, reason = "no crate sets security bits")]
        let set = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) };
        assert_eq!(set, 0);
        assert_eq!(failure(&launch), (Stage::Uid, libc::EPERM, format!("uid {NOBODY}")));
    });
}

/// The first processor that this test may run on.
fn a_processor() -> usize {
    let cpus = nix::sched::sched_getaffinity(Pid::this()).unwrap();
    (0..nix::sched::CpuSet::count()).find(|cpu| cpus.is_set(*cpu) == Ok(true)).unwrap()
}

on_both_ways! {
    fn the_kernel_is_told_what_to_prefer_and_to_spare(way: Way) {
    let cpu = a_processor();
    let mut mask = vec![0_u64; cpu / 64 + 1];
    mask[cpu / 64] |= 1 << (cpu % 64);
    let launch = Launch {
        nice: Some(7),
        ionice: Some(2 << 13 | 6),
        cpu_affinity: mask,
        oom_score_adj: Some(321),
        ..shell("read x </dev/zero; exec sleep 1000")
    };
    on(way, &launch, |launch| {
        let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        let pid = start(launch).unwrap();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        assert_eq!(read("stat").rsplit(") ").next().unwrap().split(' ').nth(16), Some("7"));
        assert_eq!(read("oom_score_adj"), "321\n");
        // SAFETY: takes no pointers; 1 is IOPRIO_WHO_PROCESS.
        assert_eq!(unsafe { libc::syscall(libc::SYS_ioprio_get, 1, pid.as_raw()) }, 2 << 13 | 6);
        let cpus = nix::sched::sched_getaffinity(pid).unwrap();
        let allowed: Vec<usize> = (0..nix::sched::CpuSet::count()).filter(|cpu| cpus.is_set(*cpu) == Ok(true)).collect();
        assert_eq!(allowed, [cpu]);
        assert_eq!(std::fs::read_to_string("/proc/self/oom_score_adj").unwrap(), ours, "circusd's own stays");
        crate::send(pid, circus_core::proto::Signal::KILL).unwrap();
        wait(pid);
    });
}
}

on_both_ways! {
    fn processors_that_are_not_there_are_refused(way: Way) {
    let mut mask = vec![0_u64; 128];
    mask[127] = 1 << 63;
    let launch = Launch { cpu_affinity: mask, ..shell("true") };
    on(way, &launch, |launch| assert_eq!(failure(launch), (Stage::CpuAffinity, libc::EINVAL, "8191".into())));
}
}

#[test]
#[ignore = "needs root"]
fn what_takes_rights_is_refused_to_those_without() {
    alone("spawn::tests::what_takes_rights_is_refused_to_those_without", || {
        nix::unistd::setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into()).unwrap();
        let launch = Launch { nice: Some(-5), ..shell("true") };
        assert_eq!(failure(&launch), (Stage::Nice, libc::EACCES, "-5".into()));
        let launch = Launch { ionice: Some(1 << 13), ..shell("true") };
        assert_eq!(failure(&launch), (Stage::Ionice, libc::EPERM, "class 1 level 0".into()));
        let launch = Launch { oom_score_adj: Some(-1000), ..shell("true") };
        assert_eq!(failure(&launch), (Stage::OomScoreAdj, libc::EACCES, "-1000".into()));
    });
}
