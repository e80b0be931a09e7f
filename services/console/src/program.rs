//! `circushttpd`: its arguments, its start, its end.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderName;
use circus_client::{KeyNames, Ssh};
use circus_core::commands::Role;
use circus_core::escape::{escaped, escaped_lines};
use circus_web::{random_token, tls};
use clap::Parser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::core::Access;
use crate::core::access::{Proxy, Token, tokens};
use crate::fleet::client::Address;
use crate::fleet::{Common, Fleet};
use crate::http::{self, Server};
use crate::link::Machine;
use crate::listener::{self, Door};
use crate::machines::{Given, fleets, is_open, places};
use crate::tree::{Machines, Shown};

/// How long requests may take to end once the console is to.
const END: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Clone, Debug, Parser)]
#[command(name = "circushttpd", version, about = "Shows and steers circusds in a browser")]
pub struct Args {
    /// Where circusd answers (or CIRCUSCTL_ENDPOINT; tcp://127.0.0.1:5555)
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Where circusd publishes events; by default circusd reports it
    #[arg(long, value_name = "ENDPOINT")]
    pub pubsub: Option<String>,
    /// Where circusd-stats publishes figures; by default circusd reports it
    #[arg(long, value_name = "ENDPOINT")]
    pub stats: Option<String>,
    /// Hosts by their names in hosts.toml, in place of one endpoint; several with commas, a pattern, a group, or all (or
    /// CIRCUS_HOST)
    #[arg(long, value_name = "HOSTS", conflicts_with_all = ["endpoint", "pubsub", "stats"])]
    pub host: Option<String>,
    /// A branch of Cyme whose fleet is shown; may be given several times. No circusd is shown beside fleets unless it is
    /// named
    #[arg(long, value_name = "URL", value_parser = Address::read)]
    pub fleet: Vec<Address>,
    /// The file with the token that the branch asks for (or CYME_TOKEN); one for all fleets, or one for each in their order
    #[arg(long, value_name = "FILE", requires = "fleet")]
    pub fleet_token_file: Vec<PathBuf>,
    /// What pages call the machine of the one endpoint; its host name without
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A host to tunnel through, in the format user@host:port
    #[arg(long, value_name = "SERVER")]
    pub ssh: Option<String>,
    /// The private key file for the ssh server
    #[arg(long = "ssh_keyfile", value_name = "FILE")]
    pub ssh_keyfile: Option<String>,
    /// The file of our secret key, where circusd asks for keys (or CIRCUS_CURVE_KEY)
    #[arg(long, value_name = "FILE")]
    pub curve_key: Option<String>,
    /// The file of circusd's public key, or that key (or CIRCUS_CURVE_SERVER_KEY)
    #[arg(long, value_name = "KEY")]
    pub curve_server_key: Option<String>,
    /// Where browsers connect: HOST:PORT, :PORT, PORT, or unix:PATH
    #[arg(long, value_name = "ADDRESS", value_parser = listener::address, default_value = listener::ADDRESS)]
    pub listen: listener::Address,
    /// The number of an inherited descriptor to listen at, such as $(circus.sockets.NAME); without it, that of LISTEN_FDS
    #[arg(long, value_name = "NUMBER", conflicts_with = "listen")]
    pub fd: Option<RawFd>,
    /// The file with a line NAME ROLE TOKEN [WATCHER ...] for each token; if one is needed and there is none, it is made
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// What those may do that have no token: read, operate, admin, or none; on this machine only
    #[arg(long, value_name = "ROLE", value_parser = anonymous)]
    pub anonymous: Option<Anonymous>,
    /// The header in which a reverse proxy says who a request is from
    #[arg(long, value_name = "NAME", requires = "proxy_from", requires = "proxy_role")]
    pub proxy_header: Option<HeaderName>,
    /// An address of that proxy, or unix for any client of a unix socket; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = proxy_from, requires = "proxy_header")]
    pub proxy_from: Vec<ProxyFrom>,
    /// The role of a user of that proxy, or of every other one with *; may be given several times
    #[arg(long, value_name = "USER:ROLE", value_parser = proxy_role, requires = "proxy_header")]
    pub proxy_role: Vec<(String, Role)>,
    /// A name at which browsers reach this server beside those of this machine, with its port if it is none of 80 and 443;
    /// may be given several times
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// The path at which a reverse proxy has this server, such as /circus
    #[arg(long, value_name = "PATH", value_parser = prefix, default_value = "")]
    pub prefix: String,
    /// A reverse proxy ends TLS: cookies are for https only
    #[arg(long)]
    pub behind_tls: bool,
    /// The file with the certificate, and those that lead to its authority, in PEM: browsers need TLS then
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The file with the key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Gather figures also while no browser looks
    #[arg(long)]
    pub always: bool,
    /// The seconds for which the answer to an action is waited for; circusd goes on with it
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// End when the process ends that has started this one, as circusd does it
    #[arg(long)]
    pub end_with_parent: bool,
}

/// What those may do that have no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymous(Option<Role>);

/// Where a proxy is; `None` for a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyFrom(Option<IpAddr>);

fn role(name: &str) -> Result<Role, String> {
    Role::named(name).ok_or_else(|| format!("'{}' is none of read, operate and admin", escaped(name)))
}

fn anonymous(name: &str) -> Result<Anonymous, String> {
    if name == "none" { Ok(Anonymous(None)) } else { role(name).map(|role| Anonymous(Some(role))) }
}

fn proxy_from(text: &str) -> Result<ProxyFrom, String> {
    if text == "unix" {
        return Ok(ProxyFrom(None));
    }
    text.parse().map(|address| ProxyFrom(Some(address))).map_err(|_| "it is neither an address nor unix".to_owned())
}

fn proxy_role(text: &str) -> Result<(String, Role), String> {
    let (user, name) = text.rsplit_once(':').filter(|(user, _)| !user.is_empty()).ok_or("it is not USER:ROLE")?;
    Ok((user.to_owned(), role(name)?))
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = text.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if plain.is_empty() || plain.starts_with('/') && plain.chars().all(is_plain) && !plain.contains("//") {
        return Ok(plain.to_owned());
    }
    Err("a path begins with a slash, and has letters, digits and - _ . ~ only".into())
}

/// The program.
pub fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&reason);
            ExitCode::FAILURE
        }
    }
}

/// A line for people. A failure of standard error cannot be reported.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "circushttpd: {}", escaped_lines(line)));
}

async fn run(args: Args) -> Result<(), String> {
    let parent = args.end_with_parent.then(end_of_parent).transpose()?;
    let host = circus_sys::host();
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let given = Given {
        endpoint: args.endpoint.clone(),
        pubsub: args.pubsub.clone(),
        stats: args.stats.clone(),
        host: args.host.clone(),
        ssh: args.ssh.clone().map(|server| Ssh { server, keyfile: args.ssh_keyfile.clone() }),
        keys: KeyNames { own: args.curve_key.clone(), server: args.curve_server_key.clone(), descriptor: None },
        name: args.name.clone(),
        fleets: !args.fleet.is_empty(),
    };
    let places = places(given, &host.env, if machine.is_empty() { "circusd" } else { &machine })?;
    let clients = fleets(&args.fleet, &args.fleet_token_file, host.env.get("CYME_TOKEN").cloned())?;
    let open = is_open(&places) && clients.iter().all(|client| client.token().is_none());
    let door = match (args.fd, Door::passed()) {
        (Some(number), _) => Door::inherited(number)?,
        (None, Some(passed)) => passed?,
        (None, None) => Door::open(&args.listen)?,
    };
    let (access, place) = access(&args, &door, open, &|name| host.env.get(name).cloned())?;
    let (news, changes) = watch::channel(0);
    let news = Arc::new(news);
    let (shown, circusds) = (Shown::default(), places.iter().map(|place| place.name.clone()).collect());
    for place in places {
        shown.add(Machine::start(place, args.always, Arc::clone(&news))?);
    }
    let alone = clients.len() == 1;
    let common = Common { shown: shown.clone(), news, always: args.always, circusds, alone, log: say };
    for client in clients.iter().filter(|client| client.token().is_some() && client.address().is_open()) {
        say(&format!("fleet {}: its token can be read on its way; https:// hides it", client.address()));
    }
    let fleets = clients.into_iter().map(|client| Fleet::start(client, common.clone())).collect();
    let mut server = Server::new(Machines::new(shown, fleets), access, changes, say);
    server.prefix.clone_from(&args.prefix);
    server.secure = args.behind_tls || args.tls_certificate.is_some();
    server.patience = Duration::from_secs(args.patience);
    let url = door.url(args.tls_certificate.is_some(), &args.prefix);
    say(&format!("ready at {url} (pid {})", std::process::id()));
    if let Some(place) = place {
        say(&format!("log in with a token of {}", place.display()));
        // A log is for more eyes than a terminal.
        if io::stderr().is_terminal()
            && let Some(secret) = secret_of(&place)
        {
            say(&format!("or open {url}#token={secret}"));
        }
    }
    serve(door, Arc::new(server), args.tls_certificate.zip(args.tls_key), parent).await
}

async fn serve(
    door: Door,
    server: Arc<Server>,
    tls: Option<(PathBuf, PathBuf)>,
    parent: Option<oneshot::Receiver<()>>,
) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let mut file = None;
    let serving: Pin<Box<dyn Future<Output = io::Result<()>>>> = match (door, tls) {
        (Door::Tcp(listener), tls) => {
            listener.set_nonblocking(true).map_err(told)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(told)?;
            match tls {
                Some((certificate, key)) => {
                    Box::pin(http::serve(tls::listen(listener, &certificate, &key)?, server, stopped))
                }
                None => Box::pin(http::serve(listener, server, stopped)),
            }
        }
        (Door::Unix(..), Some(_)) => return Err("TLS is for TCP; a unix socket needs none".into()),
        (Door::Unix(listener, path), None) => {
            file = path;
            listener.set_nonblocking(true).map_err(told)?;
            let listener = tokio::net::UnixListener::from_std(listener).map_err(told)?;
            Box::pin(http::serve(listener, server, stopped))
        }
    };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served.map_err(told),
        () = told_to_end(parent) => {
            let _ = stop.send(());
            // Browsers that follow something do not end by themselves.
            drop(timeout(END, serving).await);
            Ok(())
        }
    };
    if let Some(path) = file {
        drop(fs::remove_file(path));
    }
    served
}

/// Waits for TERM, INT or HUP, or the end of the parent.
async fn told_to_end(parent: Option<oneshot::Receiver<()>>) {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    let parent = async move {
        match parent {
            Some(parent) => drop(parent.await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
        () = parent => {}
    }
}

/// Comes when the process ends that has started this one.
fn end_of_parent() -> Result<oneshot::Receiver<()>, String> {
    let handle = circus_sys::watch_parent(nix::unistd::getppid().as_raw()).map_err(|error| error.to_string())?;
    let (sender, ended) = oneshot::channel();
    let wait = move || {
        let mut descriptors = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        while poll(&mut descriptors, PollTimeout::NONE).is_err() {}
        let _ = sender.send(());
    };
    std::thread::Builder::new().name("parent".into()).spawn(wait).map_err(|error| error.to_string())?;
    Ok(ended)
}

// -- who may ask ---------------------------------------------------------------------------------------------------------

/// Who may ask; and the file of the tokens, where there is one. `open`: every user of this machine reaches the circusd
/// without the console.
fn access(
    args: &Args,
    door: &Door,
    open: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Access, Option<PathBuf>), String> {
    let proxy = args.proxy_header.clone().map(|header| Proxy {
        header,
        from: args.proxy_from.iter().map(|from| from.0).collect(),
        roles: args.proxy_role.clone(),
    });
    let given = args.anonymous.map(|anonymous| anonymous.0);
    if given.flatten().is_some() && !door.is_local() {
        return Err("--anonymous: off this machine a token is required".into());
    }
    let by_itself = (door.is_private() || door.is_local() && open) && proxy.is_none() && args.tokens.is_none();
    let anonymous = given.unwrap_or(by_itself.then_some(Role::Admin));
    let needed = anonymous.is_none() && proxy.is_none();
    let place = match &args.tokens {
        Some(path) => Some(path.clone()),
        None if needed => Some(place_of_tokens(variable)?),
        None => None,
    };
    let found = place.as_ref().map(|path| read_tokens(path)).transpose()?.unwrap_or_default();
    let hosts = args.allow_host.iter().map(|name| name.to_lowercase()).collect();
    let access = Access { tokens: found, anonymous, hosts, addresses: !door.is_local(), proxy };
    Ok((access, place))
}

/// `$XDG_STATE_HOME/circus/console.tokens`, or else below `~/.local/state`.
fn place_of_tokens(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
        absolute("HOME").or(user.map(|user| user.dir)).map(|home| home.join(".local/state"))
    };
    let folder = absolute("XDG_STATE_HOME").or_else(home);
    folder.map(|folder| folder.join("circus/console.tokens")).ok_or_else(|| "a token is needed: --tokens FILE".into())
}

/// The tokens of a file, which is made with one for admin where there is none. One that others may read is refused.
fn read_tokens(path: &Path) -> Result<Vec<Token>, String> {
    let told = |error: String| format!("{}: {error}", path.display());
    if !path.exists() {
        make_tokens(path).map_err(|error| told(error.to_string()))?;
    }
    let metadata = fs::metadata(path).map_err(|error| told(error.to_string()))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(told(format!("others may read or change it (mode {mode:04o}): chmod 600")));
    }
    let own = nix::unistd::Uid::effective().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(told("it belongs to another user".into()));
    }
    tokens(&fs::read_to_string(path).map_err(|error| told(error.to_string()))?).map_err(told)
}

fn make_tokens(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(
        file,
        "# NAME ROLE TOKEN [WATCHER ...]; a role is read, operate or admin. circushttpd reads it when it starts."
    )?;
    writeln!(file, "admin admin {}", random_token()?)
}

/// The first token of a file.
fn secret_of(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())?;
    line.split_whitespace().nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn door(text: &str) -> Door {
        Door::open(&listener::address(text).unwrap()).unwrap()
    }

    fn of(words: &str, door: &Door, open: bool, folder: &Path) -> Result<(Access, Option<PathBuf>), String> {
        let args = Args::try_parse_from(format!("circushttpd {words}").split_whitespace())
            .map_err(|error| error.to_string())?;
        access(&args, door, open, &|name| (name == "XDG_STATE_HOME").then(|| folder.display().to_string()))
    }

    #[test]
    fn a_token_is_needed_where_others_could_reach_more_than_now() {
        let folder = tempfile::tempdir().unwrap();
        let at = |words: &str, door: &Door, open: bool| of(words, door, open, folder.path());
        let local = door("127.0.0.1:0");
        let (free, place) = at("", &local, true).unwrap();
        assert_eq!((free.anonymous, free.tokens.len(), place), (Some(Role::Admin), 0, None));
        let (held, place) = at("", &local, false).unwrap();
        let place = place.unwrap();
        assert_eq!((held.anonymous, held.tokens.len(), held.addresses), (None, 1, false));
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        let secret = secret_of(&place).unwrap();
        assert_eq!(held.token(&secret).map(|token| token.role), Some(Role::Admin));
        // The same file counts the next time.
        assert!(at("", &local, false).unwrap().0.token(&secret).is_some());
        assert_eq!(at("--anonymous read", &local, false).unwrap().0.anonymous, Some(Role::Read));
        assert_eq!(at("--anonymous none", &local, true).unwrap().0.tokens.len(), 1);
        let open = door("0.0.0.0:0");
        let (held, _) = at("", &open, true).unwrap();
        assert_eq!((held.anonymous, held.tokens.len(), held.addresses), (None, 1, true));
        assert!(at("--anonymous read", &open, true).unwrap_err().contains("a token is required"));
        let path = folder.path().join("s");
        let private = door(path.to_str().unwrap());
        assert_eq!(at("", &private, false).unwrap().0.anonymous, Some(Role::Admin));
        let proxied = "--proxy-header X-Remote-User --proxy-from 127.0.0.1 --proxy-from unix --proxy-role *:read";
        let (behind, place) = at(proxied, &local, true).unwrap();
        assert_eq!((behind.anonymous, place, behind.proxy.unwrap().from.len()), (None, None, 2));
        fs::set_permissions(held_place(folder.path()), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(at("", &local, false).unwrap_err().contains("mode 0640"));
    }

    fn held_place(folder: &Path) -> PathBuf {
        folder.join("circus/console.tokens")
    }

    #[test]
    fn command_lines() {
        let read = |words: &str| {
            Args::try_parse_from(format!("x {words}").split_whitespace()).map_err(|error| error.to_string())
        };
        let args = read("--listen unix:/run/x --prefix /circus/ --allow-host a.example").unwrap();
        assert_eq!((args.listen, args.prefix.as_str()), (listener::Address::Unix("/run/x".into()), "/circus"));
        assert_eq!(read("").unwrap().listen, listener::address(listener::ADDRESS).unwrap());
        for wrong in [
            "--prefix circus",
            "--prefix /a//b",
            "--anonymous root",
            "--proxy-header X-User",
            "--fd 3 --listen :80",
            "--host a --endpoint ipc:///c",
            "--tls-key k",
            "--fleet 127.0.0.1:8000",
            "--fleet-token-file t",
            "--proxy-role alice",
            "word",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
