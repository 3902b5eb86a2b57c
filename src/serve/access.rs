//! Who may ask, and how many at once. Every request passes here first, and is counted.

use super::Shared;
use super::problem::Problem;
use super::routes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// How many requests may be at work; streams count until they begin to flow.
pub const MOST: usize = 256;

/// What browsers are told about every answer: it is what its type says, nobody's to keep, and no page's to show or to read.
pub const CAREFUL: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Lets a request through, or says why not.
pub async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let from = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut response = match check(&shared, &route, request.headers()) {
        Err(problem) => problem.into_response(),
        // However many wait for their VMs: whether the server is there must be answered.
        Ok(()) if routes::is_open(&route) => next.run(request).await,
        Ok(()) => match shared.requests.try_acquire() {
            Ok(_place) => next.run(request).await,
            Err(_) => {
                let detail = format!("{MOST} requests are at work");
                Problem::full(StatusCode::SERVICE_UNAVAILABLE, "busy", 1, detail).into_response()
            }
        },
    };
    for (name, value) in CAREFUL {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    shared.fleet.metrics.request(known(&method), &route, response.status().as_u16(), from.elapsed());
    response
}

/// Anybody can invent methods; those count as one.
fn known(method: &axum::http::Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "DELETE" | "PUT" | "PATCH" | "OPTIONS") => known,
        _ => "other",
    }
}

fn check(shared: &Shared, route: &str, headers: &HeaderMap) -> Result<(), Problem> {
    if shared.tcp && !is_local(headers) {
        let detail = "the Host header must be 127.0.0.1, [::1] or localhost";
        return Err(Problem {
            field: Some("Host".to_owned()),
            ..Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", detail)
        });
    }
    if !is_same_origin(headers) {
        let detail = "no web page may ask: the Origin header must be left out, or be this server's own";
        return Err(Problem {
            field: Some("Origin".to_owned()),
            ..Problem::new(StatusCode::FORBIDDEN, "origin", detail)
        });
    }
    if routes::is_open(route) {
        return Ok(());
    }
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    // RFC 9110, section 11.1: the scheme's letters may be small or large.
    let token =
        given.and_then(|given| given.split_at_checked(7)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    match token {
        Some((_, token)) if shared.token.is(token) => Ok(()),
        _ => {
            let detail = "the header `Authorization: Bearer TOKEN` is missing, or its token is another one than in the file that \
                          `goldsmith serve` has named";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "token", detail))
        }
    }
}

/// Whether the request was meant for a loopback address. A name that an attacker lets point to 127.0.0.1 (DNS rebinding)
/// would make a browser take this server for the attacker's.
fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the request comes from no web page, or from one of this server. Browsers name the page whenever it could do more
/// than look at an address (Fetch standard, "append a request `Origin` header").
fn is_same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = host.map(|host| format!("http://{host}"));
    headers.get_all(header::ORIGIN).iter().all(|origin| own.as_ref().is_some_and(|own| origin == own.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_elsewhere_may_ask() {
        let same = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8460"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_same_origin(&headers)
        };
        assert!(same(None) && same(Some("http://localhost:8460")));
        for origin in ["null", "http://localhost", "https://localhost:8460", "http://evil.example", ""] {
            assert!(!same(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn only_loopback_names_are_meant() {
        let local = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            is_local(&headers)
        };
        for host in ["127.0.0.1", "127.0.0.1:8460", "[::1]:1", "[::1]", "localhost", "LOCALHOST:8460"] {
            assert!(local(&[host]), "{host}");
        }
        for host in ["example.org", "127.0.0.1.example.org", "localhost.example.org:80", "10.0.0.1", "", "[::]:80"] {
            assert!(!local(&[host]), "{host}");
        }
        assert!(!local(&[]) && !local(&["localhost", "example.org"]));
    }
}
