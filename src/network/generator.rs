//! `systemd-network-generator`: the kernel command line → `.network` and `.link` files in `/run/systemd/network`.
//!
//! A port of systemd's `src/network/generator/network-generator.c` in its two forms, before and since v256 (checked with
//! 252 and 257; `tests/oracles.rs` runs the real programs).

use super::Cidr;
use crate::boot::KernelArg;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Why `systemd-network-generator` refuses an argument: it then exits with status 1 and writes nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("systemd-network-generator refuses `{field}`: {why}")]
pub struct Rejected {
    /// The field.
    pub field: String,
    /// What it should have been.
    pub why: &'static str,
}

/// What the generator writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generated {
    /// By interface name; the empty name is every physical interface (`71-default.network`).
    pub networks: BTreeMap<String, Written>,
    /// `ifname=NAME:MAC`: name and MAC address in lower case.
    pub renames: Vec<(String, String)>,
    /// `vlan=`, `bridge=`, `bond=` devices by name.
    pub devices: Vec<String>,
}

/// One `.network` file of the generator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// `DHCP=`; none when nothing sets it.
    pub dhcp: Option<&'static str>,
    /// `Address=`.
    pub addresses: Vec<Cidr>,
    /// Gateways of default routes.
    pub gateways: Vec<IpAddr>,
    /// Routes to somewhere else.
    pub routes: Vec<(Cidr, IpAddr)>,
    /// `DNS=`.
    pub dns: Vec<IpAddr>,
    /// `[DHCP] Hostname=`.
    pub hostname: Option<String>,
    /// `[DHCP] UseDNS=`.
    pub use_dns: Option<bool>,
    /// `Bridge=` or `Bond=`, as written.
    pub member_of: Option<String>,
    /// `MACAddress=`.
    pub mac: Option<String>,
}

/// Reads the arguments. `version` is systemd's; an unknown one is taken for the newer form.
pub fn generator(args: std::slice::Iter<'_, KernelArg>, version: Option<u32>) -> Result<Generated, (usize, Rejected)> {
    let mut reader = Reader { modern: version.is_none_or(|version| version >= 256), out: Generated::default() };
    for (index, arg) in args.enumerate() {
        reader.argument(arg.key(), arg.value()).map_err(|error| (index, error))?;
    }
    Ok(reader.merged())
}

type Outcome = Result<(), Rejected>;

struct Reader {
    modern: bool,
    out: Generated,
}

impl Reader {
    fn argument(&mut self, key: &str, value: Option<&str>) -> Outcome {
        let known = matches!(key, "ip" | "rd.route" | "nameserver" | "vlan" | "bridge" | "bond" | "ifname");
        // `proc_cmdline_value_missing`: only a key without `=` lacks its value.
        let value = match value {
            Some(value) => value,
            None if key == "rd.peerdns" => "yes",
            None if known && !self.modern => return Err(rejected(key, "a value is expected")),
            None => return Ok(()),
        };
        match key {
            "ip" => self.ip(value),
            "rd.route" => self.rd_route(value),
            "nameserver" => {
                if value.is_empty() && self.modern {
                    return Ok(());
                }
                let server = value.parse().map_err(|_| rejected(value, "an address is expected"))?;
                self.network("")?.dns.push(server);
                Ok(())
            }
            "rd.peerdns" => {
                let on = super::networkd::boolean(value).ok_or_else(|| rejected(value, "yes or no is expected"))?;
                self.network("")?.use_dns = Some(on);
                Ok(())
            }
            "ifname" => {
                let (name, mac) = value.split_once(':').ok_or_else(|| rejected(value, "NAME:MAC is expected"))?;
                let mac = mac_address(mac).ok_or_else(|| rejected(mac, "a MAC address is expected"))?;
                self.out.renames.push((name.to_owned(), mac));
                Ok(())
            }
            "vlan" | "bridge" | "bond" => self.device(key, value),
            _ => Ok(()),
        }
    }

    fn device(&mut self, key: &str, value: &str) -> Outcome {
        let (name, rest) = value.split_once(':').ok_or_else(|| rejected(value, "NAME:DEVICE is expected"))?;
        let members = if key == "bond" { rest.split(':').next().unwrap_or_default() } else { rest };
        if members.is_empty() && key != "vlan" && !self.modern {
            return Err(rejected(value, "NAME:DEVICE is expected"));
        }
        self.out.devices.push(name.to_owned());
        let kind = if key == "bond" { "Bond" } else { "Bridge" };
        for member in members.split(',').filter(|member| !member.is_empty() && key != "vlan") {
            self.network(member)?.member_of = Some(format!("{kind}={name}"));
        }
        Ok(())
    }

    /// `network_get` or `network_new`.
    fn network(&mut self, name: &str) -> Result<&mut Written, Rejected> {
        if !name.is_empty() && !is_interface(name) {
            return Err(rejected(name, "an interface name is expected"));
        }
        Ok(self.out.networks.entry(name.to_owned()).or_default())
    }

    fn ip(&mut self, value: &str) -> Outcome {
        if !value.contains(':') {
            return self.method("", value);
        }
        if self.modern && value.ends_with(':') {
            return Err(rejected(value, "there is a colon at its end"));
        }
        if value.starts_with('[') {
            return self.addressed(value, false);
        }
        match self.addressed(value, true) {
            Ok(()) => Ok(()),
            // What the form with an address says is what a person meant, where there is an address.
            Err(error) => self.interface(value).map_err(|other| if looks_addressed(value) { error } else { other }),
        }
    }

    fn method(&mut self, interface: &str, word: &str) -> Outcome {
        let dhcp = match word {
            "none" | "off" | "auto6" | "ibft" | "link6" => "no",
            "link-local" if self.modern => "no",
            "on" | "any" => "yes",
            "dhcp" => "ipv4",
            "dhcp6" | "either6" => "ipv6",
            _ => {
                return Err(rejected(
                    word,
                    "none, off, on, any, dhcp, dhcp6, auto6, either6, ibft or link6 is expected",
                ));
            }
        };
        self.network(interface)?.dhcp = Some(dhcp);
        Ok(())
    }

    /// `<interface>:<method>[:[<mtu>][:<macaddr>]]`.
    fn interface(&mut self, value: &str) -> Outcome {
        let mut fields = value.splitn(3, ':');
        let interface = fields.next().unwrap_or_default();
        if self.modern && interface.is_empty() {
            return Err(rejected(value, "an interface name is expected"));
        }
        self.method(interface, fields.next().unwrap_or_default())?;
        fields.next().map_or(Ok(()), |rest| self.mtu_mac(interface, rest))
    }

    /// `<client>:[<peer>]:<gateway>:<netmask>:<hostname>:<interface>:<method>[:…]`.
    fn addressed(&mut self, value: &str, v4: bool) -> Outcome {
        let mut fields = Fields { rest: Some(value), modern: self.modern };
        let client = fields.address(v4)?;
        let _peer = fields.address(v4)?;
        let gateway = fields.address(v4)?;
        let prefix = fields.prefix(v4)?;
        let hostname = fields.word("a host name")?;
        let interface = fields.word("an interface name")?;
        let method = match fields.rest {
            Some(rest) if !rest.is_empty() || !self.modern => fields.last_word(),
            _ => return Err(rejected(value, "seven fields are expected")),
        };
        if !hostname.is_empty() && !is_hostname(hostname) {
            return Err(rejected(hostname, "a host name is expected"));
        }
        self.method(interface, method)?;
        let network = self.network(interface)?;
        if !hostname.is_empty() {
            network.hostname = Some(hostname.to_owned());
        }
        let most = if v4 { 32 } else { 128 };
        let client = client.filter(|address| !address.is_unspecified());
        network.addresses.extend(client.filter(|_| prefix <= most).map(|address| Cidr { address, prefix }));
        network.gateways.extend(gateway.filter(|gateway| !gateway.is_unspecified()));
        let Some(rest) = fields.rest else { return Ok(()) };
        self.tail(interface, rest)
    }

    /// What stands behind the method: an MTU and a MAC address, or name servers (and since v256 a time server).
    fn tail(&mut self, interface: &str, rest: &str) -> Outcome {
        if !(self.modern && interface.is_empty()) && self.mtu_mac(interface, rest).is_ok() {
            return Ok(());
        }
        let mut fields = Fields { rest: Some(rest), modern: self.modern };
        let mut taken = 0;
        while taken < 2 {
            let Some(field) = fields.name_server()? else { break };
            taken += 1;
            let server = match field {
                "" if self.modern => continue,
                field => field.parse::<IpAddr>().map_err(|_| rejected(field, "a name server or an MTU is expected"))?,
            };
            self.network(interface)?.dns.push(server);
        }
        if self.modern
            && let Some(time) = fields.name_server()?.filter(|time| !time.is_empty())
            && time.parse::<IpAddr>().is_err()
        {
            return Err(rejected(time, "a time server's address is expected"));
        }
        match fields.rest {
            // Before v256 the colon behind the second name server is itself too much.
            Some("") if !self.modern && taken == 2 => Err(rejected(":", "nothing is expected behind two name servers")),
            None | Some("") => Ok(()),
            Some(more) => Err(rejected(more, "nothing is expected behind the name servers")),
        }
    }

    fn mtu_mac(&mut self, interface: &str, rest: &str) -> Outcome {
        let (mtu, mac) = rest.split_once(':').map_or((rest, ""), |(mtu, mac)| (mtu, mac));
        if !mtu.is_empty() && !is_mtu(mtu) {
            return Err(rejected(mtu, "an MTU is expected"));
        }
        if !mac.is_empty() {
            let mac = mac_address(mac).ok_or_else(|| rejected(mac, "a MAC address is expected"))?;
            self.network(interface)?.mac = Some(mac);
        }
        Ok(())
    }

    fn rd_route(&mut self, value: &str) -> Outcome {
        let bracket = value.strip_prefix('[').and_then(|inner| inner.split_once("]:"));
        let (to, rest) = bracket
            .or_else(|| value.split_once(':'))
            .ok_or_else(|| rejected(value, "NET/LENGTH:GATEWAY is expected"))?;
        let to: Cidr = super::networkd::cidr(to).ok_or_else(|| rejected(to, "a network is expected"))?;
        let bracket = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (gateway, interface) = match bracket {
            // Before v256 a colon must follow the bracket, though the manual shows none.
            Some((_, "")) if !self.modern => return Err(rejected(rest, "a colon is expected behind the bracket")),
            Some((gateway, interface)) => (gateway, interface.strip_prefix(':').unwrap_or(interface)),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let gateway: IpAddr = gateway.parse().map_err(|_| rejected(gateway, "a gateway's address is expected"))?;
        let network = self.network(interface)?;
        if to.address.is_unspecified() && to.prefix == 0 {
            network.gateways.push(gateway);
        } else {
            network.routes.push((to, gateway));
        }
        Ok(())
    }

    /// `context_merge_networks`: what is said of every interface is added to each that is named, and then dropped.
    fn merged(mut self) -> Generated {
        if self.out.networks.len() > 1
            && let Some(all) = self.out.networks.remove("")
        {
            for network in self.out.networks.values_mut() {
                network.use_dns = all.use_dns;
                network.dns.extend(&all.dns);
                network.gateways.extend(&all.gateways);
                network.routes.extend(&all.routes);
            }
        }
        self.out
    }
}

/// The fields of a value, as `strchr` (before v256) or `extract_first_word` (since) finds them.
struct Fields<'v> {
    rest: Option<&'v str>,
    modern: bool,
}

impl<'v> Fields<'v> {
    /// Everything up to the next colon, or to the end.
    fn last_word(&mut self) -> &'v str {
        let rest = self.rest.unwrap_or_default();
        let (word, more) = rest.split_once(':').map_or((rest, None), |(word, more)| (word, Some(more)));
        self.rest = more;
        word
    }

    /// A field that has another behind it.
    fn word(&mut self, what: &'static str) -> Result<&'v str, Rejected> {
        match self.rest {
            Some(rest) if rest.contains(':') => Ok(self.last_word()),
            Some(rest) if self.modern && !rest.is_empty() => Ok(self.last_word()),
            _ if self.modern && what == "a host name" => Ok(""),
            _ => Err(rejected(what, "seven fields are expected")),
        }
    }

    fn bracketed(&mut self) -> Option<&'v str> {
        let rest = self.rest?;
        let (inner, more) = rest.strip_prefix('[')?.split_once(']')?;
        self.rest = if more.is_empty() { None } else { Some(more.strip_prefix(':')?) };
        Some(inner)
    }

    fn address(&mut self, v4: bool) -> Result<Option<IpAddr>, Rejected> {
        let rest = self.rest.unwrap_or_default();
        if let Some(more) = rest.strip_prefix(':') {
            self.rest = Some(more);
            return Ok(None);
        }
        if rest.is_empty() && self.modern {
            return Ok(None);
        }
        let what = if v4 { "an IPv4 address is expected" } else { "an IPv6 address in brackets is expected" };
        let word = match (v4, rest.starts_with('[')) {
            (true, true) => return Err(rejected(rest, what)),
            (true, false) => self.word("an address")?,
            (false, true) => self.bracketed().ok_or_else(|| rejected(rest, what))?,
            (false, false) if self.modern => self.last_word(),
            (false, false) => return Err(rejected(rest, what)),
        };
        match (v4, word) {
            (_, "") if self.modern => Ok(None),
            (true, word) => {
                word.parse::<Ipv4Addr>().map(|address| Some(address.into())).map_err(|_| rejected(word, what))
            }
            (false, word) => {
                word.parse::<std::net::Ipv6Addr>().map(|address| Some(address.into())).map_err(|_| rejected(word, what))
            }
        }
    }

    fn prefix(&mut self, v4: bool) -> Result<u8, Rejected> {
        let what = "a netmask or prefix length is expected";
        let whole = if v4 { 32 } else { 128 };
        let word = self.word("a netmask").map_err(|_| rejected(self.rest.unwrap_or_default(), what))?;
        if word.is_empty() {
            return Ok(whole);
        }
        if let Some(mask) = word.parse::<Ipv4Addr>().ok().filter(|_| v4) {
            // `in4_addr_netmask_to_prefixlen`: holes in the mask are not looked at.
            return Ok(32 - (u32::from(mask).trailing_zeros() as u8).min(32));
        }
        word.parse().map_err(|_| rejected(word, what))
    }

    /// The next name server field, if there is one.
    fn name_server(&mut self) -> Result<Option<&'v str>, Rejected> {
        match self.rest {
            None | Some("") => Ok(None),
            Some(rest) if rest.starts_with('[') => {
                self.bracketed().map(Some).ok_or_else(|| rejected(rest, "an address in brackets is expected"))
            }
            Some(_) => Ok(Some(self.last_word())),
        }
    }
}

/// Whether a value means the form with an address, for the better message.
fn looks_addressed(value: &str) -> bool {
    value.split(':').count() > 4
}

/// `parse_mtu` for no family in particular: any size.
fn is_mtu(text: &str) -> bool {
    let digits = text.trim_end_matches(['B', 'K', 'M', 'G']);
    let factor: u64 = match text.get(digits.len()..).and_then(|suffix| suffix.chars().next()) {
        None | Some('B') => 1,
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some(_) => 1 << 30,
    };
    let size = digits.parse::<u64>().ok().filter(|_| text.len() - digits.len() <= 1);
    size.and_then(|size| size.checked_mul(factor)).is_some_and(|size| u32::try_from(size).is_ok())
}

/// `ifname_valid`.
fn is_interface(name: &str) -> bool {
    let plain = |byte: u8| byte > b' ' && byte < 127 && !matches!(byte, b':' | b'/' | b'%');
    name.len() <= super::link::MAX_NAME
        && name.bytes().all(plain)
        && !matches!(name, "." | ".." | "all" | "default")
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// `hostname_is_valid`.
fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 64 && name.split('.').all(label)
}

/// `parse_ether_addr`: six bytes with `:` or `-`, or three pairs with `.`.
fn mac_address(text: &str) -> Option<String> {
    let separator = text.chars().find(|c| matches!(c, ':' | '-' | '.'))?;
    let fields: Vec<&str> = text.split(separator).collect();
    let (count, digits) = if separator == '.' { (3, 4) } else { (6, 2) };
    let good = fields.len() == count
        && fields.iter().all(|field| {
            !field.is_empty() && field.len() <= digits && field.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
    if !good {
        return None;
    }
    let padded: String = fields.iter().map(|field| format!("{field:0>digits$}")).collect();
    let pairs: Vec<String> =
        (0..12).step_by(2).filter_map(|at| padded.get(at..at + 2)).map(str::to_ascii_lowercase).collect();
    Some(pairs.join(":"))
}

fn rejected(field: &str, why: &'static str) -> Rejected {
    Rejected { field: field.chars().take(80).collect(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::KernelArgs;

    fn read(line: &str, version: u32) -> Result<Generated, Rejected> {
        generator(KernelArgs::parse(line).iter(), Some(version)).map_err(|(_, error)| error)
    }

    #[test]
    fn the_founding_argument_means_both_to_systemd() {
        for version in [252, 257] {
            let all = read("ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on", version).unwrap();
            let eth0 = &all.networks["eth0"];
            assert_eq!((eth0.dhcp, eth0.addresses[0].to_string().as_str()), (Some("yes"), "192.168.100.12/24"));
        }
    }

    #[test]
    fn the_two_forms_differ_where_systemd_does() {
        let tail = "ip=10.0.0.2::10.0.0.1:24::eth0:off";
        for (rest, old, new) in [
            (":1.1.1.1:", true, false),
            ("::1.1.1.1", false, true),
            (":1.1.1.1:8.8.8.8:9.9.9.9", false, true),
            (":1.1.1.1:8.8.8.8:", false, false),
            (":tap0", false, false),
            (":1500:52:54:00:00:00:01", true, true),
        ] {
            assert_eq!(read(&format!("{tail}{rest}"), 252).is_ok(), old, "{rest} 252");
            assert_eq!(read(&format!("{tail}{rest}"), 257).is_ok(), new, "{rest} 257");
        }
        assert_eq!((read("ip=link-local", 252).is_ok(), read("ip=link-local", 257).is_ok()), (false, true));
    }

    #[test]
    fn what_is_said_of_every_interface_goes_to_the_named_ones() {
        let all = read("nameserver=1.1.1.1 ip=eth0:dhcp rd.route=10.1.0.0/16:10.0.0.1", 252).unwrap();
        assert_eq!(all.networks.len(), 1);
        assert_eq!((all.networks["eth0"].dns.len(), all.networks["eth0"].routes.len()), (1, 1));
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "[0-9a-z.:\\[\\]/ ]{0,60}|\\PC{0,40}", key in "(ip|rd.route|nameserver|bond|vlan|ifname|rd.peerdns)") {
            for version in [252, 257] {
                let _ = read(&format!("{key}={value}"), version);
            }
        }
    }
}
