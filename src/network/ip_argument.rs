//! The `ip=` kernel argument, as the kernel, dracut and initramfs-tools understand it ([`super::generator`] has systemd's
//! reading).

use super::Cidr;
use std::net::{IpAddr, Ipv4Addr};

/// What the kernel's own `IP_PNP` code does with one `ip=` value, or with several.
///
/// Source: `net/ipv4/ipconfig.c` (`ip_auto_config_setup`, `ic_proto_name`), `Documentation/admin-guide/nfs/nfsroot.rst`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelIp {
    /// Field 1. None: to be found by the protocol.
    pub address: Option<Ipv4Addr>,
    /// Field 2: the NFS server for the kernel, the peer for systemd and dracut.
    pub server: Option<Ipv4Addr>,
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
    /// How many fields there are.
    pub fields: usize,
}

impl KernelIp {
    /// Reads the value of `ip=` (or `nfsaddrs=`). Never fails: the kernel does not either.
    pub fn parse(value: &str) -> Self {
        Self::default().then(value)
    }

    /// Reads another `ip=`: the kernel has one parser with global variables, so a field that is not empty replaces the
    /// one before, and all others stay.
    #[must_use]
    pub fn then(mut self, value: &str) -> Self {
        self.automatic = !matches!(value, "" | "off" | "none");
        if !self.automatic || is_method(value) {
            self.method = (!value.is_empty()).then(|| value.to_owned());
            self.fields = self.fields.max(usize::from(!value.is_empty()));
            return self;
        }
        for (index, field) in value.split(':').enumerate() {
            self.fields = self.fields.max(index + 1);
            if !field.is_empty() {
                self.field(index, field);
            }
        }
        self
    }

    fn field(&mut self, index: usize, field: &str) {
        match index {
            0 => self.address = self.ipv4(field).filter(|address| !address.is_unspecified()),
            1 => self.server = self.ipv4(field),
            2 => self.gateway = self.ipv4(field),
            3 => self.prefix = self.ipv4(field).and_then(prefix_of),
            4 => self.hostname = Some(field.to_owned()),
            5 => self.device = Some(field.to_owned()),
            6 => {
                self.method = Some(field.to_owned());
                self.automatic = is_method(field) && !matches!(field, "off" | "none") || self.address.is_some();
            }
            7 | 8 => {
                let server = self.ipv4(field);
                self.dns.extend(server);
            }
            9 => drop(self.ipv4(field)),
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

    /// The method, when it asks for a configuration beside the address that is given.
    pub fn ambiguous(&self) -> Option<&str> {
        let method = self.method.as_deref().filter(|_| self.address.is_some())?;
        (is_method(method) && !matches!(method, "off" | "none")).then_some(method)
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

/// What an initrd with dracut's `network-legacy` module does with one `ip=` value.
///
/// Source: dracut 057 `modules.d/40network/net-lib.sh` (`ip_to_var`), `35network-legacy/parse-ip-opts.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dracut {
    /// Sets a fixed address on a device (every one, when none is named).
    Static(Option<String>),
    /// Asks for a configuration on a device.
    Asks(Option<String>),
    /// Gives up: the boot stops in the emergency shell.
    Dies(String),
}

/// Reads one `ip=` value as dracut's `network-legacy` does.
pub fn dracut(value: &str) -> Dracut {
    const ASKING: &[&str] = &["dhcp", "on", "any", "dhcp6", "auto6", "either6", "link6", "single-dhcp"];
    let fields = dracut_fields(value);
    let field = |index: usize| fields.get(index).copied().filter(|field| !field.is_empty());
    let (address, mask, device, method) = match fields.as_slice() {
        [] | [""] => return Dracut::Dies("it is empty".to_owned()),
        [word] if word.split('.').count() >= 4 => return Dracut::Static(None),
        [word] => (None, None, None, *word),
        [device, word, ..] if ASKING.contains(word) => (None, None, Some(*device), *word),
        _ => (field(0), field(3), field(5), field(6).unwrap_or_default()),
    };
    let method = if method.is_empty() { "dhcp" } else { method };
    let device = device.filter(|device| !device.is_empty()).map(str::to_owned);
    for word in method.split(',') {
        match word {
            "none" | "off" if address.is_none() => {
                return Dracut::Dies(format!("`{word}` without an address does not make sense"));
            }
            "none" | "off" if mask.is_none() => return Dracut::Dies("the netmask is missing".to_owned()),
            "dhcp" | "dhcp6" | "on" | "any" | "single-dhcp" if address.is_some() => {
                return Dracut::Dies(format!("setting client-ip does not make sense for `{word}`"));
            }
            "none" | "off" | "ibft" => {}
            word if ASKING.contains(&word) => {}
            word => return Dracut::Dies(format!("`{word}` is not supported")),
        }
    }
    if address.is_some() { Dracut::Static(device) } else { Dracut::Asks(device) }
}

/// `ip_to_var`'s splitting: colons, but not those inside brackets.
fn dracut_fields(value: &str) -> Vec<&str> {
    let (mut fields, mut rest) = (Vec::new(), value);
    loop {
        let bracket = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (field, more) = match bracket {
            Some((inner, more)) => (inner, more.strip_prefix(':')),
            None => rest.split_once(':').map_or((rest, None), |(field, more)| (field, Some(more))),
        };
        fields.push(field);
        match more {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUNDING: &str = "192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

    #[test]
    fn the_founding_argument_is_static_to_the_kernel_and_death_to_dracut() {
        let kernel = KernelIp::parse(FOUNDING);
        assert_eq!(kernel.cidr().unwrap().to_string(), "192.168.100.12/24");
        assert_eq!((kernel.device.as_deref(), kernel.asks(), kernel.ambiguous()), (Some("eth0"), false, Some("on")));
        assert_eq!(dracut(FOUNDING), Dracut::Dies("setting client-ip does not make sense for `on`".into()));
    }

    #[test]
    fn the_kernel_guesses_what_is_left_out() {
        assert_eq!(KernelIp::parse("10.1.2.3").cidr().unwrap().prefix, 8);
        for (value, asks) in [("dhcp", true), ("::::::dhcp", true), ("off", false), ("", false), ("::::::off", false)] {
            assert_eq!(KernelIp::parse(value).asks(), asks, "{value}");
        }
        assert_eq!(prefix_of("255.255.255.0".parse().unwrap()), Some(24));
        assert_eq!(prefix_of("255.0.255.0".parse().unwrap()), None);
    }

    #[test]
    fn several_arguments_share_one_parser_in_the_kernel() {
        let both = KernelIp::parse(FOUNDING).then("dhcp");
        assert_eq!((both.cidr().map(|cidr| cidr.prefix), both.asks()), (Some(24), false));
        let off = KernelIp::parse("dhcp").then("off");
        assert!(!off.asks());
    }

    #[test]
    fn dracut_reads_every_form() {
        for (value, wanted) in [
            ("dhcp", Dracut::Asks(None)),
            ("eth0:dhcp", Dracut::Asks(Some("eth0".into()))),
            ("10.0.0.2::10.0.0.1:255.255.255.0::eth0:none", Dracut::Static(Some("eth0".into()))),
            ("10.0.0.2::10.0.0.1:::eth0:off", Dracut::Dies("the netmask is missing".into())),
            ("[fd00::2]::[fd00::1]:64::eth0:none", Dracut::Static(Some("eth0".into()))),
            ("off", Dracut::Dies("`off` without an address does not make sense".into())),
            ("both", Dracut::Dies("`both` is not supported".into())),
        ] {
            assert_eq!(dracut(value), wanted, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "[0-9a-z.:\\[\\]/ ]{0,60}|\\PC{0,40}") {
            let _ = KernelIp::parse(&value).cidr();
            let _ = dracut(&value);
        }
    }
}
