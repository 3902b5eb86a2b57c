//! Every error is a problem document (RFC 9457).

use super::access;
use super::api::Failure;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The media type of problem documents.
pub const MEDIA: &str = "application/problem+json";

/// Why a request is not answered as its sender hoped.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Problem {
    /// A name for this kind of problem: `urn:goldsmith:problem:user-quota`.
    #[serde(rename = "type", serialize_with = "urn")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The field at fault, as a JSON pointer into the body (`/parameters/port`), or the name of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The VM that it is about, if it is about one.
    #[serde(flatten)]
    pub about: Option<Box<About>>,
    /// Seconds after which it may be worth asking again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

/// A VM that does not run, and why.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct About {
    /// Its id.
    pub vm: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The gate's findings, as `goldsmith launch --format json` prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::findings::render::Report<'static>>")]
    pub findings: Option<Value>,
    /// Which layer of it failed, as `goldsmith launch --format json` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::launch::NotReady>")]
    pub diagnosis: Option<Value>,
}

fn urn<S: serde::Serializer>(kind: &'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:goldsmith:problem:{kind}"))
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            about: None,
            retry_after: None,
        }
    }

    /// A value that cannot be.
    pub fn value(field: &str, detail: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "value", detail) }
    }

    /// There is no such VM.
    pub fn no_vm(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-vm", format!("there is no VM {id:?}"))
    }

    /// Something that is full now and may not be later.
    pub fn full(status: StatusCode, kind: &'static str, seconds: u32, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(status, kind, detail) }
    }

    /// The server itself failed.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// A VM that does not run.
    pub fn failed(status: StatusCode, kind: &'static str, vm: &str, failure: Failure) -> Self {
        let Failure { message, help, findings, diagnosis } = failure;
        let about = About { vm: vm.to_owned(), help, findings, diagnosis };
        Self { about: Some(Box::new(about)), ..Self::new(status, kind, message) }
    }
}

impl Problem {
    /// A whole answer, for a request that never became one.
    pub fn whole(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(self).unwrap_or_default();
        body.push(b'\n');
        let mut head = format!("HTTP/1.1 {} {}\r\ncontent-type: {MEDIA}\r\n", self.status, self.title);
        for (name, value) in access::CAREFUL {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = serde_json::to_vec(&self).unwrap_or_default();
        body.push(b'\n');
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3.
            let scheme = HeaderValue::from_static("Bearer realm=\"goldsmith\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
