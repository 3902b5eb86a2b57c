//! Request bodies: small, JSON, and nothing in them that is not understood.

use super::problem::Problem;
use crate::manifest;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The most bytes of a body; real ones have a few hundred.
pub const MOST: usize = 64 << 10;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body's bytes.
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media.and_then(|media| media.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = "a body must be `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let late = |_| Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-time", "the body did not arrive in time"));
        tokio::time::timeout(PATIENCE, all(request.into_body())).await.unwrap_or_else(late).map(Self)
    }
}

async fn all(body: axum::body::Body) -> Result<Bytes, Problem> {
    let large = || {
        let detail = format!("a body has at most {MOST} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-size", detail)
    };
    if body.size_hint().lower() > MOST as u64 {
        return Err(large());
    }
    let (mut pieces, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let broken =
            |_| Problem::new(StatusCode::BAD_REQUEST, "body", "the body did not arrive whole, or not in chunks");
        bytes.extend_from_slice(&piece.map_err(broken)?);
        if bytes.len() > MOST {
            return Err(large());
        }
    }
    Ok(bytes.into())
}

impl Body {
    /// What it says.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let broken = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "json", detail);
        let text = std::str::from_utf8(&self.0).map_err(|error| broken(error.to_string()))?;
        // serde takes an array of all fields for a struct; the document promises an object.
        if text.trim_start().starts_with('[') {
            return Err(Problem::value("/", "the body must be an object"));
        }
        manifest::read(text).map_err(|error| match error {
            manifest::Error::Shape { pointer, problem, .. } => Problem::value(&pointer, problem),
            manifest::Error::Json(problem) => broken(format!("the body is not JSON: {problem}")),
            error => broken(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{CreateVm, StartAuth};
    use super::*;

    #[test]
    fn the_field_at_fault_is_named() {
        let fault = |text: &'static str| {
            let problem = Body(Bytes::from_static(text.as_bytes())).read::<CreateVm>().err()?;
            Some((problem.status, problem.field.unwrap_or_default(), problem.detail))
        };
        assert_eq!(fault(r#"{"image":"a","parameters":{"port":1,"on":true,"x":"y"},"cpus":2}"#), None);
        for (text, status, field, words) in [
            (r#"{"image":"a","pth":"/etc"}"#, 422, "/pth", "unknown field"),
            (r#"{"image":7}"#, 422, "/image", "string"),
            (r#"{"image":"a","cpus":300}"#, 422, "/cpus", "300"),
            (r#"{"image":"a","image":"b"}"#, 422, "/image", "duplicate"),
            (r#"{"image":"a","parameters":{"p":"1","p":"2"}}"#, 422, "/parameters/p", "twice"),
            (r#"{"image":"a","parameters":{"p":[]}}"#, 422, "/parameters/p", "a whole number"),
            ("{}", 422, "/", "missing field `image`"),
            ("{", 400, "", "JSON"),
            ("", 400, "", "JSON"),
            ("[]", 422, "/", "object"),
        ] {
            let (found, pointer, detail) = fault(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found, pointer.as_str()), (status, field), "{text}: {detail}");
            assert!(detail.contains(words), "{text}: {detail}");
        }
        assert!(Body(Bytes::from_static(b"\xff")).read::<StartAuth>().is_err());
    }
}
