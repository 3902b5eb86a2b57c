//! A guest's netplan files → the `.network` files its generator will write.
//!
//! Source: netplan-generate(8), netplan-yaml(5), netplan 0.106 `src/parse.c`, `src/networkd.c`; measured with the generator.

use crate::network::link::{LinkFile, MAX_NAME};
use crate::network::networkd::cidr;
use crate::network::{Cidr, Match, NetworkFile, NetworkdConfig, Place, Snapshot};
use crate::yaml::{self, Node, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a guest's netplan files say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Netplan {
    /// The files that are read, in the order they are merged.
    pub files: Vec<String>,
    /// Files that another of the same name in a stronger folder hides: the file, and what hides it.
    pub shadowed: Vec<(String, String)>,
    /// Ethernet definitions by id.
    pub ethernets: BTreeMap<String, Ethernet>,
    /// What netplan does not accept, each with its place.
    pub errors: Vec<(Place, String)>,
    /// Since 1.1 the boot-time generator goes on after an error: what stands before it in the same definition counts.
    /// Before, one error means that nothing at all is generated.
    pub goes_on: bool,
    /// Definitions that this model does not follow: bonds, bridges, vlans, …
    pub unmodelled: Vec<(Place, String)>,
    /// Ethernets that are `interfaces:` of such a definition, with its id.
    pub members: BTreeMap<String, String>,
    /// `renderer:` at the top.
    pub renderer: Option<String>,
    /// Files other users may read, which netplan warns of.
    pub too_open: Vec<Place>,
    /// `gateway4:` and `gateway6:`.
    pub deprecated: Vec<Place>,
}

/// One definition below `ethernets:`, merged over all files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// Where its id stands last.
    pub place: Place,
    /// The files that say something of it, in order.
    pub files: Vec<String>,
    /// `renderer:` of its own.
    pub renderer: Option<String>,
    /// `match:`, or the id as a name.
    pub matches: Match,
    /// Whether any file says `match:`.
    pub has_match: bool,
    /// Where `match: { macaddress: … }` stands.
    pub mac_place: Option<Place>,
    /// `set-name:` and where.
    pub set_name: Option<(String, Place)>,
    /// What it configures.
    pub config: NetworkdConfig,
    /// `critical: true`, and where.
    pub critical: Option<Place>,
    /// Whether a `.link` file is written (`set-name`, `mtu`, `wakeonlan`, offloads).
    pub writes_link: bool,
    /// Some address has options of its own (`label`, `lifetime`).
    pub address_options: bool,
    /// `dhcp4-overrides:`, as written.
    pub overrides4: BTreeMap<String, String>,
    /// `dhcp6-overrides:`, as written.
    pub overrides6: BTreeMap<String, String>,
}

/// Keys that newer versions have and 0.106 does not (compared: 0.106 and 1.1.2 `src/parse.c`).
const SINCE_1_0: &[&str] = &["ra-overrides", "dummy-devices", "virtual-ethernets"];
const TOP: &[&str] = &[
    "version",
    "renderer",
    "ethernets",
    "wifis",
    "modems",
    "bridges",
    "bonds",
    "vlans",
    "tunnels",
    "vrfs",
    "nm-devices",
    "openvswitch",
    "dummy-devices",
    "virtual-ethernets",
];
const KEYS: &[&str] = &[
    "accept-ra",
    "activation-mode",
    "addresses",
    "auth",
    "critical",
    "delay-virtual-functions-rebind",
    "dhcp-identifier",
    "dhcp4",
    "dhcp4-overrides",
    "dhcp6",
    "dhcp6-overrides",
    "embedded-switch-mode",
    "emit-lldp",
    "gateway4",
    "gateway6",
    "generic-receive-offload",
    "generic-segmentation-offload",
    "ignore-carrier",
    "infiniband-mode",
    "ipv6-address-generation",
    "ipv6-address-token",
    "ipv6-mtu",
    "ipv6-privacy",
    "large-receive-offload",
    "link",
    "link-local",
    "macaddress",
    "match",
    "mtu",
    "nameservers",
    "networkmanager",
    "openvswitch",
    "optional",
    "optional-addresses",
    "receive-checksum-offload",
    "renderer",
    "routes",
    "routing-policy",
    "set-name",
    "tcp-segmentation-offload",
    "tcp6-segmentation-offload",
    "transmit-checksum-offload",
    "virtual-function-count",
    "neigh-suppress",
    "wakeonlan",
    "ra-overrides",
];

/// Reads and merges every netplan file: by name, a stronger folder (`/run`, `/etc`, `/lib`) hiding a weaker one's file
/// of the same name. `extra` are files that something writes at boot, before netplan reads: path and text. `modern`: the
/// guest has netplan 1.1 or later; none when that is not known.
pub fn read(snapshot: &Snapshot, extra: &[(String, String)], modern: Option<bool>) -> Netplan {
    let mut netplan = Netplan { goes_on: modern == Some(true), ..Netplan::default() };
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for root in ["/run", "/etc", "/usr/lib", "/lib"] {
        let folder = format!("{root}/netplan");
        let written = extra.iter().filter_map(|(path, _)| path.strip_prefix(&folder)?.strip_prefix('/'));
        // What an image itself has in /run is hidden at boot.
        let in_image = if root == "/run" { Vec::new() } else { snapshot.names(&folder) };
        let names = in_image.into_iter().chain(written).filter(|name| name.ends_with(".yaml"));
        for name in names.collect::<BTreeSet<_>>() {
            let path = format!("{folder}/{name}");
            match files.get(name) {
                Some(stronger) => netplan.shadowed.push((path, stronger.clone())),
                None => drop(files.insert(name.to_owned(), path)),
            }
        }
    }
    for path in files.values() {
        let written = extra.iter().find(|(extra, _)| extra == path).map(|(_, text)| text.clone());
        netplan.file(snapshot, path, written, modern != Some(false));
    }
    netplan.files = files.into_values().collect();
    netplan.contradictions();
    netplan
}

/// netplan's version, from the name of its library: libnetplan.so.0 is 0.10x, libnetplan.so.1 is 1.0 or later. Whether
/// the generator goes on after errors (1.1) cannot be told from 1.0 by that, and is taken from the later.
pub fn is_modern(snapshot: &Snapshot) -> Option<bool> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu"];
    let has = |name: &str| folders.iter().any(|folder| snapshot.exists(&format!("{folder}/{name}")));
    match (has("libnetplan.so.0.0"), has("libnetplan.so.1")) {
        (_, true) => Some(true),
        (true, false) => Some(false),
        _ => None,
    }
}

/// One file being read.
struct Source<'t> {
    image: &'t str,
    path: &'t str,
    lines: yaml::Lines<&'t str>,
    /// Whether keys of 1.0 and later are known.
    modern: bool,
}

impl Source<'_> {
    fn place(&self, span: Span) -> Place {
        Place::guest(self.image, self.path, self.lines.get(span.line), (span.line, span.column, span.length))
    }

    /// The whole entry: from its key to the end of the value's first line.
    fn entry(&self, key: &Node, value: &Node) -> Place {
        let mut place = self.place(key.span);
        if value.span.line == key.span.line {
            place.length = (value.span.column + value.span.length).saturating_sub(key.span.column).max(1);
        }
        place
    }

    fn wrong(&self, node: &Node, message: impl Into<String>) -> Wrong {
        (self.place(node.span), message.into())
    }
}

/// What is not accepted, and where. The first one ends the definition that it is in.
type Wrong = (Place, String);

impl Netplan {
    fn file(&mut self, snapshot: &Snapshot, path: &str, written: Option<String>, modern: bool) {
        let Some(text) = written.or_else(|| snapshot.text(path).flatten()) else {
            let place = Place::file(&snapshot.image, path);
            self.errors.push((place, "cannot be read as a file of reasonable size".to_owned()));
            return;
        };
        if let Some((_, crate::network::SnapshotNode::File { mode, .. })) = snapshot.at(path)
            && mode & 0o077 != 0
        {
            self.too_open.push(Place::file(&snapshot.image, path));
        }
        let source = Source { image: &snapshot.image, path, lines: yaml::Lines::of(&text), modern };
        let root = match yaml::parse_repeating(&text) {
            Ok(root) => root,
            Err(error) => return self.errors.push((source.place(error.span), error.message)),
        };
        if root.is_null() {
            return;
        }
        if let Err(wrong) = self.document(&source, &root) {
            self.errors.push(wrong);
        }
    }

    fn document(&mut self, source: &Source<'_>, root: &Node) -> Result<(), Wrong> {
        let mut network = None;
        for (key, value) in root.entries().ok_or_else(|| source.wrong(root, "a mapping is expected"))? {
            match key.text() {
                Some("network") if value.entries().is_some() => network = value.entries(),
                Some("network") => return Err(source.wrong(value, "`network:` is not a mapping")),
                _ => return Err(source.wrong(key, format!("unknown key `{}`", key.text().unwrap_or_default()))),
            }
        }
        for (key, value) in network.unwrap_or_default() {
            let name = key.text().unwrap_or_default();
            match name {
                "version" if value.text() != Some("2") => {
                    return Err(source.wrong(value, "only version 2 is supported"));
                }
                "version" => {}
                "renderer" => self.renderer = Some(renderer(source, value)?),
                "ethernets" => self.ethernets(source, value)?,
                name if SINCE_1_0.contains(&name) && !source.modern => {
                    return Err(source.wrong(key, format!("unknown key `{name}`")));
                }
                name if TOP.contains(&name) => self.other(source, key, value),
                name => return Err(source.wrong(key, format!("unknown key `{name}`"))),
            }
        }
        Ok(())
    }

    /// A kind of device that is not followed; only what it takes as members.
    fn other(&mut self, source: &Source<'_>, kind: &Node, definitions: &Node) {
        let kind_name = kind.text().unwrap_or_default();
        if kind_name == "openvswitch" || definitions.is_null() {
            return;
        }
        self.unmodelled.push((source.entry(kind, definitions), kind_name.to_owned()));
        for (id, definition) in definitions.entries().unwrap_or_default() {
            let lists = [definition.get("interfaces").and_then(Node::items)];
            for member in lists.into_iter().flatten().flatten().filter_map(Node::text) {
                self.members.insert(member.to_owned(), id.text().unwrap_or_default().to_owned());
            }
        }
    }

    fn ethernets(&mut self, source: &Source<'_>, definitions: &Node) -> Result<(), Wrong> {
        let entries =
            definitions.entries().ok_or_else(|| source.wrong(definitions, "`ethernets:` is not a mapping"))?;
        for (id, definition) in entries {
            let name = id.text().unwrap_or_default().to_owned();
            if name == "renderer" {
                self.renderer = Some(renderer(source, definition)?);
                continue;
            }
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(source.wrong(id, format!("invalid name `{name}`")));
            }
            let keys =
                definition.entries().ok_or_else(|| source.wrong(definition, "the definition is not a mapping"))?;
            let mut ethernet = self.ethernets.remove(&name).unwrap_or_else(|| Ethernet::new(source.place(id.span)));
            ethernet.place = source.place(id.span);
            ethernet.files.push(source.path.to_owned());
            for (key, value) in keys {
                if let Err(wrong) = ethernet.key(source, key, value, &mut self.deprecated) {
                    self.errors.push(wrong);
                    break;
                }
            }
            // "A definition without match: means match name on ID", decided anew for each file.
            if !ethernet.has_match && ethernet.matches.names.is_empty() {
                ethernet.matches.names = vec![name.clone()];
            }
            if let Some((_, place)) = ethernet.set_name.as_ref().filter(|_| !ethernet.has_match) {
                self.errors.push((place.clone(), "`set-name:` requires `match:` properties".to_owned()));
            }
            self.ethernets.insert(name, ethernet);
        }
        Ok(())
    }

    /// What the writers of the two daemons' files refuse once everything is merged (`networkd.c`, `nm.c`).
    fn contradictions(&mut self) {
        let mut wrong = Vec::new();
        for (id, one) in &self.ethernets {
            let networkd = self.renderer_for(one) == "networkd";
            let both = one.config.dhcp4 && one.config.dhcp6;
            let message = match networkd {
                true if both && one.overrides4 != one.overrides6 => {
                    format!("{id}: networkd requires the same values in `dhcp4-overrides` and `dhcp6-overrides`")
                }
                false if !one.matches.drivers.is_empty() => format!("{id}: NetworkManager cannot match by driver"),
                false if one.address_options => format!("{id}: NetworkManager does not support address options"),
                _ => continue,
            };
            wrong.push((one.place.clone(), message));
        }
        self.errors.extend(wrong);
    }

    /// Who configures a definition: `networkd` unless something says `NetworkManager`.
    pub fn renderer_for<'n>(&'n self, ethernet: &'n Ethernet) -> &'n str {
        ethernet.renderer.as_deref().or(self.renderer.as_deref()).unwrap_or("networkd")
    }

    /// Whether anything is generated at all.
    pub fn generates(&self) -> bool {
        self.errors.is_empty() || self.goes_on
    }

    /// Whether the generator starts networkd: it does for every definition of networkd's.
    pub fn starts_networkd(&self) -> bool {
        let others = !self.unmodelled.is_empty() && self.renderer.as_deref() != Some("NetworkManager");
        self.generates() && (others || self.ethernets.values().any(|one| self.renderer_for(one) == "networkd"))
    }

    /// The `.network` files that the generator writes for networkd; none after an error before 1.1.
    pub fn network_files(&self) -> Vec<NetworkFile> {
        let mine = self.ethernets.iter().filter(|(_, one)| self.generates() && self.renderer_for(one) == "networkd");
        mine.map(|(id, ethernet)| {
            let mut matches = ethernet.matches.clone();
            if let Some((name, _)) = &ethernet.set_name {
                matches.names = vec![name.clone()];
            }
            let mut config = ethernet.config.clone();
            if let Some(other) = self.members.get(id) {
                config.member_of = Some(other.clone());
            }
            NetworkFile {
                name: format!("10-netplan-{id}.network"),
                path: format!("/run/systemd/network/10-netplan-{id}.network"),
                place: ethernet.place.clone(),
                matches,
                config,
                generated_by: Some("netplan"),
                drop_ins: Vec::new(),
            }
        })
        .collect()
    }

    /// The `.link` files that the generator writes.
    pub(in crate::network) fn link_files(&self, image: &str) -> Vec<LinkFile> {
        let mine = self.ethernets.iter().filter(|(_, one)| self.generates() && one.writes_link);
        mine.map(|(id, ethernet)| LinkFile {
            name: format!("10-netplan-{id}.link"),
            path: format!("/run/systemd/network/10-netplan-{id}.link"),
            place: ethernet.place.clone(),
            matches: ethernet.matches.clone(),
            rename: ethernet.set_name.clone(),
            ..LinkFile::nothing(image)
        })
        .collect()
    }
}

fn renderer(source: &Source<'_>, value: &Node) -> Result<String, Wrong> {
    match value.text() {
        Some(name @ ("networkd" | "NetworkManager")) => Ok(name.to_owned()),
        _ => Err(source.wrong(value, "the renderer is `networkd` or `NetworkManager`")),
    }
}

impl Ethernet {
    fn new(place: Place) -> Self {
        Self {
            place,
            files: Vec::new(),
            renderer: None,
            matches: Match::default(),
            has_match: false,
            mac_place: None,
            set_name: None,
            config: NetworkdConfig::default(),
            critical: None,
            writes_link: false,
            address_options: false,
            overrides4: BTreeMap::new(),
            overrides6: BTreeMap::new(),
        }
    }

    fn key(&mut self, source: &Source<'_>, key: &Node, value: &Node, old: &mut Vec<Place>) -> Result<(), Wrong> {
        let config = &mut self.config;
        let name = key.text().unwrap_or_default();
        let switch = || {
            let text = format!("`{name}` is true or false");
            boolean(value).ok_or_else(|| source.wrong(value, text))
        };
        match name {
            "dhcp4" => (config.dhcp4, config.dhcp4_place) = (switch()?, Some(source.entry(key, value))),
            "dhcp6" => config.dhcp6 = switch()?,
            "optional" => config.optional = switch()?,
            "critical" => {
                self.critical = switch()?.then(|| source.entry(key, value));
                config.keeps_foreign.clone_from(&self.critical);
            }
            "dhcp-identifier" => match value.text().map(str::to_ascii_lowercase).as_deref() {
                Some("mac") => config.identifier_mac = true,
                Some("duid") => config.identifier_mac = false,
                _ => return Err(source.wrong(value, "`dhcp-identifier` is `mac` or `duid`")),
            },
            "dhcp4-overrides" | "dhcp6-overrides" => self.overrides(source, name == "dhcp4-overrides", value)?,
            "renderer" => self.renderer = Some(renderer(source, value)?),
            "macaddress" => match value.text() {
                Some(mac) if is_mac(mac) => config.mac = Some(mac.to_ascii_lowercase()),
                _ => return Err(source.wrong(value, "a MAC address is expected, as in 52:54:00:12:34:56")),
            },
            "set-name" => {
                let name = value.text().map(|name| name.chars().take(MAX_NAME).collect::<String>());
                self.set_name = name.map(|name| (name, source.entry(key, value)));
                self.writes_link = true;
            }
            "activation-mode" => match value.text() {
                Some(mode @ ("manual" | "off")) => config.stays_down = Some(mode.to_owned()),
                _ => return Err(source.wrong(value, "`activation-mode` is `manual` or `off`")),
            },
            "match" => {
                self.has_match = true;
                self.matching(source, value)?;
            }
            "addresses" => {
                self.address_options |= value.items().unwrap_or_default().iter().any(|item| item.entries().is_some());
                addresses(source, config, value)?;
            }
            "gateway4" | "gateway6" => match value.text().and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(gateway) if gateway.is_ipv4() == (name == "gateway4") => {
                    old.push(source.entry(key, value));
                    config.default_route(Some(gateway), None, false, source.entry(key, value));
                }
                _ => return Err(source.wrong(value, format!("`{name}` is not such an address"))),
            },
            "routes" => routes(source, config, value)?,
            "nameservers" => nameservers(source, config, value)?,
            "mtu" => match value.text().and_then(|text| text.parse::<u32>().ok()) {
                Some(mtu) => self.writes_link |= mtu > 0,
                None => return Err(source.wrong(value, "`mtu` is a number")),
            },
            "wakeonlan" => self.writes_link |= switch()?,
            name if name.ends_with("-offload") => {
                switch()?;
                self.writes_link = true;
            }
            "accept-ra" | "ipv6-privacy" | "emit-lldp" | "ignore-carrier" => drop(switch()?),
            "link-local" | "optional-addresses" | "routing-policy" if value.items().is_none() => {
                return Err(source.wrong(value, "a list is expected"));
            }
            name if SINCE_1_0.contains(&name) && !source.modern => {
                return Err(source.wrong(key, format!("unknown key `{name}`")));
            }
            name if KEYS.contains(&name) => {}
            name => return Err(source.wrong(key, format!("unknown key `{name}`"))),
        }
        Ok(())
    }

    fn overrides(&mut self, source: &Source<'_>, four: bool, value: &Node) -> Result<(), Wrong> {
        let entries = value.entries().ok_or_else(|| source.wrong(value, "a mapping is expected"))?;
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let on = boolean(value);
            let said = on.map_or_else(|| value.text().unwrap_or_default().to_owned(), |on| on.to_string());
            match (name, on) {
                ("hostname" | "use-domains" | "route-metric", _) => {}
                ("send-hostname" | "use-dns" | "use-hostname" | "use-mtu" | "use-ntp" | "use-routes", Some(_)) => {}
                ("send-hostname" | "use-dns" | "use-hostname" | "use-mtu" | "use-ntp" | "use-routes", None) => {
                    return Err(source.wrong(value, format!("`{name}` is true or false")));
                }
                _ => return Err(source.wrong(key, format!("unknown key `{name}`"))),
            }
            // `true` is every switch's default, so saying it is saying nothing.
            let all = if four { &mut self.overrides4 } else { &mut self.overrides6 };
            match on {
                Some(true) => drop(all.remove(name)),
                _ => drop(all.insert(name.to_owned(), said)),
            }
        }
        let said = |name: &str| self.overrides4.get(name).map(String::as_str);
        self.config.hostname = said("hostname").map(str::to_owned);
        self.config.hides_hostname = said("send-hostname") == Some("false");
        self.config.ignores_dns = said("use-dns") == Some("false");
        Ok(())
    }

    fn matching(&mut self, source: &Source<'_>, value: &Node) -> Result<(), Wrong> {
        if value.is_null() {
            return Err(source.wrong(value, "a mapping is expected"));
        }
        for (key, value) in value.entries().ok_or_else(|| source.wrong(value, "a mapping is expected"))? {
            match (key.text().unwrap_or_default(), value.text()) {
                ("name", Some(name)) => self.matches.names = vec![name.to_owned()],
                ("macaddress", Some(mac)) if is_mac(mac) => {
                    self.matches.macs = vec![mac.to_ascii_lowercase()];
                    self.mac_place = Some(source.entry(key, value));
                }
                ("macaddress", _) => {
                    return Err(source.wrong(value, "a MAC address is expected, as in 52:54:00:12:34:56"));
                }
                ("driver", _) => {
                    let items = value.items().unwrap_or(std::slice::from_ref(value));
                    let drivers: Option<Vec<_>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
                    let drivers = drivers.filter(|all| !all.is_empty() && !all.iter().any(|one| one.contains(' ')));
                    self.matches.drivers =
                        drivers.ok_or_else(|| source.wrong(value, "a driver or a list of drivers is expected"))?;
                }
                ("name", None) => return Err(source.wrong(value, "a name is expected")),
                (name, _) => return Err(source.wrong(key, format!("unknown key `{name}`"))),
            }
        }
        Ok(())
    }
}

fn addresses(source: &Source<'_>, config: &mut NetworkdConfig, value: &Node) -> Result<(), Wrong> {
    let items = value.items().ok_or_else(|| source.wrong(value, "a list of addresses is expected"))?;
    for item in items {
        // An address may be a mapping of one: its options (`label`, `lifetime`) do not matter here.
        let item = item.entries().and_then(|entries| entries.first()).map_or(item, |(address, _)| address);
        match item.text().filter(|text| text.contains('/')).and_then(|text| text.parse::<Cidr>().ok()) {
            Some(address) if address.prefix > 0 => {
                if !config.addresses.contains(&address) {
                    config.addresses.push(address);
                    config.address_place.get_or_insert_with(|| source.place(item.span));
                }
            }
            _ => return Err(source.wrong(item, "an address with a prefix length is expected")),
        }
    }
    Ok(())
}

fn nameservers(source: &Source<'_>, config: &mut NetworkdConfig, value: &Node) -> Result<(), Wrong> {
    for (key, list) in value.entries().ok_or_else(|| source.wrong(value, "a mapping is expected"))? {
        let items = list.items().ok_or_else(|| source.wrong(list, "a list is expected"))?;
        match key.text().unwrap_or_default() {
            "search" => {}
            "addresses" => {
                for item in items {
                    let server = item.text().and_then(|text| text.parse().ok());
                    config.dns.push(server.ok_or_else(|| source.wrong(item, "an address is expected"))?);
                }
            }
            name => return Err(source.wrong(key, format!("unknown key `{name}`"))),
        }
    }
    Ok(())
}

const ROUTE_KEYS: &[&str] = &[
    "from",
    "on-link",
    "scope",
    "table",
    "to",
    "type",
    "via",
    "metric",
    "mtu",
    "congestion-window",
    "advertised-receive-window",
    "advertised-mss",
];

fn routes(source: &Source<'_>, config: &mut NetworkdConfig, value: &Node) -> Result<(), Wrong> {
    for route in value.items().ok_or_else(|| source.wrong(value, "a list of routes is expected"))? {
        let keys = route.entries().ok_or_else(|| source.wrong(route, "a route is a mapping"))?;
        for (key, value) in keys {
            let name = key.text().unwrap_or_default();
            if !ROUTE_KEYS.contains(&name) {
                return Err(source.wrong(key, format!("unknown key `{name}`")));
            }
            let number = value.text().is_some_and(|text| text.parse::<u32>().is_ok());
            let address = value.text().is_some_and(|text| cidr(text).is_some());
            match name {
                "to" if value.text() == Some("default") || address => {}
                "to" | "via" | "from" if !address => return Err(source.wrong(value, "an address is expected")),
                "metric" | "table" | "mtu" if !number => return Err(source.wrong(value, "a number is expected")),
                "on-link" if boolean(value).is_none() => return Err(source.wrong(value, "`on-link` is true or false")),
                _ => {}
            }
        }
        let text = |key| route.get(key).and_then(Node::text);
        let to = text("to").unwrap_or_default();
        let unicast = text("type").is_none_or(|kind| kind.eq_ignore_ascii_case("unicast"));
        let via = route.get("via");
        let global = text("scope").map_or(via.is_some() || !unicast, |scope| scope == "global");
        // A default route without an address in it makes netplan abort (`get_global_network`).
        let familyless = to == "default" && via.is_none() && text("from").is_none();
        if to.is_empty() || unicast && global && via.is_none() || familyless {
            return Err(source.wrong(route, "a route must include both a `to` and a `via` address"));
        }
        let main = text("table").is_none_or(|table| table == "254");
        if !main || !unicast || !(to == "default" || to.ends_with("/0")) {
            continue;
        }
        if let Some((via, gateway)) = via.and_then(|via| Some((via, via.text()?.parse().ok()?))) {
            let metric = text("metric").and_then(|metric| metric.parse().ok());
            let on_link = route.get("on-link").and_then(boolean) == Some(true);
            let place = source.place(via.span);
            // "route has already been added": the same one in another file is no second one.
            let known = config.default_routes.iter().any(|one| (one.gateway, one.metric) == (Some(gateway), metric));
            if !known {
                config.default_route(Some(gateway), metric, on_link, place);
            }
        }
    }
    Ok(())
}

/// `^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`, as netplan has it (and the longer form of InfiniBand).
fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    let pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(pairs.len(), 6 | 20) && pairs.iter().all(pair)
}

/// A YAML 1.1 boolean as netplan reads it (`parse.c`, `handle_generic_bool`).
fn boolean(node: &Node) -> Option<bool> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" => Some(true),
        "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}
