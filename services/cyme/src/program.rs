//! `cyme-branch`: its arguments, its start, its end.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use circus_client::endpoint;
use circus_core::base::Level;
use circus_web::{random_token, tls};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;

use crate::broker;
use crate::core::model::FILE;
use crate::core::{Random, Settings, model};
use crate::http::{self, Access};
use crate::service::{Parts, start};
use crate::store::Store;

/// The port without another.
const PORT: u16 = 8000;
/// How long requests may take to end once the branch is to.
const END: Duration = Duration::from_secs(2);

/// The arguments.
#[derive(Clone, Debug, Parser)]
#[command(name = "cyme-branch", version, about = "Runs Celery workers on this machine with its circusd")]
pub struct Args {
    /// Where to listen: HOST:PORT, :PORT or PORT; 127.0.0.1:8000 without
    #[arg(value_name = "ADDRESS")]
    pub address: Option<String>,
    /// the URL of the broker: amqp://..., amqps://..., redis://..., rediss://..., or memory:// for one branch alone
    #[arg(short, long, value_name = "URL", default_value = "amqp://guest:guest@localhost:5672//")]
    pub broker: String,
    /// the id of the branch; made once, and kept in its folder, if it is not given
    #[arg(short, long, value_name = "ID")]
    pub id: Option<String>,
    /// the folder of the branch: its state, and a folder for each instance
    #[arg(short = 'D', long, value_name = "FOLDER", default_value = "instances")]
    pub instance_dir: PathBuf,
    /// how many controllers the branch says that it has; one serves all requests
    #[arg(short = 'C', long, value_name = "N", default_value_t = 2)]
    pub numc: u32,
    /// the seconds between two looks at all instances
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub sup_interval: u64,
    /// serve no HTTP
    #[arg(long, alias = "without-http")]
    pub without_httpd: bool,
    /// the least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(short, long, value_name = "LEVEL", default_value = "WARNING", value_parser = level)]
    pub loglevel: Level,
    /// the file of the log; standard error without
    #[arg(short = 'f', long, value_name = "FILE")]
    pub logfile: Option<PathBuf>,
    /// write the log as JSON, an object a line
    #[arg(long)]
    pub log_json: bool,
    /// the endpoint of this machine's circusd
    #[arg(long, value_name = "ENDPOINT", default_value = endpoint::CONTROL)]
    pub circus_endpoint: String,
    /// where circusd publishes events
    #[arg(long, value_name = "ENDPOINT", default_value = endpoint::EVENTS)]
    pub circus_pubsub: String,
    /// the program celery that runs workers
    #[arg(long, value_name = "PROGRAM", default_value = "celery")]
    pub celery: String,
    /// where results of tasks go; the broker without
    #[arg(long, value_name = "URL")]
    pub result_backend: Option<String>,
    /// the seconds that the worker of a deleted instance may take to finish its tasks
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// a label of this branch, by which instances can be placed; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// a host that tasks may request, *.DOMAIN, or *; may be given several times, and this machine is always allowed
    #[arg(long = "allow-target", value_name = "HOST")]
    pub targets: Vec<String>,
    /// the file with the token that requests need; off this machine one is made if it is not given
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// keep the state in this database: postgres://, mysql:// or mariadb://USER:PASSWORD@HOST:PORT/DATABASE; a file in
    /// the folder without
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// the file with the certificate, and those that lead to its authority, in PEM: HTTP needs TLS then
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// the file with the key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// accepted for Cyme's command lines, without effect: nothing is asked
    #[arg(short = 'X', long)]
    pub no_interaction: bool,
}

fn level(name: &str) -> Result<Level, String> {
    let known = || Level::ALL.map(|level| level.name().to_uppercase()).join(", ");
    Level::parse(name).ok_or_else(|| format!("there is {}", known()))
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        Level::Error | Level::Critical => LevelFilter::ERROR,
    }
}

/// The program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(serve(args)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            drop(writeln!(io::stderr(), "cyme-branch: {}", circus_core::escape::escaped_lines(&reason)));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let root = folder(&args.instance_dir)?;
    log(&args)?;
    let address = address(args.address.as_deref())?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => kept(&root.join(".branch/id"), || Random::new(crate::seed()).uuid())?,
    };
    model::name("instance", &id).map_err(|error| format!("--id: {}", error.reason))?;
    let python = root.join(".branch/python");
    fs::create_dir_all(&python).map_err(|error| format!("{}: {error}", python.display()))?;
    fs::write(python.join("cyme_worker.py"), crate::WORKER).map_err(|error| format!("cyme_worker.py: {error}"))?;
    let (place, opened) = match &args.database {
        Some(url) => ("--database".to_owned(), Store::connect(url, &id).await),
        None => (root.join(FILE).display().to_string(), Store::open(&root.join(FILE)).await),
    };
    let store = opened.map_err(|error| format!("{place}: {error}"))?;
    let kept_before = store.load().await.map_err(|error| format!("{place}: {error}"))?;

    let listener = match args.without_httpd {
        true => None,
        false => Some(TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?),
    };
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok()).unwrap_or(address);
    let access = access(&args, address.ip(), &root)?;
    let settings = settings(&args, &id, &root, &python, address);
    let (url, tls) = (format!("{}/", settings.url), args.tls_certificate.zip(args.tls_key));
    let broker = broker::open(&args.broker, &id)?;
    let (endpoint, events) = (args.circus_endpoint, args.circus_pubsub);
    let branch = start(Parts { settings, model: kept_before, store, broker, endpoint, events })?;

    announce(&format!("cyme-branch {id} is ready at {url} (pid {})", std::process::id()));
    match listener {
        Some(listener) => {
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let (served, stopped) = (branch.clone(), async move { drop(stopped.await) });
            let server: Pin<Box<dyn Future<Output = io::Result<()>>>> = match tls {
                Some((certificate, key)) => {
                    Box::pin(http::serve(tls::listen(listener, &certificate, &key)?, served, access, stopped))
                }
                None => Box::pin(http::serve(listener, served, access, stopped)),
            };
            tokio::pin!(server);
            tokio::select! {
                served = &mut server => served.map_err(|error| error.to_string())?,
                () = told_to_end() => {
                    let _ = stop.send(());
                    drop(timeout(END, server).await);
                }
            }
        }
        None => told_to_end().await,
    }
    branch.end().await;
    Ok(())
}

/// Waits for TERM or INT.
async fn told_to_end() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn settings(args: &Args, id: &str, root: &Path, python: &Path, address: SocketAddr) -> Settings {
    let inherited = std::env::var("PYTHONPATH").unwrap_or_default();
    let python = python.display().to_string();
    Settings {
        id: id.to_owned(),
        url: format!("{}://{address}", if args.tls_certificate.is_some() { "https" } else { "http" }),
        port: address.port(),
        broker: args.broker.clone(),
        result_backend: args.result_backend.clone(),
        loglevel: args.loglevel.name().to_uppercase(),
        logfile: args.logfile.as_ref().map(|file| file.display().to_string()),
        numc: args.numc,
        interval: Duration::from_secs(args.sup_interval),
        drain: Duration::from_secs(args.drain),
        labels: args.labels.clone(),
        root: root.display().to_string(),
        celery: found(&args.celery),
        python_path: if inherited.is_empty() { python } else { format!("{python}:{inherited}") },
        seed: crate::seed(),
    }
}

/// A program by its whole path, where PATH leads to it: circusd may have another PATH.
fn found(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = match program.contains('/') {
        true => vec![std::env::current_dir().unwrap_or_default().join(program)],
        false => std::env::split_paths(&path).map(|folder| folder.join(program)).collect(),
    };
    let found = places.into_iter().find(|place| place.is_file());
    if found.is_none() {
        tracing::warn!("there is no program '{program}': workers cannot be started without it");
    }
    found.map_or_else(|| program.to_owned(), |place| place.display().to_string())
}

/// The folder of the branch. Nothing but its owner may look into it: URLs of brokers have passwords.
fn folder(path: &Path) -> Result<PathBuf, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(told)?;
    let root = fs::canonicalize(path).map_err(told)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(".branch")).map_err(told)?;
    // The folder may be another's choice, as with `-D .`; SQLite gives its other files the mode of this one.
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(root.join(FILE)).map_err(told)?;
    Ok(root)
}

/// The text in a file; it is made if it is not there.
fn kept(path: &Path, make: impl FnOnce() -> String) -> Result<String, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make();
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(told)?;
            writeln!(file, "{text}").map_err(told)?;
            Ok(text)
        }
        Err(error) => Err(told(error)),
    }
}

fn access(args: &Args, ip: IpAddr, root: &Path) -> Result<Access, String> {
    let token = match &args.token_file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(text.trim().to_owned())
        }
        None if ip.is_loopback() || args.without_httpd => None,
        None => {
            let file = root.join(".branch/token");
            // An empty token is refused.
            let token = kept(&file, || random_token().unwrap_or_default())?;
            announce(&format!("requests need the token in {}", file.display()));
            Some(token)
        }
    };
    if token.as_deref() == Some("") {
        return Err("--token-file: the file is empty".into());
    }
    let mut targets = args.targets.clone();
    targets.extend(["127.0.0.1", "::1", "localhost"].map(str::to_owned));
    Ok(Access { token, targets, secure: args.tls_certificate.is_some() })
}

/// Where to listen. Without a host that is this machine only.
fn address(text: Option<&str>) -> Result<SocketAddr, String> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(text) = text else { return Ok(SocketAddr::new(local, PORT)) };
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("'{text}' is not a port"));
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.rsplit_once(':') {
        None if text.chars().all(|c| c.is_ascii_digit()) => Ok(SocketAddr::new(local, port(text)?)),
        Some(("" | "localhost", number)) => Ok(SocketAddr::new(local, port(number)?)),
        _ => text
            .parse()
            .map(|ip| SocketAddr::new(ip, PORT))
            .map_err(|_| format!("'{text}' is not an address to listen on")),
    }
}

fn log(args: &Args) -> Result<(), String> {
    let builder = tracing_subscriber::fmt().with_max_level(filter(args.loglevel)).with_ansi(false);
    match (&args.logfile, args.log_json) {
        (None, false) => builder.with_writer(io::stderr).init(),
        (None, true) => builder.json().with_writer(io::stderr).init(),
        (Some(path), json) => {
            let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            let file = std::sync::Mutex::new(file.map_err(|error| format!("{}: {error}", path.display()))?);
            if json { builder.json().with_writer(file).init() } else { builder.with_writer(file).init() }
        }
    }
    Ok(())
}

/// Says something to the user who started the branch.
fn announce(line: &str) {
    let mut output = io::stdout();
    drop(writeln!(output, "{line}"));
    drop(output.flush());
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn addresses() {
        let at = |text| address(text).unwrap().to_string();
        assert_eq!(at(None), "127.0.0.1:8000");
        assert_eq!(at(Some(":8001")), "127.0.0.1:8001");
        assert_eq!(at(Some("8001")), "127.0.0.1:8001");
        assert_eq!(at(Some("localhost:8001")), "127.0.0.1:8001");
        assert_eq!(at(Some("0.0.0.0:8001")), "0.0.0.0:8001");
        assert_eq!(at(Some("10.0.0.1")), "10.0.0.1:8000");
        assert_eq!(at(Some("[::1]:8001")), "[::1]:8001");
        for wrong in ["x", ":x", "host:80", "99999", ""] {
            assert!(address(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn state_is_its_owners_only_in_any_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = folder(root.path()).unwrap();
        let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(FILE), mode(".branch")), (0o600, 0o700));
    }

    #[test]
    fn off_this_machine_a_token_is_made_and_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".branch")).unwrap();
        let args = Args::parse_from(["cyme-branch", "--allow-target", "m"]);
        let local = access(&args, "127.0.0.1".parse().unwrap(), root.path()).unwrap();
        assert_eq!(local.token, None);
        assert!(local.targets.contains(&"m".to_owned()) && local.targets.contains(&"localhost".to_owned()));
        let open = access(&args, "0.0.0.0".parse().unwrap(), root.path()).unwrap().token.unwrap();
        assert_eq!(open.len(), 48);
        assert_eq!(access(&args, "10.0.0.1".parse().unwrap(), root.path()).unwrap().token, Some(open));
    }

    #[test]
    fn command_lines_of_cyme_are_understood() {
        let args =
            Args::parse_from(["cyme-branch", ":8001", "-i", "branch1", "-D", "cyme/branch1/", "-l", "info", "-X"]);
        assert_eq!((args.address.as_deref(), args.id.as_deref()), (Some(":8001"), Some("branch1")));
        assert_eq!(args.loglevel, Level::Info);
        assert!(Args::parse_from(["cyme-branch", "--without-http"]).without_httpd);
    }
}
