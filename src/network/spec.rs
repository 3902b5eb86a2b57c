//! The network as a recipe declares it and a manifest promises it.

use crate::values::{InterfaceName, present, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The network of one VM's main interface, said once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenSpec")]
pub struct NetworkSpec {
    /// Kernel name inside the guest: `eth0`.
    pub interface: InterfaceName,
    /// Where the address comes from.
    #[serde(flatten)]
    pub mode: NetworkMode,
}

/// Where the address comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "mode")]
pub enum NetworkMode {
    /// A DHCPv4 lease.
    Dhcp,
    /// A fixed address.
    Static {
        /// Address with prefix length: `192.168.100.12/24`.
        address: Cidr,
        /// Default gateway, inside the prefix.
        gateway: Option<IpAddr>,
        /// Name servers, in order.
        dns: Vec<IpAddr>,
    },
}

/// A network as it is written: read field by field, so that a mistake is shown where it stands.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "properties": { "mode": { "const": "dhcp" } } },
    "then" = { "properties": { "address": false, "gateway": false, "dns": false } },
    "else" = { "required": ["address"] },
))]
struct WrittenSpec {
    /// Kernel name inside the guest: `eth0`.
    interface: InterfaceName,
    /// Where the address comes from.
    mode: Mode,
    /// `static`: address with prefix length, `192.168.100.12/24`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Cidr")]
    address: Option<Cidr>,
    /// `static`: default gateway, inside the prefix.
    #[serde(default)]
    gateway: Option<IpAddr>,
    /// `static`: name servers, in order.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<IpAddr>", extend("maxItems" = MAX_DNS))]
    dns: Option<Vec<IpAddr>>,
}

/// The most name servers; resolvers ask three (resolv.conf(5)).
const MAX_DNS: usize = 16;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Dhcp,
    Static,
}

impl JsonSchema for NetworkSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NetworkSpec".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        WrittenSpec::json_schema(generator)
    }
}

impl TryFrom<WrittenSpec> for NetworkSpec {
    type Error = String;

    fn try_from(written: WrittenSpec) -> Result<Self, String> {
        let WrittenSpec { interface, mode, address, gateway, dns } = written;
        let mode = match (mode, address) {
            (Mode::Static, Some(address)) => NetworkMode::Static { address, gateway, dns: dns.unwrap_or_default() },
            (Mode::Static, None) => return Err("mode `static` needs an `address`".to_owned()),
            (Mode::Dhcp, None) if gateway.is_none() && dns.is_none() => NetworkMode::Dhcp,
            (Mode::Dhcp, _) => return Err("`address`, `gateway` and `dns` have no meaning with mode `dhcp`".to_owned()),
        };
        if let NetworkMode::Static { dns, .. } = &mode
            && dns.len() > MAX_DNS
        {
            return Err(format!("{} name servers are there, and {MAX_DNS} may be", dns.len()));
        }
        Ok(Self { interface, mode })
    }
}

/// An address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// Prefix length, at most 32 or 128.
    pub prefix: u8,
}

/// Why a text is not an address with prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address with a prefix length, as in `192.168.100.12/24`")]
pub struct CidrError(String);

impl JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let v4 = "[0-9.]+/(?:[12]?[0-9]|3[0-2])";
        let v6 = "[0-9a-fA-F.]*:[0-9a-fA-F:.]*/(?:[1-9]?[0-9]|1[01][0-9]|12[0-8])";
        let pattern = format!("^(?:{v4}|{v6})$");
        let description = "An address with its prefix length.";
        schemars::json_schema!({ "type": "string", "pattern": pattern, "description": description })
    }
}

impl Cidr {
    /// Whether `other` is in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(a) & mask == u128::from(b) & mask
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || CidrError(shown(text));
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(bad());
        }
        Ok(Self { address, prefix })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}
