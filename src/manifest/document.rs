//! The document's types. Canonical form: keys sorted, two-space indent, one trailing newline.

use crate::network::{Cidr, NetworkSpec};
use crate::values::{
    ArchitectureName, Banner, BootArgument, Epoch, FileName, FileSize, FilesystemLabel, Fragment, GuestPath, HttpPath,
    InterfacePattern, KernelRelease, Line, Mode, Name, Owner, PackageCount, ParameterKind, ParameterName,
    ParameterValue, Port, RuleId, Seconds, Sha256, Uuid,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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
    pub name: Name,
    /// Debian architecture.
    pub architecture: ArchitectureName,
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
    #[schemars(extend("maxItems" = most::ARTIFACTS))]
    pub artifacts: Vec<ArtifactFile>,
    /// What must answer, in order.
    #[schemars(extend("maxItems" = most::PROBES))]
    pub probes: Vec<Probe>,
    /// Rules let through, each with its reason.
    #[schemars(extend("maxProperties" = most::WAIVERS, "propertyNames" = { "pattern": RuleId::PATTERN, "maxLength": RuleId::MOST }))]
    pub waivers: BTreeMap<RuleId, Line>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A file of the image folder. `digest` is the fs-verity SHA-256 Merkle root digest (version 1, 4 KiB blocks, no
/// salt): what `fsverity digest` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Plain file name.
    pub file: FileName,
    /// Bytes.
    pub size: FileSize,
    /// fs-verity digest.
    pub digest: Sha256,
}

/// The filesystem image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Plain file name.
    pub file: FileName,
    /// Apparent bytes.
    pub size: FileSize,
    /// fs-verity digest.
    pub digest: Sha256,
    /// `ext4`.
    pub filesystem: Filesystem,
    /// Filesystem UUID, 8-4-4-4-12.
    pub uuid: Uuid,
    /// Filesystem label.
    pub label: FilesystemLabel,
}

/// The kind of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// The only one.
    Ext4,
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
    pub release: KernelRelease,
    /// Facts from its configuration.
    pub facts: crate::boot::KernelFacts,
}

/// How the kernel is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Arguments in order.
    #[schemars(extend("maxItems" = most::ARGS))]
    pub args: Vec<BootArgument>,
    /// Arguments a launch may add, by name.
    #[schemars(extend("maxProperties" = most::PARAMETERS, "propertyNames" = { "pattern": ParameterName::PATTERN, "maxLength": ParameterName::MOST }))]
    pub parameters: BTreeMap<ParameterName, BootParameter>,
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
    pub default: Option<ParameterValue>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<Line>,
}

/// The network contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What the recipe declares.
    pub declared: NetworkSpec,
    /// Guest files that take part, with the plain SHA-256 of their bytes.
    #[schemars(extend("maxProperties" = most::FILES))]
    pub files: BTreeMap<GuestPath, Sha256>,
    /// The effective configuration that the model computed at build time, by interface.
    #[schemars(extend("maxProperties" = most::INTERFACES, "propertyNames" = { "pattern": InterfacePattern::PATTERN, "maxLength": InterfacePattern::MOST }))]
    pub effective: BTreeMap<InterfacePattern, EffectiveInterface>,
}

/// What one interface ends up with, as the model computes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectiveInterface {
    /// Who configures it in the end: `networkd`, `kernel`, `ifupdown`, …, `none`, `unknown`.
    pub manager: Line,
    /// Whether an IPv4 lease is asked for.
    pub dhcp4: bool,
    /// Fixed addresses with prefix length, sorted.
    #[schemars(extend("maxItems" = most::ADDRESSES))]
    pub addresses: Vec<Cidr>,
    /// Default gateways, sorted.
    #[schemars(extend("maxItems" = most::ADDRESSES))]
    pub gateways: Vec<IpAddr>,
    /// Name servers, in order.
    #[schemars(extend("maxItems" = most::ADDRESSES))]
    pub dns: Vec<IpAddr>,
}

/// What the root filesystem is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// SHA-256 of the lock file's bytes.
    pub lock: Sha256,
    /// How many packages are installed.
    pub count: PackageCount,
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
    pub mode: Mode,
    /// `user:group`.
    pub owner: Owner,
}

/// Something that must answer before a VM counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenProbe")]
pub struct Probe {
    /// Shown while waiting.
    pub name: Name,
    /// `http` or `tcp`.
    #[serde(flatten)]
    pub check: ProbeCheck,
    /// What a browser needs behind the `#` of the address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fragment: Option<Fragment>,
    /// Seconds after VM start.
    pub timeout_seconds: Seconds,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeCheck {
    /// `GET` answers 2xx.
    Http(HttpProbe),
    /// A connection is accepted.
    Tcp(TcpProbe),
}

/// `GET` answers 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// Guest port.
    pub port: Port,
    /// Path with leading slash.
    pub path: HttpPath,
}

/// A connection is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {
    /// Guest port.
    pub port: Port,
    /// Expected first bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub banner: Option<Banner>,
}

/// A probe as it is written: read field by field, so that a mistake is shown where it stands.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }]))]
struct WrittenProbe {
    /// Shown while waiting.
    name: Name,
    /// `GET` answers 2xx.
    #[serde(default, deserialize_with = "crate::values::present")]
    #[schemars(with = "HttpProbe")]
    http: Option<HttpProbe>,
    /// A connection is accepted.
    #[serde(default, deserialize_with = "crate::values::present")]
    #[schemars(with = "TcpProbe")]
    tcp: Option<TcpProbe>,
    /// What a browser needs behind the `#` of the address.
    #[serde(default, deserialize_with = "crate::values::present")]
    #[schemars(with = "Fragment")]
    fragment: Option<Fragment>,
    /// Seconds after VM start.
    timeout_seconds: Seconds,
}

impl TryFrom<WrittenProbe> for Probe {
    type Error = &'static str;

    fn try_from(written: WrittenProbe) -> Result<Self, Self::Error> {
        let check = match (written.http, written.tcp) {
            (Some(http), None) => ProbeCheck::Http(http),
            (None, Some(tcp)) => ProbeCheck::Tcp(tcp),
            _ => return Err("a probe asks either `http` or `tcp`"),
        };
        let WrittenProbe { name, fragment, timeout_seconds, .. } = written;
        Ok(Self { name, check, fragment, timeout_seconds })
    }
}

impl JsonSchema for Probe {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Probe".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        WrittenProbe::json_schema(generator)
    }
}

impl Probe {
    /// The address under which a person, or a program, uses the service: its place, with the VM's secret if it wants one.
    pub fn address(&self, at: SocketAddr, secret: Option<&str>) -> String {
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
            Self::Http(HttpProbe { port, .. }) | Self::Tcp(TcpProbe { port, .. }) => port.get(),
        }
    }

    /// What a person would type to ask the same of a guest whose port is reached `at` an address: an URL for HTTP, else
    /// `ADDRESS:PORT`.
    pub fn place(&self, at: SocketAddr) -> String {
        match self {
            // A path begins with its slash, so it cannot become a part of the authority.
            Self::Http(HttpProbe { path, .. }) => format!("http://{at}{path}"),
            Self::Tcp(_) => at.to_string(),
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
    pub tool: Line,
    /// Seconds since 1970: the newest time stamp in the image.
    pub epoch: Epoch,
}

/// The most of everything that there may be many of; real manifests have a tenth at most.
pub(super) mod most {
    pub const ARTIFACTS: usize = 10_000;
    /// Each is asked by a thread of its own.
    pub const PROBES: usize = 64;
    pub const WAIVERS: usize = 256;
    pub const ARGS: usize = 512;
    pub const PARAMETERS: usize = 256;
    pub const FILES: usize = 20_000;
    pub const INTERFACES: usize = 64;
    pub const ADDRESSES: usize = 256;
}
