//! The typed recipe: what everything after the parser reads.

use crate::boot::KernelArgs;
use crate::network::NetworkSpec;
use crate::values::{
    Answer, Banner, ByteSize, FilesystemLabel, Fragment, GuestPath, HttpPath, Line, Name, ParameterKind, ParameterName,
    ParameterValue, Port, RuleId, Sha256,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A complete recipe: includes merged, parameters applied, every value checked, host paths absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Lower-case letters, digits, `-`; names the output folder and the lock.
    pub name: Name,
    /// The recipe file itself, absolute. The lock stands beside it: `NAME.lock`.
    pub file: PathBuf,
    /// Digest of the effective recipe (all included texts and parameter values, in order).
    pub digest: Sha256,
    /// Digest of just what decides the package closure: distribution, architecture, packages, kernel, initrd packages.
    pub packages_digest: Sha256,
    /// Where packages come from.
    pub distribution: Distribution,
    /// The Debian architecture.
    pub architecture: Architecture,
    /// The filesystem image.
    pub image: ImageSpec,
    /// Packages asked for, sorted, without duplicates.
    pub packages: Vec<String>,
    /// Where each of them, and the kernel's, is named: `FILE:LINE:COLUMN`.
    pub package_places: BTreeMap<String, String>,
    /// Answers to debconf's questions, in order.
    pub debconf: Vec<Answer>,
    /// The kernel's (meta) package; it is fetched and unpacked, not installed by dpkg.
    pub kernel_package: String,
    /// The network, said once.
    pub network: NetworkSpec,
    /// `/etc/hostname`. None: an empty file, so that DHCP or the launcher may name the guest.
    pub hostname: Option<String>,
    /// Kernel arguments, in order, without launch parameters.
    pub boot_args: KernelArgs,
    /// Arguments set per VM at launch: `NAME=VALUE` is appended.
    pub boot_parameters: BTreeMap<ParameterName, BootParameter>,
    /// Users and groups to create, in order.
    pub users: Vec<User>,
    /// Directories copied over the tree, in order.
    pub overlays: Vec<PathBuf>,
    /// Built files put into the image.
    pub artifacts: Vec<Artifact>,
    /// What systemd starts and must not start.
    pub units: Units,
    /// Identities that each guest makes anew and that are in the image otherwise, by name ([`crate::network::RENEWABLE`]).
    pub renew: Vec<String>,
    /// Commands run in the sandbox after overlays, users and units, each an argument vector.
    pub run: Vec<Vec<String>>,
    /// What must answer before a VM counts as ready.
    pub probes: Vec<Probe>,
    /// Rules let through, each with its reason.
    pub waivers: Vec<Waiver>,
    /// The most the image's contents may take up; more fails the build.
    pub size_budget: Option<ByteSize>,
}

/// A Debian-style archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// `debian` (what the error messages call it).
    pub name: String,
    /// The archives packages may come from. The first is the main one.
    pub archives: Vec<Archive>,
}

/// One suite of one mirror, as a line of apt's `sources.list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Mirror URL without trailing slash: `http://deb.debian.org/debian`.
    pub mirror: String,
    /// `bookworm`, `bookworm-security`.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// Where vanished versions may still be found: `https://snapshot.debian.org/archive/debian`.
    pub snapshot: Option<String>,
    /// The OpenPGP keyring that signs it, a host file. Default: Debian's own.
    pub keyring: PathBuf,
}

/// A machine architecture goldsmith can build for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
}

impl Architecture {
    /// Debian's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
        }
    }
}

/// The image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// Apparent size of the file; a multiple of 4 KiB.
    pub size: ByteSize,
    /// Filesystem label, at most 16 bytes.
    pub label: FilesystemLabel,
}

/// A kernel argument that a launch may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootParameter {
    /// What values it takes.
    pub kind: ParameterKind,
    /// May be left out. Without a default and not optional: a launch must set it.
    pub optional: bool,
    /// Taken when a launch does not set it.
    pub default: Option<ParameterValue>,
    /// One sentence for `--help`-like output.
    pub description: Option<Line>,
}

/// A user (and its group of the same name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// A system user: no home by default, id below 1000, `nologin` shell.
    pub system: bool,
    /// Numeric id; otherwise the next free one of its range.
    pub uid: Option<u32>,
    /// Additional groups; each must exist in the tree or be created by an earlier entry.
    pub groups: Vec<String>,
    /// Login shell.
    pub shell: GuestPath,
    /// Home directory; created from `/etc/skel` unless the user is a system one.
    pub home: GuestPath,
    /// The comment field.
    pub comment: String,
}

/// A built file shipped into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The host file.
    pub source: PathBuf,
    /// Where it goes.
    pub path: GuestPath,
    /// Permission bits.
    pub mode: u16,
    /// Owner's name in the image.
    pub owner: String,
    /// Group's name in the image.
    pub group: String,
    /// What to type when the host file is missing ("make agent").
    pub hint: Option<String>,
}

/// Systemd units by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Units {
    /// Linked as their `[Install]` section says.
    pub enable: Vec<String>,
    /// Their links are removed.
    pub disable: Vec<String>,
    /// Linked to `/dev/null`.
    pub mask: Vec<String>,
    /// What `default.target` points to, where set.
    pub default: Option<String>,
}

/// Something that must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Shown while waiting.
    pub name: Name,
    /// What is asked.
    pub check: ProbeCheck,
    /// What a browser needs behind the `#` of the address.
    pub fragment: Option<Fragment>,
    /// How long after VM start it may take.
    pub timeout: Duration,
}

/// What a probe asks of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeCheck {
    /// `GET path` answers 2xx.
    Http {
        /// Guest port.
        port: Port,
        /// Path with leading slash.
        path: HttpPath,
    },
    /// A TCP connection is accepted (and, when given, the first bytes sent start with `banner`).
    Tcp {
        /// Guest port.
        port: Port,
        /// Expected first bytes (`RFB `, `SSH-2.0`).
        banner: Option<Banner>,
    },
}

/// A rule that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// Rule id.
    pub rule: RuleId,
    /// Why; never empty.
    pub reason: Line,
}
