//! The configuration without any option set: the defaults.

use std::collections::BTreeMap;

use super::{
    CircusConfig, ExitOn, Family, OnOrphans, Orphans, Propagate, Respawn, SocketConfig, SocketType, WatcherConfig,
    WatcherKind,
};
use crate::proto::Signal;

impl WatcherConfig {
    /// A watcher made by `add` without options: the defaults of `WATCHER_OPTIONS`, in this working directory.
    pub fn new(name: &str, cmd: &str, working_dir: &str) -> Self {
        Self {
            name: name.into(),
            cmd: cmd.into(),
            kind: WatcherKind::Service,
            cron: super::Cron::default(),
            args: None,
            numprocesses: 1,
            warmup_delay: 0.0,
            executable: None,
            working_dir: working_dir.into(),
            shell: false,
            shell_args: None,
            uid: None,
            gid: None,
            copy_env: false,
            copy_path: false,
            env: None,
            send_hup: false,
            reload: None,
            reload_batch: 0,
            reload_surge: 0,
            stop_signal: Signal::TERM,
            stop_steps: Vec::new(),
            stop_children: false,
            kill_mode: super::KillMode::Mixed,
            orphans: Orphans::End,
            max_retry: 5,
            graceful_timeout: 30.0,
            priority: 0,
            after: Vec::new(),
            requires: Vec::new(),
            propagate: Propagate::Restart,
            singleton: false,
            use_sockets: false,
            sockets: Vec::new(),
            on_demand: false,
            remember: false,
            no_new_privs: false,
            idle_timeout: 0.0,
            respawn: Respawn::Always,
            success_codes: vec![0],
            autostart: true,
            cgroup: false,
            group_limits: super::GroupLimits::default(),
            scheduling: super::Scheduling::default(),
            essential: false,
            max_age: 0,
            max_age_variance: 30,
            min_uptime: 1.0,
            rlimits: BTreeMap::new(),
            slots: BTreeMap::new(),
            env_file: None,
            stdin_socket: None,
            virtualenv: None,
            virtualenv_py_ver: None,
            close_child_stdin: true,
            close_child_stdout: false,
            close_child_stderr: false,
            stdout_stream: None,
            stderr_stream: None,
            tail_bytes: 16 * 1024,
            hooks: BTreeMap::new(),
            hook_timeout: 60.0,
            checks: super::Checks::default(),
            scaling: super::Scaling::default(),
            declared: None,
            dynamic: true,
            plugin: None,
            origin: super::WatcherOrigin::User,
            freeform: BTreeMap::new(),
        }
    }
}

/// Where the console is, by default as in Circus.
const HTTPD_HOST: &str = "localhost";
const HTTPD_PORT: u16 = 8080;

pub(super) fn is_httpd_host(host: &str) -> bool {
    host == HTTPD_HOST
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_httpd_port(port: &u16) -> bool {
    *port == HTTPD_PORT
}

impl Default for CircusConfig {
    fn default() -> Self {
        Self {
            check_delay: 5.0,
            endpoint: "tcp://127.0.0.1:5555".into(),
            endpoint_owner: None,
            endpoint_mode: 0o600,
            ipc_roles: None,
            pubsub_endpoint: "tcp://127.0.0.1:5556".into(),
            statsd: false,
            statsd_close_outputs: false,
            stats_endpoint: "tcp://127.0.0.1:5557".into(),
            stats_interval: 1.0,
            stats_always: false,
            httpd: false,
            httpd_close_outputs: false,
            httpd_host: HTTPD_HOST.into(),
            httpd_port: HTTPD_PORT,
            multicast_endpoint: String::new(),
            umask: None,
            warmup_delay: 0.0,
            debug: false,
            pidfile: None,
            loglevel: None,
            logoutput: None,
            log_format: super::LogFormat::Text,
            audit_log: None,
            audit_format: super::LogFormat::Text,
            fqdn_prefix: None,
            allow_anyone_on_the_network_to_control_this_machine: false,
            python: None,
            strict: false,
            curve_server_key: None,
            curve_authorized_keys: None,
            exit_on: ExitOn::End,
            workers_end_with_circusd: false,
            state_file: None,
            on_orphans: OnOrphans::End,
            watch: false,
        }
    }
}

impl SocketConfig {
    /// A socket of this name, in lower case, with the defaults of `SOCKET_OPTIONS`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_lowercase(),
            host: "localhost".into(),
            port: 8080,
            family: Family::Inet,
            kind: SocketType::Stream,
            proto: None,
            backlog: 2048,
            path: None,
            // Not the usual 022: the original's default was a decimal 8, so its unix sockets have mode 0767.
            umask: 0o010,
            replace: false,
            interface: None,
            so_reuseport: false,
            blocking: false,
        }
    }
}
