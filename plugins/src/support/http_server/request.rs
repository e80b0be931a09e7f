//! What a client asks, and what is answered. No sockets.

/// The one page there is.
const PATH: &str = "/metrics";

/// What the bytes that have come so far ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The end of the request is not there yet.
    Unfinished,
    /// The page.
    Page {
        /// HEAD: all but the body.
        head_only: bool,
    },
    /// Something that is answered at once.
    Wrong(Vec<u8>),
}

/// Header lines of a request that are read.
const MOST_HEADERS: usize = 64;

/// Reads a request. What may come after its head is ignored.
pub(crate) fn read(bytes: &[u8]) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Asked::Unfinished,
        Err(httparse::Error::TooManyHeaders) => return Asked::Wrong(too_large()),
        Err(httparse::Error::Version) => return wrong("505 HTTP Version Not Supported", "", "use HTTP/1.1"),
        Err(error) => return wrong("400 Bad Request", "", &error.to_string()),
    }
    let has_host = request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("host"));
    if request.version == Some(1) && !has_host {
        return wrong("400 Bad Request", "", "the header Host is missing");
    }
    if path(request.path.unwrap_or_default()) != PATH {
        return wrong("404 Not Found", "", "the metrics are at /metrics");
    }
    match request.method {
        Some("GET") => Asked::Page { head_only: false },
        Some("HEAD") => Asked::Page { head_only: true },
        Some(_) | None => wrong("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET and HEAD are allowed"),
    }
}

/// The path of a target, which to a proxy is a whole address.
fn path(target: &str) -> &str {
    let rest = target.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    rest.unwrap_or(target).split('?').next().unwrap_or_default()
}

fn wrong(status: &str, header: &str, why: &str) -> Asked {
    Asked::Wrong(response(status, header, "text/plain; charset=utf-8", &format!("{why}\n"), false))
}

/// The answer to a head that is too long.
pub(crate) fn too_large() -> Vec<u8> {
    let status = "431 Request Header Fields Too Large";
    response(status, "", "text/plain; charset=utf-8", "the head of the request is too large\n", false)
}

/// The page, or why there is none.
pub(crate) fn page(page: Result<&str, &str>, content_type: &str, head_only: bool) -> Vec<u8> {
    match page {
        Ok(text) => response("200 OK", "", content_type, text, head_only),
        Err(why) => {
            let text = format!("{why}\n");
            response("503 Service Unavailable", "", "text/plain; charset=utf-8", &text, head_only)
        }
    }
}

fn response(status: &str, header: &str, content_type: &str, body: &str, head_only: bool) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{header}Connection: close\r\n\r\n"
    );
    (if head_only { head } else { head + body }).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> String {
        match read(request.as_bytes()) {
            Asked::Wrong(bytes) => String::from_utf8(bytes).unwrap().lines().next().unwrap().to_owned(),
            asked => format!("{asked:?}"),
        }
    }

    #[test]
    fn the_page_is_asked_for() {
        for request in [
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /metrics HTTP/1.0\n\n",
            "\r\nGET /metrics?name=a HTTP/1.1\r\nAccept: */*\r\nHOST:x\r\n\r\nbody",
            "GET http://x:1/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(read(request.as_bytes()), Asked::Page { head_only: false }, "{request}");
        }
        assert_eq!(read(b"HEAD /metrics HTTP/1.0\r\n\r\n"), Asked::Page { head_only: true });
        assert_eq!(read(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), Asked::Unfinished);
    }

    #[test]
    fn refused_requests() {
        for (request, answer) in [
            ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("GET /metrics/x HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("\r\nGET\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("GET /metrics HTTP/2.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported"),
        ] {
            assert_eq!(status(request), answer, "{request:?}");
        }
        let many = format!("GET /metrics HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(MOST_HEADERS + 1));
        assert!(status(&many).starts_with("HTTP/1.1 431 "), "{}", status(&many));
        let Asked::Wrong(bytes) = read(b"PUT /metrics HTTP/1.0\r\n\r\n") else { panic!("it is refused") };
        assert!(String::from_utf8(bytes).unwrap().contains("\r\nAllow: GET, HEAD\r\n"));
    }

    #[test]
    fn a_page_has_its_length() {
        let text = String::from_utf8(page(Ok("ü\n"), "a/b", false)).unwrap();
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nü\n");
        assert!(page(Ok("ü\n"), "a/b", true).ends_with(b"Content-Length: 3\r\nConnection: close\r\n\r\n"));
        assert!(page(Err("no"), "a/b", false).starts_with(b"HTTP/1.1 503 "));
    }
}
