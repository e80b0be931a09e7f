//! What `--check` finds, rule by rule, on a machine that is described here.

use crate::config::testing::FakeMachine;
use crate::config::{Host, Report, check};

fn machine() -> FakeMachine {
    FakeMachine::default()
        .with_program("/bin/sh")
        .with_program("/usr/bin/sleep")
        .with_program("/opt/python/bin/uvicorn")
        .with_program("/circus/circus-plugin")
        .with_program("/srv/app/serve")
        .with("/srv/app/notes", "")
        .with_directory("/var/log")
        .with_directory("/run/circus")
        .with_socket("/run/circus/old")
        .with_directory("/srv/venv/lib")
        .with_program("/srv/venv/bin/gunicorn")
        .with_user("www", 33)
        .with_group("adm", 4)
        .with_own_user(0, 0)
}

fn report_on(text: &str) -> Report {
    let env = [("PATH", "/opt/python/bin:/usr/bin"), ("HOME", "/root")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let host = Host { env, cwd: "/srv".into(), programs: "/circus".into(), ..Host::default() };
    check("/c.ini", &host, &machine().with("/c.ini", text))
}

/// Errors and warnings as `LINE: LEVEL: TEXT`, notes left out.
fn found(text: &str) -> Vec<String> {
    let problems = report_on(text).problems;
    let lines = problems.iter().map(|problem| problem.diagnostic().replace("/c.ini:", ""));
    lines.filter(|line| !line.contains(" note: ")).collect()
}

/// What is found for a watcher `w` with these lines, the first of which is line 2.
fn of_watcher(lines: &str) -> Vec<String> {
    let lines = found(&format!("[watcher:w]\n{lines}\n")).into_iter();
    let lines = lines.filter(|line| !line.contains("no valid watcher remains"));
    lines.map(|line| line.replace("[watcher:w] ", "")).collect()
}

#[track_caller]
fn expect(lines: &str, problem: &str) {
    assert_eq!(of_watcher(lines), [problem], "{lines}");
}

#[test]
fn a_sound_file_is_ok() {
    let text = "[circus]\nendpoint = ipc:///run/circus/ctl\npubsub_endpoint = ipc:///run/circus/old\n\
                pidfile = /run/circus/pid\nlogoutput = /var/log/circus.log\nendpoint_owner = www\n\
                [watcher:w]\ncmd = sleep 1\nuid = www\ngid = adm\nworking_dir = app\n\
                [watcher:v]\ncmd = ./serve --fd $(circus.sockets.web) $(circus.wid)\nuse_sockets = yes\n\
                working_dir = /srv/app\n[socket:web]\nport = 80\n[plugin:f]\nuse = flapping\n";
    let report = report_on(text);
    assert_eq!((report.text().as_str(), report.status()), ("ok: 2 watchers, 1 socket, 1 plugin\n", 0));
}

#[test]
fn a_command_that_is_none() {
    for (lines, problem) in [
        ("numprocesses = 2", "1: error: cmd: is missing; write cmd = COMMAND"),
        ("cmd =", "2: error: cmd: cmd is empty, so there is nothing to execute"),
        ("cmd = sleep 'x", "2: error: cmd: a single quote (') is never closed"),
        ("cmd = sleep\nargs = \\", "3: error: args: a backslash at the end escapes nothing"),
    ] {
        expect(lines, problem);
        let last = "1: error: no valid watcher remains; circusd will not start";
        assert!(found(&format!("[watcher:w]\n{lines}\n")).contains(&last.to_owned()));
    }
    let cut = of_watcher("cmd = sh -c \"echo one ; echo two\"");
    assert!(cut.iter().any(|line| line.starts_with("2: error: cmd: a double quote (\") is never closed (a ';' after")));
}

#[test]
fn a_program_that_is_not_there() {
    expect(
        "cmd = nosuch 1",
        "2: error: cmd: there is no program 'nosuch' in the worker's PATH (/bin:/usr/bin); install \
                              it, write its path, or set PATH in [env:NAME]",
    );
    expect("cmd = /no/such", "2: error: cmd: there is no file /no/such");
    expect("cmd = app/notes", "2: error: cmd: /srv/app/notes is not executable; chmod +x makes it so");
    expect(
        "cmd = uvicorn app",
        "2: error: cmd: there is no program 'uvicorn' in the worker's PATH (/bin:/usr/bin); circusd's own PATH has \
        /opt/python/bin/uvicorn: write that path, or copy_env = yes, or PATH in [env:NAME]",
    );
    expect("cmd = name\nexecutable = ./none", "3: error: executable: there is no file /srv/./none");
}

#[test]
fn where_the_worker_looks_for_its_program() {
    for lines in [
        "cmd = uvicorn app\ncopy_env = yes",
        "cmd = uvicorn app\n[env:w]\nPATH = /opt/python/bin",
        "cmd = gunicorn app\ncopy_env = yes\nvirtualenv = venv",
        "cmd = ./serve\nworking_dir = app",
        "cmd = nosuch | other\nshell = yes",
        "cmd = name\nexecutable = sleep",
    ] {
        assert_eq!(of_watcher(lines), [""; 0], "{lines}");
    }
}

#[test]
fn a_hook_may_bring_what_is_missing() {
    expect(
        "cmd = ./made\nhooks.before_start = exec:sleep 1",
        "2: warning: cmd: there is no file /srv/./made (unless a hook makes it in time)",
    );
}

#[test]
fn users_groups_and_directories() {
    expect("cmd = sleep\nuid = nobody-here", "3: error: uid: there is no user 'nobody-here' on this machine");
    expect("cmd = sleep\ngid = none", "3: error: gid: there is no group 'none' on this machine");
    expect("cmd = sleep\nworking_dir = /gone", "3: error: working_dir: the directory /gone does not exist");
    expect("cmd = sleep\nworking_dir = app/notes", "3: error: working_dir: /srv/app/notes is not a directory");
    expect(
        "cmd = sleep\nstdout_stream.filename = /gone/out.log",
        "3: error: stdout_stream.filename: the directory /gone does not exist",
    );
    assert_eq!(of_watcher("cmd = sleep\nuid = 12345\ngid = 12345"), [""; 0]);
}

#[test]
fn programs_of_hooks_streams_and_plugins() {
    expect(
        "cmd = sleep\nhooks.before_start = exec:/no/hook",
        "3: error: hooks.before_start: there is no file /no/hook",
    );
    expect("cmd = sleep\nhooks.after_stop = /no/hook, True", "3: warning: hooks.after_stop: there is no file /no/hook");
    expect(
        "cmd = sleep\nstdout_stream.class = exec\nstdout_stream.command = /no/logger",
        "4: error: stdout_stream.command: there is no file /no/logger",
    );
    let plugin = found("[watcher:w]\ncmd = sleep\n[plugin:p]\ncmd = ./none\n");
    assert_eq!(plugin, ["4: error: [plugin:p] cmd: there is no file /srv/./none"]);
}

#[test]
fn hooks_that_are_python_functions() {
    let check = |file: &str, lines: &str| {
        let machine = machine()
            .with_program("/usr/bin/python3")
            .with("/usr/lib/python3/installed/__init__.py", "")
            .with("/etc/circus/hooks.py", "def ready(watcher):\n    return True\n")
            .with("/etc/circus/lazy.py", "from other import *\n")
            .with("/etc/circus/app/hooks.py", "ready = None\n")
            .with("/srv/venv/lib/python3.11/site-packages/inside.py", "def ready(): pass\n")
            .with("/opt/own/mine.py", "def ready(): pass\n")
            .with(file, format!("[watcher:w]\ncmd = sleep 1\n{lines}\n"));
        let env = [("PATH".to_owned(), "/usr/bin".to_owned())].into();
        let host = Host { env, cwd: "/srv".into(), programs: "/circus".into(), ..Host::default() };
        let problems = super::super::check(file, &host, &machine).problems;
        let lines = problems.iter().map(|problem| problem.diagnostic().replace("/etc/circus/c.ini:", ""));
        lines.filter(|line| line.contains("hooks.")).collect::<Vec<_>>()
    };
    let file = "/etc/circus/c.ini";
    for lines in [
        "hooks.before_start = hooks.ready",
        "hooks.before_start = hooks:ready",
        "hooks.before_start = app.hooks.ready",
        "hooks.before_start = lazy.whatever",
        "hooks.before_start = installed.anything",
        "hooks.before_start = inside.ready\nvirtualenv = venv",
        "hooks.before_start = mine.ready\n[env:w]\nPYTHONPATH = /opt/own",
    ] {
        assert_eq!(check(file, lines), [""; 0], "{lines}");
    }
    assert_eq!(
        check(file, "hooks.before_start = hoks.ready"),
        ["3: error: [watcher:w] hooks.before_start: there is no Python module 'hoks' in /etc/circus, /srv, nor where \
          python3 imports from; put it beside the configuration file, or set PYTHONPATH in [env:NAME]"]
    );
    assert_eq!(
        check(file, "hooks.after_start = hooks.redy, True"),
        ["3: warning: [watcher:w] hooks.after_start: /etc/circus/hooks.py has no function 'redy'"]
    );
    let elsewhere = check("/srv/c.ini", "hooks.before_start = hooks.ready");
    assert!(elsewhere[0].contains("there is no Python module 'hooks'"), "{elsewhere:?}");
}

#[test]
fn one_interpreter_is_started_for_all_hooks() {
    let hooks = "hooks.before_start = a.a\nhooks.after_start = b.b\nhooks.after_stop = z.z, True\n";
    let text = ["v", "w"].map(|name| format!("[watcher:{name}]\ncmd = sleep 1\n{hooks}")).concat();
    let machine = machine().with_program("/usr/bin/python3").with("/c.ini", text);
    let env = [("PATH".to_owned(), "/usr/bin".to_owned())].into();
    let host = Host { env, cwd: "/srv".into(), programs: "/circus".into(), ..Host::default() };
    let problems = check("/c.ini", &host, &machine).problems;
    let missing = problems.iter().filter(|problem| problem.text.contains("there is no Python module"));
    assert_eq!((missing.count(), machine.pythons_started()), (6, 1));
}

#[test]
fn variables_that_a_comment_cuts() {
    let problems = report_on("[watcher:w]\ncmd = sleep 1\n[env:w]\nA = x ; y\nB = x;y\n[env]\nC = 1 ;\n").problems;
    let lines = problems.iter().map(|problem| problem.diagnostic().replace("/c.ini:", ""));
    let lines: Vec<String> = lines.filter(|line| line.contains("[env")).collect();
    let cut = |comment| format!("a ';' after a blank begins a comment, so '{comment}' is not part of the value; ");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("4: note: [env:w] A: {}", cut("; y"))), "{lines:?}");
    assert!(lines[1].starts_with(&format!("7: note: [env] C: {}", cut(";"))), "{lines:?}");
}

#[test]
fn references_to_nothing() {
    expect(
        "cmd = sleep $(circus.sockets.wob)\nuse_sockets = yes\n[socket:web]\nport = 1",
        "2: warning: cmd: no valid [socket:wob] section was found, so $(circus.sockets.wob) stays unchanged; did you \
         mean 'web'?",
    );
    expect(
        "cmd = sleep $(circus.sockets.web)\n[socket:web]\nport = 1",
        "2: warning: cmd: $(circus.sockets.web) is the number of a descriptor that the worker does not inherit; write \
         use_sockets = yes or sockets = web",
    );
    expect(
        "cmd = sleep $(circus.env.prt)\n[env]\nPORT = 1",
        "2: warning: cmd: the watcher's environment has no PRT, so $(circus.env.prt) stays unchanged; did you mean \
         'PORT'?",
    );
    let slots = "\nslot.CARD = gpu\n[slots:gpu]\nvalues = 1, 2";
    assert_eq!(of_watcher(&format!("cmd = sleep $(circus.slot.gpu)$(circus.slot.GPU){slots}")), [""; 0]);
    expect(
        &format!("cmd = sleep $(circus.slot.gpus){slots}"),
        "2: warning: cmd: no option slot.* of the watcher names [slots:gpus], so $(circus.slot.gpus) stays unchanged; did \
         you mean 'gpu'?",
    );
    expect(
        "cmd = sleep $(circus.widd)",
        "2: warning: cmd: $(circus.widd) is unknown, so it stays unchanged; did you mean 'wid'?",
    );
    let dir = of_watcher("cmd = sleep\nnumprocesses = 1\nuid = $(circus.env.who)");
    assert!(
        dir.contains(&"4: warning: uid: no variable WHO is known here, so $(circus.env.who) stays unchanged".into())
    );
}

#[test]
fn words_that_are_for_a_shell() {
    for (command, word, meaning) in [
        ("sleep 1 | cat", "|", "joins commands"),
        ("sleep 1 && echo", "&&", "joins commands"),
        ("sleep 1 > /dev/null", ">", "redirects"),
        ("sleep $HOME", "$HOME", "stands for a variable"),
        ("sleep ~/x", "~/x", "stands for the home directory"),
    ] {
        expect(
            &format!("cmd = {command}"),
            &format!(
                "2: warning: cmd: '{word}' {meaning} in a shell only; here it is an argument like any other. Write \
                 shell = yes if it is meant"
            ),
        );
        assert_eq!(of_watcher(&format!("cmd = {command}\nshell = yes")), [""; 0]);
    }
}

#[test]
fn comments_that_cut_and_comments_that_do_not() {
    expect(
        "cmd = sleep 1 ; sleep 2",
        "2: warning: cmd: a ';' after a blank begins a comment, so '; sleep 2' is not part of the value; write the ';' \
         without a blank before it, or the comment in a line of its own",
    );
    expect(
        "cmd = sleep 100 # the web",
        "2: warning: cmd: '#' begins no comment behind a value: it and all that follows are arguments; write the \
        comment in a line of its own",
    );
    assert_eq!(of_watcher("cmd = sleep a;b c#d\nnumprocesses = 1 ; one"), [""; 0]);
}

#[test]
fn keys_in_the_wrong_column_or_twice() {
    let indented = of_watcher("\tcmd = sleep 1");
    assert_eq!(indented[0], "1: error: cmd: is missing; write cmd = COMMAND");
    let cause = "2: warning: 'cmd' in is indented, so it is not a key; begin it in the first column";
    assert!(indented.contains(&cause.to_owned()), "{indented:?}");
    expect(
        "cmd = sleep 1\n  numprocesses = 3",
        "2: warning: cmd: the indented line 'numprocesses = ...' continues this value instead of being a key of its \
        own; begin it in the first column",
    );
    expect(
        "cmd = sleep 1\n[watcher:v]\ncmd = sleep\n[watcher:w]\ncmd = sleep 2",
        "6: warning: cmd: is ignored, as line 2 has cmd already",
    );
    assert_eq!(of_watcher("cmd = sleep 1\n[watcher:w]\ncmd = sleep 1"), [""; 0]);
}

#[test]
fn nothing_to_start() {
    let supervisor = "2: error: no watcher is defined: [program:web] is not a watcher section; write [watcher:web]; \
        circusd will not start";
    let lines = found("[supervisord]\n[program:web]\ncommand = sleep 1\n");
    assert!(lines.contains(&supervisor.to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("[supervisord], which is ignored; here it is [circus]")));
    assert!(found("[watcher web]\ncmd = x\n").iter().any(|line| line.starts_with("1: error: no watcher is defined")));
    assert_eq!(found(""), [" warning: there is no [watcher:NAME], so nothing runs until a client adds a watcher"]);
    assert_eq!(report_on("").status(), 3);
}

#[test]
fn words_of_other_managers() {
    for (line, instead) in [
        ("command = x", "cmd = COMMAND"),
        ("autorestart = true", "respawn = yes, no or on-failure"),
        ("stdout_logfile = /x", "stdout_stream.filename = FILE"),
        ("ExecStart = /x", "cmd = COMMAND"),
    ] {
        let key = line.split(' ').next().unwrap();
        let found = found(&format!("[watcher:w]\ncmd = sleep 1\n{line}\n"));
        assert_eq!(found, [format!("3: warning: unknown key '{key}' in [watcher:w]; here it is {instead}")]);
    }
}

#[test]
fn places_of_circusd_itself() {
    let long = "x".repeat(110);
    for (line, problem) in [
        ("pidfile = /gone/pid", "pidfile: the directory /gone does not exist; create it"),
        ("pidfile = /var/log", "pidfile: /var/log is a directory; name a file in it"),
        ("logoutput = /gone/log", "logoutput: the directory /gone does not exist; create it"),
        ("endpoint = ipc:///gone/ctl", "endpoint: the directory /gone does not exist; create it"),
        (
            "endpoint = ipc:///srv/app/notes",
            "endpoint: /srv/app/notes is a file that is not a socket; remove it or use \
                                             another path",
        ),
        ("endpoint = tcp://127.0.0.1", "endpoint: tcp://127.0.0.1 has no port; write tcp://HOST:PORT"),
        ("endpoint = tcp://127.0.0.1:port", "endpoint: 'port' is not a port; write a number up to 65535"),
        ("endpoint = inproc://x", "endpoint: circusd cannot listen at inproc://; write tcp://HOST:PORT or ipc://PATH"),
        ("endpoint_owner = nobody-here", "endpoint_owner: there is no user 'nobody-here' on this machine"),
        (
            "pubsub_endpoint = tcp://127.0.0.1:5555",
            "pubsub_endpoint: tcp://127.0.0.1:5555 is the endpoint too; each \
                                                    needs an address of its own",
        ),
    ] {
        let lines = found(&format!("[circus]\n{line}\n[watcher:w]\ncmd = sleep 1\n"));
        assert_eq!(lines, [format!("2: error: [circus] {problem}")]);
    }
    let lines = found(&format!("[circus]\nendpoint = ipc:///run/{long}\n[watcher:w]\ncmd = sleep 1\n"));
    assert_eq!(lines, ["2: error: [circus] endpoint: the path has 115 bytes; a unix socket's has 107 at most"]);
}

#[test]
fn sockets_that_cannot_be_opened() {
    let socket = |lines: &str| found(&format!("[watcher:w]\ncmd = sleep 1\n[socket:s]\n{lines}\n"));
    assert_eq!(socket("path = /gone/s"), ["4: error: [socket:s] path: the directory /gone does not exist; create it"]);
    assert_eq!(
        socket("path = /srv/app/notes"),
        ["4: error: [socket:s] path: /srv/app/notes is a file that is not a socket; remove it or use another path"]
    );
    assert_eq!(socket("path = /run/circus/old"), [""; 0]);
    assert_eq!(
        socket("port = 80\n[socket:t]\nport = 80"),
        ["6: error: [socket:t] port: [socket:s] has the same address"]
    );
    assert_eq!(socket("port = 80\nso_reuseport = yes\n[socket:t]\nport = 80\nso_reuseport = yes"), [""; 0]);
}

#[test]
fn what_the_original_had_and_circusd_has_not_is_no_error() {
    let lines = found("[circus]\nloggerconfig = logging.yaml\n[watcher:w]\ncmd = sleep 1\n");
    assert!(matches!(lines.as_slice(), [line] if line.starts_with("2: warning: ")), "{lines:?}");
}

#[test]
fn an_open_endpoint_is_refused_with_the_lines_that_mend_it() {
    let lines = found("[circus]\nendpoint = tcp://0.0.0.0:5555\n[watcher:w]\ncmd = sleep 1\n");
    assert!(lines[0].starts_with("2: error: [circus] endpoint: "), "{lines:?}");
    for line in ["endpoint = tcp://127.0.0.1:5555 ", "endpoint = ipc:///run/circus/endpoint"] {
        assert!(lines[0].contains(line), "{lines:?}");
    }
    assert!(found("[circus]\npubsub_endpoint = tcp://0.0.0.0:1\n[watcher:w]\ncmd = sleep\n")[0].contains("error"));
}

#[test]
fn a_signal_that_does_not_exist() {
    let lines = of_watcher("cmd = sleep\nstop_signal = 99");
    assert!(lines.contains(&"3: error: stop_signal: 99 is not a signal; signals are 1 to 64".to_owned()), "{lines:?}");
}

#[test]
fn priorities_out_of_range() {
    for (line, error) in [
        ("nice = 20", "3: error: nice: 20 is not from -20 to 19"),
        ("oom_score_adj = -1001", "3: error: oom_score_adj: -1001 is not from -1000 to 1000"),
        ("ionice = best-effort:8", "3: error: ionice: '8' is not a level from 0 to 7"),
        ("cpu_affinity = 3-1", "3: error: cpu_affinity: '3-1' ends before it begins"),
        ("kill_mode = all", "3: error: kill_mode: 'all' is neither mixed nor process nor group nor tree nor cgroup"),
        ("memory_max = 0", "3: error: memory_max: '0' is not a number of bytes such as 512M"),
        ("cpu_max = lots", "3: error: cpu_max: 'lots' is not a number of processors from 0.01 to 8192"),
        ("pids_max = 0", "3: error: pids_max: 0 is not from 1 to 4194304"),
        ("io_weight = 10001", "3: error: io_weight: 10001 is not from 1 to 10000"),
    ] {
        let lines = of_watcher(&format!("cmd = sleep\n{line}"));
        assert!(lines.contains(&error.to_owned()), "{lines:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let report = check("/none.ini", &Host::default(), &machine());
    assert_eq!(report.status(), 1);
    assert_eq!(
        report.text(),
        "/none.ini: error: cannot be read: No such file or directory (os error 2)\n1 error: 0 watchers, 0 sockets\n"
    );
}
