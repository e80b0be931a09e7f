//! Words of other managers, and what they are called here: for files of supervisor, systemd and
//! PM2.

/// Keys of other managers' programs, and what to write instead.
const KEYS: [(&str, &str); 49] = [
    // supervisor
    ("autorestart", "respawn = yes, no or on-failure"),
    ("command", "cmd = COMMAND"),
    ("directory", "working_dir = DIRECTORY"),
    ("environment", "a section [env:NAME] with a line for each variable"),
    ("exitcodes", "success_codes = 0, 2"),
    ("group", "gid = GROUP"),
    ("killasgroup", "nothing: all processes of a worker are ended"),
    ("numprocs", "numprocesses = N"),
    ("process_name", "nothing: $(circus.wid) tells workers apart"),
    ("redirect_stderr", "stderr_stream.filename = the file of stdout_stream.filename"),
    ("serverurl", "nothing"),
    ("startretries", "max_retry = N"),
    ("startsecs", "min_uptime = SECONDS"),
    ("stderr_logfile", "stderr_stream.filename = FILE"),
    ("stderr_logfile_backups", "stderr_stream.backup_count = N"),
    ("stderr_logfile_maxbytes", "stderr_stream.max_bytes = BYTES"),
    ("stdout_logfile", "stdout_stream.filename = FILE"),
    ("stdout_logfile_backups", "stdout_stream.backup_count = N"),
    ("stdout_logfile_maxbytes", "stdout_stream.max_bytes = BYTES"),
    ("stopasgroup", "kill_mode = group"),
    ("stopsignal", "stop_signal = SIGNAL"),
    ("stopwaitsecs", "graceful_timeout = SECONDS"),
    ("user", "uid = USER"),
    // systemd
    ("Environment", "a section [env:NAME] with a line for each variable"),
    ("EnvironmentFile", "a section [env:NAME], or include = FILE with such a section"),
    ("ExecReload", "send_hup = yes, where a reload is a SIGHUP"),
    ("ExecStart", "cmd = COMMAND"),
    ("ExecStartPost", "hooks.after_start = exec:COMMAND"),
    ("ExecStartPre", "hooks.before_start = exec:COMMAND"),
    ("ExecStop", "hooks.before_stop = exec:COMMAND, or stop_signal"),
    ("Group", "gid = GROUP"),
    ("KillSignal", "stop_signal = SIGNAL"),
    ("LimitCORE", "rlimit_core = N"),
    ("LimitNOFILE", "rlimit_nofile = N"),
    ("LimitNPROC", "rlimit_nproc = N"),
    ("Restart", "respawn = yes, no or on-failure"),
    ("RestartSec", "nothing: the pause grows with each early exit, up to check_delay of [circus]"),
    ("StandardError", "stderr_stream.filename = FILE"),
    ("StandardOutput", "stdout_stream.filename = FILE"),
    ("SuccessExitStatus", "success_codes = 0, 2"),
    ("TimeoutStopSec", "graceful_timeout = SECONDS"),
    ("Type", "nothing: programs stay in the foreground"),
    ("User", "uid = USER"),
    ("WorkingDirectory", "working_dir = DIRECTORY"),
    // PM2
    ("cwd", "working_dir = DIRECTORY"),
    ("instances", "numprocesses = N"),
    ("kill_timeout", "graceful_timeout = SECONDS"),
    ("max_restarts", "max_retry = N"),
    ("script", "cmd = COMMAND"),
];

/// What to write here instead of another manager's key of a watcher.
pub(super) fn key(name: &str) -> Option<&'static str> {
    KEYS.iter().find(|(key, _)| *key == name).map(|(_, instead)| *instead)
}

/// What to write instead of a section that another manager would understand, or that is a watcher's misspelt.
pub(super) fn section(name: &str) -> Option<String> {
    let rest = |prefix: &str| name.strip_prefix(prefix).map(str::trim).filter(|rest| !rest.is_empty());
    if let Some(program) = rest("program:").or_else(|| rest("app:")) {
        return Some(format!("[watcher:{program}]"));
    }
    if let Some(program) = rest("watcher ").or_else(|| rest("watcher=")).or_else(|| rest("watcher.")) {
        return Some(format!("[watcher:{program}]"));
    }
    if let Some(program) = rest("fcgi-program:") {
        return Some(format!("[watcher:{program}] with stdin_socket, and a [socket:NAME]"));
    }
    if let Some(listener) = rest("eventlistener:") {
        return Some(format!("[plugin:{listener}]"));
    }
    let instead = match name {
        "watcher" | "program" | "Service" => "[watcher:NAME]",
        "supervisord" => "[circus]",
        "unix_http_server" | "inet_http_server" | "supervisorctl" => "endpoint in [circus]",
        "socket" | "Socket" => "[socket:NAME]",
        "plugin" => "[plugin:NAME]",
        "Unit" | "Install" => "nothing: they are systemd's own",
        _ => return name.starts_with("group:").then(|| "nothing: commands take patterns such as 'web-*'".to_owned()),
    };
    Some(instead.to_owned())
}

/// Whether a section was meant as a watcher.
pub(super) fn is_misnamed_watcher(name: &str) -> bool {
    section(name).is_some_and(|instead| instead.starts_with("[watcher:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::find;

    #[test]
    fn keys_name_options_that_exist_and_are_none_themselves() {
        for (key, instead) in KEYS {
            assert!(find(key).is_none(), "{key} is an option");
            if let Some((option, _)) = instead.split_once(" = ") {
                assert!(find(option).is_some() || option.contains(' '), "{option}");
            }
        }
    }

    #[test]
    fn sections_of_other_managers() {
        assert_eq!(section("program:web").as_deref(), Some("[watcher:web]"));
        assert_eq!(section("watcher web").as_deref(), Some("[watcher:web]"));
        assert_eq!(section("supervisord").as_deref(), Some("[circus]"));
        assert!(section("group:all").is_some());
        for name in ["circus", "watcher:web", "mine", "env:web"] {
            assert_eq!(section(name), None, "{name}");
        }
        assert!(is_misnamed_watcher("Service") && is_misnamed_watcher("program:x") && !is_misnamed_watcher("Unit"));
    }
}
