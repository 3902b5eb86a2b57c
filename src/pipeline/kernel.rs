//! The kernel's package → `vmlinuz`, `vmlinux`, modules, facts; and the initrd made from its modules.

use super::Error;
use crate::boot::{self, KernelFacts};
use crate::debian::{Deb, FetchedPackage, Lock, Role};
use crate::door;
use crate::install;
use crate::progress::{Observer, timed};
use crate::store::Store;
use crate::tree::{Content, NodeKind, Tree};
use crate::values::{ByteSize, GuestPath, Sha256};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A kernel, ready to be used.
pub(super) struct Kernel {
    /// `6.1.0-56-cloud-amd64`.
    pub release: String,
    pub facts: KernelFacts,
    /// The bzImage as packaged, a host file.
    pub vmlinuz: PathBuf,
    /// The ELF inside it, a host file.
    pub vmlinux: PathBuf,
    /// `/usr/lib/modules/RELEASE` and `/boot/config-RELEASE`.
    pub modules: Tree,
    pub initrd: Vec<u8>,
}

/// Takes the kernel's package apart and builds the initrd.
pub(super) fn stages(
    lock: &Lock,
    packages: &[FetchedPackage],
    store: &Store,
    observer: &dyn Observer,
) -> Result<Kernel, Error> {
    let mut kernel = timed::<_, Error>("kernel", observer, || {
        let kernel = kernel(lock, packages, store, observer)?;
        Ok((format!("Linux {}", kernel.release), kernel))
    })?;
    kernel.initrd = timed::<_, Error>("initrd", observer, || {
        let initrd = initrd(&kernel, packages, lock.epoch)?;
        Ok((ByteSize(initrd.len() as u64).to_string(), initrd))
    })?;
    Ok(kernel)
}

/// The modules alone.
pub(super) fn modules(
    lock: &Lock,
    packages: &[FetchedPackage],
    store: &Store,
    observer: &dyn Observer,
) -> Result<Tree, Error> {
    timed::<_, Error>("kernel", observer, || {
        let kernel = kernel(lock, packages, store, observer)?;
        Ok((format!("Linux {}", kernel.release), kernel.modules))
    })
}

/// Unpacks the kernel's package; cached.
fn kernel(lock: &Lock, packages: &[FetchedPackage], store: &Store, observer: &dyn Observer) -> Result<Kernel, Error> {
    let fetched: Vec<_> = packages.iter().filter(|fetched| fetched.package.role == Role::Kernel).collect();
    let package = fetched.first().map(|fetched| fetched.package.name.clone()).unwrap_or_default();
    let missing = |what| Error::NoKernel { package: package.clone(), what };
    let mut tree = install::unpacked(&fetched, lock.epoch, store, observer)?;
    let boot: GuestPath = "/boot".parse().map_err(|_| missing("/boot"))?;
    let name =
        |prefix: &str| tree.children(&boot).into_iter().find_map(|name| name.strip_prefix(prefix).map(str::to_owned));
    let release = name("vmlinuz-").ok_or_else(|| missing("/boot/vmlinuz-*"))?;
    let config = read(&tree, &format!("/boot/config-{release}")).ok_or_else(|| missing("/boot/config-*"))?;
    let vmlinuz = match tree.get(&format!("/boot/vmlinuz-{release}").parse().map_err(|_| missing("/boot/vmlinuz-*"))?) {
        Some(node) => match &node.kind {
            NodeKind::File(Content::Host { file, .. }) => file.to_path_buf(),
            _ => return Err(missing("/boot/vmlinuz-*")),
        },
        None => return Err(missing("/boot/vmlinuz-*")),
    };
    let digest = fetched.first().map_or(Sha256([0; 32]), |fetched| fetched.package.sha256);
    let vmlinux = extract(&vmlinuz, &digest, &package, store)?;
    index(&mut tree, &release, lock.epoch, &package)?;
    for name in ["vmlinuz", "System.map"] {
        if let Ok(path) = format!("/boot/{name}-{release}").parse() {
            tree.remove(&path);
        }
    }
    if let Ok(path) = "/usr/share".parse() {
        tree.remove(&path);
    }
    Ok(Kernel {
        facts: KernelFacts::from_config(&String::from_utf8_lossy(&config)),
        release,
        vmlinuz,
        vmlinux,
        modules: tree,
        initrd: Vec::new(),
    })
}

/// Puts what `depmod` would write beside the modules: udev and modprobe in the guest find nothing without.
fn index(tree: &mut Tree, release: &str, epoch: i64, package: &str) -> Result<(), Error> {
    let paths: Vec<_> = tree.iter().map(|(path, _)| path.clone()).collect();
    let order = format!("/modules/{release}/modules.order");
    let folder = paths.iter().find(|path| path.as_str().ends_with(&order)).and_then(GuestPath::parent);
    let folder = folder.ok_or(Error::NoKernel { package: package.to_owned(), what: "modules.order" })?;
    let read = |path: &GuestPath| tree.read(path).ok().flatten();
    let files =
        boot::index(release, &paths, &read).map_err(|cause| Error::Kernel { package: package.to_owned(), cause })?;
    for (name, bytes) in files {
        let path = format!("{folder}/{name}");
        let inserted = tree.insert_file(&path, 0o644, epoch, Content::Bytes(bytes.into()));
        inserted.map_err(|cause| Error::Tree { what: path, cause })?;
    }
    Ok(())
}

/// The ELF kernel inside a bzImage, cached by the package's digest.
fn extract(vmlinuz: &Path, digest: &Sha256, package: &str, store: &Store) -> Result<PathBuf, Error> {
    let discard = |path: &Path| fs::remove_dir_all(path).map_err(|cause| Error::Folder { path: path.into(), cause });
    let sound = |layer: &Path| fs::metadata(layer.join("vmlinux")).is_ok_and(|file| file.is_file() && file.len() > 0);
    let known = store.layer("vmlinux", digest);
    if known.exists() && !sound(&known) {
        store.drop_layer("vmlinux", digest, discard)?;
    }
    let layer = store.make_layer("vmlinux", digest, discard, |work| {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Folder { path, cause }
        };
        let bytes = door::read(vmlinuz, "a kernel", MAX_KERNEL).map_err(|error| io(vmlinuz)(error.into()))?;
        let elf =
            boot::extract_vmlinux(&bytes).map_err(|cause| Error::Kernel { package: package.to_owned(), cause })?;
        let path = work.join("vmlinux");
        fs::write(&path, elf).map_err(io(&path))
    })?;
    Ok(layer.join("vmlinux"))
}

fn read(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    tree.read(&path.parse().ok()?).ok()?
}

/// The initrd for a kernel: its own modules and busybox from the lock.
fn initrd(kernel: &Kernel, packages: &[FetchedPackage], epoch: i64) -> Result<Vec<u8>, Error> {
    let fetched = packages.iter().find(|fetched| fetched.package.role == Role::Initrd);
    let package = fetched.map(|fetched| fetched.package.name.clone()).unwrap_or_default();
    let missing = || Error::NoKernel { package: package.clone(), what: "/bin/busybox" };
    let busybox = fetched.map(|fetched| busybox(&fetched.file)).transpose()?.flatten().ok_or_else(missing)?;
    let files = kernel.modules.iter().filter(|(_, node)| matches!(node.kind, NodeKind::File(_)));
    let read = |path: &GuestPath| kernel.modules.read(path).ok().flatten();
    boot::initrd::build(&boot::initrd::Input {
        release: &kernel.release,
        busybox: &busybox,
        paths: &files.map(|(path, _)| path.clone()).collect::<Vec<_>>(),
        read: &read,
        epoch,
    })
    .map_err(|cause| Error::Kernel { package: kernel.release.clone(), cause })
}

/// The largest busybox that goes into an initrd; Debian's has 2 MB. A larger one is cut off and does not start.
const MAX_BUSYBOX: u64 = 64 << 20;
/// The largest kernel; Debian's has 12 MB.
const MAX_KERNEL: u64 = 512 << 20;

fn busybox(deb: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut found = None;
    let deb = Deb::open(deb).map_err(install::Error::from)?;
    deb.visit::<install::Error>(|file, bytes| {
        if file.path.name() == "busybox" && found.is_none() {
            let mut program = Vec::new();
            let path = file.path.as_str().into();
            bytes.take(MAX_BUSYBOX).read_to_end(&mut program).map_err(|cause| install::Error::Io {
                what: "read",
                path,
                cause,
            })?;
            found = Some(program);
        }
        Ok(())
    })?;
    Ok(found)
}
