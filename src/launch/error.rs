//! Why a VM was not started, or does not run.

use super::vmm::kvm::Broken;
use super::{NotReady, disk, home, host, running, vmm};
use crate::findings::Finding;
use crate::gate;
use crate::values::TextError;
use std::io;
use std::path::PathBuf;

/// Why a VM was not started, or does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate refuses; nothing was started.
    #[error("{}", refusal(.0))]
    Refused(Vec<Finding>),
    /// The gate could not come to a verdict.
    #[error(transparent)]
    Gate(#[from] gate::Error),
    /// Not a name.
    #[error("a VM cannot be called so: {0}\nhelp: use at most 63 letters, digits, `-` and `_`")]
    Name(#[from] TextError),
    /// There is no kept VM of the name.
    #[error(transparent)]
    Kept(running::Error),
    /// The host network cannot be had.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The VM has no folder.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// The disk cannot be made.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A kept disk was made from another image.
    #[error(
        "the disk of {name} was made from another image than {} is now\nhelp: goldsmith rm {name}; or choose another `--name`", folder.display()
    )]
    OtherImage {
        /// The VM.
        name: String,
        /// The image folder.
        folder: PathBuf,
    },
    /// What was asked for does not go together.
    #[error("{0}")]
    Unfit(&'static str),
    /// The VMM does not run.
    #[error(transparent)]
    Vmm(#[from] vmm::Error),
    /// KVM does not work, and there is no way without it.
    #[error("KVM does not work here: {0}\nhelp: {help}; `--vmm qemu --accel emulation` works without", help = .0.help)]
    NoKvm(#[from] Broken),
    /// KVM was chosen by nobody, and gave up before the guest's first word.
    #[error("KVM gives up before the guest's first word: {0}")]
    Unrun(String),
    /// A running VM cannot be followed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The VM did not become ready.
    #[error("{0}")]
    NotReady(Box<NotReady>),
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
}

fn refusal(findings: &[Finding]) -> String {
    match findings.iter().filter(|finding| finding.refuses()).count() {
        1 => "refused: 1 conflict; nothing was started".to_owned(),
        count => format!("refused: {count} conflicts; nothing was started"),
    }
}
