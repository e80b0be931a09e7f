//! circusd's command line.

use clap::Parser;

/// Starts the fleet that a configuration file describes, and keeps it running.
#[derive(Debug, Parser)]
#[command(name = "circusd", disable_version_flag = true)]
pub struct Args {
    /// The configuration file, INI or JSON; - is standard input
    pub config: Option<String>,
    /// Read the configuration from this inherited descriptor
    #[arg(long, value_name = "N", conflicts_with = "config")]
    pub config_fd: Option<i32>,
    /// Report the progress of the start on this descriptor: LISTENING=1, READY=1, ERROR=reason
    #[arg(long, value_name = "N", conflicts_with = "daemon")]
    pub ready_fd: Option<i32>,
    /// End when this process, the parent of circusd, ends
    #[arg(long, value_name = "PID", conflicts_with = "daemon")]
    pub end_with_parent: Option<i32>,
    /// The lowest level that is logged: critical, error, warning, info or debug
    #[arg(long, value_name = "LEVEL", value_parser = levels())]
    pub log_level: Option<String>,
    /// The destination of the log: a file, - for standard error, or a URL such as syslog:///dev/log?daemon
    #[arg(long, value_name = "FILE")]
    pub log_output: Option<String>,
    /// A Python logging configuration (refused: circusd reads no such files)
    #[arg(long, value_name = "FILE")]
    pub logger_config: Option<String>,
    /// Go to the background; the exit status says whether the daemon has started
    #[arg(long)]
    pub daemon: bool,
    /// Write circusd's pid to this file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<String>,
    /// Check the configuration without starting anything, report what is wrong and what differs from Circus 0.19, and
    /// exit: 0 if nothing is wrong, 1 with an error, 3 with warnings only
    #[arg(long)]
    pub check: bool,
    /// With --check: report as JSON, for editors and CI
    #[arg(long, requires = "check")]
    pub json: bool,
    /// Write a first configuration into this directory, DIR/circus.ini, with endpoints that only its user can reach, and
    /// say what to run next
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "config_fd", "check", "check_state", "daemon"])]
    pub init: Option<std::path::PathBuf>,
    /// Check whether this program can continue with the state of another circusd, read from standard input; for upgrades
    #[arg(long)]
    pub check_state: bool,
    /// Print the version
    #[arg(long)]
    pub version: bool,
}

fn levels() -> clap::builder::PossibleValuesParser {
    ["critical", "error", "warning", "info", "debug", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"].into()
}
