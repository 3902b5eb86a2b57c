//! What requests and answers look like. The OpenAPI document is derived from these types.

use crate::launch::NotReady;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// `GET /health`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// Always `ok`.
    pub status: &'static str,
    /// goldsmith's version.
    pub version: &'static str,
}

/// `POST /vms`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVm {
    /// The name of an image that the server offers.
    pub image: String,
    /// Values of boot parameters that the image declares.
    #[serde(default)]
    pub parameters: BTreeMap<String, Setting>,
    /// Whom the VM is for: at most 64 letters, digits and `._@:-`. Quotas count by it.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._@:-]{1,64}$"))]
    pub user: Option<String>,
    /// As in `512M` or `2G`; 1G by default.
    #[serde(default)]
    pub memory: Option<String>,
    /// Processors, 1 to 32; 2 by default.
    #[serde(default)]
    #[schemars(range(min = 1, max = 32))]
    pub cpus: Option<u8>,
    /// The address at which the guest must be: refused when it would not be there.
    #[serde(default)]
    pub expect: Option<IpAddr>,
}

/// A parameter's value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text, a whole number, `true` or `false`")]
pub enum Setting {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// `POST /api/auth/start`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StartAuth {
    /// At most 64 letters, digits and `._@:-`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._@:-]{1,64}$"))]
    pub user_id: String,
    /// At most 32 lower-case letters, digits and `-`. Handed to the VM if its image declares a boot parameter `provider`.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,32}$"))]
    pub provider: String,
}

/// The answer to `POST /api/auth/start`: a VM whose probes pass.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuthStarted {
    /// The VM's id.
    pub vm: String,
    /// The guest's address, from its lease.
    pub address: Ipv4Addr,
    /// Where its agent is reached from this host.
    pub agent: String,
    /// Where its desktop is reached, if its image has one.
    pub desktop: Option<String>,
}

/// Where a VM is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// Its launch runs the gate, makes its disk and its network.
    Starting,
    /// The guest boots.
    Booting,
    /// Every probe has passed.
    Ready,
    /// It is being ended.
    Stopping,
    /// It has ended by itself.
    Stopped,
    /// It was not started, or did not become ready.
    Failed,
    /// The gate refused; nothing was started.
    Refused,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Starting,
        Self::Booting,
        Self::Ready,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
        Self::Refused,
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Whether nothing of it runs.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed | Self::Refused)
    }

    /// Whether it was let through and started, or never will be.
    pub fn is_decided(self) -> bool {
        !matches!(self, Self::Queued | Self::Starting)
    }
}

/// A VM.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Vm {
    /// Its id, and its name in `goldsmith ps`.
    pub id: String,
    /// The image's name.
    pub image: String,
    /// Whom it is for.
    pub user: Option<String>,
    /// Where it is on its way.
    pub state: State,
    /// When it was asked for: `2026-11-24T02:10:00Z`.
    pub created: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processors.
    pub cpus: u8,
    /// The guest's address, from its lease, once it is known.
    pub address: Option<Ipv4Addr>,
    /// Where the services that its image's probes ask are reached from this host, once it is ready.
    pub endpoints: BTreeMap<String, String>,
    /// Milliseconds that the stages of its launch took; `address` counts from the start of the guest.
    pub stages: BTreeMap<String, f64>,
    /// What went wrong.
    pub failure: Option<Failure>,
}

/// Why a VM does not run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Failure {
    /// What failed, and why.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The gate's findings, as `goldsmith launch --format json` prints them.
    #[schemars(with = "Option<crate::findings::render::Report<'static>>")]
    pub findings: Option<Value>,
    /// Which layer failed, as `goldsmith launch --format json` prints it.
    #[schemars(with = "Option<NotReady>")]
    pub diagnosis: Option<Value>,
}

/// `GET /vms`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Vms {
    /// Oldest first.
    pub vms: Vec<Vm>,
}

/// The data of an event in `GET /events`: the event's name is `created`, `ready`, `failed` or `stopped`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Happened {
    /// The VM as it is now.
    pub vm: Vm,
}
