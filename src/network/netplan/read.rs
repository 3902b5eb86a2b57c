//! A guest's netplan files → the `.network` files its generator will write.
//!
//! Source: netplan-generate(8), netplan-yaml(5), netplan 0.106 `src/parse.c`, `src/networkd.c`; measured with the generator.

use crate::network::networkd::cidr;
use crate::network::{Match, NetworkFile, NetworkdConfig, Place, Snapshot};
use crate::yaml::{self, Node, Span};
use std::collections::BTreeMap;

/// What a guest's netplan files say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Netplan {
    /// The files that are read, in the order they are merged.
    pub files: Vec<String>,
    /// Files that another of the same name in a stronger folder hides: the file, and what hides it.
    pub shadowed: Vec<(String, String)>,
    /// Ethernet definitions by id.
    pub ethernets: BTreeMap<String, Ethernet>,
    /// What makes the generator give up, each with its place. Then nothing is generated (before netplan 1.1).
    pub errors: Vec<(Place, String)>,
    /// Definitions that this model does not follow: bonds, bridges, vlans, …
    pub unmodelled: Vec<(Place, String)>,
    /// `renderer:` at the top.
    pub renderer: Option<String>,
    /// Files other users may read, which netplan warns of.
    pub too_open: Vec<Place>,
}

/// One definition below `ethernets:`, merged over all files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// Where its id stands last.
    pub place: Place,
    /// `renderer:` of its own.
    pub renderer: Option<String>,
    /// `match:`, or the id as a name.
    pub matches: Match,
    /// `set-name:`.
    pub set_name: Option<String>,
    /// What it configures.
    pub config: NetworkdConfig,
    /// `optional: true`.
    pub optional: bool,
}

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
    "wakeonlan",
    "ra-overrides",
];

/// Reads and merges every netplan file: by name, a stronger folder (`/run`, `/etc`, `/lib`) hiding a weaker one's file
/// of the same name.
pub fn read(snapshot: &Snapshot) -> Netplan {
    let mut netplan = Netplan::default();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for root in ["/run", "/etc", "/usr/lib", "/lib"] {
        let folder = format!("{root}/netplan");
        for name in snapshot.names(&folder).into_iter().filter(|name| name.ends_with(".yaml")) {
            let path = format!("{folder}/{name}");
            match files.get(name) {
                Some(stronger) => netplan.shadowed.push((path, stronger.clone())),
                None => drop(files.insert(name.to_owned(), path)),
            }
        }
    }
    for path in files.values() {
        netplan.file(snapshot, path);
    }
    netplan.files = files.into_values().collect();
    netplan
}

/// One file being read.
struct Source<'t> {
    image: &'t str,
    path: &'t str,
    text: &'t str,
}

impl Source<'_> {
    fn place(&self, span: Span) -> Place {
        let mut place = Place::line(self.image, self.path, self.text, span.line);
        (place.column, place.length) = (span.column, span.length);
        place
    }

    /// The whole entry: from its key to the end of the value's first line.
    fn entry(&self, key: &Node, value: &Node) -> Place {
        let mut place = self.place(key.span);
        if value.span.line == key.span.line {
            place.length = (value.span.column + value.span.length).saturating_sub(key.span.column).max(1);
        }
        place
    }
}

impl Netplan {
    fn file(&mut self, snapshot: &Snapshot, path: &str) {
        let Some(Some(text)) = snapshot.text(path) else {
            self.errors
                .push((Place::file(&snapshot.image, path), "cannot be read as a file of reasonable size".to_owned()));
            return;
        };
        if let Some((_, crate::network::SnapshotNode::File { mode, .. })) = snapshot.at(path)
            && mode & 0o077 != 0
        {
            self.too_open.push(Place::file(&snapshot.image, path));
        }
        let source = Source { image: &snapshot.image, path, text: &text };
        let root = match yaml::parse(&text) {
            Ok(root) => root,
            Err(error) => return self.errors.push((source.place(error.span), error.message)),
        };
        if root.is_null() {
            return;
        }
        let Some(network) = root.get("network").filter(|network| network.entries().is_some()) else {
            return self.errors.push((source.place(root.span), "`network:` is not a mapping".to_owned()));
        };
        for (key, value) in network.entries().unwrap_or_default() {
            match key.text().unwrap_or_default() {
                "version" if value.text() != Some("2") => self.error(&source, value, "only version 2 is supported"),
                "version" => {}
                "renderer" => self.renderer = self.renderer_of(&source, value).or(self.renderer.take()),
                "ethernets" => self.ethernets(&source, value),
                name if TOP.contains(&name) => self.unmodelled.push((source.entry(key, value), name.to_owned())),
                name => self.error(&source, key, &format!("unknown key `{name}`")),
            }
        }
    }

    fn error(&mut self, source: &Source<'_>, node: &Node, message: &str) {
        self.errors.push((source.place(node.span), message.to_owned()));
    }

    fn renderer_of(&mut self, source: &Source<'_>, value: &Node) -> Option<String> {
        match value.text() {
            Some(name @ ("networkd" | "NetworkManager")) => Some(name.to_owned()),
            _ => {
                self.error(source, value, "the renderer is `networkd` or `NetworkManager`");
                None
            }
        }
    }

    fn ethernets(&mut self, source: &Source<'_>, definitions: &Node) {
        let Some(entries) = definitions.entries() else {
            if !definitions.is_null() {
                self.error(source, definitions, "`ethernets:` is not a mapping");
            }
            return;
        };
        for (id, definition) in entries {
            let name = id.text().unwrap_or_default().to_owned();
            if name == "renderer" {
                self.renderer = self.renderer_of(source, definition).or(self.renderer.take());
                continue;
            }
            let Some(keys) = definition.entries() else {
                self.error(source, definition, "the definition is not a mapping");
                continue;
            };
            let mut ethernet = self.ethernets.remove(&name).unwrap_or_else(|| Ethernet {
                place: source.place(id.span),
                renderer: None,
                matches: Match { names: vec![name.clone()], ..Match::default() },
                set_name: None,
                config: NetworkdConfig::default(),
                optional: false,
            });
            ethernet.place = source.place(id.span);
            for (key, value) in keys {
                self.key(source, &mut ethernet, key, value);
            }
            self.ethernets.insert(name, ethernet);
        }
    }

    fn key(&mut self, source: &Source<'_>, ethernet: &mut Ethernet, key: &Node, value: &Node) {
        let config = &mut ethernet.config;
        match key.text().unwrap_or_default() {
            "dhcp4" => match boolean(value) {
                Some(on) => (config.dhcp4, config.dhcp4_place) = (on, Some(source.entry(key, value))),
                None => self.error(source, value, "`dhcp4` is true or false"),
            },
            "dhcp6" if boolean(value).is_none() => self.error(source, value, "`dhcp6` is true or false"),
            "optional" => match boolean(value) {
                Some(on) => ethernet.optional = on,
                None => self.error(source, value, "`optional` is true or false"),
            },
            "critical" => match boolean(value) {
                Some(on) => config.keeps_foreign = on,
                None => self.error(source, value, "`critical` is true or false"),
            },
            "dhcp-identifier" => config.identifier_mac = value.text() == Some("mac"),
            "renderer" => ethernet.renderer = self.renderer_of(source, value).or(ethernet.renderer.take()),
            "set-name" => ethernet.set_name = value.text().map(str::to_owned),
            "match" => self.matches(source, ethernet, value),
            "addresses" => self.addresses(source, config, value),
            "gateway4" | "gateway6" => match value.text().and_then(|text| text.parse().ok()) {
                Some(gateway) => {
                    config.gateways.push(gateway);
                    config.gateway_place = Some(source.entry(key, value));
                }
                None => self.error(source, value, "an address is expected"),
            },
            "routes" => self.routes(source, config, value),
            "nameservers" => {
                for server in value.get("addresses").and_then(Node::items).unwrap_or_default() {
                    match server.text().and_then(|text| text.parse().ok()) {
                        Some(server) => config.dns.push(server),
                        None => self.error(source, server, "an address is expected"),
                    }
                }
            }
            name if KEYS.contains(&name) => {}
            name => self.error(source, key, &format!("unknown key `{name}`")),
        }
    }

    fn matches(&mut self, source: &Source<'_>, ethernet: &mut Ethernet, value: &Node) {
        ethernet.matches = Match::default();
        for (key, value) in value.entries().unwrap_or_default() {
            let items = value.items().unwrap_or(std::slice::from_ref(value));
            for text in items.iter().filter_map(Node::text) {
                match key.text().unwrap_or_default() {
                    "name" => ethernet.matches.names.push(text.to_owned()),
                    "macaddress" => ethernet.matches.macs.push(text.to_ascii_lowercase()),
                    "driver" => ethernet.matches.drivers.push(text.to_owned()),
                    name => {
                        self.errors.push((source.place(key.span), format!("unknown key `{name}`")));
                        break;
                    }
                }
            }
        }
    }

    fn addresses(&mut self, source: &Source<'_>, config: &mut NetworkdConfig, value: &Node) {
        let Some(items) = value.items() else { return self.error(source, value, "a list of addresses is expected") };
        for item in items {
            // An address may be a mapping of one: its options (`label`, `lifetime`) do not matter here.
            let item = item.entries().and_then(|entries| entries.first()).map_or(item, |(address, _)| address);
            match item.text().filter(|text| text.contains('/')).and_then(cidr) {
                Some(address) if !config.addresses.contains(&address) => {
                    config.addresses.push(address);
                    let place = source.place(item.span);
                    config.address_place = config.address_place.take().or(Some(place));
                }
                Some(_) => {}
                None => self.error(source, item, "an address with a prefix length is expected"),
            }
        }
    }

    fn routes(&mut self, source: &Source<'_>, config: &mut NetworkdConfig, value: &Node) {
        let Some(items) = value.items() else { return self.error(source, value, "a list of routes is expected") };
        for route in items {
            let to = route.get("to").and_then(Node::text).unwrap_or_default();
            let via = route.get("via");
            let main = route.get("table").is_none_or(|table| table.text() == Some("254"));
            if !matches!(to, "default" | "0.0.0.0/0" | "::/0" | "0/0") || !main {
                continue;
            }
            if let Some((via, gateway)) = via.and_then(|via| Some((via, via.text()?.parse().ok()?))) {
                config.gateways.push(gateway);
                config.gateway_place = Some(source.place(via.span));
            }
        }
    }

    /// Who configures a definition: `networkd` unless something says `NetworkManager`.
    pub fn renderer_for<'n>(&'n self, ethernet: &'n Ethernet) -> &'n str {
        ethernet.renderer.as_deref().or(self.renderer.as_deref()).unwrap_or("networkd")
    }

    /// The `.network` files that the generator writes for networkd; none after an error.
    pub fn network_files(&self) -> Vec<NetworkFile> {
        if !self.errors.is_empty() {
            return Vec::new();
        }
        let mine = self.ethernets.iter().filter(|(_, ethernet)| self.renderer_for(ethernet) == "networkd");
        mine.map(|(id, ethernet)| {
            let mut matches = ethernet.matches.clone();
            if let Some(name) = &ethernet.set_name {
                matches.names = vec![name.clone()];
            }
            NetworkFile {
                name: format!("10-netplan-{id}.network"),
                path: format!("/run/systemd/network/10-netplan-{id}.network"),
                place: ethernet.place.clone(),
                matches,
                config: ethernet.config.clone(),
                generated_by: Some("netplan"),
            }
        })
        .collect()
    }
}

/// A YAML 1.1 boolean as netplan reads it (`parse.c`, `handle_generic_bool`).
fn boolean(node: &Node) -> Option<bool> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" => Some(true),
        "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}
