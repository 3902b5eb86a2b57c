//! The guest's network as it really is: addresses and routes from the kernel, name servers and leases from networkd.

use crate::json::Json;
use crate::netlink::{self, Address};
use std::net::IpAddr;
use std::path::Path;

/// What is known of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub interface: String,
    /// The hardware address.
    pub mac: Option<String>,
    /// The address under which others reach this guest.
    pub address: Option<(IpAddr, u8)>,
    /// Where that address came from.
    pub source: Option<Source>,
    /// The default gateway.
    pub gateway: Option<IpAddr>,
    /// The name servers, in order.
    pub dns: Vec<String>,
    /// The file that configured the interface, as networkd names it.
    pub configured_by: Option<String>,
}

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A DHCP lease.
    Dhcp,
    /// A fixed configuration.
    Static,
}

impl Network {
    /// Looks at the interface.
    pub fn look(interface: &str) -> Result<Self, String> {
        let device = Path::new("/sys/class/net").join(interface);
        let index = read(&device.join("ifindex")).and_then(|text| text.trim().parse().ok());
        let index: u32 = index.ok_or_else(|| format!("there is no interface {interface}"))?;
        let addresses = netlink::addresses()?;
        let own = best(&addresses, index);
        let link = read(&Path::new("/run/systemd/netif/links").join(index.to_string())).unwrap_or_default();
        let lease = read(&Path::new("/run/systemd/netif/leases").join(index.to_string())).unwrap_or_default();
        let dns = words(&link, "DNS");
        let resolv_conf = || name_servers(&read(Path::new("/etc/resolv.conf")).unwrap_or_default());
        Ok(Self {
            interface: interface.to_owned(),
            mac: read(&device.join("address")).map(|text| text.trim().to_owned()),
            address: own.map(|address| (address.ip, address.prefix)),
            source: own.map(|address| source(address, &lease)),
            gateway: netlink::default_routes()?.into_iter().find(|route| route.index == index).and_then(|r| r.gateway),
            dns: if dns.is_empty() { resolv_conf() } else { dns },
            configured_by: words(&link, "NETWORK_FILE").into_iter().next(),
        })
    }

    /// Ok: the address; Err: that there is none.
    pub fn verdict(&self) -> Result<String, String> {
        let Some(((ip, prefix), source)) = self.address.zip(self.source) else {
            return Err(format!("{} has no address", self.interface));
        };
        Ok(format!("{} has {ip}/{prefix} ({})", self.interface, source.name()))
    }

    /// The `network` part of the health document.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("interface", self.interface.as_str().into()),
            ("mac", Json::option(self.mac.as_deref())),
            ("address", Json::option(self.address.map(|(ip, prefix)| format!("{ip}/{prefix}")))),
            ("source", Json::option(self.source.map(Source::name))),
            ("gateway", Json::option(self.gateway.map(|ip| ip.to_string()))),
            ("dns", Json::strings(self.dns.iter().map(String::as_str))),
            ("configured_by", Json::option(self.configured_by.as_deref())),
        ])
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Static => "static",
        }
    }
}

/// The address others use: global before link-local, IPv4 before IPv6, then the kernel's order.
fn best(addresses: &[Address], index: u32) -> Option<&Address> {
    addresses.iter().filter(|address| address.index == index).min_by_key(|a| (!a.global, a.ip.is_ipv6()))
}

/// A lease that networkd holds for this very address proves DHCP, even an endless one; without networkd's word an
/// address with a lifetime was leased (or advertised), and one without was fixed.
fn source(address: &Address, lease: &str) -> Source {
    let leased = value(lease, "ADDRESS").and_then(|text| text.parse().ok()) == Some(address.ip);
    if leased || !address.permanent { Source::Dhcp } else { Source::Static }
}

/// The value of a key in one of networkd's state files: `KEY=value` lines.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn words(text: &str, key: &str) -> Vec<String> {
    value(text, key).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn name_servers(resolv_conf: &str) -> Vec<String> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, permanent: bool, global: bool) -> Address {
        Address { index: 2, ip: text.parse().unwrap(), prefix: 24, permanent, global }
    }

    #[test]
    fn a_global_ipv4_address_goes_before_everything_else() {
        let all = [
            address("fe80::1", true, false),
            address("fd00::1", true, true),
            address("169.254.1.1", true, false),
            address("10.0.0.5", true, true),
        ];
        assert_eq!(best(&all, 2).unwrap().ip.to_string(), "10.0.0.5");
        assert_eq!(best(&all[..3], 2).unwrap().ip.to_string(), "fd00::1");
        assert_eq!(best(&all, 3), None);
    }

    #[test]
    fn the_source_is_dhcp_by_lease_or_by_lifetime() {
        let lease = "# private\nADDRESS=10.0.0.5\nNETMASK=255.255.255.0\n";
        for (permanent, lease, expected) in [
            (true, lease, Source::Dhcp),
            (false, lease, Source::Dhcp),
            (false, "", Source::Dhcp),
            (true, "", Source::Static),
            (true, "ADDRESS=10.0.0.6\n", Source::Static),
        ] {
            assert_eq!(source(&address("10.0.0.5", permanent, true), lease), expected, "{permanent} {lease}");
        }
    }

    #[test]
    fn networkd_state_and_resolv_conf_are_read_by_key() {
        let link = "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\nDNS=192.168.100.1 9.9.9.9\n";
        assert_eq!(words(link, "DNS"), ["192.168.100.1", "9.9.9.9"]);
        assert_eq!(words(link, "NTP"), Vec::<String>::new());
        assert_eq!(
            name_servers("# x\nnameserver 1.1.1.1\n nameserver\t8.8.8.8 # y\nsearch z\n"),
            ["1.1.1.1", "8.8.8.8"]
        );
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        assert_eq!(Network::look("nonesuch0"), Err("there is no interface nonesuch0".into()));
    }

    #[test]
    fn loopback_is_seen_as_it_is() {
        let lo = Network::look("lo").unwrap();
        assert_eq!(lo.address.unwrap().1, 8);
        assert_eq!(lo.verdict().unwrap(), "lo has 127.0.0.1/8 (static)");
    }
}
