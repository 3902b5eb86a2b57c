//! The document's types. Canonical form: keys sorted, two-space indent, one trailing newline.

use crate::network::NetworkSpec;
use crate::values::{Fragment, GuestPath, ParameterKind, Sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `schema` value this version writes and reads.
pub const SCHEMA: &str = "goldsmith.manifest/v1";

/// What an image is and how it must be booted. Lives as `manifest.json` in the image's folder; file names in it are
/// relative to that folder. Unknown keys are refused when reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The recipe's name.
    pub name: String,
    /// Debian architecture.
    pub architecture: String,
    /// The root filesystem.
    pub image: ImageFile,
    /// The packaged bzImage.
    pub kernel: Kernel,
    /// The initrd.
    pub initrd: File,
    /// How the kernel is called.
    pub boot: Boot,
    /// The network contract.
    pub network: Network,
    /// What it is made of.
    pub packages: Packages,
    /// Built files put in from the host.
    pub artifacts: Vec<ArtifactFile>,
    /// What must answer, in order.
    pub probes: Vec<Probe>,
    /// Rules let through, each with its reason.
    pub waivers: BTreeMap<String, String>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A file of the image folder. `digest` is the fs-verity SHA-256 Merkle root digest (version 1, 4 KiB blocks, no
/// salt): what `fsverity digest` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Plain file name.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// fs-verity digest.
    pub digest: Sha256,
}

/// The filesystem image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Plain file name.
    pub file: String,
    /// Apparent bytes.
    pub size: u64,
    /// fs-verity digest.
    pub digest: Sha256,
    /// `ext4`.
    pub filesystem: String,
    /// Filesystem UUID, 8-4-4-4-12.
    pub uuid: String,
    /// Filesystem label.
    pub label: String,
}

/// The kernel, in both forms, with the facts that rules need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The bzImage as packaged.
    pub vmlinuz: File,
    /// The ELF inside it.
    pub vmlinux: File,
    /// `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// Facts from its configuration.
    pub facts: crate::boot::KernelFacts,
}

/// How the kernel is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Arguments in order.
    pub args: Vec<String>,
    /// Arguments a launch may add, by name.
    pub parameters: BTreeMap<String, BootParameter>,
}

/// A declared launch parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootParameter {
    /// `bool`, `string`, `integer` or `port`.
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    /// May be left out.
    pub optional: bool,
    /// Taken when not set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub default: Option<String>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
}

/// The network contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What the recipe declares.
    pub declared: NetworkSpec,
    /// Guest files that take part, with the plain SHA-256 of their bytes.
    pub files: BTreeMap<GuestPath, Sha256>,
    /// The effective configuration that the model computed at build time, by interface.
    pub effective: BTreeMap<String, EffectiveInterface>,
}

/// What one interface ends up with, as the model computes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectiveInterface {
    /// Who configures it in the end: `networkd`, `kernel`, `ifupdown`, …, `none`, `unknown`.
    pub manager: String,
    /// Whether an IPv4 lease is asked for.
    pub dhcp4: bool,
    /// Fixed addresses with prefix length, sorted.
    pub addresses: Vec<String>,
    /// Default gateways, sorted.
    pub gateways: Vec<String>,
    /// Name servers, in order.
    pub dns: Vec<String>,
}

/// What the root filesystem is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// SHA-256 of the lock file's bytes.
    pub lock: Sha256,
    /// How many packages are installed.
    pub count: usize,
}

/// A built file put in from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactFile {
    /// Where it is in the image.
    pub path: GuestPath,
    /// Plain SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Four octal digits.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
}

/// Something that must answer before a VM counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Shown while waiting.
    pub name: String,
    /// `http` or `tcp`.
    #[serde(flatten)]
    pub check: ProbeCheck,
    /// What a browser needs behind the `#` of the address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fragment: Option<Fragment>,
    /// Seconds after VM start.
    pub timeout_seconds: u64,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeCheck {
    /// `GET` answers 2xx.
    Http {
        /// Guest port.
        port: u16,
        /// Path with leading slash.
        path: String,
    },
    /// A connection is accepted.
    Tcp {
        /// Guest port.
        port: u16,
        /// Expected first bytes.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        banner: Option<String>,
    },
}

impl Probe {
    /// The address under which a person, or a program, uses the service: its place, with the VM's secret if it wants one.
    pub fn address(&self, at: std::net::SocketAddr, secret: Option<&str>) -> String {
        let place = self.check.place(at);
        match self.fragment.as_ref().zip(secret) {
            Some((fragment, secret)) => format!("{place}#{}", fragment.with(secret)),
            None => place,
        }
    }
}

impl ProbeCheck {
    /// The guest's port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port, .. } => *port,
        }
    }

    /// What a person would type to ask the same of a guest whose port is reached `at` an address: an URL for HTTP, else
    /// `ADDRESS:PORT`.
    pub fn place(&self, at: std::net::SocketAddr) -> String {
        match self {
            Self::Http { path, .. } => format!("http://{at}{path}"),
            Self::Tcp { .. } => at.to_string(),
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Effective recipe.
    pub recipe: Sha256,
    /// Digest over all overlay files (paths, modes, contents), in order.
    pub overlays: Sha256,
    /// goldsmith's version.
    pub tool: String,
    /// Seconds since 1970: the newest time stamp in the image.
    pub epoch: i64,
}
