//! systemd-networkd: the `.network` files, and what each configures.
//!
//! Source: systemd.network(5), networkd.conf(5), `src/network/networkd-network.c`.

use super::capture::BOOT_ROOTS;
use super::matching::Match;
use super::{Cidr, Place, Snapshot};
use crate::boot::KernelArgs;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What one `.network` file configures, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkdConfig {
    /// `DHCP=yes` or `ipv4`.
    pub dhcp4: bool,
    /// `DHCP=yes` or `ipv6`.
    pub dhcp6: bool,
    /// Where it is asked for (or declined).
    pub dhcp4_place: Option<Place>,
    /// `Address=`, in order.
    pub addresses: Vec<Cidr>,
    /// The first address.
    pub address_place: Option<Place>,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// The first gateway.
    pub gateway_place: Option<Place>,
    /// Every default route, with its metric and where it is said.
    pub default_routes: Vec<DefaultRoute>,
    /// `DNS=`, in order.
    pub dns: Vec<IpAddr>,
    /// `ClientIdentifier=mac`, or a DUID from the link layer: the lease follows the MAC address, not the machine-id.
    pub identifier_mac: bool,
    /// `Unmanaged=yes`.
    pub unmanaged: bool,
    /// `KeepConfiguration=` that keeps foreign static addresses (`yes`, `static`), and where.
    pub keeps_foreign: Option<Place>,
    /// `RequiredForOnline=no`.
    pub optional: bool,
    /// `ActivationPolicy=` that leaves the interface down (`manual`, `down`, `always-down`).
    pub stays_down: Option<String>,
    /// The interface becomes part of another (`Bridge=br0`, `Bond=`, `VRF=`): addresses belong there.
    pub member_of: Option<String>,
    /// `[Link] MACAddress=`.
    pub mac: Option<String>,
    /// `Hostname=` that is sent over DHCP.
    pub hostname: Option<String>,
    /// `SendHostname=no`.
    pub hides_hostname: bool,
    /// `UseDNS=no`.
    pub ignores_dns: bool,
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// By whom; none when it is a link route.
    pub gateway: Option<IpAddr>,
    /// `metric:` or `Metric=`.
    pub metric: Option<u32>,
    /// `on-link: true`, `GatewayOnLink=yes`: the gateway need not be in the subnet.
    pub on_link: bool,
    /// Where it is said.
    pub place: Place,
}

/// A `.network` file as networkd sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// Its name, which decides the order.
    pub name: String,
    /// Its path, or where it would be generated.
    pub path: String,
    /// The file that a person wrote (the netplan file for a generated one).
    pub place: Place,
    /// Which interfaces it is for.
    pub matches: Match,
    /// What it configures.
    pub config: NetworkdConfig,
    /// Who writes it at boot, when nobody wrote it into the image: `netplan`, `systemd-network-generator`.
    pub generated_by: Option<&'static str>,
    /// Its drop-ins, in the order they are applied.
    pub drop_ins: Vec<String>,
}

/// The `.network` files of an image, and those that do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkFiles {
    /// Those that count, by name.
    pub files: Vec<NetworkFile>,
    /// Those that are empty or lead to `/dev/null`.
    pub masked: Vec<String>,
    /// Those that a file of the same name in a stronger folder hides: the file, and what hides it.
    pub hidden: Vec<(String, String)>,
    /// Those that cannot be read here.
    pub unread: Vec<String>,
}

/// One assignment of an ini file.
pub(super) struct Assignment {
    pub section: String,
    /// Counts the section headers before it: two `[Route]` sections are two routes.
    pub group: usize,
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// systemd's ini syntax: sections, `key=value`, `#` and `;` comments, a trailing backslash continues.
pub(super) fn assignments(text: &str) -> Vec<Assignment> {
    let (mut section, mut group) = (String::new(), 0);
    let mut list = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, row)) = lines.next() {
        let mut row = row.trim().to_owned();
        if row.starts_with(['#', ';']) {
            continue;
        }
        while row.ends_with('\\') {
            row.pop();
            let Some((_, more)) = lines.next() else { break };
            row.push(' ');
            row.push_str(more.trim());
        }
        if let Some(name) = row.strip_prefix('[').and_then(|row| row.strip_suffix(']')) {
            (section, group) = (name.to_owned(), group + 1);
        } else if let Some((key, value)) = row.split_once('=') {
            list.push(Assignment {
                section: section.clone(),
                group,
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line: index + 1,
            });
        }
    }
    list
}

/// The files of one kind that count, by name, the strongest folder's of each (systemd.network(5)); a masked one stays in
/// the list so that it can be named. Second, what they hide: the file, and what hides it.
pub(super) fn files(snapshot: &Snapshot, end: &str) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let (mut found, mut hidden) = (BTreeMap::<String, String>::new(), Vec::new());
    for root in BOOT_ROOTS {
        let folder = format!("{root}/systemd/network");
        for name in snapshot.names(&folder).into_iter().filter(|name| name.ends_with(end)) {
            let path = format!("{folder}/{name}");
            match found.get(name) {
                Some(stronger) => hidden.push((path, stronger.clone())),
                None => drop(found.insert(name.to_owned(), path)),
            }
        }
    }
    (found, hidden)
}

/// The `.network` files in the image, with their drop-ins applied.
pub(super) fn network_files(snapshot: &Snapshot, args: &KernelArgs) -> NetworkFiles {
    let (found, hidden) = files(snapshot, ".network");
    let mut all = NetworkFiles { hidden, ..NetworkFiles::default() };
    for (name, path) in found {
        if snapshot.is_mask(&path) {
            all.masked.push(path);
            continue;
        }
        let Some(Some(text)) = snapshot.text(&path) else {
            all.unread.push(path);
            continue;
        };
        let mut file = NetworkFile {
            place: Place::line(&snapshot.image, &path, &text, 1),
            name,
            path: path.clone(),
            matches: Match::default(),
            config: NetworkdConfig::default(),
            generated_by: None,
            drop_ins: Vec::new(),
        };
        file.apply(snapshot, args, &path, &text);
        file.drop_ins = drop_ins(snapshot, &file.name);
        for drop_in in file.drop_ins.clone() {
            match snapshot.text(&drop_in) {
                Some(Some(text)) => file.apply(snapshot, args, &drop_in, &text),
                _ => all.unread.push(drop_in),
            }
        }
        all.files.push(file);
    }
    all
}

/// Drop-ins of a file in the order they are applied: by name, the strongest folder's of each name.
pub(super) fn drop_ins(snapshot: &Snapshot, file: &str) -> Vec<String> {
    let mut found = BTreeMap::new();
    for root in BOOT_ROOTS {
        let folder = format!("{root}/systemd/network/{file}.d");
        for name in snapshot.names(&folder) {
            found.entry(name.to_owned()).or_insert_with(|| format!("{folder}/{name}"));
        }
    }
    found.into_values().filter(|path| !snapshot.is_mask(path)).collect()
}

impl NetworkFile {
    /// Applies one file's text: the file itself, then each drop-in.
    pub(super) fn apply(&mut self, snapshot: &Snapshot, args: &KernelArgs, path: &str, text: &str) {
        let place = |line| Place::line(&snapshot.image, path, text, line);
        let list = assignments(text);
        for one in &list {
            match one.section.as_str() {
                "Match" => self.matches.add(&one.key, &one.value, args),
                "Network" => self.config.network(one, place(one.line)),
                "Address" if one.key == "Address" => self.config.network(one, place(one.line)),
                "Link" => self.config.link(one),
                "DHCP" | "DHCPv4" => self.config.client(one, place(one.line)),
                _ => {}
            }
        }
        for route in list.chunk_by(|a, b| a.group == b.group) {
            let first = route.first().filter(|one| one.section == "Route");
            if let Some(first) = first {
                self.config.route(route, place(first.line));
            }
        }
    }
}

impl NetworkdConfig {
    fn network(&mut self, Assignment { key, value, .. }: &Assignment, place: Place) {
        match key.as_str() {
            "DHCP" => {
                let (word, both) = (value.to_ascii_lowercase(), boolean(value) == Some(true));
                self.dhcp4 = both || matches!(word.as_str(), "both" | "ipv4" | "v4");
                self.dhcp6 = both || matches!(word.as_str(), "both" | "ipv6" | "v6");
                self.dhcp4_place = Some(place);
            }
            "Address" => {
                if value.is_empty() {
                    self.addresses.clear();
                }
                if let Some(address) = cidr(value) {
                    self.addresses.push(address);
                    self.address_place.get_or_insert(place);
                }
            }
            "Gateway" => match value.parse() {
                Ok(gateway) => self.default_route(Some(gateway), None, false, place),
                Err(_) if value.is_empty() => self.forget_routes(),
                Err(_) => {}
            },
            "DNS" => {
                if value.is_empty() {
                    self.dns.clear();
                }
                self.dns.extend(value.split_whitespace().filter_map(|server| server.parse::<IpAddr>().ok()));
            }
            "KeepConfiguration" => {
                let keeps = boolean(value) == Some(true) || value == "static";
                self.keeps_foreign = keeps.then_some(place);
            }
            "Bridge" | "Bond" | "VRF" | "BatmanAdvanced" => {
                self.member_of = (!value.is_empty()).then(|| format!("{key}={value}"));
            }
            _ => {}
        }
    }

    fn link(&mut self, Assignment { key, value, .. }: &Assignment) {
        match key.as_str() {
            "Unmanaged" => self.unmanaged = boolean(value) == Some(true),
            "RequiredForOnline" => self.optional = boolean(value) == Some(false),
            "ActivationPolicy" => {
                let down = matches!(value.as_str(), "manual" | "down" | "always-down");
                self.stays_down = down.then(|| value.clone());
            }
            "MACAddress" => self.mac = (!value.is_empty()).then(|| value.to_ascii_lowercase()),
            _ => {}
        }
    }

    fn client(&mut self, Assignment { key, value, .. }: &Assignment, place: Place) {
        match key.as_str() {
            "ClientIdentifier" => self.identifier_mac = value == "mac",
            "DUIDType" => self.identifier_mac |= value.starts_with("link-layer"),
            "SendHostname" => self.hides_hostname = boolean(value) == Some(false),
            "Hostname" => self.hostname = (!value.is_empty()).then(|| value.clone()),
            "UseDNS" => self.ignores_dns = boolean(value) == Some(false),
            "CriticalConnection" if boolean(value) == Some(true) => self.keeps_foreign = Some(place),
            _ => {}
        }
    }

    fn route(&mut self, section: &[Assignment], place: Place) {
        let last = |key| section.iter().rev().find(|one| one.key == key).map(|one| one.value.as_str());
        let everything =
            last("Destination").is_none_or(|to| matches!(to, "" | "0.0.0.0/0" | "::/0" | "0.0.0.0" | "::"));
        let main = last("Table").is_none_or(|table| matches!(table, "main" | "254"));
        if let Some(Ok(gateway)) = last("Gateway").map(str::parse).filter(|_| everything && main) {
            let metric = last("Metric").and_then(|metric| metric.parse().ok());
            let on_link = last("GatewayOnLink").and_then(boolean) == Some(true);
            self.default_route(Some(gateway), metric, on_link, place);
        }
    }

    /// Adds a default route.
    pub(super) fn default_route(&mut self, by: Option<IpAddr>, metric: Option<u32>, on_link: bool, place: Place) {
        self.gateways.extend(by);
        self.gateway_place.get_or_insert_with(|| place.clone());
        self.default_routes.push(DefaultRoute { gateway: by, metric, on_link, place });
    }

    fn forget_routes(&mut self) {
        self.gateways.clear();
        self.default_routes.clear();
        self.gateway_place = None;
    }
}

/// A boolean as systemd reads it (`parse_boolean`).
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// An address as networkd takes it: without a prefix length it is a host address.
pub(super) fn cidr(text: &str) -> Option<Cidr> {
    text.parse().ok().or_else(|| {
        let address: IpAddr = text.parse().ok()?;
        Some(Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
    })
}
