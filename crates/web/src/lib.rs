//! What the HTTP servers of the services share, `cyme-branch` and `circushttpd`: a listener with TLS ([`tls`]), the
//! comparison of tokens, and the judgement whether a request comes from this machine and from a page of its own.
//!
//! Everything but the listener is a pure function.

#![warn(missing_docs)]

pub mod tls;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

/// Says of a request where the page is from that makes it.
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A header as text; `None` where there is none, or one that is no text.
pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name in a Host header, without its port.
pub fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        // An address of IPv6 stands in brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a Host header names this machine, as seen from itself.
pub fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host_name(host);
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a request says that a page of another site makes it: its Origin is not of this Host, or the browser tells so.
/// `origins` are further places, with their ports, at which this server is known.
pub fn is_foreign(headers: &HeaderMap, origins: &[String]) -> bool {
    let host = text(headers, header::HOST).unwrap_or_default();
    let place = |origin: &str| origin.split_once("://").map_or(origin, |(_, place)| place).to_owned();
    let foreign = |origin: &str| {
        let place = place(origin);
        place != host && !origins.contains(&place)
    };
    // A picture or a link of such a page brings no Origin; browsers say of it where it comes from.
    let linked = text(headers, SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    linked || text(headers, header::ORIGIN).is_some_and(foreign)
}

/// Compares without telling by its time where the first difference is.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The token of an Authorization header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::AUTHORIZATION)?.strip_prefix("Bearer ")
}

/// The value of a cookie, as it was sent.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = text(headers, header::COOKIE)?;
    all.split(';').find_map(|one| one.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A text of 48 characters that cannot be guessed, from the kernel's randomness.
///
/// # Errors
/// Where the kernel gives none.
pub fn random_token() -> std::io::Result<String> {
    let mut bytes = [0; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn this_machine_as_seen_from_itself() {
        for host in ["localhost:8000", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "127.0.0.1", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8000", "10.0.0.1:8000", "", "localhost.evil.example", "127.0.0.1.x"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_recognized() {
        let foreign = |pairs: &[(HeaderName, &str)]| is_foreign(&headers(pairs), &["known.example".to_owned()]);
        assert!(!foreign(&[(header::HOST, "a:1")]));
        assert!(!foreign(&[(header::HOST, "a:1"), (header::ORIGIN, "http://a:1")]));
        assert!(!foreign(&[(header::HOST, "a:1"), (header::ORIGIN, "https://known.example")]));
        for origin in ["http://a:2", "http://evil.example", "null", "https://known.example:1"] {
            assert!(foreign(&[(header::HOST, "a:1"), (header::ORIGIN, origin)]), "{origin}");
        }
        let fetched = |site| foreign(&[(header::HOST, "a:1"), (SEC_FETCH_SITE, site)]);
        assert_eq!(["none", "same-origin", "same-site", "cross-site"].map(fetched), [false, false, true, true]);
    }

    #[test]
    fn cookies_and_tokens_of_headers() {
        let found = headers(&[(header::COOKIE, "a=1; circus=x%2Fy;b"), (header::AUTHORIZATION, "Bearer t")]);
        assert_eq!(
            (cookie(&found, "circus"), cookie(&found, "a"), cookie(&found, "b")),
            (Some("x%2Fy"), Some("1"), None)
        );
        assert_eq!(bearer(&found), Some("t"));
        assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, "Basic t")])), None);
    }

    #[test]
    fn comparison_and_randomness() {
        assert!(same(b"secret", b"secret") && !same(b"secret", b"secreT") && !same(b"secret", b""));
        let (one, other) = (random_token().unwrap(), random_token().unwrap());
        assert!(one.len() == 48 && one != other);
    }
}
