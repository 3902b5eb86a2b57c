//! What each route but the streams and the login does.

use super::Shared;
use super::api::{CreateVm, Health, State as VmState, Vm, Vms};
use super::body::Body;
use super::fleet::{Entry, Fleet};
use super::idempotency::{Answer, Asked, Outcome};
use super::order::Order;
use super::problem::Problem;
use super::{metrics, openapi};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How long a launch may wait for its turn, for a DHCP server's offer and for its VMM.
const PATIENCE: Duration = Duration::from_secs(600);

type Handed = State<Arc<Shared>>;

/// A VM's id in a path.
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let bad = |_| Problem::new(StatusCode::BAD_REQUEST, "path", "the path is not UTF-8");
        Path::from_request_parts(parts, state).await.map(|Path(id)| Self(id)).map_err(bad)
    }
}

pub async fn health() -> Outcome {
    answer(StatusCode::OK, None, &Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

pub async fn document() -> Outcome {
    answer(StatusCode::OK, None, &openapi::document())
}

pub async fn metrics(State(shared): Handed) -> impl IntoResponse {
    let states: Vec<_> = shared.fleet.all().iter().map(|entry| entry.state()).collect();
    ([(header::CONTENT_TYPE, metrics::MEDIA)], shared.fleet.metrics.page(&states))
}

pub async fn list(State(shared): Handed) -> Outcome {
    answer(StatusCode::OK, None, &Vms { vms: shared.fleet.all().iter().map(|entry| entry.vm()).collect() })
}

pub async fn show(State(shared): Handed, Id(id): Id) -> Outcome {
    answer(StatusCode::OK, None, &shared.fleet.find(&id)?.vm())
}

pub async fn stop(State(shared): Handed, Id(id): Id) -> Result<StatusCode, Problem> {
    let entry = shared.fleet.find(&id)?;
    let fleet = Arc::clone(&shared.fleet);
    // It is ended even if its client hangs up.
    let stop = tokio::spawn(async move { fleet.stop(&entry).await });
    stop.await.map_err(|error| Problem::internal(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn create(State(shared): Handed, headers: HeaderMap, body: Body) -> Outcome {
    let request: CreateVm = body.read()?;
    let asked = Asked::new(&headers, "POST /vms", &body.0)?;
    let fleet = Arc::clone(&shared.fleet);
    let work = async move {
        let entry = begin(&fleet, request, asked, false).await?;
        created(&started(&entry).await?)
    };
    shared.answers.once(asked, work).await
}

/// The answer for a VM that was launched.
pub fn created(vm: &Vm) -> Outcome {
    answer(StatusCode::CREATED, format!("/vms/{}", vm.id).parse().ok(), vm)
}

/// Takes an order from a request; with `reuse` a VM of the same user and image will do.
pub async fn begin(
    fleet: &Arc<Fleet>,
    request: CreateVm,
    asked: Option<Asked>,
    reuse: bool,
) -> Result<Arc<Entry>, Problem> {
    let of_thread = Arc::clone(fleet);
    let order = tokio::task::spawn_blocking(move || Order::new(request, asked, &of_thread.images)).await;
    fleet.take(order.map_err(|error| Problem::internal(error.to_string()))??, reuse)
}

/// Waits until a VM has been let through and started.
pub async fn started(entry: &Entry) -> Result<Vm, Problem> {
    let id = &entry.order.id;
    let Some(mut vm) = entry.until(PATIENCE, |vm| vm.state.is_decided()).await else {
        return Err(Problem::full(
            StatusCode::SERVICE_UNAVAILABLE,
            "slow",
            30,
            format!("{id} has not been started yet"),
        ));
    };
    let failure = vm.failure.take();
    match (vm.state, failure) {
        (VmState::Refused, Some(why)) => Err(Problem::failed(StatusCode::CONFLICT, "refused", id, why)),
        (VmState::Failed, Some(why)) => Err(Problem::failed(StatusCode::INTERNAL_SERVER_ERROR, "launch", id, why)),
        (VmState::Booting | VmState::Ready, _) => Ok(vm),
        _ => Err(Problem::new(StatusCode::CONFLICT, "ended", format!("{id} was ended before it was started"))),
    }
}

/// A JSON answer.
pub fn answer(status: StatusCode, location: Option<header::HeaderValue>, value: &impl Serialize) -> Outcome {
    let mut body = serde_json::to_vec(value).map_err(|error| Problem::internal(error.to_string()))?;
    // People read it at terminals.
    body.push(b'\n');
    Ok(Answer { status, location, body: body.into() })
}

pub async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-route", "there is nothing here; GET /openapi.json says what there is")
}

pub async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this method does nothing here; see GET /openapi.json")
}
