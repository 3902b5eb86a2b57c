//! What a VM may send into a bridge: nothing but what comes from its own NIC and its own address. Pure.
//!
//! The rules are an nftables table of the family `bridge`, so they see each frame as it enters the VM's port: before the
//! bridge learns a MAC address from it, and before anybody else sees it. Whatever they do not name is dropped: other
//! protocols, VLAN tags, what the bridge itself would listen to (STP, LLDP).
//!
//! Source: nft(8), measured with 1.0.6 (a tagged frame shows its tag as its type); kernel `net/bridge/br_input.c`: frames to
//! 01:80:c2:00:00:0X come by the hook `input`, all others by `prerouting` first. RFC 826, 2131, 4861; 4291, appendix A.

use super::Mac;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How often a VM may ask for a lease, each second and at once: its questions are all that dnsmasq may be kept busy with.
const ASKS: [u32; 2] = [4, 32];

/// A VM's port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The interface.
    pub tap: String,
    /// The NIC's address.
    pub mac: Mac,
    /// The guest's address. None: it has none yet, and may only look for one.
    pub address: Option<Ipv4Addr>,
}

impl Port {
    /// A line of a file: `gs0 52:54:00:12:34:56 192.168.100.7`.
    pub fn line(&self) -> String {
        let address = self.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        format!("{} {} {address}\n", self.tap, self.mac)
    }

    /// Reads such a line. None: it is none.
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (tap, mac, address) = (words.next()?, words.next()?, words.next()?);
        let good =
            tap.strip_prefix("gs").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        let address = if address == "-" { None } else { Some(address.parse().ok()?) };
        (good && words.next().is_none()).then_some(Self { tap: tap.to_owned(), mac: mac.parse().ok()?, address })
    }
}

/// The table for these ports, which takes the place of the one of this name. No IPv6 passes.
pub fn script(table: &str, ports: &[Port]) -> String {
    whole(table, ports, "drop\n")
}

/// The table for one port of a bridge that others look after. IPv6 passes from addresses that are made of the NIC's own
/// (RFC 4291, modified EUI-64), and from `declared`, the one that the image fixes.
pub fn alone(table: &str, port: &Port, declared: Option<IpAddr>) -> String {
    let declared = if let Some(IpAddr::V6(address)) = declared { Some(address) } else { None };
    whole(table, std::slice::from_ref(port), &six(port.mac, declared))
}

/// Takes a table away, if it is there.
pub fn gone(table: &str) -> String {
    format!("table bridge {table}\ndelete table bridge {table}\n")
}

/// Lets a port of [`alone`] have this address and no other.
pub fn pin(table: &str, port: &Port) -> String {
    let hosts = set(std::slice::from_ref(port), |port| key(port, true));
    let element = hosts.map(|elements| format!("add element bridge {table} hosts {elements}\n")).unwrap_or_default();
    format!("flush set bridge {table} hosts\n{element}")
}

fn whole(table: &str, ports: &[Port], six: &str) -> String {
    let elements = |list: Option<String>| list.map(|list| format!(" elements = {list};")).unwrap_or_default();
    let taps = elements(set(ports, |port| Some(format!("\"{}\"", port.tap))));
    let macs = elements(set(ports, |port| key(port, false)));
    let hosts = elements(set(ports, |port| key(port, true)));
    let [each, once] = ASKS;
    // In a question the client's MAC address stands 28 bytes behind the UDP header, that of a relay (nobody is one) 24.
    let client = |port: &Port| {
        let mac = port.mac.0.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("iifname \"{}\" @th,288,48 != {mac:#x} drop\n", port.tap)
    };
    let clients: String = ports.iter().map(client).collect();
    format!(
        "{gone}\
         table bridge {table} {{\n\
         set taps {{ type ifname;{taps} }}\n\
         set macs {{ type ifname . ether_addr;{macs} }}\n\
         set hosts {{ type ifname . ether_addr . ipv4_addr;{hosts} }}\n\
         set asks {{ type ifname; size 65535; flags dynamic; }}\n\
         chain arrives {{ type filter hook prerouting priority -300; iifname @taps goto guest; }}\n\
         chain enters {{ type filter hook input priority -300; iifname @taps goto guest; }}\n\
         chain guest {{\n\
         iifname . ether saddr != @macs drop\n\
         ether type arp goto says\n\
         ether type ip goto sends\n\
         ether type ip6 goto six\n\
         drop\n\
         }}\n\
         chain says {{\n\
         arp htype != 1 drop\n\
         arp ptype != ip drop\n\
         arp hlen != 6 drop\n\
         arp plen != 4 drop\n\
         iifname . arp saddr ether . arp saddr ip @hosts arp operation {{ request, reply }} accept\n\
         iifname . arp saddr ether @macs arp saddr ip 0.0.0.0 arp operation request accept\n\
         drop\n\
         }}\n\
         chain sends {{\n\
         udp sport 67 drop\n\
         udp dport 68 drop\n\
         udp dport 67 jump asks\n\
         ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept\n\
         iifname . ether saddr . ip saddr @hosts accept\n\
         drop\n\
         }}\n\
         chain asks {{\n\
         update @asks {{ iifname limit rate over {each}/second burst {once} packets }} drop\n\
         {clients}\
         @th,256,32 != 0 drop\n\
         }}\n\
         chain six {{\n\
         {six}\
         }}\n\
         }}\n",
        gone = gone(table),
    )
}

/// What may be said by IPv6. Addresses are the NIC's own where their lower half is made of its MAC address.
fn six(mac: Mac, declared: Option<Ipv6Addr>) -> String {
    let [a, b, c, d, e, f] = mac.0;
    let lower = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let suffix = Ipv6Addr::from(u128::from(lower));
    // The address that is asked or told about stands 64 bits into the message.
    let mut own = vec![(format!("ip6 saddr & ::ffff:ffff:ffff:ffff == {suffix}"), format!("@th,128,64 {lower:#x}"))];
    own.extend(
        declared.map(|address| (format!("ip6 saddr {address}"), format!("@th,64,128 {:#x}", u128::from(address)))),
    );
    let mut rules = "icmpv6 type { nd-router-advert, nd-redirect } drop\nudp sport 547 drop\n".to_owned();
    for (_, target) in &own {
        let _ = writeln!(rules, "icmpv6 type nd-neighbor-advert {target} goto own");
        let _ = writeln!(rules, "ip6 saddr :: icmpv6 type nd-neighbor-solicit {target} accept");
    }
    rules += "icmpv6 type nd-neighbor-advert drop\n\
              ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } accept\n\
              goto own\n\
              }\n\
              chain own {\n";
    for (source, _) in &own {
        let _ = writeln!(rules, "{source} accept");
    }
    rules + "drop\n"
}

fn key(port: &Port, with_address: bool) -> Option<String> {
    let mac = format!("\"{}\" . {}", port.tap, port.mac);
    if with_address { port.address.map(|address| format!("{mac} . {address}")) } else { Some(mac) }
}

/// The elements of a set; none when there are none, which nft cannot say.
fn set(ports: &[Port], element: impl Fn(&Port) -> Option<String>) -> Option<String> {
    let elements: Vec<String> = ports.iter().filter_map(element).collect();
    (!elements.is_empty()).then(|| format!("{{ {} }}", elements.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_back_and_nothing_else_is_one() {
        let mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
        for address in [None, Some(Ipv4Addr::new(10, 0, 0, 5))] {
            let port = Port { tap: "gs12".into(), mac, address };
            assert_eq!(Port::read(port.line().trim_end()), Some(port));
        }
        for bad in
            ["", "gs0", "gs0 x -", "eth0 52:54:00:00:00:01 -", "gs 52:54:00:00:00:01 -", "gs0 52:54:00:00:00:01 - -"]
        {
            assert_eq!(Port::read(bad), None, "{bad}");
        }
    }
}
