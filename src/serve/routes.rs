//! The table of everything that answers. The router and the OpenAPI document are made from it.

use super::api::{AuthStarted, CreateVm, Happened, Health, StartAuth, Vm, Vms};
use super::problem::Problem;
use super::{Shared, access, handlers, login, metrics, problem, streams};
use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

/// A type's schema.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Something that answers.
pub struct Route {
    /// In lower case, as OpenAPI has it.
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether anybody may ask, without a token.
    pub open: bool,
    /// The body that it wants.
    pub body: Option<Shape>,
    /// What it may answer besides what every route may.
    pub answers: &'static [Answer],
    handler: fn() -> MethodRouter<Arc<Shared>>,
}

/// One kind of answer.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When.
    pub text: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// Its schema; None: no body, or text.
    pub shape: Option<Shape>,
}

const JSON: &str = "application/json";

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn json<T: JsonSchema>(status: u16, text: &'static str) -> Answer {
    Answer { status, text, media: JSON, shape: Some(shape::<T>) }
}

const fn text(status: u16, text: &'static str, media: &'static str) -> Answer {
    Answer { status, text, media, shape: None }
}

const fn trouble(status: u16, text: &'static str) -> Answer {
    Answer { status, text, media: problem::MEDIA, shape: Some(shape::<Problem>) }
}

const NO_VM: Answer = trouble(404, "There is no such VM.");
const BAD_JSON: Answer = trouble(400, "The body is not JSON, or the `Idempotency-Key` no key.");
const SLOW_BODY: Answer = trouble(408, "The body did not arrive in time.");
const LARGE_BODY: Answer = trouble(413, "The body is too large.");
const MEDIA: Answer = trouble(415, "The body is not `application/json`.");
const BAD_FIELD: Answer = trouble(422, "A field is unknown, missing, or has a value that cannot be; `field` names it.");
const REFUSED: Answer = trouble(409, "The gate refuses, and `findings` say why; or the VM was ended meanwhile.");
const USER_QUOTA: Answer = trouble(429, "The user has as many VMs as allowed.");
const NOT_LAUNCHED: Answer = trouble(500, "The launch failed before the VM was started.");

/// What every route that needs a token may answer.
pub const ALWAYS: &[Answer] = &[
    trouble(400, "The head is not one that HTTP/1.1 allows, or that two readers could read differently."),
    trouble(401, "The token is missing or another one."),
    trouble(403, "A web page asks: `Origin` is not this server's own."),
    trouble(408, "The head of the request did not arrive in time."),
    trouble(414, "The target is too long."),
    trouble(421, "The `Host` header is no loopback address (TCP only)."),
    trouble(431, "The head is too large."),
    trouble(503, "Something is full; `Retry-After` says when to ask again."),
];

/// Everything that answers.
pub const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/health",
        summary: "Whether the server is there.",
        open: true,
        body: None,
        answers: &[json::<Health>(200, "It is.")],
        handler: || get(handlers::health),
    },
    Route {
        method: "get",
        path: "/openapi.json",
        summary: "This document.",
        open: false,
        body: None,
        answers: &[text(200, "This document.", JSON)],
        handler: || get(handlers::document),
    },
    Route {
        method: "get",
        path: "/metrics",
        summary: "Counters in Prometheus' text format.",
        open: false,
        body: None,
        answers: &[text(200, "The counters.", metrics::MEDIA)],
        handler: || get(handlers::metrics),
    },
    Route {
        method: "get",
        path: "/events",
        summary: "What happens to VMs, as server-sent events: created, ready, failed, stopped.",
        open: false,
        body: None,
        answers: &[Answer {
            status: 200,
            text: "Events; each has this data.",
            media: "text/event-stream",
            shape: Some(shape::<Happened>),
        }],
        handler: || get(streams::events),
    },
    Route {
        method: "get",
        path: "/vms",
        summary: "All VMs, oldest first.",
        open: false,
        body: None,
        answers: &[json::<Vms>(200, "The VMs.")],
        handler: || get(handlers::list),
    },
    Route {
        method: "post",
        path: "/vms",
        summary: "Launches a VM. Answered once the gate has let it through and it boots, or why not.",
        open: false,
        body: Some(shape::<CreateVm>),
        answers: &[
            json::<Vm>(201, "It boots; `Location` says where it is."),
            BAD_JSON,
            SLOW_BODY,
            REFUSED,
            LARGE_BODY,
            MEDIA,
            BAD_FIELD,
            USER_QUOTA,
            NOT_LAUNCHED,
        ],
        handler: || post(handlers::create),
    },
    Route {
        method: "get",
        path: "/vms/{id}",
        summary: "One VM.",
        open: false,
        body: None,
        answers: &[json::<Vm>(200, "The VM."), NO_VM],
        handler: || get(handlers::show),
    },
    Route {
        method: "delete",
        path: "/vms/{id}",
        summary: "Ends a VM. Answered once nothing is left of it.",
        open: false,
        body: None,
        answers: &[text(204, "Nothing is left.", ""), NO_VM, trouble(500, "It cannot be ended.")],
        handler: || delete(handlers::stop),
    },
    Route {
        method: "get",
        path: "/vms/{id}/console",
        summary: "What the guest has written to its serial console; with `follow=true` until the VM ends.",
        open: false,
        body: None,
        answers: &[
            text(200, "The text.", "text/plain; charset=utf-8"),
            trouble(400, "The query is not `follow=true` or `follow=false`."),
            NO_VM,
            trouble(409, "It has no console yet, or no more."),
        ],
        handler: || get(streams::console),
    },
    Route {
        method: "post",
        path: "/api/auth/start",
        summary: "The user's VM, launched if there is none. Answered once every probe of its image passes.",
        open: false,
        body: Some(shape::<StartAuth>),
        answers: &[
            json::<AuthStarted>(200, "The agent answers there."),
            BAD_JSON,
            trouble(404, "The server was started without `--auth-image`."),
            SLOW_BODY,
            REFUSED,
            LARGE_BODY,
            MEDIA,
            BAD_FIELD,
            USER_QUOTA,
            NOT_LAUNCHED,
            trouble(504, "It did not become ready in time; `diagnosis` says which layer failed."),
        ],
        handler: || post(login::start),
    },
];

/// Whether anybody may ask at this path.
pub fn is_open(path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path && route.open)
}

/// The router for all of them.
pub fn router(shared: Arc<Shared>) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::not_allowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), access::guard))
        .with_state(shared)
}
