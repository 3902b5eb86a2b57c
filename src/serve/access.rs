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

/// Lets a request through, or says why not.
pub async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let from = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = match check(&shared, &route, request.headers()) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
