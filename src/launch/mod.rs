//! Boots VMs from built images: the gate, the per-VM disk, the host network, the VMM drivers, the probes, the clean-up.
//!
//! In: an image folder and how it is to be booted. Out: a running [`Vm`], or every reason why nothing was started. A
//! [`Vm`] owns all that it needs (process, tap, disk, folder): when it is dropped, or when this process ends in any way,
//! nothing of it is left. Uses `gate`, `manifest`, `network`, `boot`, `progress`, `values`.

mod diagnosis;
mod disk;
mod home;
pub mod host;
mod probe;
mod ready;
mod running;
pub mod tool;
mod vmm;

pub use diagnosis::{Diagnosis, Layer, Symptoms, diagnose};
pub use disk::Kind as DiskKind;
pub use home::{Record, reconcile, root};
pub use probe::Failure;
pub use ready::{NotReady, Passed, Ready};
pub use running::{Error as RunningError, Running, find, list};
pub use vmm::{Accelerator, qemu};

use crate::boot::KernelArgs;
use crate::findings::{Finding, Severity};
use crate::gate::{self, Request, Verdict};
use crate::manifest::{Manifest, ProbeCheck};
use crate::network::{NetworkMode, VmmFacts};
use crate::progress::{Event, Observer, timed};
use crate::values::{ByteSize, Sha256};
use home::Home;
use host::{Attachment, Choice, Mac, Nic, Publish, Watch};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vmm::{Machine, Qemu, file};

/// How an image is to be launched.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image folder.
    pub folder: PathBuf,
    /// The VM's name; by default the image's, with a number.
    pub name: Option<String>,
    /// Kernel arguments behind the manifest's.
    pub append: String,
    /// Values of the parameters that the manifest declares.
    pub set: Vec<(String, String)>,
    /// The host network; None: that of a kept VM, else user networking.
    pub network: Option<Choice>,
    /// Ports to forward besides those of the probes, under user networking.
    pub publish: Vec<Publish>,
    /// The NIC's address; by default that of a kept VM, else one that follows from the VM's name and this host.
    pub mac: Option<Mac>,
    /// The address that the guest is expected at.
    pub expect: Option<IpAddr>,
    /// Rules to let through, each with its reason.
    pub allow: BTreeMap<String, String>,
    /// What the VM's disk is, unless it has one.
    pub disk: DiskKind,
    /// What the disk and its filesystem are grown to.
    pub disk_size: Option<ByteSize>,
    /// Keep the disk when the VM stops.
    pub keep: bool,
    /// Memory.
    pub memory: ByteSize,
    /// Processors.
    pub cpus: u8,
    /// How instructions are run; None: KVM where it works.
    pub accelerator: Option<Accelerator>,
}

impl Options {
    /// The defaults for an image: 1 GiB, 2 processors, user networking.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            name: None,
            append: String::new(),
            set: Vec::new(),
            network: None,
            publish: Vec::new(),
            mac: None,
            expect: None,
            allow: BTreeMap::new(),
            disk: DiskKind::Copy,
            disk_size: None,
            keep: false,
            memory: ByteSize(1 << 30),
            cpus: 2,
            accelerator: None,
        }
    }
}

/// Why a VM was not started, or does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate refuses; nothing was started.
    #[error("{}", refusal(.0))]
    Refused(Vec<Finding>),
    /// The gate could not come to a verdict.
    #[error(transparent)]
    Gate(#[from] gate::Error),
    /// There is no kept VM of the name.
    #[error(transparent)]
    Kept(RunningError),
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
    /// QEMU does not run.
    #[error(transparent)]
    Qemu(#[from] qemu::Error),
    /// KVM was asked for and does not work.
    #[error("KVM does not work here: {0}\nhelp: leave `--accel` out, or use `--accel emulation`")]
    NoKvm(String),
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

/// A running VM. Dropped, it is ended and everything that was made for it is gone, but for a disk that is to be kept.
#[derive(Debug)]
pub struct Vm {
    // Dropped in this order: the process, its network, its folder.
    qemu: Qemu,
    attachment: Attachment,
    home: Home,
    watch: Option<Watch>,
    manifest: Manifest,
    record: Record,
    mac: Mac,
    started: Instant,
}

/// An image that the gate lets through, with a folder and a place on the host's network; nothing runs yet.
struct Cleared<'o> {
    options: &'o Options,
    manifest: Manifest,
    accelerator: Accelerator,
    home: Home,
    network: Choice,
    mac: Mac,
    attachment: Attachment,
    args: KernelArgs,
    verdict: Verdict,
}

impl<'o> Cleared<'o> {
    /// Puts together what the VM would be and runs the gate on it.
    fn new(options: &'o Options, observer: &dyn Observer) -> Result<Self, Error> {
        let vms = root()?;
        for name in reconcile(&vms)? {
            observer.event(Event::Note(format!("cleaned up after {name}, whose launch had been killed")));
        }
        for line in host::managed::reconcile()? {
            observer.event(Event::Note(line));
        }
        let manifest = gate::manifest(&options.folder)?;
        let accelerator = choose(options.accelerator, observer)?;
        let adds = accelerator.arguments();
        let args = gate::arguments(&manifest.boot, &options.set, &options.append, &adds).map_err(gate::Error::from)?;
        let home = Home::create(&vms, options.name.as_deref(), &manifest.name)?;
        let before = home.before();
        if before.is_some_and(|before| before.digest != manifest.image.digest) {
            return Err(Error::OtherImage { name: home.name().to_owned(), folder: options.folder.clone() });
        }
        let network = options.network.clone().or_else(|| before?.network.parse().ok()).unwrap_or_default();
        let mac = options.mac.or_else(|| before?.mac.parse().ok()).unwrap_or_else(|| mac_of(home.path()));
        let ports = ports(&manifest, &options.publish);
        let attachment = timed::<_, Error>("network", observer, || {
            let nic = Nic { spec: &manifest.network.declared, mac, expect: options.expect, ports: &ports };
            let attachment = Attachment::new(&network, nic)?;
            Ok((attachment.facts().name.clone(), attachment))
        })?;
        let request = Request {
            args,
            vmm: VmmFacts { mac: Some(mac.to_string()), appended: adds.join(" "), ..VmmFacts::default() },
            host: Some(attachment.facts().clone()),
            expect: options.expect,
            allow: options.allow.clone(),
        };
        let verdict = timed::<_, Error>("gate", observer, || {
            let verdict = gate::check(&options.folder, &manifest, &request)?;
            if verdict.refuses() {
                return Err(Error::Refused(verdict.findings));
            }
            Ok((format!("{} agrees with its manifest, its arguments and the host", options.folder.display()), verdict))
        })?;
        for finding in verdict.findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
            let waived = finding.waived.as_ref().map(|reason| format!(" (allowed: {reason})")).unwrap_or_default();
            observer.event(Event::Warning(format!("{}: {}{waived}", finding.rule, finding.message)));
        }
        Ok(Self { options, manifest, accelerator, home, network, mac, attachment, args: request.args, verdict })
    }

    /// Makes the disk and starts the VMM.
    fn start(mut self, observer: &dyn Observer) -> Result<Vm, Error> {
        let Self { options, home, verdict, .. } = &mut self;
        let disk = disk::make(&verdict.files.image, home.path(), options.disk, options.disk_size, observer)?;
        if options.keep {
            home.keep();
        }
        self.home.write(&self.record(None))?;
        let Self { options, home, verdict, .. } = &self;
        let machine = Machine {
            name: home.name(),
            folder: home.path(),
            disk,
            image: &verdict.files.image,
            kernel: &verdict.files.vmlinux,
            initrd: &verdict.files.initrd,
            args: &self.args,
            memory: options.memory,
            cpus: options.cpus,
            mac: self.mac,
            attachment: &self.attachment,
            accelerator: self.accelerator,
        };
        let started = Instant::now();
        let qemu = timed::<_, Error>("start", observer, || {
            let qemu = Qemu::start(&machine)?;
            Ok((format!("{}: QEMU microvm, {}", home.name(), word(self.accelerator)), qemu))
        })?;
        // QEMU has read kernel and initrd by now: what was read is what was checked, or the VM ends here.
        verdict.files.unchanged(&options.folder)?;
        let watch = Watch::open(&home.path().join(file::CAPTURE), self.mac);
        let watch = watch.map_err(|cause| Error::Io { what: "open the capture of the NIC's traffic", cause })?;
        let record = self.record(qemu.pid());
        home.write(&record)?;
        let Self { manifest, attachment, home, mac, .. } = self;
        Ok(Vm { qemu, attachment, home, watch: Some(watch), manifest, record, mac, started })
    }

    fn record(&self, vmm: Option<u32>) -> Record {
        let findings = &self.verdict.findings;
        let allowed = findings.iter().filter_map(|finding| Some((finding.rule.to_owned(), finding.waived.clone()?)));
        Record {
            name: self.home.name().to_owned(),
            image: std::path::absolute(&self.options.folder).unwrap_or_else(|_| self.options.folder.clone()),
            digest: self.manifest.image.digest,
            keep: self.options.keep || self.home.before().is_some(),
            supervisor: std::process::id(),
            vmm,
            machine: format!("qemu microvm, {}", word(self.accelerator)),
            network: self.network.to_string(),
            mac: self.mac.to_string(),
            address: None,
            forwards: match &self.attachment {
                Attachment::User(user) => user.forwards().clone(),
                Attachment::Bridge(_) => BTreeMap::new(),
            },
            args: self.args.to_string(),
            allowed: allowed.collect(),
            ready: false,
        }
    }
}

impl Vm {
    /// Runs the gate and, if it lets the image through, starts a VM.
    pub fn start(options: &Options, observer: &dyn Observer) -> Result<Self, Error> {
        Cleared::new(options, observer)?.start(observer)
    }

    /// What is written down about it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The console's log.
    pub fn console(&self) -> PathBuf {
        self.home.path().join(file::CONSOLE)
    }

    /// Waits until the VM ends by itself (how it ended), or until `stop` says so (None).
    pub fn wait(&self, stop: &dyn Fn() -> bool) -> Result<Option<String>, Error> {
        while !stop() {
            if let Some(status) = self.qemu.ended().map_err(|cause| Error::Io { what: "wait for QEMU", cause })? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    /// Whether the guest is to take a lease.
    fn dhcp(&self) -> bool {
        self.manifest.network.declared.mode == NetworkMode::Dhcp
    }
}

/// KVM where it works, unless something else is asked for; what does not work is said.
fn choose(wanted: Option<Accelerator>, observer: &dyn Observer) -> Result<Accelerator, Error> {
    match wanted {
        Some(Accelerator::Emulation) => Ok(Accelerator::Emulation),
        Some(Accelerator::Kvm) => qemu::kvm().map(|()| Accelerator::Kvm).map_err(Error::NoKvm),
        None => Ok(match qemu::kvm() {
            Ok(()) => Accelerator::Kvm,
            Err(why) => {
                observer.event(Event::Note(format!("emulating the processor (slow): no KVM ({why})")));
                Accelerator::Emulation
            }
        }),
    }
}

fn word(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Emulation => "emulation",
    }
}

/// A locally administered address that follows from the VM's folder and this host's machine-id: the same VM name gets the
/// same lease again, and two hosts on one network get different ones.
fn mac_of(folder: &Path) -> Mac {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let [a, b, c, d, ..] = Sha256::of(format!("{machine}\n{}", folder.display()).as_bytes()).0;
    // The prefix that QEMU and libvirt use for their guests.
    Mac([0x52, 0x54, a, b, c, d])
}

/// The ports that must be reachable: the probes', then those asked for.
fn ports(manifest: &Manifest, publish: &[Publish]) -> Vec<Publish> {
    let probes = manifest.probes.iter().map(|probe| match probe.check {
        ProbeCheck::Http { port, .. } | ProbeCheck::Tcp { port, .. } => Publish { host: None, guest: port },
    });
    publish.iter().copied().chain(probes).collect()
}
