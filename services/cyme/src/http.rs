//! The HTTP server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::serve::Listener;
use serde_json::{Value, json};

use crate::core::{Reply, openapi, parse};
use crate::service::{Handle, target_allowed};

/// The largest body of a request.
const BODY: usize = 1 << 20;
const JSON: &str = "application/json";
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
const SEC_FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");
/// The methods that pages of other sites may use.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PUT, DELETE";

/// What a server lets in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Requests need this token; without one, they must come from this machine and not from a page of another.
    pub token: Option<String>,
    /// The hosts that tasks may be about.
    pub targets: Vec<String>,
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
    let reply = server.branch.ask(parsed).await;
    response(reply.unwrap_or_else(|| Reply::refused(503, "the branch ends")))
}

/// Whether a browser asks beforehand what it may send. Below `/queue/` OPTIONS is a method like any other, which a task
/// is to use.
fn is_preflight(method: &Method, uri: &Uri) -> bool {
    method == Method::OPTIONS && !uri.path().contains("/queue/")
}

/// Whether a request may be answered.
fn admitted(access: &Access, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Reply> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if matches!(uri.path(), "/ping/" | "/ping" | "/healthz") || (is_preflight(method, uri) && access.token.is_some()) {
        return Ok(());
    }
    if let Some(token) = &access.token {
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        return match given {
            Some(given) if same(given.as_bytes(), token.as_bytes()) => Ok(()),
            _ => Err(Reply::refused(401, "a token is needed: Authorization: Bearer TOKEN")),
        };
    }
    // Without a token, a page of another site that a browser on this machine shows must not steer workers.
    let host = text(header::HOST).unwrap_or_default();
    let foreign = |origin: &str| origin.split_once("://").map_or(origin, |(_, place)| place) != host;
    // A picture or a link of such a page brings no Origin; browsers say of it where it comes from.
    let linked = text(SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if !is_local(host) || linked || text(header::ORIGIN).is_some_and(foreign) {
        return Err(Reply::refused(403, "without a token, requests come from this machine and its own pages only"));
    }
    Ok(())
}

/// Whether a Host header names this machine, as seen from itself.
fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
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
    use super::*;

    fn admits(token: Option<&str>, method: Method, path: &'static str, headers: &[(header::HeaderName, &str)]) -> u16 {
        let access = Access { token: token.map(str::to_owned), targets: Vec::new() };
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
