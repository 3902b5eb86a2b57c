//! From options to a VM: what it would be, whether the gate lets it through, and its start.

use super::host::{Attachment, Choice, Mac, Nic, Publish};
use super::vmm::{self, Checked, Machine, Vmm, file};
use super::{Accelerator, DiskKind, Error, Model, Options, Record, Secret, Vm, choice, disk, firecracker, home, host};
use crate::boot::KernelArgs;
use crate::findings::Severity;
use crate::gate::{self, Memory, Request, Verdict};
use crate::manifest::{self, Manifest};
use crate::network::VmmFacts;
use crate::progress::{Event, Observer, timed};
use crate::values::Sha256;
use home::Home;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Beside the folder of all VMs: which files the gate has hashed.
const VERIFIED: &str = "verified";

/// An image that the gate lets through, with a folder and a place on the host's network; nothing runs yet.
pub struct Cleared<'o> {
    options: &'o Options,
    manifest: Manifest,
    model: Model,
    accelerator: Accelerator,
    /// Whether emulation takes over where KVM gives up.
    falls_back: bool,
    home: Home,
    network: Choice,
    disk: DiskKind,
    /// Whether the disk outlives the VM: it is asked for, or it did before.
    keep: bool,
    mac: Mac,
    attachment: Attachment,
    /// What the VMM is given.
    given: KernelArgs,
    /// What the guest will see: that, and what the VMM appends.
    args: KernelArgs,
    verdict: Verdict,
    /// What the guest gets instead of the golden initrd: that, and its secret.
    initrd: Option<File>,
}

impl<'o> Cleared<'o> {
    /// Puts together what the VM would be and runs the gate on it. `runs`: whether it is to be started.
    pub fn new(options: &'o Options, runs: bool, observer: &dyn Observer) -> Result<Self, Error> {
        let vms = home::root()?;
        for name in home::reconcile(&vms)? {
            observer.event(Event::Note(format!("cleaned up after {name}, whose launch had been killed")));
        }
        match host::managed::reconcile() {
            Ok(lines) => lines.into_iter().for_each(|line| observer.event(Event::Note(line))),
            // It may be a network that this VM has nothing to do with.
            Err(error) => observer.event(Event::Warning(error.to_string())),
        }
        let manifest = gate::manifest(&options.folder)?;
        let home = Home::create(&vms, options.name.as_ref(), &manifest.name)?;
        let before = home.before();
        if before.is_some_and(|before| before.digest != manifest.image.digest) {
            return Err(Error::OtherImage { name: home.name().to_string(), folder: options.folder.clone() });
        }
        let network = options.network.clone().or_else(|| before?.network.parse().ok()).unwrap_or_default();
        let mac = options.mac.or_else(|| before?.mac.parse().ok()).unwrap_or_else(|| mac_of(home.path()));
        let disk = disk::there(home.path()).or(options.disk);
        let (model, accelerator) = choice::choose(options, &network, disk, runs, observer)?;
        let falls_back = accelerator == Accelerator::Kvm && choice::could_emulate(options, &network, disk);
        let arguments = |adds: &[String]| gate::arguments(&manifest.boot, &options.set, &options.append, adds);
        let mut adds = model.arguments(accelerator, &arguments(&[]).map_err(gate::Error::from)?);
        let given = arguments(&adds).map_err(gate::Error::from)?;
        adds.push(model.appends().to_owned());
        let ports = ports(&manifest, &options.publish, before);
        let attachment = timed::<_, Error>("network", observer, || {
            let nic = Nic { spec: &manifest.network.declared, mac, expect: options.expect, ports: &ports };
            let attachment = Attachment::new(&network, nic)?;
            Ok((attachment.facts().name.clone(), attachment))
        })?;
        let request = Request {
            args: arguments(&adds).map_err(gate::Error::from)?,
            vmm: VmmFacts {
                transport: model.transport(),
                mac: Some(mac.to_string()),
                appended: adds.join(" "),
                ctrl_alt_del: true,
                ..VmmFacts::default()
            },
            host: Some(attachment.facts().clone()),
            expect: options.expect,
            allow: options.allow.clone(),
            memory: Memory::open(&vms.with_file_name(VERIFIED)),
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
        let args = request.args;
        let keep = options.keep || home.before().is_some();
        let overlays = model != Model::Firecracker && !keep;
        let disk = disk.unwrap_or_else(|| disk::suited(&verdict.files.image, home.path(), overlays));
        Ok(Self {
            options,
            manifest,
            model,
            accelerator,
            falls_back,
            home,
            network,
            disk,
            keep,
            mac,
            attachment,
            given,
            args,
            verdict,
            initrd: None,
        })
    }

    /// Makes the disk and starts the VMM.
    pub fn start(mut self, observer: &dyn Observer) -> Result<Vm, Error> {
        let Self { options, home, verdict, disk, keep, .. } = &mut self;
        if options.disk_size.is_some() {
            disk::must_grow(&verdict.files.image, &options.folder)?;
        }
        disk::make(&verdict.files.image, home.path(), *disk, options.disk_size, observer)?;
        if *keep {
            home.keep();
        }
        let io = |what| move |cause| Error::Io { what, cause };
        let mut record = self.record();
        self.home.write(&record)?;
        let secret = self.hand_secret().map_err(io("make the VM's secret"))?;
        let mut cgroup = None;
        if self.model == Model::Firecracker {
            self.hand_over(&mut record)?;
            cgroup = record.cgroup.clone().map(firecracker::jail::Group);
        }
        let watch = self.attachment.watch(&self.home.path().join(file::CAPTURE), self.mac);
        let watch = watch.map_err(io("follow the NIC's traffic"))?;
        let started = Instant::now();
        let vmm = timed::<_, Error>("start", observer, || {
            let vmm = self.with_machine(Vmm::start).map_err(|error| match error {
                Error::Vmm(vmm::Error::Ended { status, log, .. }) if self.falls_back => {
                    let last = log.lines().last().unwrap_or_default();
                    Error::Unrun(format!("the VMM ended with {status}: {last}"))
                }
                error => error,
            })?;
            Ok((format!("{}: {}", record.name, record.machine), vmm))
        })?;
        // The VMM has read kernel and initrd by now: what was read is what was checked, or the VM ends here.
        self.verdict.files.unchanged(&self.options.folder)?;
        record.vmm = vmm.pid();
        self.home.write(&record)?;
        let findings = self.verdict.findings.iter().map(|finding| finding.rule).collect();
        let Self { options: Options { timeout, .. }, manifest, attachment, home, mac, falls_back, .. } = self;
        let (watch, timeout) = (Some(watch), *timeout);
        Ok(Vm {
            vmm,
            _cgroup: cgroup,
            attachment,
            home,
            watch,
            manifest,
            record,
            secret,
            mac,
            findings,
            falls_back,
            timeout,
            started,
        })
    }

    /// Makes the VM's secret, if the address of one of its services wants one.
    fn hand_secret(&mut self) -> io::Result<Option<Secret>> {
        if self.manifest.probes.iter().all(|probe| probe.fragment.is_none()) {
            return Ok(None);
        }
        let secret = Secret::new()?;
        secret.write(self.home.path())?;
        self.initrd = Some(secret.behind(&self.verdict.files.initrd)?);
        Ok(Some(secret))
    }

    /// Lets Firecracker have the tap, once the record says what would be left if this process died.
    fn hand_over(&mut self, record: &mut Record) -> Result<(), Error> {
        let io = |what| move |cause| Error::Io { what, cause };
        let jail = self.options.jail.as_ref();
        // In a jail it goes with the jail.
        let trace = self.attachment.tap().filter(|_| jail.is_none()).map(host::Tap::trace).transpose();
        record.tap = trace.map_err(io("read the tap's number"))?;
        record.cgroup = jail.and_then(|jail| firecracker::jail::cgroup(jail, self.home.name()));
        self.home.write(record)?;
        let owner = firecracker::owner(jail, self.home.path());
        self.attachment.hand_over(owner, jail.is_some()).map_err(io("hand the tap over"))
    }

    /// Calls a function with the machine that this is.
    pub fn with_machine<T>(&self, call: impl FnOnce(&Machine) -> Result<T, vmm::Error>) -> Result<T, Error> {
        let Self { options, manifest, home, verdict, initrd, .. } = self;
        let folder = self.folder();
        let checked = |file, recorded: &manifest::File| Checked { file, path: folder.join(&recorded.file) };
        let machine = Machine {
            name: home.name(),
            folder: home.path(),
            disk: self.disk,
            image: &Checked { file: &verdict.files.image, path: folder.join(&manifest.image.file) },
            kernel: &checked(&verdict.files.vmlinux, &manifest.kernel.vmlinux),
            initrd: &checked(initrd.as_ref().unwrap_or(&verdict.files.initrd), &manifest.initrd),
            args: &self.given,
            memory: options.memory,
            cpus: options.cpus,
            mac: self.mac,
            attachment: &self.attachment,
            model: self.model,
            accelerator: self.accelerator,
            limits: options.limits,
            jail: options.jail.as_ref(),
        };
        Ok(call(&machine)?)
    }

    /// The image folder, whatever folder one works in.
    fn folder(&self) -> PathBuf {
        std::path::absolute(&self.options.folder).unwrap_or_else(|_| self.options.folder.clone())
    }

    fn record(&self) -> Record {
        let findings = &self.verdict.findings;
        let allowed = findings.iter().filter_map(|finding| Some((finding.rule.to_owned(), finding.waived.clone()?)));
        Record {
            name: self.home.name().clone(),
            image: self.folder(),
            digest: self.manifest.image.digest,
            keep: self.keep,
            supervisor: std::process::id(),
            vmm: None,
            machine: format!("{}, {}", self.model, self.accelerator),
            network: self.network.to_string(),
            mac: self.mac.to_string(),
            address: None,
            forwards: match &self.attachment {
                Attachment::User(user) => user.forwards(),
                Attachment::Bridge(_) => BTreeMap::new(),
            },
            args: self.args.to_string(),
            allowed: allowed.collect(),
            ready: false,
            tap: None,
            cgroup: None,
        }
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

/// The ports that must be reachable: those asked for, then those that a kept VM had, then the probes'.
fn ports(manifest: &Manifest, publish: &[Publish], before: Option<&Record>) -> Vec<Publish> {
    let had = before.into_iter().flat_map(|before| before.forwards.keys().copied());
    let probes = manifest.probes.iter().map(|probe| probe.check.port());
    publish.iter().copied().chain(had.chain(probes).map(|guest| Publish { host: None, guest })).collect()
}
