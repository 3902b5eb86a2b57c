//! `goldsmith verify`: an image against its manifest, or any ext4 image against the arguments it would be booted with.

use super::terminal;
use crate::boot::{self, KernelArgs, KernelFacts};
use crate::door;
use crate::findings::render::Format;
use crate::findings::{Finding, RuleDoc};
use crate::gate;
use crate::image::View;
use crate::network::{self, Cidr, DhcpServer, Evaluation, HostFacts, Initrd, Inputs, Transport, VmmFacts};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check that an image would be reachable when it is booted, without booting it
///
/// A folder that `goldsmith build` wrote is checked against its manifest: digests, the network recomputed from the image's
/// own files, the boot arguments. Any other ext4 image is checked against `--args`. Exit status 3 when it is refused.
///
/// Example: goldsmith verify images/desktop --append ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// An image and what it would be booted with.
#[derive(clap::Args)]
pub(super) struct Subject {
    /// A folder that `goldsmith build` wrote, or an ext4 image made by any tool.
    image: PathBuf,
    /// Kernel arguments behind the manifest's.
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Set a boot parameter that the manifest declares (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::build::assignment)]
    set: Vec<(String, String)>,
    /// All kernel arguments, for an image without a manifest.
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    args: String,
    /// The kernel's configuration (`/boot/config-*`), for an image without a manifest.
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
    /// The kernel itself, a bzImage or an ELF file: its configuration is read out of it, or what its strings tell.
    #[arg(long, value_name = "FILE", conflicts_with = "kernel_config")]
    kernel: Option<PathBuf>,
    /// Whose initrd it is, for an image without a manifest: that decides who reads `ip=` there.
    #[arg(long, value_enum, default_value_t)]
    initrd: Whose,
    /// How many NICs the VM has.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    nics: u8,
    /// How devices reach the guest.
    #[arg(long, value_enum, default_value_t)]
    transport: Bus,
    /// The NIC's MAC address.
    #[arg(long)]
    mac: Option<String>,
    /// The host side: `bridge=192.168.100.1/24,dhcp=192.168.100.10-192.168.100.200`; `dhcp=none`, `reserve=MAC@ADDRESS`.
    #[arg(long, value_parser = host)]
    host: Option<HostFacts>,
    /// The address the guest is expected at.
    #[arg(long, value_name = "ADDRESS")]
    expect: Option<IpAddr>,
    /// Let a rule through: `--allow NET-K004=migrating`. The reason is shown.
    #[arg(long, value_name = "RULE=REASON", value_parser = allow)]
    allow: Vec<(String, String)>,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Bus {
    /// Firecracker, QEMU microvm.
    #[default]
    Mmio,
    /// QEMU q35, Firecracker with `--enable-pci`.
    Pci,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Whose {
    /// Nobody has looked into it.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// goldsmith's: it configures no network.
    Goldsmith,
    /// initramfs-tools: Debian, Ubuntu.
    InitramfsTools,
    /// dracut with network-legacy.
    Dracut,
}

/// What was found.
pub(super) struct Outcome {
    pub findings: Vec<Finding>,
    pub network: Evaluation,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Gate(#[from] gate::Error),
    #[error(transparent)]
    Image(#[from] crate::image::Error),
    #[error("{} is not a kernel that can be read", path.display())]
    Kernel {
        path: PathBuf,
        #[source]
        cause: boot::Error,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let outcome = match args.subject.examine() {
        Ok(outcome) => outcome,
        Err(error) => {
            terminal::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    report(
        &args.subject.image,
        &outcome.findings,
        args.format,
        &gate::rules(),
        outcome.findings.iter().filter(|finding| finding.refuses()).count(),
    )
}

fn report(image: &Path, findings: &[Finding], format: Format, rules: &[RuleDoc], refusals: usize) -> ExitCode {
    anstream::print!("{}", format.render(findings, rules, true));
    if format == Format::Human {
        let name = image.display();
        match refusals {
            0 => anstream::println!("ok: {name} agrees with what it would be booted with"),
            1 => anstream::println!("refused: 1 conflict in {name}"),
            count => anstream::println!("refused: {count} conflicts in {name}"),
        }
    }
    if refusals == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

impl Subject {
    /// Comes to a verdict.
    pub(super) fn examine(&self) -> Result<Outcome, Error> {
        if self.image.is_dir() { self.folder() } else { self.foreign() }
    }

    fn vmm(&self) -> VmmFacts {
        let transport = match self.transport {
            Bus::Mmio => Transport::Mmio,
            Bus::Pci => Transport::Pci,
        };
        let more_nics = usize::from(self.nics.saturating_sub(1));
        VmmFacts {
            transport,
            mac: self.mac.as_ref().map(|mac| mac.to_ascii_lowercase()),
            more_nics,
            ..VmmFacts::default()
        }
    }

    fn folder(&self) -> Result<Outcome, Error> {
        let manifest = gate::manifest(&self.image)?;
        let request = gate::Request {
            args: gate::arguments(&manifest.boot, &self.set, &self.append, &[]).map_err(gate::Error::from)?,
            vmm: self.vmm(),
            host: self.host.clone(),
            expect: self.expect,
            allow: self.allow.iter().cloned().collect(),
            memory: None,
        };
        let verdict = gate::check(&self.image, &manifest, &request)?;
        Ok(Outcome { findings: verdict.findings, network: verdict.network })
    }

    /// What is known of the kernel: from its configuration, from the kernel itself, or from the image's own `/boot`.
    fn kernel_facts(&self, snapshot: &network::Snapshot, vmm: &mut VmmFacts) -> Result<KernelFacts, Error> {
        if let Some(path) = &self.kernel_config {
            return Ok(KernelFacts::from_config(&String::from_utf8_lossy(&read(path)?)));
        }
        let Some(path) = &self.kernel else {
            return Ok(snapshot.kernel_config().map(|text| KernelFacts::from_config(&text)).unwrap_or_default());
        };
        let probed = boot::probe(&read(path)?).map_err(|cause| Error::Kernel { path: path.clone(), cause })?;
        vmm.kernel_release = probed.release;
        Ok(probed.facts)
    }

    fn foreign(&self) -> Result<Outcome, Error> {
        let view = View::open_path(&self.image)?;
        let snapshot = network::capture(&self.image.display().to_string(), &view)?;
        let mut vmm = self.vmm();
        let kernel = self.kernel_facts(&snapshot, &mut vmm)?;
        let mut args = KernelArgs::parse(&self.args);
        args.append(&self.append);
        let inputs = Inputs {
            vmm,
            host: self.host.clone(),
            expect: self.expect,
            initrd: match self.initrd {
                Whose::Unknown => Initrd::Unknown,
                Whose::None => Initrd::None,
                Whose::Goldsmith => Initrd::Goldsmith,
                Whose::InitramfsTools => Initrd::InitramfsTools,
                Whose::Dracut => Initrd::Dracut,
            },
            ..Inputs::new(snapshot, args, kernel)
        };
        let network = network::evaluate(&inputs);
        let mut findings = network.findings.clone();
        for finding in &mut findings {
            finding.waived = self.allow.iter().find(|(rule, _)| rule == finding.rule).map(|(_, reason)| reason.clone());
        }
        Ok(Outcome { findings, network })
    }
}

pub(super) fn allow(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((rule, reason)) if !rule.is_empty() && !reason.trim().is_empty() => {
            Ok((rule.to_owned(), reason.to_owned()))
        }
        _ => Err("write RULE=REASON, as in `NET-K004=migrating`".to_owned()),
    }
}

/// The largest kernel, or kernel configuration, that is read: 512 MiB.
const MAX_KERNEL: u64 = 512 << 20;

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    door::read(path, "a kernel or its configuration", MAX_KERNEL)
        .map_err(|error| Error::Read { path: path.to_owned(), cause: error.into() })
}

fn host(text: &str) -> Result<HostFacts, String> {
    let mut facts = HostFacts { name: "the bridge".to_owned(), ..HostFacts::default() };
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("bridge", cidr)) => facts.cidr = Some(cidr.parse::<Cidr>().map_err(|error| error.to_string())?),
            Some(("dhcp", "none")) => facts.dhcp = DhcpServer::Absent,
            Some(("reserve", pair)) => {
                let pair =
                    pair.split_once('@').and_then(|(mac, ip)| Some((mac.to_ascii_lowercase(), ip.parse().ok()?)));
                let (mac, ip): (String, Ipv4Addr) = pair.ok_or("write reserve=MAC@ADDRESS")?;
                match &mut facts.dhcp {
                    DhcpServer::Present { reservations, .. } => drop(reservations.insert(mac, ip)),
                    _ => facts.dhcp = DhcpServer::Present { ranges: Vec::new(), reservations: [(mac, ip)].into() },
                }
            }
            Some(("dhcp", range)) => {
                let ends =
                    range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
                let ends: (Ipv4Addr, Ipv4Addr) = ends.ok_or("write dhcp=FIRST-LAST or dhcp=none")?;
                match &mut facts.dhcp {
                    DhcpServer::Present { ranges, .. } => ranges.push(ends),
                    _ => facts.dhcp = DhcpServer::Present { ranges: vec![ends], reservations: BTreeMap::new() },
                }
            }
            _ => {
                return Err(format!("`{part}` is none of bridge=ADDRESS/LENGTH, dhcp=FIRST-LAST, reserve=MAC@ADDRESS"));
            }
        }
    }
    Ok(facts)
}
