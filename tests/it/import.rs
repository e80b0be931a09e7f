//! Files of other managers: what `circusctl import` makes of them passes `circusd --check`, and circusd runs a Procfile as it is.

use nix::sys::signal::Signal;

use crate::rig::{Circusd, Output, Site, built, run, wait_until};

/// What the file is as an INI file; it has to pass the check.
#[track_caller]
fn imported(site: &Site, name: &str, text: &str) -> String {
    let file = site.write(name, text);
    let printed = site.circusctl(&["import", file.to_str().unwrap()]);
    assert_eq!(printed.status, Some(0), "{printed:?}");
    let ini = site.path("imported.ini");
    std::fs::write(&ini, &printed.stdout).unwrap();
    // A program that an import may name.
    let programs = built("circusctl");
    let path = format!("/usr/bin:/bin:{}", programs.parent().unwrap().display());
    let checked = run(site.circusd().env("PATH", path).arg("--check").arg(ini));
    assert_eq!(checked.status, Some(0), "{}\n{}", checked.stdout, printed.stdout);
    printed.stdout
}

#[test]
fn supervisord_conf() {
    let site = Site::new();
    let text = "; Sample supervisor config file.\n\
        [unix_http_server]\nfile={dir}/supervisor.sock   ; the path to the socket file\nchmod=0700\n\
        [supervisord]\nlogfile={dir}/supervisord.log ; main log file; default $CWD/supervisord.log\n\
        logfile_maxbytes=50MB\nloglevel=info\npidfile={dir}/supervisord.pid\nnodaemon=false\nminfds=1024\n\
        environment=STAGE=\"prod, eu\",PRICE='$5'\n\
        [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
        [supervisorctl]\nserverurl=unix:///tmp/supervisor.sock\n[include]\nfiles = relative/directory/*.ini\n\
        [program:web]\ncommand=/bin/sh -c \"exec sleep 600\" ; the program\nprocess_name=%(program_name)s_%(process_num)02d\n\
        numprocs=3\ndirectory=%(here)s\nautostart=true\nautorestart=unexpected\nexitcodes=0,2\nstartsecs=5\nstartretries=3\n\
        stopsignal=QUIT\nstopwaitsecs=20\nstopasgroup=true\nkillasgroup=true\nredirect_stderr=true\n\
        stdout_logfile={dir}/web.log\nstdout_logfile_maxbytes=1MB\nstdout_logfile_backups=3\npriority=5\n\
        environment=HOME=\"%(ENV_PATH)s\",A=\"1\"\n\
        [program:ports]\ncommand=/bin/sleep 60%(process_num)d\nnumprocs=2\nnumprocs_start=1\n\
        process_name=port-%(process_num)d\n[fcgi-program:php]\ncommand=/bin/cat\nsocket=unix://{dir}/php.sock\n\
        socket_mode=0700\n[eventlistener:memmon]\ncommand=memmon\nevents=TICK_60\n\
        [group:all]\nprograms=web,php\n";
    let ini = imported(&site, "supervisord.conf", text);
    for part in ["[watcher:web]\n", "numprocesses = 3\n", "[watcher:port-1]\ncmd = /bin/sleep 601\n", "[socket:php]\n"]
    {
        assert!(ini.contains(part), "{part}\n{ini}");
    }
}

#[test]
fn ecosystem_config_json() {
    let site = Site::new();
    let text = r#"{"apps": [
        {"name": "api", "script": "sleep", "interpreter": "none", "args": ["600"], "instances": 2, "exec_mode": "cluster",
         "env": {"NODE_ENV": "production", "PRICE": "$5"}, "env_staging": {"NODE_ENV": "staging"},
         "max_memory_restart": "300M", "cron_restart": "0 3 * * *", "kill_timeout": 3000, "watch": true,
         "out_file": "out.log", "error_file": "/dev/null", "min_uptime": "5s", "max_restarts": 10},
        {"script": "run.sh", "interpreter": "/bin/sh", "autorestart": false}]}"#;
    let ini = imported(&site, "ecosystem.config.json", text);
    for part in [
        "[plugin:memory-of-api]\n",
        "[watcher:restart-api]\n",
        "PRICE = $$5\n",
        "[watcher:run]\ncmd = /bin/sh run.sh\n",
    ] {
        assert!(ini.contains(part), "{part}\n{ini}");
    }
}

#[test]
fn unit_of_systemd() {
    let site = Site::new();
    site.write("settings", "OPTIONS=\"600 1\"\n");
    let text = "[Unit]\nDescription=A service\nAfter=network-online.target\n\n[Service]\nType=notify\n\
        EnvironmentFile=-{dir}/settings\nEnvironment=\"GREETING=a b\" PRICE=$5\nExecStartPre=/bin/sh -c 'exit 0'\n\
        ExecStart=/bin/sleep \\\n    $OPTIONS\nExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=5\n\
        TimeoutStopSec=1min\nKillMode=mixed\nWatchdogSec=30\nLimitNOFILE=65536\nNoNewPrivileges=yes\n\
        WorkingDirectory={dir}\nStandardOutput=append:{dir}/out.log\nProtectSystem=full\n\n\
        [Install]\nWantedBy=multi-user.target\n";
    let ini = imported(&site, "app.service", text);
    for part in
        ["[watcher:app]\ncmd = exec /bin/sleep $OPTIONS\nshell = yes\n", "send_hup = yes\n", "rlimit_nofile = 65536\n"]
    {
        assert!(ini.contains(part), "{part}\n{ini}");
    }
}

#[test]
fn procfile() {
    let site = Site::new();
    site.write(".env", "GREETING=hello\n");
    let text = "# of Rails\nweb: sleep ${PORT:-3000}\nworker: sleep 600 ; true\nrelease: true\n";
    let ini = imported(&site, "Procfile", text);
    assert!(ini.contains("env_file = .env\n") && ini.contains("[env:worker]\nPORT = 5100\n"), "{ini}");
    let procfile = site.path("Procfile");
    let checked = site.run_circusd(&["--check", procfile.to_str().unwrap()]);
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert!(checked.stdout.ends_with("ok: 3 watchers, 0 sockets\n"), "{checked:?}");
    let wrong = site.write("Procfile.wrong", "web: sleep 1\nnonsense\n");
    let checked = site.run_circusd(&["--check", wrong.to_str().unwrap()]);
    assert_eq!(checked.status, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("Procfile.wrong:2: error: is no line NAME: COMMAND"), "{checked:?}");
}

#[test]
fn what_is_of_no_format_is_refused() {
    let site = Site::new();
    let file = site.write("circus.ini", "[watcher:web]\ncmd = sh\n");
    let Output { status, stderr, .. } = site.circusctl(&["import", file.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("circus.ini: its format is not known; --format names it: supervisor, procfile"),
        "{stderr}"
    );
}

/// In a network of its own, since a Procfile names no endpoint.
#[test]
#[ignore = "needs root"]
fn circusd_runs_a_procfile() {
    let site = Site::new();
    site.write(".env", "GREETING=hello\n");
    site.write(
        "Procfile",
        "web: echo $GREETING $PORT >> said; exec sleep 600\nrelease: echo released > said; pwd >> said\n",
    );
    let mut command = site.command("unshare");
    let script = "ip link set lo up; exec \"$0\" Procfile";
    command.args(["--net", "sh", "-c", script, env!("CARGO_BIN_EXE_circusd")]);
    let mut circusd = Circusd::launch_by(site, command);
    circusd.wait_until_it_listens();
    let said = format!("released\n{}\nhello 5000\n", circusd.path("").display().to_string().trim_end_matches('/'));
    wait_until("what was said", || circusd.read("said") == said);
    circusd.send(Signal::SIGTERM);
    circusd.wait_for_end();
}
