//! `POST /api/auth/start`: a user's VM whose agent is reachable, answered only when it is.

use super::Shared;
use super::api::{AuthStarted, CreateVm, Failure, Setting, StartAuth, State as VmState, Vm};
use super::body::Body;
use super::fleet::{Entry, Fleet};
use super::handlers::{answer, begin, started};
use super::idempotency::{Asked, Outcome};
use super::images::{self, Images};
use super::order::check_user;
use super::problem::Problem;
use crate::launch;
use crate::manifest::{Manifest, ProbeCheck};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// The probes that say where the agent and the desktop are.
const AGENT: &str = "oauth-agent";
const DESKTOP: &str = "desktop";
/// The boot parameters that a request is handed over in, those of them that the image declares.
const USER: &str = "user_id";
const PROVIDER: &str = "provider";
/// How much longer than its slowest probe a launch may take: a place in the queue, the gate, the disk.
const MARGIN: Duration = Duration::from_secs(120);

/// The image behind the login.
#[derive(Debug)]
pub struct Login {
    image: String,
}

impl Login {
    /// An image whose manifest says where its agent is.
    pub fn new(image: &str, images: &Images) -> Result<Self, images::Error> {
        let agent = |manifest: &Manifest| {
            let mut probes = manifest.probes.iter();
            probes.any(|probe| probe.name == AGENT && matches!(probe.check, ProbeCheck::Http(_)))
        };
        let image = image.to_owned();
        if agent(&images.manifest(&image)?) { Ok(Self { image }) } else { Err(images::Error::NoAgent(image)) }
    }
}

pub async fn start(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Outcome {
    let request: StartAuth = body.read()?;
    let Some(login) = &shared.login else {
        let detail = "this server was started without `--auth-image`";
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-login", detail));
    };
    check_user("/userId", &request.user_id)?;
    check_provider(&request.provider)?;
    let asked = Asked::new(&headers, "POST /api/auth/start", &body.0)?;
    let (fleet, image) = (Arc::clone(&shared.fleet), login.image.clone());
    let work = async move { answer(StatusCode::OK, None, &reach(&fleet, image, request).await?) };
    shared.answers.once(asked, work).await
}

fn check_provider(provider: &str) -> Result<(), Problem> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if provider.is_empty() || provider.len() > 32 || !provider.bytes().all(good) {
        return Err(Problem::value("/provider", "a provider is 1 to 32 lower-case letters, digits and `-`"));
    }
    Ok(())
}

/// The user's VM, started if there is none, once its probes pass.
async fn reach(fleet: &Arc<Fleet>, image: String, request: StartAuth) -> Result<AuthStarted, Problem> {
    let request = order(fleet, image, request).await?;
    // Asked again, also of another server, it finds the same VM without a key.
    let entry = begin(fleet, request, None, true).await?;
    let known = entry.state() == VmState::Ready;
    started(&entry).await?;
    let slowest = entry.order.probes.iter().map(|probe| probe.timeout_seconds.get()).max().unwrap_or_default();
    let patience = Duration::from_secs(slowest).saturating_add(MARGIN);
    let vm = entry.until(patience, |vm| vm.state == VmState::Ready || vm.failure.is_some() || vm.state.is_over()).await;
    let vm = vm.ok_or_else(|| late(&entry, "it is not ready yet"))?;
    if vm.state != VmState::Ready {
        return Err(match vm.failure {
            Some(why) => Problem::failed(StatusCode::GATEWAY_TIMEOUT, "not-ready", &vm.id, why),
            None => late(&entry, "it has ended before it was ready"),
        });
    }
    if known {
        // It was ready once; whether it still is, its own services say.
        ask(&entry).await?;
    }
    place(&vm).ok_or_else(|| late(&entry, "its agent's address is not known"))
}

async fn order(fleet: &Arc<Fleet>, image: String, request: StartAuth) -> Result<CreateVm, Problem> {
    let (of_thread, name) = (Arc::clone(fleet), image.clone());
    let manifest = tokio::task::spawn_blocking(move || of_thread.images.manifest(&name)).await;
    let manifest = manifest.map_err(|error| Problem::internal(error.to_string()))?;
    let manifest = manifest.map_err(|error| Problem::internal(error.to_string()))?;
    let handed = [(USER, &request.user_id), (PROVIDER, &request.provider)];
    let declared = handed.into_iter().filter(|(name, _)| manifest.boot.parameters.contains_key(*name));
    let parameters = declared.map(|(name, value)| (name.to_owned(), Setting::Text(value.clone()))).collect();
    Ok(CreateVm { image, parameters, user: Some(request.user_id), memory: None, cpus: None, expect: None })
}

/// Asks every probe of a running VM once more.
async fn ask(entry: &Arc<Entry>) -> Result<(), Problem> {
    let of_thread = Arc::clone(entry);
    let work = move || {
        let record = launch::find(&of_thread.order.id).map_err(|error| error.to_string())?.record;
        for probe in &of_thread.order.probes {
            let at = record.reach(probe.check.port()).ok_or("its address is not known")?;
            launch::ask(&probe.check, at).map_err(|failure| format!("{}: {failure}", probe.name))?;
        }
        Ok(())
    };
    let asked: Result<Result<(), String>, _> = tokio::task::spawn_blocking(work).await;
    asked.map_err(|error| Problem::internal(error.to_string()))?.map_err(|why| late(entry, &why))
}

fn late(entry: &Entry, why: &str) -> Problem {
    let id = entry.order.id.clone();
    let help =
        Some(format!("GET /vms/{id}/console shows what the guest says; DELETE /vms/{id} makes room for another"));
    let why = Failure { message: format!("{id}: {why}"), help, findings: None, diagnosis: None };
    Problem::failed(StatusCode::GATEWAY_TIMEOUT, "not-ready", &id, why)
}

fn place(vm: &Vm) -> Option<AuthStarted> {
    let agent = vm.endpoints.get(AGENT)?;
    Some(AuthStarted {
        vm: vm.id.clone(),
        address: vm.address?,
        agent: origin(agent).to_owned(),
        desktop: vm.endpoints.get(DESKTOP).cloned(),
    })
}

/// An URL without its path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("http://10.0.0.2:8080/health"), "http://10.0.0.2:8080");
        assert_eq!(origin("http://10.0.0.2:8080"), "http://10.0.0.2:8080");
    }

    #[test]
    fn a_provider_is_a_short_plain_word() {
        assert!(check_provider("github-2").is_ok());
        for bad in ["", "GitHub", "a b", "a=b", "../x", &"a".repeat(33)] {
            assert!(check_provider(bad).is_err(), "{bad}");
        }
    }
}
