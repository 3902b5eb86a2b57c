//! What serves a managed network: dnsmasq (leases and names), an nftables table (NAT and walls), IP forwarding.
//!
//! Each function may be called again at any time and leaves the same state.
//!
//! Source: dnsmasq(8), measured with 2.90; nft(8); kernel `Documentation/networking/ip-sysctl.rst`.

use super::Mac;
use super::managed::Name;
use super::subnet::Subnet;
use crate::launch::tool::{self, Tool};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long dnsmasq may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

const DNSMASQ: Tool = Tool { program: "dnsmasq", package: "dnsmasq-base" };
const NFT: Tool = Tool { program: "nft", package: "nftables" };
/// Programs that managed networks need.
pub const TOOLS: [Tool; 2] = [DNSMASQ, NFT];

fn nft(script: &str) -> Result<(), tool::Error> {
    NFT.run(&["-f".to_owned(), "-".to_owned()], script, &[0])
}

/// Traffic from inside leaves under the host's address; nobody outside the network, other VMs included, begins a
/// conversation with a VM. (Ports of the bridge are isolated from each other besides.)
pub fn wall(name: &Name, subnet: Subnet) -> Result<(), tool::Error> {
    let (table, bridge, network) = (name.table(), name.bridge(), subnet.network_text());
    let script = format!(
        "table inet {table}\n\
         delete table inet {table}\n\
         table inet {table} {{\n\
         chain outwards {{ type nat hook postrouting priority srcnat; ip saddr {network} oifname != \"{bridge}\" masquerade; }}\n\
         chain inwards {{ type filter hook forward priority filter; oifname \"{bridge}\" ct state established,related accept; oifname \"{bridge}\" drop; }}\n\
         }}\n"
    );
    nft(&script)
}

/// Takes the table away.
pub fn unwall(name: &Name) -> Result<(), tool::Error> {
    let table = name.table();
    nft(&format!("table inet {table}\ndelete table inet {table}\n"))
}

/// Lets the host forward packets. `mark` remembers that it did not before, for [`forward_no_more`].
pub fn forward(mark: &Path) -> io::Result<()> {
    if fs::read_to_string(FORWARDING)?.trim() == "0" {
        fs::write(mark, "0")?;
        fs::write(FORWARDING, "1")?;
    }
    Ok(())
}

/// Ends forwarding, if goldsmith has begun it.
pub fn forward_no_more(mark: &Path) -> io::Result<()> {
    if mark.exists() {
        fs::write(FORWARDING, "0")?;
        fs::remove_file(mark)?;
    }
    Ok(())
}

/// Starts dnsmasq for a network, unless it runs; whether it was started. It listens when this returns: it goes into the
/// background once its sockets are open.
pub fn serve(folder: &Path, bridge: &str, subnet: Subnet) -> Result<bool, tool::Error> {
    if !servers(folder).is_empty() {
        return Ok(false);
    }
    let (first, last) = subnet.pool();
    let file = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
    let mut arguments = vec![
        "--conf-file=/dev/null".to_owned(),
        format!("--interface={bridge}"),
        "--bind-interfaces".to_owned(),
        "--except-interface=lo".to_owned(),
        "--no-hosts".to_owned(),
        "--bogus-priv".to_owned(),
        "--domain-needed".to_owned(),
        format!("--dhcp-range={first},{last},1h"),
        "--dhcp-authoritative".to_owned(),
        // By MAC address, whatever identifier clones share; and no ping first, because nobody else gives out addresses.
        "--dhcp-ignore-clid".to_owned(),
        "--no-ping".to_owned(),
        "--log-dhcp".to_owned(),
        leases(folder),
        file("dhcp-hostsfile", RESERVED),
        file("pid-file", "dnsmasq.pid"),
        file("log-facility", "dnsmasq.log"),
    ];
    if !has_nobody() {
        arguments.push("--user=root".to_owned());
    }
    DNSMASQ.run(&arguments, "", &[0])?;
    Ok(true)
}

/// Ends dnsmasq of a network.
pub fn serve_no_more(folder: &Path) {
    let started = Instant::now();
    loop {
        let (left, late) = (servers(folder), started.elapsed() > PATIENCE);
        if left.is_empty() {
            return;
        }
        tell(&left, if late { Signal::KILL } else { Signal::TERM });
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The file of reservations in a network's folder: `MAC,ADDRESS` a line.
const RESERVED: &str = "hosts";

/// Keeps an address for a MAC, and takes it away from any other. None: the MAC gets whatever is free.
pub fn reserve(folder: &Path, mac: Mac, address: Option<Ipv4Addr>) -> io::Result<BTreeMap<String, Ipv4Addr>> {
    let path = folder.join(RESERVED);
    let mut all = reservations(&fs::read_to_string(&path).unwrap_or_default());
    let before = all.clone();
    all.retain(|other, held| *other != mac.to_string() && Some(*held) != address);
    all.extend(address.map(|address| (mac.to_string(), address)));
    if all != before || !path.exists() {
        fs::write(&path, all.iter().map(|(mac, address)| format!("{mac},{address}\n")).collect::<String>())?;
        readable(&path, 0o644)?;
        // It reads the file again.
        tell(&servers(folder), Signal::HUP);
    }
    Ok(all)
}

fn reservations(text: &str) -> BTreeMap<String, Ipv4Addr> {
    let pair =
        |line: &str| line.split_once(',').and_then(|(mac, address)| Some((mac.to_owned(), address.parse().ok()?)));
    text.lines().filter_map(pair).collect()
}

/// For dnsmasq, which gives up root's rights, whatever this process's umask.
pub fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn leases(folder: &Path) -> String {
    format!("--dhcp-leasefile={}", folder.join("leases").display())
}

/// The processes that serve the network of this folder, known by their command line: process numbers in files get old.
fn servers(folder: &Path) -> Vec<Pid> {
    let wanted = leases(folder);
    let serves = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes())
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = all.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((Pid::from_raw(number)?, entry.path()))
    });
    numbered.filter(|(_, process)| serves(process)).map(|(id, _)| id).collect()
}

fn tell(processes: &[Pid], signal: Signal) {
    for process in processes {
        // Gone meanwhile is as good.
        let _ = kill_process(*process, signal);
    }
}

/// Whether this user namespace has the user `nobody`, under whom dnsmasq works. Source: user_namespaces(7), `uid_map`.
fn has_nobody() -> bool {
    const NOBODY: u64 = 65534;
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        matches!(fields.as_slice(), [inside, _, count] if (*inside..inside.saturating_add(*count)).contains(&NOBODY))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reserved_for_one_mac_only() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let address = Some(Ipv4Addr::new(10, 0, 0, 2));
        let all = |mac, address| reserve(folder.path(), mac, address).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(all(a, address), [a.to_string()]);
        assert_eq!(all(b, address), [b.to_string()]);
        assert!(all(b, None).is_empty());
    }
}
