//! One row: what really happens.

use super::cases::{Case, Kernel};
use super::image::Booted;
use super::lab::{Lab, Process, TAPS};
use super::predict::{MACS, arguments};
use goldsmith::network::{Cidr, Transport};
use goldsmith::values::Sha256;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Counts the ways of observing: observations made in another way are not used again.
const OBSERVER: u32 = 1;
/// How long a guest may take until it says the first word; two emulated machines on a busy host are slow.
const PATIENCE: Duration = Duration::from_secs(400);
/// How many of the last reports, one a second, must be the same: where the guest has an address, and where it has none.
const SAME: (usize, usize) = (5, 12);

/// What really happened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The NIC's name in the guest.
    pub name: String,
    /// Its IPv4 addresses, and whether each is the guest's lease.
    pub addresses: Vec<(Ipv4Addr, u8, bool)>,
    /// Where the host called the guest.
    pub called: Option<Ipv4Addr>,
    /// Whether the guest answered there.
    pub reached: bool,
    /// Who else answered.
    pub other: Option<String>,
    /// The second machine's addresses, where there is one.
    pub twin: Option<Vec<Ipv4Addr>>,
    /// What went wrong with the observation itself.
    pub failure: Option<String>,
}

/// What an earlier run saw of the very same image, arguments, kernel and host; else boots the row and looks.
pub fn observe(case: &Case, booted: &Booted, lab: &Lab) -> Observed {
    let digest = &booted.digest;
    let same = (&case.edits, case.transport, case.kernel, case.told, case.host, case.twins);
    let key = Sha256::of(format!("{OBSERVER}\n{digest}\n{same:?}\n{}", arguments(case, booted)).as_bytes());
    let path = booted.memory.join(format!("{key}.json"));
    if let Ok(bytes) = fs::read(&path) {
        return serde_json::from_slice(&bytes).unwrap();
    }
    let observed = boot(case, booted, lab);
    if observed.failure.is_none() {
        fs::write(path, serde_json::to_vec(&observed).unwrap()).unwrap();
    }
    observed
}

/// Boots the row and looks.
fn boot(case: &Case, booted: &Booted, lab: &Lab) -> Observed {
    let _dnsmasq = lab.host(&case.host, MACS[0], &booted.folder);
    let count = if case.twins { 2 } else { 1 };
    let mut machines: Vec<Process> = (0..count).map(|index| start(case, booted, lab, index)).collect();
    let mut reports = Vec::new();
    for (index, machine) in machines.iter_mut().enumerate() {
        match settle(&booted.folder.join(format!("console{index}.log")), machine) {
            Ok(report) => reports.push(report),
            Err(failure) => return Observed { failure: Some(failure), ..Observed::default() },
        }
    }
    let leases = leases(&booted.folder.join("leases"), MACS[0]);
    let Some((name, addresses)) = reports.first().and_then(nic) else {
        return Observed { failure: Some("the guest has no NIC".to_owned()), ..Observed::default() };
    };
    let addresses: Vec<_> = addresses
        .into_iter()
        .filter_map(|cidr| match cidr.address {
            IpAddr::V4(address) => Some((address, cidr.prefix, leases.contains(&address))),
            IpAddr::V6(_) => None,
        })
        .collect();
    let called = case.told.map(|told| told.parse().unwrap()).or(leases.last().copied());
    let answers = called.and_then(|address| lab.answers(address));
    let reached = answers.as_deref() == Some(MACS[0]);
    let twin = reports.get(1).and_then(nic).map(|(_, addresses)| {
        addresses
            .iter()
            .filter_map(|cidr| match cidr.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect()
    });
    let other = answers.filter(|_| !reached);
    Observed { name, addresses, called, reached, other, twin, failure: None }
}

/// Starts QEMU.
fn start(case: &Case, booted: &Booted, lab: &Lab, index: usize) -> Process {
    let mut qemu = lab.command("qemu-system-x86_64");
    let (machine, device) = match case.transport {
        Transport::Mmio => ("microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off", "device"),
        Transport::Pci => ("q35", "pci"),
    };
    qemu.args(["-M", machine, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512"]);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"]);
    qemu.arg("-kernel").arg(&booted.kernel);
    if let Some(initrd) = &booted.initrd {
        qemu.arg("-initrd").arg(initrd);
    }
    qemu.arg("-append").arg(arguments(case, booted).to_string());
    qemu.arg("-drive").arg(format!("id=root,file={},format=raw,if=none,snapshot=on", booted.image.display()));
    qemu.arg("-device").arg(format!("virtio-blk-{device},drive=root"));
    qemu.arg("-netdev").arg(format!("tap,id=n0,ifname={},script=no,downscript=no", TAPS[index]));
    qemu.arg("-device").arg(format!("virtio-net-{device},netdev=n0,mac={}", MACS[index]));
    qemu.args(["-device", &format!("virtio-rng-{device}")]);
    qemu.arg("-serial").arg(format!("file:{}", booted.folder.join(format!("console{index}.log")).display()));
    Process::start(&mut qemu, &booted.folder.join(format!("qemu{index}.log")))
}

/// One report of the guest: its interfaces and their addresses.
type Report = Vec<(String, Vec<Cidr>)>;

/// The guest's reports so far: whether the boot was over, and the interfaces.
fn reports(console: &str) -> Vec<(bool, Report)> {
    let lines = console.lines().filter_map(|line| {
        let (_, line) = line.split_once("TRUTH ")?;
        let (state, rest) = line.trim_end().strip_suffix(" END")?.split_once(' ')?;
        Some((!matches!(state, "initializing" | "starting"), rest))
    });
    let interface = |text: &str| {
        let mut words = text.split_whitespace();
        let name = words.next()?.split('@').next()?.to_owned();
        let addresses = words.skip(1).filter_map(|word| word.parse().ok());
        Some((name, addresses.filter(|cidr: &Cidr| cidr.address.is_ipv4()).collect()))
    };
    lines.map(|(over, rest)| (over, rest.split(';').filter_map(interface).collect())).collect()
}

/// Waits until the guest's state no longer changes.
fn settle(console: &Path, machine: &mut Process) -> Result<Report, String> {
    let started = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
        let all = reports(&text);
        if let Some(last @ (true, report)) = all.last() {
            let addressed = nic(report).is_some_and(|(_, addresses)| !addresses.is_empty());
            let same = all.iter().rev().take_while(|one| *one == last).count();
            if same >= if addressed { SAME.0 } else { SAME.1 } {
                return Ok(report.clone());
            }
        }
        if !machine.runs() {
            return Err("the machine ended".to_owned());
        }
        if started.elapsed() > PATIENCE {
            let last = text.lines().last().unwrap_or_default().trim().to_owned();
            return Err(format!(
                "after {} s the guest has not come to rest; its last word: {last}",
                PATIENCE.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The NIC: the one interface beside loopback.
fn nic(report: &Report) -> Option<(String, Vec<Cidr>)> {
    report.iter().find(|(name, _)| name != "lo").cloned()
}

/// The leases of a MAC address in dnsmasq's file: `EXPIRY MAC ADDRESS NAME CLIENT-ID`. Two clients have two.
fn leases(file: &Path, mac: &str) -> Vec<Ipv4Addr> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let leases = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(1) == Some(&mac)).then(|| words.get(2)?.parse().ok()).flatten()
    });
    leases.collect()
}

/// How a row's machine is called in the table.
pub fn describe(case: &Case) -> &'static str {
    match (case.transport, case.kernel) {
        (Transport::Mmio, Kernel::Debian) => "mmio, Debian",
        (Transport::Mmio, Kernel::IpPnp) => "mmio, IP_PNP",
        (Transport::Pci, Kernel::Debian) => "PCI, Debian",
        (Transport::Pci, Kernel::IpPnp) => "PCI, IP_PNP",
    }
}
