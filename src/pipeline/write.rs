//! The finished tree and the kernel → the files of the image folder.

use super::customize::Customized;
use super::kernel::Kernel;
use super::staging::Staging;
use super::{Error, typed};
use crate::debian::{Lock, Role};
use crate::image::{self, verity};
use crate::manifest::{self, HttpProbe, Manifest, TcpProbe};
use crate::progress::{Observer, timed};
use crate::recipe::{ProbeCheck, Recipe};
use crate::sbom;
use crate::values::{Epoch, FileSize, Hasher, Line, PackageCount, Seconds, Sha256};
use std::fs::{self, File};
use std::path::Path;

/// Everything the files are made from.
pub(super) struct Parts<'a> {
    pub recipe: &'a Recipe,
    pub lock: &'a Lock,
    pub lock_digest: Sha256,
    pub kernel: &'a Kernel,
    pub custom: &'a Customized,
    pub network: manifest::Network,
}

/// Sizes worth reporting.
pub(super) struct Sizes {
    pub content: u64,
    pub initrd: u64,
}

/// Writes every file of the image folder.
pub(super) fn write(parts: &Parts, staging: &Staging, observer: &dyn Observer) -> Result<Sizes, Error> {
    let summary = timed::<_, Error>("image", observer, || {
        let options = options(parts);
        let summary = image::write(&parts.custom.tree, &options, &staging.path("rootfs.ext4"), observer)?;
        let shared = if summary.shared > 0 { format!(", {} shared", bytes(summary.shared)) } else { String::new() };
        Ok((format!("{} files, {} in {}{shared}", summary.files, bytes(summary.content), bytes(summary.size)), summary))
    })?;
    let changed = |cause| Error::Tree { what: "an overlay or artifact".to_owned(), cause };
    parts.custom.sources.unchanged().map_err(changed)?;
    put(&staging.path("initrd.img"), &parts.kernel.initrd)?;
    copy(&parts.kernel.vmlinuz, &staging.path("vmlinuz"))?;
    copy(&parts.kernel.vmlinux, &staging.path("vmlinux"))?;
    timed::<_, Error>("manifest", observer, || {
        let manifest = manifest(parts, staging)?;
        put(&staging.path("manifest.json"), &manifest.to_canonical_bytes())?;
        put(&staging.path("sbom.spdx.json"), &sbom::spdx(&parts.recipe.name, parts.lock))?;
        put(&staging.path("sbom.cdx.json"), &sbom::cyclonedx(&parts.recipe.name, parts.lock))?;
        Ok((format!("image digest {}", manifest.image.digest), ()))
    })?;
    Ok(Sizes { content: summary.content, initrd: parts.kernel.initrd.len() as u64 })
}

fn bytes(count: u64) -> String {
    crate::values::ByteSize(count).to_string()
}

/// The filesystem's identity follows from what is in it: same inputs, same bytes.
fn options(parts: &Parts) -> image::Options {
    let mut hasher = Hasher::default();
    hasher.update(b"goldsmith filesystem 1\n");
    hasher.update(&parts.recipe.digest.0);
    hasher.update(&parts.lock_digest.0);
    let seed = hasher.finish().0;
    let mut uuid = [0; 16];
    uuid.iter_mut().zip(seed).for_each(|(to, from)| *to = from);
    // Version 8 (free form) and the RFC 9562 variant.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    let word = |at: usize| {
        let mut word = [0; 4];
        word.iter_mut().zip(seed.iter().skip(16 + 4 * at)).for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(word)
    };
    image::Options {
        size: parts.recipe.image.size.0,
        label: parts.recipe.image.label.to_string(),
        uuid,
        hash_seed: [word(0), word(1), word(2), word(3)],
        epoch: parts.lock.epoch,
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|cause| Error::Folder { path: path.into(), cause })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(|_| ()).map_err(|cause| Error::Folder { path: to.into(), cause })?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(to, mode).map_err(|cause| Error::Folder { path: to.into(), cause })
}

fn file(staging: &Staging, name: &str) -> Result<manifest::File, Error> {
    let path = staging.path(name);
    let fail = |cause| Error::Folder { path: path.clone(), cause };
    let opened = File::open(&path).map_err(fail)?;
    let size = opened.metadata().map_err(fail)?.len();
    let digest = verity::digest(&opened).map_err(fail)?;
    let size = FileSize::try_from(size).map_err(|error| fail(std::io::Error::other(error)))?;
    Ok(manifest::File { file: typed(name)?, size, digest })
}

fn manifest(parts: &Parts, staging: &Staging) -> Result<Manifest, Error> {
    let recipe = parts.recipe;
    let options = options(parts);
    let image = file(staging, "rootfs.ext4")?;
    let packages = parts.lock.of_role(Role::Rootfs).count();
    Ok(Manifest {
        schema: manifest::SCHEMA.to_owned(),
        name: recipe.name.clone(),
        architecture: typed(recipe.architecture.as_str())?,
        image: manifest::ImageFile {
            file: image.file,
            size: image.size,
            digest: image.digest,
            filesystem: manifest::Filesystem::Ext4,
            uuid: typed(&uuid(&options.uuid))?,
            label: recipe.image.label.clone(),
        },
        kernel: manifest::Kernel {
            vmlinuz: file(staging, "vmlinuz")?,
            vmlinux: file(staging, "vmlinux")?,
            release: typed(&parts.kernel.release)?,
            facts: parts.kernel.facts,
        },
        initrd: file(staging, "initrd.img")?,
        boot: boot(recipe)?,
        network: parts.network.clone(),
        packages: manifest::Packages { lock: parts.lock_digest, count: PackageCount::nearest(packages as u64) },
        artifacts: parts.custom.artifacts.clone(),
        probes: recipe.probes.iter().map(probe).collect(),
        waivers: recipe.waivers.iter().map(|waiver| (waiver.rule.clone(), waiver.reason.clone())).collect(),
        provenance: manifest::Provenance {
            recipe: recipe.digest,
            overlays: parts.custom.overlays,
            tool: Line::lossy(concat!("goldsmith ", env!("CARGO_PKG_VERSION"))),
            epoch: Epoch::nearest(parts.lock.epoch.max(0).cast_unsigned()),
        },
    })
}

fn boot(recipe: &Recipe) -> Result<manifest::Boot, Error> {
    let parameter = |parameter: &crate::recipe::BootParameter| manifest::BootParameter {
        kind: parameter.kind,
        optional: parameter.optional,
        default: parameter.default.clone(),
        description: parameter.description.clone(),
    };
    Ok(manifest::Boot {
        args: recipe.boot_args.iter().map(|arg| typed(&arg.text)).collect::<Result<_, _>>()?,
        parameters: recipe.boot_parameters.iter().map(|(name, value)| (name.clone(), parameter(value))).collect(),
    })
}

fn probe(probe: &crate::recipe::Probe) -> manifest::Probe {
    let check = match &probe.check {
        ProbeCheck::Http { port, path } => manifest::ProbeCheck::Http(HttpProbe { port: *port, path: path.clone() }),
        ProbeCheck::Tcp { port, banner } => manifest::ProbeCheck::Tcp(TcpProbe { port: *port, banner: banner.clone() }),
    };
    let (name, fragment) = (probe.name.clone(), probe.fragment.clone());
    manifest::Probe { name, check, fragment, timeout_seconds: Seconds::nearest(probe.timeout.as_secs()) }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}
