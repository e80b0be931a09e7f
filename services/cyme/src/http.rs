//! The HTTP server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use circus_web::{bearer, is_foreign, is_local, same, text};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::admin;
use crate::core::api::{form, pairs};
use crate::core::op::MachineOp;
use crate::core::{Op, Parsed, Reply, decoded, encoded, openapi, parse};
use crate::service::{Handle, target_allowed};

/// How many lines are read at once after the first, and the time between two looks for new ones.
const LINES: u32 = 1000;
const LOOK: Duration = Duration::from_secs(1);
/// The largest body of a request.
const BODY: usize = 1 << 20;
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What the token is called that a browser keeps.
const COOKIE: &str = "cyme_token";
const JSON: &str = "application/json";
/// The methods that pages of other sites may use.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PUT, DELETE";

/// What a server lets in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Requests need this token; without one, they must come from this machine and not from a page of another.
    pub token: Option<String>,
    /// The hosts that tasks may be about.
    pub targets: Vec<String>,
    /// Clients come over TLS.
    pub secure: bool,
}

struct Server {
    branch: Handle,
    access: Access,
}

/// Answers requests until the future ends.
pub async fn serve(
    listener: impl Listener<Addr: std::fmt::Debug>,
    branch: Handle,
    access: Access,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let server = Arc::new(Server { branch, access });
    let router = Router::new().fallback(answer).with_state(server);
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/admin" || head.uri.path().starts_with("/admin/") {
        return admin(&server, &head, body).await;
    }
    if let Err(reply) = admitted(&server.access, &head.method, &head.uri, &head.headers) {
        return response(reply);
    }
    if is_preflight(&head.method, &head.uri) {
        return response(Reply { status: 204, body: Value::Null });
    }
    match (head.method.as_str(), head.uri.path()) {
        ("GET" | "HEAD", "/openapi.json") => return response(Reply::ok(openapi::document())),
        ("GET" | "HEAD", "/metrics") => return metrics(&server).await,
        ("GET" | "HEAD", "/healthz") => return response(health(&server).await),
        _ => {}
    }
    let Ok(body) = to_bytes(body, BODY).await else {
        return response(Reply::refused(413, format!("the body is longer than {BODY} bytes")));
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let parsed = match parse(head.method.as_str(), target, kind, &body) {
        Ok(parsed) => parsed,
        Err(reply) => return response(reply),
    };
    if !target_allowed(&parsed.op, &server.access.targets) {
        return response(Reply::refused(403, "--allow-target does not allow this host"));
    }
    let accepts = head.headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).unwrap_or_default();
    if let Op::Machine { id, watcher, what: MachineOp::Events(_) | MachineOp::Tail { .. } } = &parsed.op
        && accepts.contains("text/event-stream")
    {
        let last = head.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let Op::Machine { what, .. } = parsed.op else { return response(Reply::missing()) };
        return stream(server.branch.clone(), id.clone(), watcher.clone(), what, last).await;
    }
    let reply = server.branch.ask(parsed).await;
    response(reply.unwrap_or_else(|| Reply::refused(503, "the branch ends")))
}

/// What a machine reports or its workers print, for as long as the client listens.
async fn stream(branch: Handle, id: String, watcher: Option<String>, what: MachineOp, last: Option<u64>) -> Response {
    let what = match (what, last) {
        (MachineOp::Events(after), last) => MachineOp::Events(last.or(after)),
        (MachineOp::Tail { errors, wid, .. }, Some(after)) => {
            MachineOp::Tail { errors, lines: LINES, after: Some(after), wid }
        }
        (what, _) => what,
    };
    let mut source = Source { branch, id, watcher, what, news: VecDeque::new(), ended: false };
    // What cannot be had is told by the status.
    if let Err(reply) = source.fetch().await {
        return response(reply);
    }
    let news = futures_lite::stream::unfold(source, |mut source| async move {
        let next = source.next().await?;
        Some((Ok::<_, Infallible>(next), source))
    });
    let mut response = Sse::new(news).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, header::HeaderValue::from_static("*"));
    response
}

/// Something to be read one after the other, of a machine.
struct Source {
    branch: Handle,
    id: String,
    watcher: Option<String>,
    what: MachineOp,
    news: VecDeque<Event>,
    ended: bool,
}

impl Source {
    /// The next piece; it is waited for.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.news.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if matches!(self.what, MachineOp::Tail { .. }) {
                sleep(LOOK).await;
            }
            if let Err(reply) = self.fetch().await {
                self.ended = true;
                return Some(Event::default().event("end").data(json!({"status": reply.status}).to_string()));
            }
        }
    }

    /// Asks for what there is after the last piece.
    async fn fetch(&mut self) -> Result<(), Reply> {
        let op = Op::Machine { id: self.id.clone(), watcher: self.watcher.clone(), what: self.what };
        let reply = self.branch.ask(Parsed { op, nowait: false }).await;
        let body = match reply {
            Some(Reply { status: 200, body }) => body,
            Some(reply) => return Err(reply),
            None => return Err(Reply::refused(503, "the branch ends")),
        };
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        match self.what {
            MachineOp::Tail { errors, wid, .. } => {
                let place = body["cursor"].as_u64().unwrap_or_default();
                if body["missed"].as_u64().is_some_and(|missed| missed > 0) {
                    let missed = json!({"missed": body["missed"]}).to_string();
                    self.news.push_back(Event::default().event("missed").data(missed));
                }
                for line in list("lines") {
                    let event = Event::default().event("line").id(place.to_string()).data(line.to_string());
                    self.news.push_back(event);
                }
                self.what = MachineOp::Tail { errors, lines: LINES, after: Some(place), wid };
            }
            _ => {
                for report in list("events") {
                    let name = report["event"].as_str().unwrap_or_default().to_owned();
                    let event = Event::default().event(name).id(report["number"].to_string());
                    self.news.push_back(event.data(report.to_string()));
                }
                self.what = MachineOp::Events(body["next"].as_u64());
            }
        }
        Ok(())
    }
}

/// The pages for people.
async fn admin(server: &Server, head: &Parts, body: Body) -> Response {
    let posts = match head.method.as_str() {
        "GET" | "HEAD" => false,
        "POST" => true,
        _ => return response(Reply::refused(405, "pages take GET and POST")),
    };
    let path = head.uri.path().strip_prefix("/admin").unwrap_or_default();
    let Ok(body) = to_bytes(body, BODY).await else {
        return response(Reply::refused(413, format!("the body is longer than {BODY} bytes")));
    };
    // As without a token: no page of another site.
    let access = Access::default();
    if server.access.token.is_none() || posts {
        let named = server.access.token.is_some();
        if let Err(reply) = own_page(&access, head, named) {
            return response(reply);
        }
    }
    if let Some(token) = &server.access.token {
        let known = |given: &str| same(given.as_bytes(), token.as_bytes());
        if path == "/login" && posts {
            let given = form(&body).into_iter().find(|(name, _)| name == "token").map(|(_, value)| value);
            return match given {
                Some(given) if known(&given) => logged_in(&given, server.access.secure),
                _ => html(403, admin::login(true)),
            };
        }
        if !cookie(&head.headers).is_some_and(|given| known(&given)) {
            return html(200, admin::login(false));
        }
    }
    if posts {
        return match (path, admin::request(&body)) {
            ("/do", Some((method, path, fields, back))) => {
                let reply = asked(server, &method, &path, &fields).await;
                let said = admin::outcome(&method, &path, &reply);
                let join = if back.contains('?') { '&' } else { '?' };
                redirect(&format!("{back}{join}said={}", encoded(&said)))
            }
            _ => response(Reply::missing()),
        };
    }
    let params = pairs(head.uri.query().unwrap_or_default());
    let param = |name: &str| params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let said = param("said");
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] if path.is_empty() => redirect("/admin/"),
        [] => match fleet(server).await {
            Some(fleet) => html(200, admin::fleet(&fleet, said)),
            None => response(Reply::refused(503, "the branch ends")),
        },
        ["history.json"] => response(Reply::ok(json!(server.branch.history().await))),
        ["apps", app] => {
            let from = param("from").and_then(|from| from.parse().ok()).unwrap_or(0);
            let names = asked(server, "GET", &format!("/{}/instances/", encoded(app)), "").await;
            let names: Vec<&str> = names.body.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let shown = names.iter().skip(from).take(admin::PAGE);
            let paths = shown.map(|name| format!("/{}/instances/{}/", encoded(app), encoded(name)));
            let instances = all(server, paths).await;
            html(200, admin::app(app, names.len(), from, &instances, said))
        }
        ["machines", id] => {
            let watchers = asked(server, "GET", &format!("/machines/{}/watchers/", encoded(id)), "").await;
            html(200, admin::machine(id, &watchers, said))
        }
        _ => response(Reply::missing()),
    }
}

/// Whether a request comes from a page of this server. `named`: it may have any name.
fn own_page(access: &Access, head: &Parts, named: bool) -> Result<(), Reply> {
    if !named {
        return admitted(access, &head.method, &head.uri, &head.headers);
    }
    let place = |origin: &str| origin.split_once("://").map_or(origin, |(_, place)| place).to_owned();
    match (text(&head.headers, header::ORIGIN), text(&head.headers, header::HOST)) {
        (Some(origin), Some(host)) if place(origin) != host => {
            Err(Reply::refused(403, "forms are sent by this server's own pages only"))
        }
        _ => Ok(()),
    }
}

/// The answer to a request that a page makes.
async fn asked(server: &Server, method: &str, path: &str, fields: &str) -> Reply {
    let parsed = match admin::parsed(method, path, fields) {
        Ok(parsed) => parsed,
        Err(reply) => return reply,
    };
    if !target_allowed(&parsed.op, &server.access.targets) {
        return Reply::refused(403, "--allow-target does not allow this host");
    }
    server.branch.ask(parsed).await.unwrap_or_else(|| Reply::refused(503, "the branch ends"))
}

/// The answers at these paths, asked for all at once; without those that have none.
async fn all(server: &Server, paths: impl Iterator<Item = String>) -> Vec<Value> {
    let asked: Vec<_> = paths
        .map(|path| {
            let branch = server.branch.clone();
            tokio::spawn(async move { branch.ask(admin::parsed("GET", &path, "").ok()?).await })
        })
        .collect();
    let mut found = Vec::new();
    for one in asked {
        if let Ok(Some(Reply { status: 200, body })) = one.await {
            found.push(body);
        }
    }
    found
}

/// What the first page shows.
async fn fleet(server: &Server) -> Option<admin::Fleet> {
    let figures = server.branch.figures().await?;
    let list = async |path: &str| match asked(server, "GET", path, "").await.body {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    let machines = list("/machines/").await;
    let names = |list: Vec<Value>, before: &'static str| {
        let names: Vec<String> = list.iter().take(admin::PAGE).filter_map(Value::as_str).map(encoded).collect();
        names.into_iter().map(move |name| format!("{before}{name}/"))
    };
    let apps = all(server, names(list("/").await, "/")).await;
    let queues = all(server, names(list("/cyme/queues/").await, "/cyme/queues/")).await;
    let history = server.branch.history().await?;
    let (branch, healthy) = (figures.branch().to_owned(), figures.healthy());
    Some(admin::Fleet { branch, healthy, machines, apps, queues, history })
}

/// The token that a browser has kept.
fn cookie(headers: &HeaderMap) -> Option<String> {
    circus_web::cookie(headers, COOKIE).map(decoded)
}

fn logged_in(token: &str, secure: bool) -> Response {
    let mut response = redirect("/admin/");
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={}; Path=/admin; HttpOnly; SameSite=Strict{secure}", encoded(token));
    if let Ok(value) = header::HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn redirect(to: &str) -> Response {
    let mut response = html(303, String::new());
    if let Ok(value) = header::HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// A page. It may contain nothing of another site, and no other site may contain it.
fn html(status: u16, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser asks beforehand what it may send. Below `/queue/` OPTIONS is a method like any other, which a task
/// is to use.
fn is_preflight(method: &Method, uri: &Uri) -> bool {
    method == Method::OPTIONS && !uri.path().contains("/queue/")
}

/// Whether a request may be answered.
fn admitted(access: &Access, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Reply> {
    if matches!(uri.path(), "/ping/" | "/ping" | "/healthz") || (is_preflight(method, uri) && access.token.is_some()) {
        return Ok(());
    }
    if let Some(token) = &access.token {
        return match bearer(headers) {
            Some(given) if same(given.as_bytes(), token.as_bytes()) => Ok(()),
            _ => Err(Reply::refused(401, "a token is needed: Authorization: Bearer TOKEN")),
        };
    }
    // Without a token, a page of another site that a browser on this machine shows must not steer workers.
    let host = text(headers, header::HOST).unwrap_or_default();
    if !is_local(host) || is_foreign(headers, &[]) {
        return Err(Reply::refused(403, "without a token, requests come from this machine and its own pages only"));
    }
    Ok(())
}

fn response(reply: Reply) -> Response {
    let body = if reply.body.is_null() { String::new() } else { reply.body.to_string() };
    made(reply.status, JSON, body)
}

fn made(status: u16, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

async fn metrics(server: &Server) -> Response {
    match server.branch.figures().await {
        Some(figures) => made(200, "text/plain; version=0.0.4", figures.text()),
        None => made(503, JSON, String::new()),
    }
}

async fn health(server: &Server) -> Reply {
    match server.branch.figures().await {
        Some(figures) if figures.healthy() => Reply::ok(json!({"ok": "healthy"})),
        _ => Reply::refused(503, "the broker or circusd cannot be reached, or a change cannot be stored"),
    }
}

#[cfg(test)]
mod tests {
    use circus_web::SEC_FETCH_SITE;

    use super::*;

    fn admits(token: Option<&str>, method: Method, path: &'static str, headers: &[(header::HeaderName, &str)]) -> u16 {
        let access = Access { token: token.map(str::to_owned), ..Access::default() };
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        admitted(&access, &method, &Uri::from_static(path), &headers).map_or_else(|reply| reply.status, |()| 200)
    }

    #[test]
    fn with_a_token_only_those_who_have_it() {
        let with = |value| admits(Some("secret"), Method::GET, "/foo/", &[(header::AUTHORIZATION, value)]);
        assert_eq!(with("Bearer secret"), 200);
        for wrong in ["Bearer secreT", "Bearer ", "secret", "Basic secret"] {
            assert_eq!(with(wrong), 401, "{wrong}");
        }
        assert_eq!(admits(Some("secret"), Method::GET, "/healthz", &[]), 200);
        assert_eq!(admits(Some("secret"), Method::GET, "/", &[]), 401);
        assert_eq!(admits(Some("secret"), Method::OPTIONS, "/foo/", &[]), 200);
        assert_eq!(admits(Some("secret"), Method::OPTIONS, "/foo/queue/http://127.0.0.1/", &[]), 401);
    }

    #[test]
    fn without_a_token_no_page_of_another_site() {
        let with = |host, origin: Option<&str>| {
            let mut headers = vec![(header::HOST, host)];
            headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
            admits(None, Method::POST, "/foo/", &headers)
        };
        for host in ["localhost:8000", "localhost", "127.0.0.1:8000", "[::1]:8000", "127.0.0.1"] {
            assert_eq!(with(host, None), 200, "{host}");
        }
        assert_eq!(with("localhost:8000", Some("http://localhost:8000")), 200);
        assert_eq!(with("localhost:8000", Some("http://evil.example")), 403);
        assert_eq!(with("localhost:8000", Some("null")), 403);
        let fetched = |site| admits(None, Method::GET, "/foo/", &[(header::HOST, "localhost"), (SEC_FETCH_SITE, site)]);
        assert_eq!(["none", "same-origin", "same-site", "cross-site"].map(fetched), [200, 200, 403, 403]);
        for host in ["evil.example", "evil.example:8000", "10.0.0.1:8000", ""] {
            assert_eq!(with(host, None), 403, "{host}");
        }
    }
}
