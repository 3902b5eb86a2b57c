//! The `ip=` kernel argument, as each program that may read it understands it.

use super::{Cidr, NetworkdConfig};
use std::net::{IpAddr, Ipv4Addr};

/// What the kernel's own `IP_PNP` code does with one `ip=` value.
///
/// Source: `net/ipv4/ipconfig.c` (`ip_auto_config_setup`, `ic_proto_name`), `Documentation/admin-guide/nfs/nfsroot.rst`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelIp {
    /// Field 1. None: to be found by the protocol.
    pub address: Option<Ipv4Addr>,
    /// Field 3.
    pub gateway: Option<Ipv4Addr>,
    /// Field 4 as a prefix length. None: not given, the kernel guesses from the address class.
    pub prefix: Option<u8>,
    /// Field 5.
    pub hostname: Option<String>,
    /// Field 6, or none: every device.
    pub device: Option<String>,
    /// Whether automatic configuration is on (field 7, or the lone word).
    pub automatic: bool,
    /// The last field's word as written.
    pub method: Option<String>,
    /// Fields 8 and 9.
    pub dns: Vec<Ipv4Addr>,
    /// Fields that are neither empty nor what belongs there; the kernel's `in_aton` makes something up.
    pub malformed: Vec<String>,
}

impl KernelIp {
    /// Reads the value of `ip=` (or `nfsaddrs=`). Never fails: the kernel does not either.
    pub fn parse(value: &str) -> Self {
        let mut ip = Self {
            address: None,
            gateway: None,
            prefix: None,
            hostname: None,
            device: None,
            automatic: !matches!(value, "" | "off" | "none"),
            method: None,
            dns: Vec::new(),
            malformed: Vec::new(),
        };
        if !value.contains(':') && is_method(value) || value.is_empty() {
            ip.method = (!value.is_empty()).then(|| value.to_owned());
            return ip;
        }
        for (index, field) in value.split(':').enumerate().filter(|(_, field)| !field.is_empty()) {
            ip.field(index, field);
        }
        ip
    }

    fn field(&mut self, index: usize, field: &str) {
        match index {
            0 => self.address = self.ipv4(field).filter(|address| !address.is_unspecified()),
            1 | 9 => drop(self.ipv4(field)),
            2 => self.gateway = self.ipv4(field),
            3 => self.prefix = self.ipv4(field).and_then(prefix_of),
            4 => self.hostname = Some(field.to_owned()),
            5 => self.device = Some(field.to_owned()),
            6 => {
                self.method = Some(field.to_owned());
                self.automatic = is_method(field) && !matches!(field, "off" | "none");
            }
            7 | 8 => {
                let server = self.ipv4(field);
                self.dns.extend(server);
            }
            _ => self.malformed.push(field.to_owned()),
        }
    }

    fn ipv4(&mut self, field: &str) -> Option<Ipv4Addr> {
        let address = field.parse().ok();
        if address.is_none() {
            self.malformed.push(field.to_owned());
        }
        address
    }

    /// The address with its prefix; without a netmask the kernel takes that of the address's class
    /// (`ic_defaults`: A/8, B/16, C/24).
    pub fn cidr(&self) -> Option<Cidr> {
        let address = self.address?;
        let guessed = match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            192..224 => 24,
            _ => 32,
        };
        Some(Cidr { address: IpAddr::V4(address), prefix: self.prefix.unwrap_or(guessed) })
    }

    /// Whether the kernel asks for an address itself: automatic and none given.
    pub fn asks(&self) -> bool {
        self.address.is_none() && self.automatic
    }
}

/// The words `ic_proto_name` knows.
fn is_method(word: &str) -> bool {
    matches!(word, "on" | "any" | "off" | "none" | "bootp" | "rarp" | "both") || word.starts_with("dhcp")
}

/// The prefix length of a netmask, if its ones are contiguous.
pub fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    (bits.leading_ones() + bits.trailing_zeros().min(32) >= 32 || bits == 0).then(|| bits.leading_ones() as u8)
}

/// Why `systemd-network-generator` refuses an `ip=` value: it then exits with status 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("systemd-network-generator refuses `{field}`: {why}")]
pub struct Rejected {
    /// The field.
    pub field: String,
    /// What it should have been.
    pub why: &'static str,
}

/// What `systemd-network-generator` makes of one `ip=` value: the interface (empty: every one) and its configuration.
/// Only IPv4 forms; an IPv6 form is `Ok(None)`, which callers call unknown.
///
/// Source: systemd `src/network/generator/network-generator.c` (`parse_cmdline_ip` and below), v252.
pub fn generator(value: &str) -> Result<Option<(String, NetworkdConfig)>, Rejected> {
    if value.starts_with('[') {
        return Ok(None);
    }
    let Some((first, rest)) = value.split_once(':') else {
        return Ok(Some((String::new(), with_method(value)?)));
    };
    if !first.is_empty() && first.parse::<Ipv4Addr>().is_err() {
        let mut fields = rest.splitn(3, ':');
        let config = with_method(fields.next().unwrap_or_default())?;
        if let Some(mtu) = fields.next().filter(|mtu| !mtu.is_empty() && mtu.parse::<u32>().is_err()) {
            return Err(rejected(mtu, "an MTU is expected"));
        }
        if let Some(mac) = fields.next().filter(|mac| !is_mac(mac)) {
            return Err(rejected(mac, "a MAC address is expected"));
        }
        return Ok(Some((first.to_owned(), config)));
    }
    addressed(value).map(Some)
}

/// `client:peer:gateway:netmask:hostname:interface:method[:…]`.
fn addressed(value: &str) -> Result<(String, NetworkdConfig), Rejected> {
    let fields: Vec<&str> = value.splitn(8, ':').collect();
    let [client, peer, gateway, mask, hostname, interface, method, rest @ ..] = fields.as_slice() else {
        return Err(rejected(value, "seven fields are expected"));
    };
    let client = address(client)?;
    address(peer)?;
    let gateway = address(gateway)?;
    let prefix = prefix(mask)?;
    if !hostname.is_empty() && !is_hostname(hostname) {
        return Err(rejected(hostname, "a host name is expected"));
    }
    let mut config = with_method(method)?;
    let full = client.map(|address| Cidr { address: IpAddr::V4(address), prefix: prefix.unwrap_or(32) });
    config.addresses.extend(full);
    config.gateways.extend(gateway.map(IpAddr::V4));
    if let Some(rest) = rest.first() {
        config.dns = tail(rest)?;
    }
    Ok(((*interface).to_owned(), config))
}

/// What stands behind the method: two name servers, or an MTU and a MAC address.
fn tail(rest: &str) -> Result<Vec<IpAddr>, Rejected> {
    let (first, second) = rest.split_once(':').map_or((rest, None), |(first, second)| (first, Some(second)));
    let Ok(server) = first.parse::<Ipv4Addr>() else {
        if !first.is_empty() && first.parse::<u32>().is_err() {
            return Err(rejected(first, "a name server or an MTU is expected"));
        }
        return match second {
            Some(mac) if !is_mac(mac) => Err(rejected(mac, "a MAC address is expected")),
            None if first.is_empty() => Err(rejected(first, "a name server or an MTU is expected")),
            _ => Ok(Vec::new()),
        };
    };
    let mut servers = vec![IpAddr::V4(server)];
    match second {
        None | Some("") => {}
        Some(second) => {
            servers.push(IpAddr::V4(second.parse().map_err(|_| rejected(second, "one name server is expected"))?));
        }
    }
    Ok(servers)
}

fn with_method(method: &str) -> Result<NetworkdConfig, Rejected> {
    let dhcp4 = match method {
        "none" | "off" | "dhcp6" | "auto6" | "ibft" | "link6" | "link-local" => false,
        "on" | "any" | "dhcp" | "either6" => true,
        _ => {
            return Err(rejected(method, "none, off, on, any, dhcp, dhcp6, auto6, either6, ibft or link6 is expected"));
        }
    };
    Ok(NetworkdConfig { dhcp4, ..NetworkdConfig::default() })
}

fn address(field: &str) -> Result<Option<Ipv4Addr>, Rejected> {
    if field.is_empty() {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| rejected(field, "an IPv4 address is expected"))
}

fn prefix(field: &str) -> Result<Option<u8>, Rejected> {
    if field.is_empty() {
        return Ok(None);
    }
    let bits = field.parse::<u8>().ok().filter(|bits| *bits <= 32);
    let bits = bits.or_else(|| prefix_of(field.parse().ok()?));
    bits.map(Some).ok_or_else(|| rejected(field, "a netmask or prefix length is expected"))
}

fn is_hostname(name: &str) -> bool {
    name.len() <= 64
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

fn is_mac(text: &str) -> bool {
    text.split(':').count() == 6 && text.split(':').all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}

fn rejected(field: &str, why: &'static str) -> Rejected {
    Rejected { field: field.chars().take(80).collect(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUNDING: &str = "192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

    #[test]
    fn the_founding_argument_means_static_to_the_kernel_and_both_to_systemd() {
        let kernel = KernelIp::parse(FOUNDING);
        assert_eq!(kernel.cidr().unwrap().to_string(), "192.168.100.12/24");
        assert_eq!((kernel.device.as_deref(), kernel.asks()), (Some("eth0"), false));
        let (interface, config) = generator(FOUNDING).unwrap().unwrap();
        assert_eq!((interface.as_str(), config.dhcp4, config.addresses.len()), ("eth0", true, 1));
    }

    #[test]
    fn the_kernel_guesses_what_is_left_out() {
        assert_eq!(KernelIp::parse("10.1.2.3").cidr().unwrap().prefix, 8);
        assert!(KernelIp::parse("dhcp").asks() && KernelIp::parse("::::::dhcp").asks());
        assert!(!KernelIp::parse("off").asks() && !KernelIp::parse("").asks() && !KernelIp::parse("::::::off").asks());
        assert_eq!(prefix_of("255.255.255.0".parse().unwrap()), Some(24));
        assert_eq!(prefix_of("255.0.255.0".parse().unwrap()), None);
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "[0-9a-z.:\\[\\]/ ]{0,60}|\\PC{0,40}") {
            let _ = KernelIp::parse(&value).cidr();
            let _ = generator(&value);
        }
    }
}
