//! The HTTP server: pages, and the REST interface.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use circus_core::access::{Scope, redacted};
use circus_core::commands::Role;
use circus_core::escape::escaped;
use circus_core::proto::{Body as Answer, Object, StreamName};
use circus_web::{random_token, text};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::assets::{self, Asset};
use crate::core::access::{COOKIE, Sessions, admitted, allowed, door, touches};
use crate::core::action::{self, Action};
use crate::core::{Access, Board, Caller, Reach, Refusal, Visit, openapi};
use crate::link::{Machine, Outcome, now};
use crate::listener::Peer;
use crate::stream::{self, Detail, Of, Streams};
use crate::tail::{self, Followers, Wanted};
use crate::tree::Machines;

/// The largest body of a request.
const BODY: usize = 1 << 18;
/// So long a question may take.
const QUESTION: Duration = Duration::from_secs(10);
/// The most lines that are given at once, and how many without a number.
const LINES: usize = 100_000;
const FEW: usize = 200;
/// Pages load what this server has, and nothing else; no other page may contain them. <https://www.w3.org/TR/CSP3/>
const POLICY: &str =
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What a server shows, and to whom.
pub struct Server {
    /// The circusds.
    pub machines: Machines,
    /// Who may ask.
    pub access: Access,
    /// The path of a proxy that leads here; empty, or `/circus`.
    pub prefix: String,
    /// Browsers come over TLS, also where a proxy ends it.
    pub secure: bool,
    /// How long the answer to an action is waited for.
    pub patience: Duration,
    /// Counts what changes at the circusds.
    pub news: watch::Receiver<u64>,
    /// The sessions of browsers.
    pub sessions: Mutex<Sessions>,
    /// A line for each change that somebody has asked for.
    pub log: fn(&str),
    streams: Streams,
    followers: Followers,
}

impl Server {
    /// A server for these circusds.
    pub fn new(machines: Machines, access: Access, news: watch::Receiver<u64>, log: fn(&str)) -> Self {
        Self {
            machines,
            access,
            prefix: String::new(),
            secure: false,
            patience: Duration::from_secs(30),
            news,
            sessions: Mutex::default(),
            log,
            streams: Streams::default(),
            followers: Followers::default(),
        }
    }
}

/// Answers requests until the future ends.
///
/// # Errors
/// Where the listener fails.
pub async fn serve<L>(
    listener: L,
    server: Arc<Server>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    L: Listener<Addr: std::fmt::Debug>,
    for<'a> Peer: Connected<IncomingStream<'a, L>>,
{
    let router = Router::new().fallback(answer).with_state(server);
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(end).await
}

/// What a request is answered: a body of JSON, or something else.
enum Said {
    Json(u16, Value),
    Else(Response),
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Self {
        Self::Json(refusal.status, json!({"reason": refusal.reason}))
    }
}

fn found(value: Value) -> Said {
    Said::Json(200, value)
}

fn no_such(what: &str) -> Refusal {
    Refusal::new(404, format!("there is no such {what}"))
}

async fn answer(State(server): State<Arc<Server>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let said = server.route(peer, &head, body).await.unwrap_or_else(Said::from);
    let mut response = match said {
        Said::Else(response) => response,
        Said::Json(status, value) => {
            let mut response = made(JSON, value.to_string());
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn made(kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn asset(asset: Asset) -> Said {
    Said::Else(made(asset.kind, asset.body))
}

/// A parameter of the query.
fn param(head: &Parts, name: &str) -> Option<String> {
    let query = head.uri.query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('=').or(Some((pair, ""))));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " ")))
}

fn flag(head: &Parts, name: &str) -> bool {
    param(head, name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "no" | "false"))
}

fn number<T: std::str::FromStr>(head: &Parts, name: &str) -> Result<Option<T>, Refusal> {
    let wrong = || Refusal::new(400, format!("{name} is not a number"));
    param(head, name).map(|value| value.parse().map_err(|_| wrong())).transpose()
}

fn wants_stream(head: &Parts) -> bool {
    text(&head.headers, header::ACCEPT).is_some_and(|kinds| kinds.contains("text/event-stream"))
}

async fn object(head: &Parts, body: Body) -> Result<Object, Refusal> {
    let too_long = || Refusal::new(413, format!("the body is longer than {BODY} bytes"));
    let bytes = to_bytes(body, BODY).await.map_err(|_| too_long())?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Object::new());
    }
    // A form of another site cannot have this type.
    let kind = text(&head.headers, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::new(400, "the body is not application/json"));
    }
    serde_json::from_slice(&bytes).map_err(|_| Refusal::new(400, "the body is not an object of JSON"))
}

impl Server {
    async fn machine(&self, name: &str) -> Result<Machine, Refusal> {
        self.machines.named(name).await.ok_or_else(|| no_such("machine"))
    }

    fn caller(&self, peer: Peer, head: &Parts, changes: bool) -> Result<Caller, Refusal> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let visit = Visit { headers: &head.headers, peer: peer.0, changes };
        self.access.caller(&mut sessions, visit, now() as u64, || random_token().ok())
    }

    async fn route(&self, peer: Peer, head: &Parts, body: Body) -> Result<Said, Refusal> {
        let path = head.uri.path().strip_prefix(self.prefix.as_str());
        // `/circusX` is not below `/circus`.
        let path = path.filter(|path| path.is_empty() || path.starts_with('/')).ok_or_else(|| no_such("page"))?;
        let asks = matches!(head.method.as_str(), "GET" | "HEAD");
        if path.is_empty() {
            self.access.addressed(&head.headers)?;
            let mut response = made(PLAIN, "");
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            let place = HeaderValue::from_str(&format!("{}/", self.prefix));
            response.headers_mut().insert(header::LOCATION, place.map_err(|_| no_such("page"))?);
            return Ok(Said::Else(response));
        }
        // A name is what stands between two slashes; what is encoded in it leads nowhere.
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            ["healthz"] if asks => {
                return Ok(found(json!({"ok": true})));
            }
            ["api", ..] => {}
            [""] if asks => {
                self.access.addressed(&head.headers)?;
                return Ok(asset(assets::PAGE));
            }
            ["static", name] if asks => {
                self.access.addressed(&head.headers)?;
                return assets::find(name).map(asset).ok_or_else(|| no_such("file"));
            }
            _ if asks => return Err(no_such("page")),
            _ => return Err(Refusal::new(405, "this path takes GET")),
        }
        match (asks, &parts[1..]) {
            (true, ["openapi.json"]) => {
                self.access.admit(&head.headers)?;
                Ok(found(openapi::document()))
            }
            (true, parts) => {
                let caller = self.caller(peer, head, false)?;
                self.ask(&caller, head, parts).await
            }
            (false, ["login"]) if head.method == "POST" => {
                self.access.admit(&head.headers)?;
                let fields = object(head, body).await?;
                self.log_in(&fields)
            }
            (false, parts) if head.method == "POST" => {
                let caller = self.caller(peer, head, true)?;
                self.act(&caller, head, parts, body).await
            }
            _ => Err(Refusal::new(405, "paths of the interface take GET or POST")),
        }
    }

    // -- sessions ------------------------------------------------------------------------------------------------------

    fn log_in(&self, fields: &Object) -> Result<Said, Refusal> {
        let secret = fields.get("token").and_then(Value::as_str).unwrap_or_default();
        let Some(token) = self.access.token(secret) else {
            (self.log)("a login with a wrong token was refused");
            return Err(Refusal::new(401, "the token is wrong"));
        };
        let random = || random_token().map_err(|_| Refusal::new(503, "the kernel gives no randomness"));
        let (key, csrf) = (random()?, random()?);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = (token.name.as_str(), token.role, &token.watchers);
        sessions.open(key.clone(), opened, csrf.clone(), now() as u64);
        let body = json!({"name": token.name, "role": token.role.name(), "csrf": csrf, "ends": true,
                          "all": token.watchers.is_all()});
        Ok(Said::Else(self.with_cookie(made(JSON, body.to_string()), &key, "")?))
    }

    fn with_cookie(&self, mut response: Response, key: &str, more: &str) -> Result<Response, Refusal> {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={key}; Path={}/; HttpOnly; SameSite=Strict{secure}{more}", self.prefix);
        let value = HeaderValue::from_str(&cookie).map_err(|_| Refusal::new(503, "the cookie cannot be made"))?;
        response.headers_mut().insert(header::SET_COOKIE, value);
        Ok(response)
    }

    fn log_out(&self, caller: &Caller) -> Result<Said, Refusal> {
        if let Some(key) = &caller.session {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).close(key);
        }
        Ok(Said::Else(self.with_cookie(made(JSON, "{}"), "", "; Max-Age=0")?))
    }

    fn session(&self, caller: &Caller) -> Value {
        let ends = caller.session.as_ref().is_some_and(|key| !key.starts_with(' '));
        json!({"name": caller.name, "role": caller.role.name(), "csrf": caller.csrf, "ends": ends,
               "all": caller.watchers.is_all()})
    }

    // -- questions -----------------------------------------------------------------------------------------------------

    async fn ask(&self, caller: &Caller, head: &Parts, parts: &[&str]) -> Result<Said, Refusal> {
        allowed(caller, Role::Read)?;
        admitted(caller, door(parts))?;
        let scope = &caller.watchers;
        match parts {
            ["session"] => return Ok(found(self.session(caller))),
            ["actions"] => return Ok(found(action::listed())),
            ["stream"] => return self.stream(caller, head).await,
            ["machines"] => {
                let machines = self.machines.fresh().await;
                let all: Vec<Value> = machines.iter().map(|machine| machine.board().machine(scope)).collect();
                return Ok(found(json!(all)));
            }
            _ => {}
        }
        let ["machines", machine, rest @ ..] = parts else { return Err(no_such("page")) };
        let machine = &self.machine(machine).await?;
        match rest {
            [] => {
                machine.fresh().await;
                let board = machine.board();
                Ok(found(json!({"machine": board.machine(scope), "watchers": board.rows(scope, now())})))
            }
            ["watchers"] => {
                machine.fresh().await;
                Ok(found(json!(machine.board().rows(scope, now()))))
            }
            ["sockets"] => {
                machine.fresh().await;
                Ok(found(machine.board().listed_sockets()))
            }
            ["events"] => {
                let after = number(head, "after")?;
                let last = text(&head.headers, HeaderName::from_static("last-event-id"));
                if wants_stream(head) {
                    let last = last.and_then(|id| id.parse().ok()).or(after);
                    return self.changes(Of::One(machine.clone(), last), None, scope);
                }
                machine.caught_up().await;
                let (events, missed, last) = machine.board().events_after(scope, after.unwrap_or(0));
                Ok(found(json!({"events": events, "missed": missed, "last": last})))
            }
            ["plan"] => {
                allowed(caller, Role::Admin)?;
                Ok(found(plan(machine, flag(head, "prune")).await?))
            }
            ["watchers", watcher] => {
                machine.fresh().await;
                known(machine, |board| board.watcher(watcher, now()).map(|(_, shown)| shown)).map(found)
            }
            ["watchers", watcher, "history"] => {
                // What is kept of a watcher that is known needs no circusd.
                if !machine.board().has(watcher) {
                    machine.fresh().await;
                }
                known(machine, |board| board.history(watcher, now() as u64)).map(found)
            }
            ["watchers", watcher, "why"] => {
                let properties = Object::from_iter([("name".to_owned(), json!(watcher))]);
                Ok(found(Value::Object(answered(machine, "why", properties).await?)))
            }
            ["watchers", watcher, "options"] => {
                let all = flag(head, "all");
                let properties =
                    Object::from_iter([("name".to_owned(), json!(watcher)), ("all".to_owned(), all.into())]);
                let answer = answered(machine, "options", properties).await?;
                // circusd hides this from keys below admin; the console's own key may be one of admin.
                let shown = match caller.role >= Role::Admin {
                    true => answer,
                    false => match redacted(&Answer::Ok(answer)).into_owned() {
                        Answer::Ok(shown) => shown,
                        Answer::Error(fault) => return Err(Refusal::new(409, fault.reason)),
                    },
                };
                Ok(found(Value::Object(shown)))
            }
            ["watchers", watcher, "tail"] => {
                let wanted = wanted(head, watcher, FEW)?;
                if wants_stream(head) {
                    let lines = tail::follow(machine, &self.followers, wanted).await;
                    return Ok(Said::Else(stream::lines(lines.map_err(refusal)?)));
                }
                let kept = tail::kept(machine, wanted.properties()).await.map_err(refusal)?;
                let lines: Vec<_> = kept.lines.iter().filter(|line| wanted.has(&line.line)).collect();
                Ok(found(json!({"lines": lines, "cursor": kept.cursor, "missed": kept.missed})))
            }
            ["watchers", watcher, "tail", "download"] => {
                let wanted = wanted(head, watcher, LINES)?;
                let kept = tail::kept(machine, wanted.properties()).await.map_err(refusal)?;
                let lines = kept.lines.into_iter().filter(|line| wanted.has(&line.line));
                let text: String = lines.map(|line| line.line + "\n").collect();
                let mut response = made(PLAIN, text);
                let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                let plain: String = watcher.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
                let file = format!("attachment; filename=\"{plain}-{}.log\"", wanted.stream.name());
                let file = HeaderValue::from_str(&file).map_err(|_| no_such("file"))?;
                response.headers_mut().insert(header::CONTENT_DISPOSITION, file);
                Ok(Said::Else(response))
            }
            _ => Err(no_such("page")),
        }
    }

    async fn stream(&self, caller: &Caller, head: &Parts) -> Result<Said, Refusal> {
        let machine = param(head, "machine");
        let detail = match (machine, param(head, "watcher")) {
            (Some(machine), Some(watcher)) => {
                self.machine(&machine).await?;
                touches(caller, Some(&watcher))?;
                Some(Detail { machine, watcher })
            }
            (None, Some(_)) => return Err(Refusal::new(400, "a watcher needs a machine")),
            (_, None) => None,
        };
        self.changes(Of::All(self.machines.shown().clone()), detail, &caller.watchers)
    }

    fn changes(&self, of: Of, detail: Option<Detail>, scope: &Scope) -> Result<Said, Refusal> {
        let response = stream::changes(of, detail, scope.clone(), self.news.clone(), &self.streams);
        response.map(Said::Else).ok_or_else(|| Refusal::new(503, "too many browsers look already"))
    }

    // -- actions -------------------------------------------------------------------------------------------------------

    async fn act(&self, caller: &Caller, head: &Parts, parts: &[&str], body: Body) -> Result<Said, Refusal> {
        let (machine, watcher, action) = match parts {
            ["logout"] => return self.log_out(caller),
            ["machines", machine, "actions", action] => (*machine, None, action::named(action, false)),
            ["machines", machine, "watchers", watcher, "actions", action] => {
                (*machine, Some(*watcher), action::named(action, true))
            }
            _ => return Err(no_such("page")),
        };
        let action = action.ok_or_else(|| no_such("action"))?;
        let done = match admitted(caller, door(parts)) {
            Ok(()) => self.done(caller, machine, watcher, action, head, body).await,
            Err(refusal) => Err(refusal),
        };
        let (by, role, name) = (escaped(&caller.name), caller.role.name(), action.name);
        let about = watcher.map_or_else(String::new, |watcher| format!(" {}", escaped(watcher)));
        let result = match &done {
            Ok(Said::Json(202, _)) => "begun".to_owned(),
            Ok(_) => "ok".to_owned(),
            Err(refusal) => format!("{}: {}", refusal.status, escaped(&refusal.reason)),
        };
        (self.log)(&format!("{by} ({role}) {}: {name}{about}: {result}", escaped(machine)));
        done
    }

    async fn done(
        &self,
        caller: &Caller,
        machine: &str,
        watcher: Option<&str>,
        action: &Action,
        head: &Parts,
        body: Body,
    ) -> Result<Said, Refusal> {
        allowed(caller, action.role())?;
        let machine = self.machine(machine).await?;
        let mut fields = object(head, body).await?;
        if action.name == "add" {
            touches(caller, fields.get("name").and_then(Value::as_str))?;
        }
        let seen = if action.name == "reloadconfig" { fields.remove("plan") } else { None };
        let ready = action.ready(watcher, fields).map_err(|reason| Refusal::new(400, reason))?;
        if let Some(seen) = seen {
            let prune = ready.properties.get("prune").is_some_and(|prune| prune == true);
            let now = plan(&machine, prune).await?;
            if now["digest"] != seen {
                return Err(Refusal::new(409, "the file has changed since the plan was made; look at it again"));
            }
        }
        match machine.call(ready.command, ready.properties, self.patience).await {
            Outcome::Answer(answer) => judged(answer).map(|answer| found(Value::Object(answer))),
            Outcome::Silence => Ok(Said::Json(202, json!({"reason": "circusd works on it"}))),
            Outcome::Lost(reason) => Err(Refusal::new(503, reason)),
        }
    }
}

/// What the board has of a watcher. Where circusd was not reached, nothing tells that there is no such watcher.
fn known<T>(machine: &Machine, look: impl Fn(&Board) -> Option<T>) -> Result<T, Refusal> {
    let board = machine.board();
    look(&board).ok_or_else(|| match board.reach() {
        Reach::Up => no_such("watcher"),
        Reach::Trying => Refusal::new(503, "circusd is not reached yet"),
        Reach::Down(reason) => Refusal::new(503, reason.clone()),
    })
}

fn refusal((status, reason): (u16, String)) -> Refusal {
    if status == 409 { refused(&reason) } else { Refusal::new(status, reason) }
}

/// What circusd's refusal is in HTTP.
fn refused(reason: &str) -> Refusal {
    let status = match reason {
        reason if reason.starts_with("program ") && reason.ends_with(" not found") => 404,
        reason if reason.starts_with("not allowed") => 403,
        _ => 409,
    };
    Refusal::new(status, reason)
}

fn judged(answer: Object) -> Result<Object, Refusal> {
    if answer.get("status").and_then(Value::as_str) != Some("error") {
        return Ok(answer);
    }
    Err(refused(answer.get("reason").and_then(Value::as_str).unwrap_or("circusd refuses")))
}

async fn answered(machine: &Machine, command: &str, properties: Object) -> Result<Object, Refusal> {
    match machine.call(command, properties, QUESTION).await {
        Outcome::Answer(answer) => judged(answer),
        Outcome::Silence => Err(Refusal::new(503, "circusd does not answer in time")),
        Outcome::Lost(reason) => Err(Refusal::new(503, reason)),
    }
}

/// What `reloadconfig` would do, and what is wrong with the file. `digest` stands for all of it.
async fn plan(machine: &Machine, prune: bool) -> Result<Value, Refusal> {
    let properties = Object::from_iter([("dry_run".to_owned(), true.into()), ("prune".to_owned(), prune.into())]);
    let mut answer = match machine.call("reloadconfig", properties, QUESTION).await {
        Outcome::Answer(answer) => answer,
        Outcome::Silence => return Err(Refusal::new(503, "circusd does not answer in time")),
        Outcome::Lost(reason) => return Err(Refusal::new(503, reason)),
    };
    for key in ["time", "id", "tb"] {
        answer.remove(key);
    }
    let valid =
        answer.remove("status").and_then(|status| status.as_str().map(|status| status != "error")) == Some(true);
    // An error of the file is an answer to the question; any other is none.
    if !valid && answer.get("errno").and_then(Value::as_u64) != Some(6) {
        return Err(refused(answer.get("reason").and_then(Value::as_str).unwrap_or("circusd refuses")));
    }
    let mut hasher = DefaultHasher::new();
    Value::Object(answer.clone()).to_string().hash(&mut hasher);
    answer.insert("valid".into(), valid.into());
    answer.insert("digest".into(), format!("{:016x}", hasher.finish()).into());
    Ok(Value::Object(answer))
}

fn wanted(head: &Parts, watcher: &str, lines: usize) -> Result<Wanted, Refusal> {
    let stream = match param(head, "stream").as_deref() {
        None | Some("" | "stdout") => StreamName::Stdout,
        Some("stderr") => StreamName::Stderr,
        Some(_) => return Err(Refusal::new(400, "stream is neither stdout nor stderr")),
    };
    let search = param(head, "search").filter(|search| !search.is_empty()).map(|search| search.to_lowercase());
    let lines = number(head, "lines")?.unwrap_or(lines).min(LINES);
    Ok(Wanted { watcher: watcher.to_owned(), stream, lines, wid: number(head, "wid")?, search })
}
