//! What surrounds a managed network: nftables (NAT and walls), IP forwarding.
//!
//! Each function may be called again at any time and leaves the same state.
//!
//! Source: nft(8); kernel `Documentation/networking/ip-sysctl.rst`.

use super::guard::{self, Port};
use super::link;
use super::managed::Name;
use super::subnet::Subnet;
use super::world;
use crate::launch::tool::{self, Tool};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

pub(super) const DNSMASQ: Tool = Tool { program: "dnsmasq", package: "dnsmasq-base" };
pub(super) const NFT: Tool = Tool { program: "nft", package: "nftables" };
/// Programs that managed networks need.
pub const TOOLS: [Tool; 2] = [DNSMASQ, NFT];

/// New connections of one VM: each second, at once, and open at a time. The host remembers each, and every address that is
/// looked for; its tables have some ten thousand and some thousand places (`nf_conntrack_max`, `gc_thresh3`).
const CONNECTIONS: [u32; 3] = [200, 400, 4096];

/// Runs a script of nft: all of it, or nothing.
pub(super) fn nft(script: &str) -> Result<(), tool::Error> {
    NFT.run(&["-f".to_owned(), "-".to_owned()], script, &[0])
}

/// Traffic from inside leaves under the host's address, but not to where clouds keep secrets; nobody outside the network,
/// other VMs included, begins a conversation with a VM; of the host VMs reach what serves the network. (Ports of the bridge
/// are isolated from each other, and send what is theirs alone: [`guard`].)
pub fn wall(name: &Name, subnet: Subnet, ports: &[Port]) -> Result<(), tool::Error> {
    let (table, bridge, network, host) = (name.table(), name.bridge(), subnet.network_text(), subnet.host());
    let ([each, once, open], metadata) = (CONNECTIONS, world::metadata());
    let script = format!(
        "table inet {table}\n\
         delete table inet {table}\n\
         table inet {table} {{\n\
         set rates {{ type ipv4_addr; size 65535; flags dynamic; }}\n\
         set flows {{ type ipv4_addr; size 65535; flags dynamic; }}\n\
         chain outwards {{ type nat hook postrouting priority srcnat; ip saddr {network} oifname != \"{bridge}\" masquerade; }}\n\
         chain inwards {{ type filter hook forward priority filter;\n\
         oifname \"{bridge}\" ct state established,related accept\n\
         oifname \"{bridge}\" drop\n\
         iifname \"{bridge}\" jump guest\n\
         }}\n\
         chain doors {{ type filter hook input priority filter;\n\
         iifname != \"{bridge}\" accept\n\
         udp sport 68 udp dport 67 accept\n\
         jump guest\n\
         ct state established,related accept\n\
         ip daddr {host} udp dport 53 accept\n\
         ip daddr {host} tcp dport 53 accept\n\
         ip daddr {host} icmp type echo-request accept\n\
         drop\n\
         }}\n\
         chain guest {{\n\
         meta nfproto ipv6 drop\n\
         ip saddr != {network} drop\n\
         ip daddr {metadata} drop\n\
         ct state new update @rates {{ ip saddr limit rate over {each}/second burst {once} packets }} drop\n\
         ct state new add @flows {{ ip saddr ct count over {open} }} drop\n\
         }}\n\
         }}\n"
    );
    nft(&(script + &guard::script(&table, ports)))
}

/// A VM's port of a bridge that others look after, kept to what is its own. Dropped, it is as any port.
#[derive(Debug)]
pub struct Ward(Port);

impl Ward {
    /// Guards a port from here on, whose image may declare an address.
    pub fn over(port: Port, declared: Option<IpAddr>) -> Result<Self, tool::Error> {
        nft(&guard::alone(&ward(&port.tap), &port, declared))?;
        Ok(Self(port))
    }

    /// Lets the guest have this address and no other.
    pub fn pin(&self, address: Ipv4Addr) -> Result<(), tool::Error> {
        nft(&guard::pin(&ward(&self.0.tap), &Port { address: Some(address), ..self.0.clone() }))
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        // What cannot be taken away now is taken away with the next port's coming.
        let _ = nft(&guard::gone(&ward(&self.0.tap)));
    }
}

/// The table of such a port. No managed network's table has this name.
fn ward(tap: &str) -> String {
    format!("goldsmith_{tap}")
}

/// Takes away the tables of ports that are gone without having said so.
pub fn forget_wards() -> Result<(), tool::Error> {
    let tables = NFT.ask(&["list", "tables", "bridge"].map(str::to_owned), "", &[0])?;
    let taps = tables.lines().filter_map(|line| line.strip_prefix(&format!("table bridge {}", ward(""))));
    let gone = taps.filter(|tap| link::exists(tap).is_ok_and(|there| !there));
    let script: String = gone.map(|tap| guard::gone(&ward(tap))).collect();
    if script.is_empty() { Ok(()) } else { nft(&script) }
}

/// Takes the tables away.
pub fn unwall(name: &Name) -> Result<(), tool::Error> {
    let table = name.table();
    nft(&format!("table inet {table}\ndelete table inet {table}\n{}", guard::gone(&table)))
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
