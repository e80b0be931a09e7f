//! `cyme`: the command line of the HTTP interface.

mod completion;
mod fleet;
mod singleton;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use circus_core::escape::escaped_lines;
use clap::{Parser, ValueEnum};
use serde_json::Value;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(70);
/// The branch that is asked, unless another is named.
const URL: &str = "http://localhost:8000";
/// The command was refused.
const REFUSED: u8 = 1;
/// The command was not understood.
const USAGE: u8 = 2;
/// No branch answers.
const UNREACHABLE: u8 = 3;

/// The arguments.
#[derive(Clone, Debug, Parser)]
#[command(name = "cyme", version, about = "Controls the branches of a fleet", after_help = HELP)]
pub struct Args {
    /// what, and what to do with it: see below
    #[arg(value_name = "TYPE[.ACTION]")]
    pub what: String,
    /// names, and values in their order; or NAME=VALUE
    #[arg(value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
    /// the application of instances, queues and consumers
    #[arg(short, long, value_name = "NAME")]
    pub app: Option<String>,
    /// do not wait until it is done
    #[arg(short, long)]
    pub nowait: bool,
    /// how to show the answer
    #[arg(short = 'F', long, value_name = "FORMAT", default_value = "jsonp")]
    pub format: Format,
    /// the URL of a branch; CYME_URL, or http://localhost:8000
    #[arg(short, long, value_name = "URL")]
    pub url: Option<String>,
    /// fleet: the machines, by the ids of their branches; * and ? stand for any text and any character
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub machines: String,
    /// fleet: the watchers
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub watchers: String,
    /// fleet: one machine after the other, until the first that fails
    #[arg(long)]
    pub rolling: bool,
    /// the file with the token that the branch asks for; without, the token is in CYME_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON, for readers.
    Jsonp,
    /// JSON, in a line.
    Json,
}

const HELP: &str = "branches            all; get ID
apps                all; get NAME; add NAME [broker] [arguments] \
    [extra_config]; delete NAME [force]
instances           all; get NAME; add [NAME] [broker] [arguments] \
    [extra_config]; delete NAME; stats NAME;
                    autoscale NAME [max] [min]; enable NAME; disable \
    NAME; restart NAME
queues              all; get NAME; add NAME [exchange] [exchange_type] [routing_key] \
    [options]; delete NAME
consumers           all INSTANCE; add INSTANCE QUEUE; delete INSTANCE QUEUE
fleet               \
    status; start, stop, restart, reload; incr [N]; decr [N]; signal NUMBER: the watchers of all machines,
                    \
    or of those that --machines and --watchers name
singleton           NAME -- COMMAND...: runs a command while no other machine does
completion          bash, fish or zsh: prints the script that completes command lines
The action is all where none is named.";

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    method: &'static str,
    path: String,
    params: Vec<(String, String)>,
}

/// The request of a command line, or what is wrong with it.
fn call(args: &Args) -> Result<Call, String> {
    let (kind, action) = args.what.split_once('.').unwrap_or((&args.what, "all"));
    let mut words = args.arguments.iter().map(String::as_str);
    let app = || args.app.as_deref().map(segment).ok_or(format!("{kind} belong to an application: -a NAME"));
    let mark = if args.nowait { "!/" } else { "" };
    let mut need = |what: &str| words.next().map(segment).ok_or(format!("{kind}.{action} needs {what}"));
    let (method, path, fields): (_, _, &[&str]) = match (kind, action) {
        ("branches", "all") => ("GET", "/branches/".into(), &[]),
        ("branches", "get") => ("GET", format!("/branches/{}/", need("an id")?), &[]),
        ("apps", "all") => ("GET", "/".into(), &[]),
        ("apps", "get") => ("GET", format!("/{}/", need("a name")?), &[]),
        ("apps", "add") => ("POST", format!("/{}/", need("a name")?), &["broker", "arguments", "extra_config"]),
        ("apps", "delete") => ("DELETE", format!("/{}/", need("a name")?), &["force"]),
        ("instances", "all") => ("GET", format!("/{}/instances/", app()?), &[]),
        ("instances", "add") => {
            let name = need("").unwrap_or_default();
            let end = if name.is_empty() || name.contains("%3D") { String::new() } else { format!("{name}/") };
            ("POST", format!("/{}/instances/{mark}{end}", app()?), &["broker", "arguments", "extra_config"])
        }
        ("instances", "get") => ("GET", format!("/{}/instances/{}/", app()?, need("a name")?), &[]),
        ("instances", "delete") => ("DELETE", format!("/{}/instances/{mark}{}/", app()?, need("a name")?), &[]),
        ("instances", "stats") => ("GET", format!("/{}/instances/{}/stats/", app()?, need("a name")?), &[]),
        ("instances", "autoscale") => {
            let (name, app) = (need("a name")?, app()?);
            match args.arguments.len() {
                1 => ("GET", format!("/{app}/instances/{name}/autoscale/"), &[]),
                _ => ("POST", format!("/{app}/instances/{mark}{name}/autoscale/"), &["max", "min"]),
            }
        }
        ("instances", "enable" | "disable" | "restart") => {
            ("POST", format!("/{}/instances/{mark}{}/{action}/", app()?, need("a name")?), &[])
        }
        ("queues", "all") => ("GET", format!("/{}/queues/", app()?), &[]),
        ("queues", "get") => ("GET", format!("/{}/queues/{}/", app()?, need("a name")?), &[]),
        ("queues", "add") => {
            let path = format!("/{}/queues/{mark}{}/", app()?, need("a name")?);
            ("POST", path, &["exchange", "exchange_type", "routing_key", "options"])
        }
        ("queues", "delete") => ("DELETE", format!("/{}/queues/{mark}{}/", app()?, need("a name")?), &[]),
        ("consumers", "all") => ("GET", format!("/{}/instances/{}/queues/", app()?, need("an instance")?), &[]),
        ("consumers", "add" | "delete") => {
            let (instance, queue) = (need("an instance")?, need("a queue")?);
            let method = if action == "add" { "POST" } else { "DELETE" };
            (method, format!("/{}/instances/{mark}{instance}/queues/{queue}/", app()?), &[])
        }
        _ => return Err(format!("'{}' is not a command: see --help", args.what)),
    };
    // An instance that is made without a name may still have fields.
    let unnamed =
        (kind, action) == ("instances", "add") && args.arguments.first().is_some_and(|word| word.contains('='));
    let rest: Vec<&str> = if unnamed { args.arguments.iter().map(String::as_str).collect() } else { words.collect() };
    let params = params(&rest, fields)?;
    Ok(Call { method, path, params })
}

/// Values of the fields in their order, or by their names.
fn params(words: &[&str], fields: &[&str]) -> Result<Vec<(String, String)>, String> {
    let mut places = fields.iter();
    let param = |word: &&str| match word.split_once('=') {
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let name = places.next().ok_or_else(|| format!("'{word}' is too much"))?;
            Ok(((*name).to_owned(), (*word).to_owned()))
        }
    };
    words.iter().map(param).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn segment(name: &str) -> String {
    crate::core::encoded(name)
}

/// What completion needs is not understood as arguments: it is a part of a line.
fn complete() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = words.strip_prefix(&["completion".to_owned()])?;
    let variable = |name| std::env::var(name).ok();
    let branch = Branch { url: variable("CYME_URL").unwrap_or_else(|| URL.to_owned()), token: variable("CYME_TOKEN") };
    Some(match completion::run(words, &branch) {
        Ok(text) => {
            drop(io::stdout().write_all(text.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(reason) => failed(USAGE, &reason),
    })
}

/// The program.
pub fn main() -> ExitCode {
    if let Some(done) = complete() {
        return done;
    }
    let args = Args::parse();
    let token = match &args.token_file {
        Some(file) => match fs::read_to_string(file) {
            Ok(token) => Some(token),
            Err(error) => return failed(USAGE, &format!("{}: {error}", file.display())),
        },
        None => std::env::var("CYME_TOKEN").ok(),
    };
    let url = args.url.clone().or_else(|| std::env::var("CYME_URL").ok()).unwrap_or_else(|| URL.to_owned());
    let branch = Branch { url: url.clone(), token: token.map(|token| token.trim().to_owned()) };
    if args.what == singleton::BECOME {
        let Failure(code, reason) = singleton::become_command(&args.arguments);
        return failed(code, &reason);
    }
    if args.what == "singleton" {
        return singleton::run(branch, &args.arguments).unwrap_or_else(|Failure(code, reason)| failed(code, &reason));
    }
    if let Some(order) = fleet::order(&args) {
        return match order.and_then(|order| fleet::run(&args, &order, |call| branch.send(call))) {
            Ok((done, report)) => {
                drop(writeln!(io::stdout(), "{}", escaped_lines(&shown(&report.to_string(), args.format))));
                if done { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
            }
            Err(Failure(code, reason)) => failed(code, &reason),
        };
    }
    let call = match call(&args) {
        Ok(call) => call,
        Err(reason) => return failed(USAGE, &reason),
    };
    match branch.send(&call) {
        Err(reason) => failed(UNREACHABLE, &format!("{url}: {reason}")),
        Ok((status, body)) if status < 300 => {
            drop(writeln!(io::stdout(), "{}", escaped_lines(&shown(&body, args.format))));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => failed(REFUSED, &refusal(status, &body)),
    }
}

fn failed(code: u8, reason: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "cyme: {}", escaped_lines(reason)));
    ExitCode::from(code)
}

fn shown(body: &str, format: Format) -> String {
    match (format, serde_json::from_str::<Value>(body)) {
        (Format::Jsonp, Ok(value)) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| body.to_owned()),
        (_, _) => body.to_owned(),
    }
}

fn refusal(status: u16, body: &str) -> String {
    let reason = serde_json::from_str::<Value>(body).ok().and_then(|body| Some(body["nok"][0].as_str()?.to_owned()));
    reason.unwrap_or_else(|| match status {
        404 => "no branch has it".into(),
        408 => "the branch that has it did not answer in time".into(),
        status => format!("refused with status {status}"),
    })
}

/// Why a command has failed, and with which exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure(u8, String);

/// The branch that is asked.
#[derive(Clone)]
struct Branch {
    url: String,
    token: Option<String>,
}

impl Branch {
    fn send(&self, call: &Call) -> Result<(u16, String), String> {
        self.send_within(call, TIMEOUT)
    }

    fn send_within(&self, call: &Call, patience: Duration) -> Result<(u16, String), String> {
        send(&self.url, call, self.token.as_deref(), patience)
    }
}

/// The authorities that this machine trusts, or those in the file that SSL_CERT_FILE names.
fn trusted() -> ureq::tls::TlsConfig {
    let known = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = known.iter().map(|known| ureq::tls::Certificate::from_der(known).to_owned()).collect();
    ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build()
}

fn send(url: &str, call: &Call, token: Option<&str>, patience: Duration) -> Result<(u16, String), String> {
    let mut config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience));
    if url.starts_with("https:") {
        config = config.tls_config(trusted());
    }
    let agent = ureq::Agent::new_with_config(config.build());
    let url = format!("{}{}", url.trim_end_matches('/'), call.path);
    let mut request = ureq::http::Request::builder().method(call.method);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let pairs = call.params.iter().map(|(name, value)| format!("{name}={}", crate::core::encoded(value)));
    let query: Vec<String> = pairs.collect();
    let url = if query.is_empty() { url } else { format!("{url}?{}", query.join("&")) };
    let request = request.uri(url).body(()).map_err(|error| error.to_string())?;
    let mut response = agent.run(request).map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::parse;

    fn called(line: &str) -> Result<Call, String> {
        call(&Args::parse_from(std::iter::once("cyme").chain(line.split(' '))))
    }

    #[test]
    fn every_command_is_a_request_that_a_branch_understands() {
        for (line, method, path) in [
            ("branches", "GET", "/branches/"),
            ("branches.get b1", "GET", "/branches/b1/"),
            ("apps", "GET", "/"),
            ("apps.get foo", "GET", "/foo/"),
            ("apps.add foo redis://h", "POST", "/foo/"),
            ("apps.delete foo force=1", "DELETE", "/foo/"),
            ("instances -a foo", "GET", "/foo/instances/"),
            ("instances.add -a foo", "POST", "/foo/instances/"),
            ("instances.add -a foo pool=solo", "POST", "/foo/instances/"),
            ("instances.add -n -a foo i", "POST", "/foo/instances/!/i/"),
            ("instances.get -a foo i", "GET", "/foo/instances/i/"),
            ("instances.delete -a foo i", "DELETE", "/foo/instances/i/"),
            ("instances.stats -a foo i", "GET", "/foo/instances/i/stats/"),
            ("instances.autoscale -a foo i", "GET", "/foo/instances/i/autoscale/"),
            ("instances.autoscale -a foo i 4 2", "POST", "/foo/instances/i/autoscale/"),
            ("instances.restart -a foo i", "POST", "/foo/instances/i/restart/"),
            ("queues.add -a foo t", "POST", "/foo/queues/t/"),
            ("queues.delete -a foo t", "DELETE", "/foo/queues/t/"),
            ("consumers -a foo i", "GET", "/foo/instances/i/queues/"),
            ("consumers.add -a foo i t", "POST", "/foo/instances/i/queues/t/"),
            ("consumers.delete -n -a foo i t", "DELETE", "/foo/instances/!/i/queues/t/"),
        ] {
            let call = called(line).unwrap();
            assert_eq!((call.method, call.path.as_str()), (method, path), "{line}");
            assert!(parse(call.method, &call.path, "", b"").is_ok(), "{line}");
        }
    }

    #[test]
    fn values_go_to_their_fields() {
        let params = |line| called(line).unwrap().params;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(params("instances.autoscale -a foo i 4 2"), [pair("max", "4"), pair("min", "2")]);
        assert_eq!(params("instances.autoscale -a foo i min=2"), [pair("min", "2")]);
        assert_eq!(params("instances.add -a foo pool=solo"), [pair("pool", "solo")]);
        assert_eq!(params("apps.add foo redis://h/?a=b"), [pair("broker", "redis://h/?a=b")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, reason) in [
            ("instances", "instances belong to an application: -a NAME"),
            ("apps.get", "apps.get needs a name"),
            ("apps.get foo bar", "'bar' is too much"),
            ("consumers.add -a foo i", "consumers.add needs a queue"),
            ("apples", "'apples' is not a command: see --help"),
        ] {
            assert_eq!(called(line).unwrap_err(), reason);
        }
    }

    #[test]
    fn refusals_are_told_in_words() {
        assert_eq!(refusal(409, r#"{"nok": ["taken", ""]}"#), "taken");
        assert_eq!(refusal(404, ""), "no branch has it");
        assert_eq!(refusal(418, ""), "refused with status 418");
    }
}
