//! What files mean, from text to configuration.

use serde_json::json;

use super::*;
use crate::config::options::{get, shown};
use crate::config::testing::FakeMachine;
use crate::config::{Account, Args, Family, Respawn, Runner, SocketType, WatcherConfig, argv};

fn host() -> Host {
    let env = [("OUTER", "outer"), ("HOME", "/home/me"), ("CD", "fast")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Host { env, cwd: "/work".into(), programs: "/opt/my circus/bin".into(), ..Host::default() }
}

fn machine() -> FakeMachine {
    let directories = ["/work/v/lib", "/work/logs", "/var/log", "/l", "/tmp", "/d"];
    directories.iter().fold(FakeMachine::default(), |machine, directory| machine.with_directory(directory))
}

fn assembled(ini: &Ini, machine: &FakeMachine) -> (Option<Config>, Vec<Problem>) {
    let host = host();
    let environment = Environment::new(ini, &host);
    assemble(ini, &environment, &host, machine).into_config(&host)
}

fn read(text: &str) -> (Option<Config>, Vec<String>) {
    let (ini, bad) = Ini::parse("f", text);
    assert_eq!(bad, []);
    let (config, problems) = assembled(&ini, &machine());
    let severity = |problem: &Problem| match problem.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Skipped => "skipped",
        Severity::Fatal => "fatal",
    };
    let problems = problems.iter().map(|problem| format!("{} {}: {}", severity(problem), problem.line, problem.text));
    (config, problems.collect())
}

/// The configuration of a text in which nothing is wrong.
fn sound(text: &str) -> Config {
    let (config, problems) = read(text);
    assert_eq!(problems, Vec::<String>::new());
    config.unwrap()
}

/// The watcher `w` of a text.
fn watcher(text: &str) -> WatcherConfig {
    let (config, _) = read(text);
    config.unwrap().watchers.into_iter().find(|watcher| watcher.name == "w").unwrap()
}

fn problems(text: &str) -> Vec<String> {
    read(text).1
}

#[test]
fn nothing_written_means_the_defaults() {
    let config = sound("");
    assert_eq!(config.circus, crate::config::CircusConfig::default());
    assert_eq!((config.watchers.len(), config.sockets.len()), (0, 0));
    let config = sound("[watcher:w]\ncmd = x");
    let expected = WatcherConfig {
        dynamic: false,
        declared: Some("f:2".into()),
        args: Some(Args::Text(String::new())),
        env: Some([].into()),
        ..WatcherConfig::new("w", "x", "/work")
    };
    assert_eq!(config.watchers, [expected]);
}

#[test]
fn everything_about_a_watcher() {
    let watcher = sound(
        "[watcher:w]\ncmd = x\nnumprocesses = 2\nsend_hup = YES\nstop_children = On\ncopy_env = 1\nshell = off\n\
         respawn = No\nautostart = TRUE\nclose_child_stdin = 0\nstop_signal = int\ngraceful_timeout = 7\n\
         max_retry = -1\npriority = 12\nmax_age = 300\nmax_age_variance = 7\nwarmup_delay = 2\nrlimit_nofile = 500\n\
         rlimit_CORE =\nuid = daemon\ngid = 1\nmin_uptime = .5\nuse_sockets = true\non_demand = False\nexecutable =\n",
    )
    .watchers
    .remove(0);
    assert_eq!((watcher.numprocesses, watcher.max_retry, watcher.priority, watcher.warmup_delay), (2, -1, 12, 2.0));
    assert!(watcher.send_hup && watcher.stop_children && watcher.copy_env && watcher.autostart && watcher.use_sockets);
    assert!(!watcher.shell && !watcher.close_child_stdin);
    assert_eq!(watcher.respawn, Respawn::Never);
    assert_eq!((watcher.stop_signal.0, watcher.graceful_timeout, watcher.min_uptime), (2, 7.0, 0.5));
    assert_eq!((watcher.max_age, watcher.max_age_variance), (300, 7));
    assert_eq!((&watcher.uid, &watcher.gid), (&Some(Account::Name("daemon".into())), &Some(Account::Number(1))));
    assert_eq!(watcher.rlimits, [("core".to_owned(), None), ("nofile".to_owned(), Some(500))].into());
    assert_eq!(watcher.env.as_ref().unwrap().get("OUTER").map(String::as_str), Some("outer"));
}

#[test]
fn the_dialect_of_the_manual() {
    let watcher = watcher(
        "[watcher:w]\ncmd = report one ; inline comment\n# between options\nargs = two\n    three\n    # four\n\
         numprocesses = 1\nnumprocesses = 7\nCMD = other\npercent = 100% %(x)s %H %%\nempty =\nquoted = \"text here\"\n\
         both = x;y ; z\ncolon:value\n[other:thing]\ncmd = x\n[watcher:w]\nextra = from a later section\ncmd = y\n",
    );
    assert_eq!(argv(&watcher, 1, &[].into()).unwrap(), ["report", "one", "two", "three", "#", "four"]);
    let shown = shown(&watcher, false);
    for (key, value) in [
        ("CMD", json!("other")),
        ("args", json!("two\nthree\n# four")),
        ("both", json!("x;y ; z")),
        ("colon", json!("value")),
        ("empty", json!("")),
        ("env", json!({})),
        ("extra", json!("from a later section")),
        ("numprocesses", json!(1)),
        ("percent", json!("100% %(x)s %H %%")),
        ("quoted", json!("\"text here\"")),
        ("stdout_stream_conf", json!({})),
        ("warmup_delay", json!(0)),
    ] {
        assert_eq!(shown.get(key), Some(&value), "{key}");
    }
    assert!(!shown.contains_key("__name__"));
}

#[test]
fn names_of_watchers() {
    let (config, _) = read(
        "[watcher:b]\ncmd=x\n[watcher: c]\ncmd=x\n[Watcher:d]\ncmd=x\n[watcher:My App]\ncmd=x\n[watcher:a:b.c]\ncmd=x\n\
         [watcher:e]\nname = a1\ncmd=x\n[env:a1]\nA=1\n[watcher:empty]\n",
    );
    let watchers = config.unwrap().watchers;
    let names: Vec<_> = watchers.iter().map(|watcher| watcher.name.as_str()).collect();
    assert_eq!(names, [" c", "My App", "a1", "a:b.c", "b"]);
    assert_eq!(watchers.get(2).unwrap().env, Some([("A".to_owned(), "1".to_owned())].into()));
}

#[test]
fn default_reaches_every_watcher() {
    let (config, problems) = read(
        "[DEFAULT]\nnumprocesses = 2\ntag = \
        everywhere\n[circus]\n[watcher:a]\ncmd=x\n[watcher:b]\ncmd=x\nnumprocesses = 1\n",
    );
    let watchers = config.unwrap().watchers;
    assert_eq!(watchers.iter().map(|watcher| watcher.numprocesses).collect::<Vec<_>>(), [2, 1]);
    assert!(watchers.iter().all(|watcher| get(watcher, "tag") == Some(json!("everywhere"))));
    assert_eq!(problems, ["warning 3: unknown key 'tag' in [DEFAULT]"]);
}

#[test]
fn which_variables_a_key_can_name() {
    let text = "[env]\nSIZE = 2\n[env:w]\nSIZE = 3\nDIR = /d\n[circus]\ncheck_delay = $(circus.env.size)\npidfile = \
        $(circus.env.dir)\n[watcher:w]\nnumprocesses = $(circus.env.SIZE)\nmax_age = $(circus.env.size)\ncmd = \
        $(circus.env.dir)/x ((circus.env.outer)) $(circus.wid) $(circus.nope)\nstdout_stream.filename = \
        $(circus.env.dir)/log\nworking_dir = $(circus.env.dir)\nuid = $(circus.env.outer)\ncolour = \
        $(circus.env.dir)\nname = w\n";
    let config = read(text).0.unwrap();
    assert_eq!((config.circus.check_delay, config.circus.pidfile.as_deref()), (2.0, Some("$(circus.env.dir)")));
    let watcher = watcher(text);
    assert_eq!((watcher.numprocesses, watcher.max_age), (2, 3));
    assert_eq!(watcher.cmd, "/d/x outer $(circus.wid) $(circus.nope)");
    assert_eq!(get(&watcher, "stdout_stream.filename"), Some(json!("/d/log")));
    assert_eq!((watcher.working_dir.as_str(), watcher.uid), ("/d", Some(Account::Name("outer".into()))));
    assert_eq!(watcher.freeform.get("colour").map(String::as_str), Some("/d"));
}

#[test]
fn signals_and_limits_know_no_variables() {
    assert_eq!(
        problems(
            "[watcher:a]\ncmd=x\nstop_signal = $(circus.env.outer)\nrlimit_as = $(circus.env.outer)\n[watcher:b]\ncmd=x"
        ),
        [
            "skipped 3: [watcher:a] stop_signal: '$(circus.env.outer)' is not a signal such as QUIT, SIGTERM or 15",
            "skipped 4: [watcher:a] rlimit_as: '$(circus.env.outer)' is not a whole number",
        ]
    );
}

#[test]
fn every_error_of_a_file_is_reported_at_once() {
    let text = "[circus]\ncheck_delay = fast\nwarmup_delay = 0.5\numask = 9\ndebug \
        =\n[watcher:a]\ncmd=x\nnumprocesses = two\nshell = perhaps\nstop_signal = NOSUCH\nrlimit_nofile = \
        lots\nrlimit_zork = 1\ngraceful_timeout = long\nmax_age = soon\nstdout_stream = File\nstderr_stream_foo.x = \
        1\npriority = 99999999999999999999\n[watcher:b]\ncmd=x\nnumprocesses = 4294967296\n";
    let (config, problems) = read(text);
    assert_eq!(config, None);
    assert_eq!(
        problems,
        [
            "fatal 2: [circus] check_delay: 'fast' is not a number",
            "fatal 3: [circus] warmup_delay: '0.5' is not a whole number",
            "fatal 4: [circus] umask: '9' is not an octal mode such as 022",
            "fatal 5: [circus] debug: '' is not a boolean (yes or no)",
            "skipped 8: [watcher:a] numprocesses: 'two' is not a whole number",
            "skipped 9: [watcher:a] shell: 'perhaps' is not a boolean (yes or no)",
            "skipped 10: [watcher:a] stop_signal: no signal is called SIGNOSUCH",
            "skipped 11: [watcher:a] rlimit_nofile: 'lots' is not a whole number",
            "skipped 12: [watcher:a] rlimit_zork: the kernel knows no such limit",
            "skipped 13: [watcher:a] graceful_timeout: 'long' is not a number",
            "skipped 14: [watcher:a] max_age: 'soon' is not a whole number",
            "skipped 15: [watcher:a] stdout_stream: needs a key, as in stdout_stream.filename or hooks.before_start",
            "skipped 16: [watcher:a] stderr_stream_foo.x: is not a key of a stream; write stderr_stream.KEY, such as \
             stderr_stream.filename",
            "skipped 17: [watcher:a] priority: 99999999999999999999 is out of range",
            "skipped 20: [watcher:b] numprocesses: 4294967296 is out of range",
            "fatal 18: no valid watcher remains; circusd will not start",
        ]
    );
}

#[test]
fn what_kept_circus_from_starting_still_does() {
    for text in [
        "[circus]\ncheck_delay = fast",
        "[circus]\numask = 9",
        "[circus]\nwarmup_delay = 0.5",
        "[watcher:a]\ncmd = x\nnumprocesses = two",
        "[watcher:a]\ncmd = x\nshell = perhaps",
        "[watcher:a]\ncmd = x\nstop_signal = NOSUCH",
        "[watcher:a]\ncmd = x\nrlimit_nofile = lots",
        "[watcher:a]\ncmd = x\nstdout_stream = File",
    ] {
        assert_eq!(read(text).0, None, "{text}");
    }
}

#[test]
fn watchers_that_cannot_be_built_are_left_out() {
    let (config, problems) = read(
        "[watcher:good]\ncmd=x\n[watcher:badstream]\ncmd=x\nstdout_stream.class = NoSuchStream\n[watcher:badsingle]\n\
         cmd=x\nsingleton = true\nnumprocesses = 2\n[watcher:badpath]\ncopy_path = true\n[watcher:badconf]\n\
         stdout_stream.max_bytes = 5\n[watcher:badsocket]\nstdin_socket = web\nsockets = api\ncmd = x\n",
    );
    assert_eq!(config.unwrap().watchers.len(), 1);
    assert_eq!(
        problems,
        [
            "skipped 5: [watcher:badstream] stdout_stream.class: there is no stream class 'NoSuchStream'",
            "skipped 6: [watcher:badsingle] Singleton watcher has a single process",
            "skipped 10: [watcher:badpath] copy_env and copy_path must have the same value",
            "skipped 13: [watcher:badconf] stream configuration invalid: stdout_stream has neither a class nor a \
            filename",
            "skipped 15: [watcher:badsocket] stdin_socket: no valid [socket:web] section was found",
            "skipped 16: [watcher:badsocket] sockets: no valid [socket:api] section was found",
        ]
    );
}

#[test]
fn unused_keys_of_a_stream_are_reported() {
    let (config, problems) = read(
        "[DEFAULT]\nstdout_stream.max_bytes = 5\nstdout_stream.filename = f\n[watcher:w]\ncmd=x\n\
         stdout_stream.class = WatchedFileStream\nstdout_stream.backup_count = 2\nstdout_stream.time_fromat = %H\n\
         [watcher:t]\ncmd=x\nstderr_stream.class = TimedRotatingFileStream\nstderr_stream.rotate_when = noon\n",
    );
    assert_eq!(config.unwrap().watchers.len(), 1);
    assert_eq!(
        problems,
        [
            "warning 7: [watcher:w] stdout_stream.backup_count: has no effect with WatchedFileStream",
            "warning 8: [watcher:w] stdout_stream.time_fromat: is not a key of a stream; did you mean 'time_format'?",
            "skipped 11: [watcher:t] stderr_stream.rotate_when: 'noon' is not S, M, H, D, MIDNIGHT or W0 to W6",
        ]
    );
}

#[test]
fn what_has_no_part_yet_is_refused_by_name() {
    let (config, problems) = read(
        "[circus]\nhttpd_port = 80\nmulticast_endpoint = udp://237.219.251.97:12027\n\
         pidfile = p\nssh_server = x\nloglevel = loud\n\
         [watcher:good]\ncmd=x\n[watcher:hooks]\nhooks.before_start = m f\n[watcher:many]\n\
         stdout_stream.class = QueueStream\n[plugin:flapping]\nuse = x\n",
    );
    assert_eq!(config.unwrap().watchers.len(), 1);
    let texts: Vec<_> = problems.iter().map(|text| text.split_once(": ").unwrap()).collect();
    assert_eq!(
        texts.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        ["warning 3", "warning 5", "warning 6", "skipped 10", "skipped 12", "skipped 14"]
    );
    for key in ["multicast_endpoint", "ssh_server", "hooks.before_start", "there is no plugin 'x'"] {
        assert!(texts.iter().any(|(_, text)| text.contains(key)), "{key}");
    }
    let (config, problems) = read("[circus]\nloggerconfig = x.yaml\n");
    assert!(config.is_some() && problems[0].starts_with("warning 2: "), "{problems:?}");
    sound("[circus]\nstatsd = no\nhttpd = off\nloggerconfig =\nmulticast_endpoint =\n");
}

#[test]
fn unknown_names_are_warned_of_with_the_nearest_known_one() {
    assert_eq!(
        problems(
            "[circus]\nchek_delay = 1\n[watcher:a]\ncmd = x\nCMD = y\nnumproceses = 3\nflapping.attempts = 2\n\
             hook.before_start = x\ncolour = blue\nrefresh_time = 1\nenv = A=1\n[socket:s]\nprt = 80\n[Watcher:b]\n\
             [other]\n[sockets:s]\n[watcher:none]\n"
        ),
        [
            "warning 14: unknown section [Watcher:b], which is ignored; did you mean 'watcher:'?",
            "warning 15: unknown section [other], which is ignored",
            "warning 16: unknown section [sockets:s], which is ignored; did you mean 'socket:'?",
            "warning 2: unknown key 'chek_delay' in [circus]; did you mean 'check_delay'?",
            "warning 13: unknown key 'prt' in [socket:s]; did you mean 'port'?",
            "warning 5: unknown key 'CMD' in [watcher:a]; did you mean 'cmd'?",
            "warning 6: unknown key 'numproceses' in [watcher:a]; did you mean 'numprocesses'?",
            "warning 8: unknown key 'hook.before_start' in [watcher:a]; did you mean 'hooks'?",
            "warning 9: unknown key 'colour' in [watcher:a]",
            "warning 11: [watcher:a] env: is ignored; write variables in sections [env] and [env:NAME]",
            "warning 17: [watcher:none] has no keys, so there is no such watcher",
        ]
    );
}

#[test]
fn everything_about_a_socket() {
    let config = sound(
        "[socket:Web]\nhost = 127.0.0.1\nport = 0\nfamily = af_inet6\ntype = SOCK_DGRAM\nbacklog = 5\nblocking = \
        yes\n[socket:api]\npath = /run/$(circus.env.outer)\numask = 022\nreplace = yes\nproto = \
        tcp\n[socket:plain]\npath = /p\n",
    );
    let [api, plain, web] = config.sockets.as_slice() else { panic!("{:?}", config.sockets) };
    assert_eq!((web.name.as_str(), web.host.as_str(), web.port, web.backlog), ("web", "127.0.0.1", 0, 5));
    assert_eq!((web.family, web.kind, web.blocking), (Family::Inet6, SocketType::Datagram, true));
    assert_eq!((api.family, api.umask, api.replace), (Family::Unix, 0o022, true));
    assert_eq!((api.path.as_deref(), api.proto.as_deref()), (Some("/run/outer"), Some("tcp")));
    assert_eq!(0o777 & !plain.umask, 0o767);
}

#[test]
fn sockets_with_errors_are_left_out() {
    let (config, problems) = read(
        "[socket:a]\nport = 99999\nfamily = AF_X25\n[socket:b]\nfamily = AF_UNIX\n[socket:C]\nport = \
        1\n[socket:c]\nport = 2\n",
    );
    assert_eq!(config.unwrap().sockets.iter().map(|socket| socket.port).collect::<Vec<_>>(), [1]);
    assert_eq!(
        problems,
        [
            "skipped 2: [socket:a] port: 99999 is out of range",
            "skipped 3: [socket:a] family: 'AF_X25' is not one of AF_INET, AF_INET6, AF_UNIX",
            "skipped 4: [socket:b] has the family AF_UNIX and no path",
            "skipped 8: [socket:c] is left out: another socket has the same name in lower case",
        ]
    );
}

#[test]
fn everything_about_circus() {
    let (config, problems) = read(
        "[circus]\ncheck_delay = 1_0.5\nendpoint = ipc:///run/x\nendpoint_owner = me\nendpoint_mode = 0660\numask = \
        027\nwarmup_delay = 2\ndebug = no\npidfile = /p\nloglevel = DEBUG\nlogoutput = -\nfqdn_prefix = x\nstrict = \
        on\npubsub_endpoint = ipc:///run/y\nhttpd_host = x\n",
    );
    assert_eq!(problems, [""; 0]);
    let circus = config.unwrap().circus;
    assert_eq!((circus.check_delay, circus.warmup_delay, circus.umask), (10.5, 2.0, Some(0o27)));
    assert_eq!((circus.endpoint.as_str(), circus.endpoint_mode), ("ipc:///run/x", 0o660));
    assert_eq!((circus.loglevel.as_deref(), circus.strict, circus.debug), (Some("debug"), true, false));
    assert_eq!(circus.multicast_endpoint, "");
}

#[test]
fn debug_makes_plugins_verbose() {
    let config = sound("[circus]\ndebug = yes\nloglevel = error\n[plugin:p]\nuse = logger\n");
    assert!(config.watchers.first().unwrap().cmd.ends_with("--log-level DEBUG logger"));
}

#[test]
fn strangers_are_kept_out_unless_they_are_let_in() {
    let (config, problems) = read("[circus]\nendpoint = tcp://0.0.0.0:5555\npubsub_endpoint = tcp://*:5556\n");
    assert_eq!(config, None);
    assert!(problems.first().unwrap().starts_with("fatal 2: [circus] endpoint: tcp://0.0.0.0:5555 can be reached"));
    assert!(problems.get(1).unwrap().starts_with("fatal 3: [circus] pubsub_endpoint: tcp://*:5556 can be reached"));
    assert!(read("[circus]\nstats_endpoint = tcp://*:5557\n").0.is_none());
    sound("[circus]\nendpoint = tcp://*:5\nallow_anyone_on_the_network_to_control_this_machine = yes\n");
    sound("[circus]\nstats_endpoint = tcp://*:5557\nallow_anyone_on_the_network_to_control_this_machine = yes\n");
    assert!(read("[circus]\nendpoint =\n").0.is_none());
    let (_, problems) = read("[circus]\nendpoint = ipc://@circus\nendpoint_owner = root\n");
    assert!(problems.first().unwrap().starts_with("fatal 2: [circus] endpoint: ipc://@circus is abstract"));
}

#[test]
fn shell_args_need_a_shell() {
    assert_eq!(
        problems("[watcher:a]\ncmd=x\nshell_args = y\n"),
        ["warning 3: [watcher:a] shell_args: has no effect without shell = yes"]
    );
}

#[test]
fn namesakes_are_warned_of() {
    let (config, problems) = read("[watcher:A]\ncmd=x\n[watcher:a]\ncmd=y\n");
    assert_eq!(config.unwrap().watchers.len(), 2);
    assert_eq!(problems, ["warning 3: 'a' and 'A' differ only in case: commands reach only one of them"]);
}

#[test]
fn strict_counts_errors_and_not_warnings() {
    let (ini, _) = Ini::parse("f", "[circus]\nstrict = yes\ncolour = blue\n[watcher:a]\ncmd=x\n[watcher:b]\nshell=x\n");
    let (config, problems) = assembled(&ini, &machine());
    let config = config.unwrap();
    assert_eq!(
        forbids(&ini, &config, &problems).unwrap().to_string(),
        "f:2: [circus] strict: there are errors (1), so circusd does not start"
    );
    let warnings: Vec<_> = problems.into_iter().filter(|problem| problem.severity == Severity::Warning).collect();
    assert_eq!(forbids(&ini, &config, &warnings), None);
}

proptest::proptest! {
    #[test]
    fn any_file_means_something_or_is_explained(
        lines in proptest::collection::vec(
            "(\\[(circus|env|env:w|watcher:w|socket:s|plugin:p|DEFAULT|x)\\]|\
              (cmd|args|numprocesses|shell|env|name|copy_env|umask|port|rlimit_core|stdout_stream\\.[a-z]{0,8}|sockets) = \
              ([-0-9a-z$(){}._ ,A-C]|\\$\\(circus\\.env\\.A\\)){0,12}|\\PC{0,12})", 0..20)
    ) {
        let (ini, _) = Ini::parse("f", &lines.join("\n"));
        let (config, problems) = assembled(&ini, &machine());
        match config {
            Some(config) => {
                for watcher in &config.watchers {
                    let _ = (shown(watcher, false), argv(watcher, 1, &[].into()));
                }
            }
            None => proptest::prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Fatal)),
        }
    }
}

#[test]
fn on_demand_needs_a_socket_that_listens_without_workers() {
    let sockets = "[socket:web]\nport = 0\n[socket:own]\nport = 0\nso_reuseport = yes\n";
    let warned = |watcher: &str| problems(&format!("[watcher:w]\non_demand = yes\n{watcher}\n{sockets}"));
    assert_eq!(warned("cmd = x $(circus.sockets.web)"), [""; 0]);
    assert_eq!(warned("cmd = x\nuse_sockets = yes"), [""; 0]);
    assert_eq!(warned("cmd = x\nstdin_socket = web"), [""; 0]);
    assert_eq!(
        warned("cmd = x"),
        ["warning 2: [watcher:w] on_demand: the watcher names no managed socket; no socket activates it, so start \
            it explicitly"]
    );
    assert_eq!(
        warned("cmd = x ${socket:own}"),
        ["warning 2: [watcher:w] on_demand: with so_reuseport no socket listens while no worker runs; no socket \
            activates it, so start it explicitly"]
    );
}

#[test]
fn a_path_is_not_shared() {
    let text = "[watcher:w]\ncmd = x\n[socket:s]\npath = /tmp/s\nso_reuseport = yes\n";
    assert_eq!(
        problems(text),
        ["skipped 3: [socket:s] so_reuseport: a path belongs to one socket; only AF_INET and AF_INET6 can share an \
          address"]
    );
}

#[test]
fn a_virtual_environment_is_there_and_needs_copy_env() {
    let text = |watcher: &str| format!("[watcher:good]\ncmd = x\n[watcher:w]\ncmd = x\nvirtualenv = v\n{watcher}");
    assert_eq!(problems(&text("copy_env = yes")), [""; 0]);
    assert_eq!(problems(&text("")), ["skipped 3: [watcher:w] copy_env must be True to use virtualenv"]);
    let (ini, _) = Ini::parse("f", &text("copy_env = yes"));
    let (_, problems) = assembled(&ini, &FakeMachine::default());
    assert_eq!(
        problems.first().map(|problem| problem.text.as_str()),
        Some("[watcher:w] virtualenv: there is no virtual environment: the directory /work/v/lib does not exist")
    );
}

#[test]
fn what_counts_as_success() {
    let watcher = watcher("[watcher:w]\ncmd = x\nrespawn = on-failure\nsuccess_codes = 3, 0\n");
    assert_eq!((watcher.respawn, watcher.success_codes.clone()), (Respawn::OnFailure, vec![0, 3]));
    assert_eq!(shown(&watcher, false).get("respawn"), Some(&json!("on-failure")));
    assert_eq!(shown(&watcher, false).get("success_codes"), Some(&json!([0, 3])));
    assert_eq!(
        problems("[watcher:g]\ncmd = x\n[watcher:w]\ncmd = x\nsuccess_codes = 256\n"),
        ["skipped 5: [watcher:w] success_codes: 256 is out of range"]
    );
}

fn plugin(section: &str) -> WatcherConfig {
    sound(&format!("[plugin:p]\n{section}")).watchers.remove(0)
}

#[test]
fn a_plugin_is_a_watcher_of_priority_1() {
    let plugin = plugin(
        "use = circus.plugins.flapping.Flapping\nattempts = 3\nmax_retry = -1\nworking_dir = /srv\n\
         stdout_stream.filename = x\n[env:plugin:p]\nA = b\n",
    );
    assert_eq!(
        (plugin.name.as_str(), plugin.priority, plugin.singleton, plugin.autostart),
        ("plugin:p", 1, true, true)
    );
    assert_eq!((plugin.working_dir.as_str(), plugin.max_retry, plugin.copy_env), ("/srv", 5, true));
    assert_eq!(plugin.stdout_stream.as_ref().map(|stream| stream.class.as_str()), Some("FileStream"));
    assert!(
        plugin.cmd.starts_with("circus-plugin --endpoint ") && plugin.cmd.ends_with("circus.plugins.flapping.Flapping")
    );
    let env = plugin.env.unwrap();
    assert_eq!((env["A"].as_str(), env["CIRCUS_PLUGIN_NAME"].as_str()), ("b", "plugin:p"));
    let settings = plugin.plugin.unwrap().settings;
    assert_eq!((settings["attempts"].as_str(), settings["max_retry"].as_str()), ("3", "-1"));
    assert!(!settings.contains_key("use") && settings["name"] == "plugin:p");
}

#[test]
fn a_socket_of_a_plugin_is_its_standard_input() {
    let ini = "[socket:Page]\nport = 0\n[plugin:p]\nuse = circus.plugins.prometheus\nsocket = Page\n";
    let plugin = sound(ini).watchers.remove(0);
    assert_eq!(plugin.stdin_socket.as_deref(), Some("page"));
    // To others the key means what they like.
    assert_eq!(self::plugin("cmd = ./it\nsocket = page").stdin_socket, None);
    let missing = problems("[watcher:w]\ncmd = x\n[plugin:p]\nuse = prometheus\nsocket = page");
    assert!(missing[0].contains("no valid [socket:page] section was found"), "{missing:?}");
}

#[test]
fn which_program_a_plugin_is() {
    let runner = |section: &str| plugin(section).plugin.unwrap().runner;
    let python = |python: &str, class: &str| Runner::Python { python: python.into(), class: class.into() };
    assert_eq!(runner("use = webhook\nurl = http://x/"), Runner::Builtin("webhook".into()));
    assert_eq!(runner("use = my.Plugin\npython = /opt/python"), python("/opt/python", "my.Plugin"));
    assert_eq!(runner("use = flapping\npython_runner = True"), python("python3", "circus.plugins.flapping.Flapping"));
    assert_eq!(runner("cmd = ./it\nargs = x"), Runner::Command);
    let command = plugin("cmd = ./it\nargs = x\nactive = no\npriority = 7");
    assert_eq!((command.cmd.as_str(), command.args), ("./it", Some(Args::Text("x".into()))));
    assert!(!command.autostart && command.stop_children && command.priority == 7);
}

#[test]
fn problems_of_a_plugin_are_reported() {
    let said = |section: &str| problems(&format!("[watcher:w]\ncmd = x\n[plugin:p]\n{section}"));
    for (section, text) in [
        ("use = flaping", "skipped 4: [plugin:p] use: there is no plugin 'flaping'; did you mean 'flapping'?"),
        (
            "attempts = 2",
            "skipped 3: [plugin:p] use: is missing: the name of a plugin, of a Python class, or cmd with a command",
        ),
        ("use = logger\ncmd = x", "skipped 5: [plugin:p] cmd: use already names the plugin; write only one of the two"),
        ("use = logger\nactive = perhaps", "skipped 5: [plugin:p] active: 'perhaps' is neither yes nor no"),
        ("use = flapping\natempts = 2", "warning 5: unknown key 'atempts' in [plugin:p]; did you mean 'attempts'?"),
        (
            "use = logger\npython_runner = yes",
            "skipped 5: [plugin:p] python_runner: logger is not a plugin of Circus, so Python has no such class",
        ),
    ] {
        assert_eq!(said(section), [text]);
    }
    assert_eq!(said("use = my.own.Plugin\nanything = goes"), [""; 0]);
}

#[test]
fn circusd_stats_is_a_watcher_like_any_other() {
    let watchers = |circus: &str| {
        let config = sound(&format!("[circus]\n{circus}[watcher:zebra]\ncmd = x\n"));
        config.watchers.into_iter().map(|watcher| watcher.name).collect::<Vec<_>>()
    };
    assert_eq!(watchers("statsd = no\n"), ["zebra"]);
    assert_eq!(watchers("statsd = yes\n"), ["zebra", "circusd-stats"]);
    // As in the original.
    assert_eq!(watchers("statsd = no\nstats_endpoint = ipc:///s\n"), ["zebra", "circusd-stats"]);
    let config = sound("[circus]\nstatsd = on\nstats_interval = 0.1\n[env]\nA = b\n");
    let stats = &config.watchers[0];
    assert!(stats.cmd.starts_with("'/opt/my circus/bin/circusd-stats' --endpoint "), "{}", stats.cmd);
    assert!(!stats.env.as_ref().unwrap().contains_key("A"), "no section's variables");
    for interval in ["0.09", "0", "-1", "nan", "1e9"] {
        assert!(read(&format!("[circus]\nstats_interval = {interval}\n")).0.is_none(), "{interval}");
    }
}

#[test]
fn the_console_is_a_watcher_on_a_socket_of_circusd() {
    let text = "[circus]\nhttpd = yes\nhttpd_port = 81\n[socket:web]\nport = 82\n[watcher:zebra]\ncmd = x\n";
    let (config, problems) = read(text);
    let config = config.unwrap();
    assert_eq!((config.watchers.len(), config.sockets.len(), config.circus.httpd), (1, 1, false));
    let words = ["skipped 2: [circus] httpd: there is no /opt/my circus/bin/circushttpd", "the package circus-console"];
    assert!(problems.len() == 1 && words.iter().all(|word| problems[0].contains(word)), "{problems:?}");
    let (ini, _) = Ini::parse("f", text);
    let (config, problems) = assembled(&ini, &machine().with_program("/opt/my circus/bin/circushttpd"));
    let config = config.unwrap();
    assert_eq!(problems, []);
    let names: Vec<&str> = config.watchers.iter().map(|watcher| watcher.name.as_str()).collect();
    assert_eq!(names, ["zebra", "circushttpd"]);
    assert_eq!((config.sockets[0].name.as_str(), config.sockets[0].port), ("circushttpd", 81));
}

#[test]
fn a_name_with_control_characters_leaves_the_watcher_out() {
    for (section, name) in [("w\u{1b}[2J", ""), ("w", "name = a\u{202e}b\n")] {
        let (config, problems) = read(&format!("[watcher:{section}]\ncmd = x\n{name}[watcher:ok]\ncmd = x\n"));
        let names: Vec<String> = config.unwrap().watchers.into_iter().map(|watcher| watcher.name).collect();
        assert_eq!(names, ["ok"]);
        assert!(problems.iter().any(|problem| problem.contains("a watcher's name cannot have the character")));
    }
}

#[test]
fn watcher_knows_the_line_of_its_command() {
    let text = "[watcher:a]\nnumprocesses = 2\ncmd = x\n\n[watcher:b]\ncmd = y\n";
    let config = sound(text);
    let declared: Vec<_> = config.watchers.iter().map(|watcher| watcher.declared.as_deref()).collect();
    assert_eq!(declared, [Some("f:3"), Some("f:6")]);
}

#[test]
fn slots_give_each_worker_a_value() {
    let pools = "[slots:gpu]\nvalues = 0, 1,2\n";
    let w = watcher(&format!("{pools}[watcher:w]\ncmd = train $(circus.slot.gpu)\nslot.CUDA = gpu\nenv_file = .env"));
    assert_eq!((w.slots["CUDA"].pool.as_str(), w.slots["CUDA"].values.join(" ")), ("gpu", "0 1 2".to_owned()));
    assert_eq!(argv(&w, 1, &[].into()).unwrap(), ["train", "0"]);
    assert_eq!((get(&w, "slot.CUDA"), get(&w, "env_file")), (Some(json!("gpu")), Some(json!(".env"))));
    for (pool, options, expected) in [
        ("", "", "skipped 3: [watcher:w] slot.CUDA: there is no section [slots:gpu]"),
        (
            "[slots:gpus]\nvalues = 1\n",
            "",
            "skipped 5: [watcher:w] slot.CUDA: there is no section [slots:gpu]; did you mean 'gpus'?",
        ),
        ("[slots:gpu]\n", "", "skipped 4: [watcher:w] slot.CUDA: [slots:gpu] has no values"),
        ("[slots:gpu]\nvalues = ,\n", "", "skipped 5: [watcher:w] slot.CUDA: [slots:gpu] has no values"),
        ("[slots:gpu]\nvalues = 1,1\n", "", "skipped 5: [watcher:w] slot.CUDA: [slots:gpu] values: '1' is there twice"),
        (
            pools,
            "numprocesses = 4",
            "skipped 3: [watcher:w] numprocesses: 4 workers need a value each, and [slots:gpu] has 3",
        ),
        (
            "[slots:gpu]\nvalues = 1\nvalue = 2\n",
            "",
            "warning 3: unknown key 'value' in [slots:gpu]; did you mean 'values'?",
        ),
    ] {
        let found = problems(&format!("{pool}[watcher:w]\ncmd = a\nslot.CUDA = gpu\n{options}"));
        assert_eq!(found.first().map(String::as_str), Some(expected));
    }
    let two =
        "[watcher:a]\ncmd = a\nslot.A = gpu\nnumprocesses = 2\n[watcher:b]\ncmd = a\nslot.B = gpu\nnumprocesses = 2";
    assert_eq!(
        problems(&format!("{pools}{two}")),
        [
            "warning 1: [slots:gpu] values: the watchers that start with circusd have 4 workers together, and there are 3 \
          values; those that get none wait"
        ]
    );
}
