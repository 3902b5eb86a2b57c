//! The gate: an image folder against its manifest, its exact arguments, the VMM and the host, before anything starts.
//!
//! In: a folder, its manifest, what it would be booted with. Out: findings, and the very files that were checked, open.
//! `verify` and `launch` call the same function. Uses `door`, `manifest`, `image`, `network`, `boot`, `findings`.

mod arguments;
mod memory;

pub use arguments::{ArgumentError, arguments};
pub use memory::Memory;

use crate::boot::KernelArgs;
use crate::door;
use crate::findings::{Evidence, Finding, Origin, RuleDoc, Severity};
use crate::image::{self, View, verity};
use crate::manifest::{self, Manifest};
use crate::network::{self, Contract, Evaluation, HostFacts, Initrd, Inputs, VmmFacts};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why the gate could not come to a verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the folder cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The manifest is not one.
    #[error("{} cannot be used", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: manifest::Error,
    },
    /// The launch's own arguments are not what the manifest declares.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
}

/// What an image would be booted with.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The exact arguments: the manifest's, parameters, appended ones, and what the VMM adds.
    pub args: KernelArgs,
    /// The virtual machine.
    pub vmm: VmmFacts,
    /// The host side, where one is known.
    pub host: Option<HostFacts>,
    /// The address somebody will call the guest at.
    pub expect: Option<IpAddr>,
    /// Rules let through, each with its reason; digests are never let through.
    pub allow: BTreeMap<String, String>,
    /// Where digests are remembered; None: every file is hashed.
    pub memory: Option<Memory>,
}

/// What the gate found, and the files it found it in.
#[derive(Debug)]
pub struct Verdict {
    /// What is wrong, refusals first.
    pub findings: Vec<Finding>,
    /// The network, stage by stage.
    pub network: Evaluation,
    /// The checked files, open for reading: boot these and no others.
    pub files: Files,
}

/// The files of an image folder, open for reading.
#[derive(Debug)]
pub struct Files {
    /// When each was last changed, as of its opening: seconds and nanoseconds, in the order of the fields below.
    changed: [(i64, i64); 4],
    /// The root filesystem.
    pub image: File,
    /// The bzImage.
    pub vmlinuz: File,
    /// The ELF kernel.
    pub vmlinux: File,
    /// The initrd.
    pub initrd: File,
}

impl Files {
    /// Whatever their sizes are: those are compared with the manifest's.
    fn open(folder: &Path, recorded: [&manifest::File; 4]) -> Result<Self, Error> {
        let inside = door::Folder::open(folder).map_err(unreadable)?;
        let open = |recorded: &manifest::File| {
            let opened = inside.file(&recorded.file, "a file of an image", u64::MAX);
            opened.map(|opened| opened.file).map_err(unreadable)
        };
        let [image, vmlinuz, vmlinux, initrd] = recorded.map(open);
        let (image, vmlinuz, vmlinux, initrd) = (image?, vmlinuz?, vmlinux?, initrd?);
        let time = |file| change_time(file).map_err(|cause| Error::Read { path: folder.to_owned(), cause });
        let changed = [time(&image)?, time(&vmlinuz)?, time(&vmlinux)?, time(&initrd)?];
        Ok(Self { changed, image, vmlinuz, vmlinux, initrd })
    }

    fn list(&self) -> [&File; 4] {
        [&self.image, &self.vmlinuz, &self.vmlinux, &self.initrd]
    }

    /// Fails when a file was written, or its metadata changed, since it was opened for checking. Nobody but the kernel sets
    /// the time of change (inode(7), `ctime`).
    pub fn unchanged(&self, folder: &Path) -> Result<(), Error> {
        let fail = |cause| Error::Read { path: folder.to_owned(), cause };
        for (file, before) in self.list().into_iter().zip(self.changed) {
            if change_time(file).map_err(fail)? != before {
                let problem = "a file was changed while it was being checked and used; nothing of it may run";
                return Err(fail(std::io::Error::other(problem)));
            }
        }
        Ok(())
    }
}

fn change_time(file: &File) -> std::io::Result<(i64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata()?;
    Ok((metadata.ctime(), metadata.ctime_nsec()))
}

impl Verdict {
    /// Whether the image must not be booted so.
    pub fn refuses(&self) -> bool {
        self.findings.iter().any(Finding::refuses)
    }
}

const CHANGED: RuleDoc = RuleDoc {
    id: "IMG-001",
    slug: "file-changed",
    severity: Severity::Error,
    title: "A file of the image folder is not the one its manifest records.",
    text: "Its size or its fs-verity digest differs: it was changed, damaged or replaced after the build, so nothing that \
           the manifest says about it can be relied on. It cannot be let through.\n\n# Fix\nBuild the image again: \
           `goldsmith build`.",
};

/// The gate's own rules.
pub const RULES: &[RuleDoc] = &[CHANGED];

/// The documentation of every rule that may appear in a verdict.
pub fn rules() -> Vec<RuleDoc> {
    RULES.iter().copied().chain(network::rules()).collect()
}

/// Reads the manifest of an image folder.
pub fn manifest(folder: &Path) -> Result<Manifest, Error> {
    let path = folder.join("manifest.json");
    let bytes = door::read(&path, "a manifest", manifest::MAX_MANIFEST as u64).map_err(unreadable)?;
    Manifest::parse(&bytes).map_err(|cause| Error::Manifest { path, cause })
}

/// Checks the folder's files against the manifest, then recomputes the network from the image's own files.
pub fn check(folder: &Path, manifest: &Manifest, request: &Request) -> Result<Verdict, Error> {
    let mut findings = Vec::new();
    let image = &manifest.image;
    let root = manifest::File { file: image.file.clone(), size: image.size, digest: image.digest };
    let recorded = [&root, &manifest.kernel.vmlinuz, &manifest.kernel.vmlinux, &manifest.initrd];
    let files = Files::open(folder, recorded)?;
    let path = folder.join(&image.file);
    let clone = files.image.try_clone().map_err(|cause| Error::Read { path: path.clone(), cause })?;
    // The superblock before everything: what it says decides whether there is anything to hash.
    let view = View::open(clone, &path)?;
    if files.image.metadata().is_ok_and(|file| file.len() == image.size.get()) {
        view.must_fill_its_file()?;
    }
    for (file, recorded) in files.list().into_iter().zip(recorded) {
        findings.extend(differs(&folder.join(&recorded.file), file, recorded, request.memory.as_ref())?);
    }
    let inputs = Inputs {
        snapshot: network::capture(&path.display().to_string(), &view)?,
        args: request.args.clone(),
        kernel: manifest.kernel.facts,
        initrd: Initrd::Goldsmith,
        vmm: VmmFacts { kernel_release: Some(manifest.kernel.release.to_string()), ..request.vmm.clone() },
        host: request.host.clone(),
        contract: Some(Contract::from(&manifest.network)),
        expect: request.expect,
    };
    let network = network::evaluate(&inputs);
    findings.extend(network.findings.iter().cloned());
    let recorded = manifest.waivers.iter().map(|(rule, reason)| (rule.as_str(), reason.as_str()));
    let allowed = request.allow.iter().map(|(rule, reason)| (rule.as_str(), reason.as_str()));
    let waivers: BTreeMap<_, _> = recorded.chain(allowed).collect();
    waive(&mut findings, &waivers);
    Ok(Verdict { findings, network, files })
}

/// Marks what is let through, with the reason.
fn waive(findings: &mut [Finding], waivers: &BTreeMap<&str, &str>) {
    for finding in findings.iter_mut().filter(|finding| finding.rule != CHANGED.id) {
        finding.waived = waivers.get(finding.rule).map(|reason| (*reason).to_owned());
    }
}

/// Compares an open file with what the manifest records.
fn differs(
    path: &Path,
    file: &File,
    recorded: &manifest::File,
    memory: Option<&Memory>,
) -> Result<Option<Finding>, Error> {
    let fail = |cause| Error::Read { path: path.to_owned(), cause };
    let metadata = file.metadata().map_err(fail)?;
    let size = metadata.len();
    if size != recorded.size.get() {
        return Ok(Some(changed(path, &format!("{} bytes", recorded.size), &format!("{size} bytes"))));
    }
    if verity::enforced(file) == Some(recorded.digest) {
        return Ok(None);
    }
    let digest = match memory.and_then(|memory| memory.recall(&metadata)) {
        Some(digest) => digest,
        None => {
            let digest = verity::digest(file).map_err(fail)?;
            if let Some(memory) = memory {
                memory.remember(file, &metadata, digest);
            }
            digest
        }
    };
    let differs = digest != recorded.digest;
    Ok(differs.then(|| changed(path, &format!("sha256 {}", recorded.digest), &format!("sha256 {digest}"))))
}

fn changed(path: &Path, recorded: &str, found: &str) -> Finding {
    let name = path.display().to_string();
    let length = found.chars().count();
    let evidence = Evidence::new(Origin::File(name.clone()), (1, 1, length), found, "is what is there");
    Finding::new(
        CHANGED.id,
        CHANGED.severity,
        format!("{name} is not the file that was built: {found}, the manifest says {recorded}"),
    )
    .at(evidence)
    .help("build the image again: `goldsmith build`")
}

fn unreadable(error: door::Error) -> Error {
    Error::Read { path: error.path.clone(), cause: error.into() }
}
