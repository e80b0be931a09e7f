//! Who a request is from, and whether it may be answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};
use circus_core::access::Scope;
use circus_core::commands::Role;
use circus_core::escape::escaped;
use circus_web::{bearer, cookie, host_name, is_foreign, is_local, same, text};

/// What the cookie of a session is called.
pub const COOKIE: &str = "circus_session";
/// The header in which pages send the secret of their session with each change.
pub const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
/// The shortest token that is accepted, in bytes.
pub const SHORTEST: usize = 16;
/// How long a session lasts without a request, in seconds: a day.
pub const LIFE: u64 = 86_400;
/// So many sessions there are at most; the one that was used least recently gives way.
const SESSIONS: usize = 1000;
/// What a proxy adds. With one of these a request comes from elsewhere, whatever its address is.
const FORWARDED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/// A token of the tokens file.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What messages and pages call its holder.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The watchers that it may touch.
    pub watchers: Scope,
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Reads a tokens file: a line `NAME ROLE TOKEN [WATCHER ...]` for each, empty lines and lines that begin with `#` aside.
///
/// # Errors
/// With the number of the line. No message shows a token.
pub fn tokens(content: &str) -> Result<Vec<Token>, String> {
    let mut found: Vec<Token> = Vec::new();
    for (at, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: &str| Err(format!("line {}: {reason}", at + 1));
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, role, secret, patterns @ ..] = &words[..] else {
            return wrong("it is not NAME ROLE TOKEN [WATCHER ...]");
        };
        let Some(role) = Role::named(role) else { return wrong("the role is none of read, operate and admin") };
        if secret.len() < SHORTEST {
            return wrong(&format!("the token is shorter than {SHORTEST} characters"));
        }
        if found.iter().any(|token| token.secret == *secret) {
            return wrong("another line has the same token");
        }
        let watchers = Scope::of(patterns.iter().copied());
        found.push(Token { name: (*name).to_owned(), role, watchers, secret: (*secret).to_owned() });
    }
    if found.is_empty() {
        return Err("it has no token".into());
    }
    Ok(found)
}

/// A reverse proxy that says who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The header with the user's name.
    pub header: HeaderName,
    /// The addresses that it counts from; `None` stands for a unix socket.
    pub from: Vec<Option<IpAddr>>,
    /// The roles of users; `*` stands for every other one.
    pub roles: Vec<(String, Role)>,
}

impl Proxy {
    fn role(&self, user: &str) -> Option<Role> {
        let of = |name: &str| self.roles.iter().find(|(known, _)| known == name).map(|(_, role)| *role);
        of(user).or_else(|| of("*"))
    }
}

/// Who may ask, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The tokens.
    pub tokens: Vec<Token>,
    /// What those may do that have none.
    pub anonymous: Option<Role>,
    /// Names, in lower case and perhaps with a port, at which this server is known beside those of this machine.
    pub hosts: Vec<String>,
    /// It listens off loopback: any address may be its own. An address is no name that another site could lead here.
    pub addresses: bool,
    /// The proxy before it.
    pub proxy: Option<Proxy>,
}

/// Who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A name for pages and the log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The watchers that it may touch.
    pub watchers: Scope,
    /// The session; none with a token in the request.
    pub session: Option<String>,
    /// What the session's changes have to bring along.
    pub csrf: Option<String>,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// A sentence.
    pub reason: String,
}

impl Refusal {
    /// One with this status.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

/// A request, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Where it comes from; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// It changes something.
    pub changes: bool,
}

#[derive(Clone, Debug)]
struct Session {
    name: String,
    role: Role,
    watchers: Scope,
    csrf: String,
    used: u64,
}

/// The sessions of browsers. They end with the console.
#[derive(Clone, Debug, Default)]
pub struct Sessions(BTreeMap<String, Session>);

impl Sessions {
    /// Opens one under this key, which nobody can guess unless it begins with a blank: no cookie can have that.
    pub fn open(&mut self, key: String, token: (&str, Role, &Scope), csrf: String, now: u64) {
        if self.0.len() >= SESSIONS {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.0.remove(&key));
        }
        let (name, role, watchers) = (token.0.to_owned(), token.1, token.2.clone());
        self.0.insert(key, Session { name, role, watchers, csrf, used: now });
    }

    /// Ends one.
    pub fn close(&mut self, key: &str) {
        self.0.remove(key);
    }

    fn find(&mut self, key: &str, now: u64) -> Option<&Session> {
        // A key that was guessed in part is not to be told from one that was not.
        let key = self.0.keys().fold(None, |found, known| {
            if same(known.as_bytes(), key.as_bytes()) { Some(known.clone()) } else { found }
        })?;
        if self.0.get(&key)?.used + LIFE <= now {
            self.0.remove(&key);
            return None;
        }
        let session = self.0.get_mut(&key)?;
        session.used = now;
        Some(session)
    }
}

impl Access {
    /// The token with this secret. It takes as long for a wrong one as for a right one of this length.
    pub fn token(&self, secret: &str) -> Option<&Token> {
        self.tokens.iter().fold(None, |found, token| {
            if same(token.secret.as_bytes(), secret.as_bytes()) { Some(token) } else { found }
        })
    }

    /// Whether a request is addressed to this server, by a name that no other site can lead here.
    ///
    /// # Errors
    /// Where it is not.
    pub fn addressed(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = text(headers, header::HOST).unwrap_or_default().to_lowercase();
        let name = host_name(&host);
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let known = is_local(&host)
            || self.hosts.iter().any(|known| *known == host || known == name)
            || self.addresses && is_address;
        if known {
            return Ok(());
        }
        Err(Refusal::new(403, "this server is not known by the name in Host; --allow-host adds names"))
    }

    /// Whether a request is addressed to this server, and comes from no page of another.
    ///
    /// # Errors
    /// Where it is not.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.addressed(headers)?;
        if is_foreign(headers, &self.hosts) {
            return Err(Refusal::new(403, "requests come from this server's own pages only"));
        }
        Ok(())
    }

    /// Who a request is from. `random` makes a secret for a user of the proxy who has no session yet.
    ///
    /// # Errors
    /// Where it is from nobody who is known, or a change lacks the secret of its session.
    pub fn caller(
        &self,
        sessions: &mut Sessions,
        visit: Visit<'_>,
        now: u64,
        random: impl Fn() -> Option<String>,
    ) -> Result<Caller, Refusal> {
        self.admit(visit.headers)?;
        if let Some(secret) = bearer(visit.headers) {
            let token = self.token(secret).ok_or_else(|| Refusal::new(401, "the token is wrong"))?;
            let Token { name, role, watchers, .. } = token.clone();
            return Ok(Caller { name, role, watchers, session: None, csrf: None });
        }
        let (key, session) = self.session(sessions, visit, now, random)?;
        if visit.changes {
            let given = text(visit.headers, CSRF).unwrap_or_default();
            if !same(given.as_bytes(), session.csrf.as_bytes()) {
                let reason = "a change needs the secret of its session in X-CSRF-Token (GET api/session), or a token";
                return Err(Refusal::new(403, reason));
            }
        }
        let Session { name, role, watchers, csrf, .. } = session;
        Ok(Caller { name, role, watchers, session: Some(key), csrf: Some(csrf) })
    }

    fn session(
        &self,
        sessions: &mut Sessions,
        visit: Visit<'_>,
        now: u64,
        random: impl Fn() -> Option<String>,
    ) -> Result<(String, Session), Refusal> {
        let shared = |sessions: &mut Sessions, key: String, name: &str, role: Role| {
            if sessions.find(&key, now).is_none_or(|session| session.role != role) {
                let csrf = random().ok_or_else(|| Refusal::new(503, "the kernel gives no randomness"))?;
                sessions.open(key.clone(), (name, role, &Scope::ALL), csrf, now);
            }
            let session = sessions.find(&key, now).cloned();
            session.map(|session| (key, session)).ok_or_else(|| Refusal::new(503, "there is no session"))
        };
        let proxied = self.proxy.as_ref().filter(|proxy| proxy.from.contains(&visit.peer));
        if let Some(user) = proxied.and_then(|proxy| text(visit.headers, proxy.header.clone())) {
            // With a second header of this name, one of them may be the client's.
            let count = proxied.map_or(0, |proxy| visit.headers.get_all(&proxy.header).iter().count());
            let role = proxied.filter(|_| count == 1 && !user.is_empty()).and_then(|proxy| proxy.role(user));
            let reason = || format!("the user '{}' of the proxy has no role here", escaped(user));
            let role = role.ok_or_else(|| Refusal::new(403, reason()))?;
            return shared(sessions, format!(" proxy {user}"), user, role);
        }
        if let Some(key) = cookie(visit.headers, COOKIE).filter(|key| !key.starts_with(' '))
            && let Some(session) = sessions.find(key, now)
        {
            return Ok((key.to_owned(), session.clone()));
        }
        let forwarded = FORWARDED.iter().any(|name| visit.headers.contains_key(*name));
        match self.anonymous.filter(|_| !forwarded) {
            Some(role) => shared(sessions, " anonymous".to_owned(), "anonymous", role),
            None => Err(Refusal::new(401, "a token is needed: log in, or send Authorization: Bearer TOKEN")),
        }
    }
}

/// What a request is about, by its path below `api/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door<'a> {
    /// A list: who asks is shown the watchers that it may touch.
    Filtered,
    /// This watcher.
    Watcher(&'a str),
    /// A watcher that there is not yet, and that the request names.
    New,
    /// What all watchers share.
    All,
}

/// What a path leads to. One that is not named here leads to what all watchers share.
pub fn door<'a>(parts: &[&'a str]) -> Door<'a> {
    match parts {
        ["session" | "actions" | "stream" | "machines" | "logout"]
        | ["machines", _]
        | ["machines", _, "watchers" | "events"] => Door::Filtered,
        ["machines", _, "watchers", watcher, ..] => Door::Watcher(watcher),
        ["machines", _, "actions", "add"] => Door::New,
        _ => Door::All,
    }
}

/// Whether somebody may touch this watcher, or with none what all watchers share.
///
/// # Errors
/// Where they may not.
pub fn touches(caller: &Caller, watcher: Option<&str>) -> Result<(), Refusal> {
    if caller.watchers.is_all() || watcher.is_some_and(|watcher| caller.watchers.contains(watcher)) {
        return Ok(());
    }
    let what = watcher.map_or("what belongs to every watcher".into(), |name| format!("watcher '{}'", escaped(name)));
    Err(Refusal::new(403, format!("'{}' may not touch {what}", escaped(&caller.name))))
}

/// Whether the watchers of somebody let them through a door.
///
/// # Errors
/// Where they do not.
pub fn admitted(caller: &Caller, door: Door<'_>) -> Result<(), Refusal> {
    match door {
        Door::Filtered | Door::New => Ok(()),
        Door::Watcher(watcher) => touches(caller, Some(watcher)),
        Door::All => touches(caller, None),
    }
}

/// Whether a role suffices.
///
/// # Errors
/// With the role that is needed.
pub fn allowed(caller: &Caller, needed: Role) -> Result<(), Refusal> {
    if caller.role >= needed {
        return Ok(());
    }
    let (has, needs) = (caller.role.name(), needed.name());
    Err(Refusal::new(403, format!("'{}' has the role {has}, and this takes the role {needs}", escaped(&caller.name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn access() -> Access {
        Access { tokens: tokens(&format!("# us\n\nalice operate {SECRET}\n")).unwrap(), ..Access::default() }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let named = |name: &str| name.parse::<HeaderName>().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "localhost:8080")].iter().chain(pairs) {
            if *name == "host" {
                headers.insert(named(name), value.parse().unwrap());
            } else {
                headers.append(named(name), value.parse().unwrap());
            }
        }
        headers
    }

    fn ask(access: &Access, sessions: &mut Sessions, pairs: &[(&str, &str)], changes: bool) -> Result<Caller, u16> {
        let visit = Visit { headers: &headers(pairs), peer: Some([127, 0, 0, 1].into()), changes };
        access.caller(sessions, visit, 100, || Some("csrf".into())).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_tokens_file() {
        let found = tokens(&format!(" a read {SECRET}1 \nb admin {SECRET}2\n")).unwrap();
        assert_eq!((found[0].role, found[1].name.as_str()), (Role::Read, "b"));
        for (text, words) in [
            ("", "no token"),
            ("a read", "line 1: it is not NAME"),
            ("\na root 0123456789abcdef", "line 2: the role"),
            ("a read short", "shorter than 16"),
            ("a read 0123456789abcdef\nb read 0123456789abcdef", "line 2: another line"),
        ] {
            let error = tokens(text).unwrap_err();
            assert!(error.contains(words) && !error.contains(SECRET), "{text}: {error}");
        }
        assert!(!format!("{found:?}").contains(SECRET));
    }

    #[test]
    fn a_token_in_the_request() {
        let (access, mut sessions) = (access(), Sessions::default());
        let with = format!("Bearer {SECRET}");
        let caller = ask(&access, &mut sessions, &[("authorization", &with)], true).unwrap();
        assert_eq!((caller.name.as_str(), caller.role, caller.csrf), ("alice", Role::Operate, None));
        for wrong in ["Bearer ", "Bearer 0123456789abcdeF", "Bearer 0123456789abcde"] {
            assert_eq!(ask(&access, &mut sessions, &[("authorization", wrong)], false), Err(401), "{wrong}");
        }
        for none in
            [&[][..], &[("authorization", "Basic x")], &[("cookie", "circus_session=")], &[("x-remote-user", "root")]]
        {
            assert_eq!(ask(&access, &mut sessions, none, false), Err(401), "{none:?}");
        }
    }

    #[test]
    fn a_session_needs_its_secret_for_changes() {
        let (access, mut sessions) = (access(), Sessions::default());
        sessions.open("key".into(), ("alice", Role::Operate, &Scope::ALL), "secret".into(), 100);
        let cookie = ("cookie", "x=1; circus_session=key");
        assert_eq!(ask(&access, &mut sessions, &[cookie], false).unwrap().csrf.as_deref(), Some("secret"));
        assert_eq!(ask(&access, &mut sessions, &[cookie], true), Err(403));
        assert_eq!(ask(&access, &mut sessions, &[cookie, ("x-csrf-token", "other")], true), Err(403));
        assert!(ask(&access, &mut sessions, &[cookie, ("x-csrf-token", "secret")], true).is_ok());
        assert_eq!(ask(&access, &mut sessions, &[("cookie", "circus_session=ke")], false), Err(401));
        sessions.close("key");
        assert_eq!(ask(&access, &mut sessions, &[cookie], false), Err(401));
        sessions.open("old".into(), ("alice", Role::Operate, &Scope::ALL), "secret".into(), 0);
        assert!(sessions.find("old", LIFE - 1).is_some());
        assert!(sessions.find("old", LIFE + LIFE).is_none());
    }

    #[test]
    fn sessions_are_bounded() {
        let mut sessions = Sessions::default();
        for number in 0..SESSIONS as u64 + 10 {
            sessions.open(format!("{number:05}"), ("a", Role::Read, &Scope::ALL), String::new(), number);
        }
        assert_eq!(sessions.0.len(), SESSIONS);
        assert!(sessions.find("00000", 2000).is_none() && sessions.find("01009", 2000).is_some());
    }

    #[test]
    fn no_other_name_and_no_other_page() {
        let access = Access { anonymous: Some(Role::Admin), hosts: vec!["circus.example".into()], ..Access::default() };
        let mut sessions = Sessions::default();
        let mut status =
            |pairs: &[(&str, &str)]| ask(&access, &mut sessions, pairs, false).map_or_else(|status| status, |_| 200);
        for host in ["localhost:8080", "127.0.0.1", "[::1]:1", "circus.example", "CIRCUS.example:8443"] {
            assert_eq!(status(&[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "10.0.0.1", "", "circus.example.evil", "xcircus.example"] {
            assert_eq!(status(&[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&[("origin", "http://localhost:8080")]), 200);
        assert_eq!(status(&[("origin", "https://circus.example")]), 200);
        for origin in ["http://evil.example", "null", "http://localhost:1"] {
            assert_eq!(status(&[("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(status(&[("sec-fetch-site", "cross-site")]), 403);
        let abroad = Access { addresses: true, ..access.clone() };
        let mut sessions = Sessions::default();
        assert!(ask(&abroad, &mut sessions, &[("host", "10.0.0.1:8080")], false).is_ok());
        assert_eq!(ask(&abroad, &mut sessions, &[("host", "evil.example")], false), Err(403));
    }

    #[test]
    fn without_a_token_only_from_here() {
        let access = Access { anonymous: Some(Role::Read), ..Access::default() };
        let mut sessions = Sessions::default();
        let caller = ask(&access, &mut sessions, &[], false).unwrap();
        assert_eq!((caller.role, caller.csrf.as_deref()), (Role::Read, Some("csrf")));
        assert_eq!(ask(&access, &mut sessions, &[], true), Err(403));
        assert!(ask(&access, &mut sessions, &[("x-csrf-token", "csrf")], true).is_ok());
        for name in FORWARDED {
            assert_eq!(ask(&access, &mut sessions, &[(name, "10.0.0.1")], false), Err(401), "{name}");
        }
    }

    #[test]
    fn a_proxy_says_who_it_is() {
        let roles = vec![("alice".into(), Role::Admin), ("*".into(), Role::Read)];
        let header = HeaderName::from_static("x-remote-user");
        let proxy = Proxy { header, from: vec![Some([127, 0, 0, 1].into())], roles };
        let mut access = Access { proxy: Some(proxy), ..access() };
        let mut sessions = Sessions::default();
        let user = |name: &'static str| [("x-remote-user", name), ("x-forwarded-for", "10.0.0.1")];
        let caller = ask(&access, &mut sessions, &user("alice"), false).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("alice", Role::Admin));
        assert_eq!(ask(&access, &mut sessions, &user("bob"), false).unwrap().role, Role::Read);
        assert_eq!(ask(&access, &mut sessions, &user("alice"), true), Err(403));
        let with = [("x-remote-user", "alice"), ("x-csrf-token", "csrf")];
        assert!(ask(&access, &mut sessions, &with, true).is_ok());
        let twice = [("x-remote-user", "bob"), ("x-remote-user", "alice")];
        assert_eq!(ask(&access, &mut sessions, &twice, false), Err(403));
        // The session of a proxy's user is no cookie's.
        assert_eq!(ask(&access, &mut sessions, &[("cookie", "circus_session= proxy alice")], false), Err(401));
        if let Some(proxy) = &mut access.proxy {
            proxy.from = vec![Some([10, 0, 0, 1].into()), None];
        }
        assert_eq!(ask(&access, &mut sessions, &user("alice"), false), Err(401));
    }

    #[test]
    fn a_token_with_watchers_touches_no_other() {
        let text = format!("all read {SECRET}1 *\nweb admin {SECRET}2 web* db\n");
        let tokens = tokens(&text).unwrap();
        assert!(tokens[0].watchers.is_all() && !tokens[1].watchers.is_all());
        let caller = |token: &Token| {
            let Token { name, role, watchers, .. } = token.clone();
            Caller { name, role, watchers, session: None, csrf: None }
        };
        let (all, web) = (caller(&tokens[0]), caller(&tokens[1]));
        let reason = touches(&web, Some("mail\n")).unwrap_err();
        assert_eq!((reason.status, reason.reason.as_str()), (403, "'web' may not touch watcher 'mail\\n'"));
        for (path, door_of, is_open) in [
            ("session", Door::Filtered, true),
            ("machines", Door::Filtered, true),
            ("machines/m", Door::Filtered, true),
            ("machines/m/watchers", Door::Filtered, true),
            ("machines/m/events", Door::Filtered, true),
            ("machines/m/watchers/Web1", Door::Watcher("Web1"), true),
            ("machines/m/watchers/web1/tail/download", Door::Watcher("web1"), true),
            ("machines/m/watchers/db/actions/stop", Door::Watcher("db"), true),
            ("machines/m/watchers/mail", Door::Watcher("mail"), false),
            ("machines/m/watchers/mail/why", Door::Watcher("mail"), false),
            ("machines/m/watchers/mail/actions/stop", Door::Watcher("mail"), false),
            ("machines/m/actions/add", Door::New, true),
            ("machines/m/actions/stop", Door::All, false),
            ("machines/m/actions/reloadconfig", Door::All, false),
            ("machines/m/sockets", Door::All, false),
            ("machines/m/plan", Door::All, false),
            ("whatever/comes", Door::All, false),
        ] {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(door(&parts), door_of, "{path}");
            assert!(admitted(&all, door(&parts)).is_ok(), "{path}");
            assert_eq!(admitted(&web, door(&parts)).is_ok(), is_open, "{path}");
        }
    }

    #[test]
    fn roles() {
        let caller = |role| Caller { name: "a".into(), role, watchers: Scope::ALL, session: None, csrf: None };
        assert!(allowed(&caller(Role::Admin), Role::Operate).is_ok());
        let refusal = allowed(&caller(Role::Read), Role::Operate).unwrap_err();
        assert_eq!((refusal.status, refusal.reason.contains("takes the role operate")), (403, true));
    }
}
