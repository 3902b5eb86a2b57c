//! systemd-networkd: the `.network` files, which one wins an interface, and `.link` files.
//!
//! Source: systemd.network(5), systemd.link(5), `src/network/networkd-network.c`.

use super::capture::SYSTEMD_ROOTS;
use super::{Cidr, Place, Snapshot};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What one `.network` file configures, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkdConfig {
    /// `DHCP=yes` or `ipv4`.
    pub dhcp4: bool,
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
    /// `DNS=`, in order.
    pub dns: Vec<IpAddr>,
    /// `ClientIdentifier=mac`: the lease follows the MAC address, not the machine-id.
    pub identifier_mac: bool,
    /// `Unmanaged=yes`.
    pub unmanaged: bool,
    /// `KeepConfiguration=` that keeps foreign static addresses (`yes`, `static`).
    pub keeps_foreign: bool,
}

/// The `[Match]` section. An empty one matches every interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// `Name=` (or `OriginalName=`) globs; one with a leading `!` in front inverts all.
    pub names: Vec<String>,
    /// `MACAddress=`, `PermanentMACAddress=`, lower case.
    pub macs: Vec<String>,
    /// `Driver=` globs.
    pub drivers: Vec<String>,
    /// `Type=`, `Kind=` values.
    pub types: Vec<String>,
    /// `Kind=` values.
    pub kinds: Vec<String>,
    /// Conditions this model does not decide.
    pub unmodelled: Vec<String>,
}

/// Whether something holds, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It depends on what is not known here.
    Unknown,
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
}

/// What is known of an interface before anything matches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name once udev is done; a trailing `*` when only the beginning is known (`en*`).
    pub name: String,
    /// Its MAC address in lower case, when somebody fixed it.
    pub mac: Option<String>,
}

impl Match {
    /// Whether an interface is matched.
    pub fn answers(&self, nic: &Nic) -> Answer {
        let name = (!self.names.is_empty()).then(|| any_name(&self.names, &nic.name));
        let mac = (!self.macs.is_empty()).then(|| match &nic.mac {
            Some(mac) => yes(self.macs.contains(mac)),
            None => Answer::Unknown,
        });
        let driver = (!self.drivers.is_empty()).then(|| any_name(&self.drivers, "virtio_net"));
        let kind = (!self.types.is_empty()).then(|| any_name(&self.types, "ether"));
        let virtual_kind = (!self.kinds.is_empty()).then(|| yes(self.kinds.iter().any(|kind| kind.starts_with('!'))));
        let other = (!self.unmodelled.is_empty()).then_some(Answer::Unknown);
        let answers = [name, mac, driver, kind, virtual_kind, other];
        let mut answers = answers.into_iter().flatten();
        answers
            .try_fold(Answer::Yes, |all, one| match (all, one) {
                (_, Answer::No) => Err(Answer::No),
                (Answer::Unknown, _) | (_, Answer::Unknown) => Ok(Answer::Unknown),
                _ => Ok(Answer::Yes),
            })
            .unwrap_or_else(|no| no)
    }

    /// No condition at all: every interface.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

fn yes(holds: bool) -> Answer {
    if holds { Answer::Yes } else { Answer::No }
}

/// systemd's list semantics: any glob matches; a `!` before the first inverts the whole list.
fn any_name(globs: &[String], name: &str) -> Answer {
    let inverted = globs.first().is_some_and(|glob| glob.starts_with('!'));
    let mut answer = Answer::No;
    for glob in globs {
        match glob_matches(glob.trim_start_matches('!'), name) {
            Answer::Yes => {
                answer = Answer::Yes;
                break;
            }
            Answer::Unknown => answer = Answer::Unknown,
            Answer::No => {}
        }
    }
    match (inverted, answer) {
        (true, Answer::Yes) => Answer::No,
        (true, Answer::No) => Answer::Yes,
        (_, answer) => answer,
    }
}

/// Whether a glob (`*`, `?`, `[…]`) matches a name; a name that ends in `*` is known only in its beginning.
pub fn glob_matches(glob: &str, name: &str) -> Answer {
    match name.strip_suffix('*') {
        None => yes(fits(glob.as_bytes(), name.as_bytes(), 0)),
        Some(start) => prefix_fits(glob.as_bytes(), start.as_bytes()),
    }
}

/// The most backtracking of one match; interface names have at most 15 bytes.
const MAX_STEPS: usize = 64;

fn fits(glob: &[u8], name: &[u8], depth: usize) -> bool {
    if depth > MAX_STEPS {
        return false;
    }
    match (glob.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if rest.first() == Some(&b'*') => fits(rest, name, depth),
        (Some((b'*', rest)), None) => fits(rest, name, depth + 1),
        (Some((b'*', rest)), Some((_, tail))) => {
            rest.is_empty() || fits(rest, name, depth + 1) || fits(glob, tail, depth + 1)
        }
        (Some((b'[', rest)), Some((byte, tail))) => match class(rest, *byte) {
            Some((holds, rest)) => holds && fits(rest, tail, depth + 1),
            None => false,
        },
        (Some((b'?', rest)), Some((_, tail))) => fits(rest, tail, depth + 1),
        (Some((expected, rest)), Some((byte, tail))) => expected == byte && fits(rest, tail, depth + 1),
        _ => false,
    }
}

/// A bracket expression: whether the byte is in it, and what follows it.
fn class(glob: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let end = glob.iter().skip(1).position(|other| *other == b']')? + 1;
    let (set, rest) = (glob.get(..end)?, glob.get(end + 1..)?);
    let (inverted, set) = match set.split_first() {
        Some((b'!' | b'^', set)) => (true, set),
        _ => (false, set),
    };
    let mut holds = set.contains(&byte);
    for range in set.windows(3) {
        if let [low, b'-', high] = range {
            holds |= (low..=high).contains(&&byte);
        }
    }
    Some((holds != inverted, rest))
}

/// A glob against a name of which only the beginning is known.
fn prefix_fits(glob: &[u8], start: &[u8]) -> Answer {
    match (glob.split_first(), start.split_first()) {
        (Some((b'*', [])), _) => Answer::Yes,
        (Some((b'*' | b'[', _)), _) => Answer::Unknown,
        (None, _) => Answer::No,
        (Some(_), None) => Answer::Unknown,
        (Some((b'?', rest)), Some((_, tail))) => prefix_fits(rest, tail),
        (Some((expected, rest)), Some((byte, tail))) if expected == byte => prefix_fits(rest, tail),
        _ => Answer::No,
    }
}

/// One assignment of an ini file.
pub(super) struct Assignment {
    pub section: String,
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// systemd's ini syntax: sections, `key=value`, `#` and `;` comments, a trailing backslash continues.
pub(super) fn assignments(text: &str) -> Vec<Assignment> {
    let mut section = String::new();
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
            section = name.to_owned();
        } else if let Some((key, value)) = row.split_once('=') {
            list.push(Assignment {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line: index + 1,
            });
        }
    }
    list
}

/// The files of one kind that count, by name: the strongest folder's of each name (systemd.network(5)). A masked one
/// stays in the list so that it can be named.
pub(super) fn files(snapshot: &Snapshot, end: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for root in SYSTEMD_ROOTS {
        let folder = format!("{root}/systemd/network");
        for name in snapshot.names(&folder).into_iter().filter(|name| name.ends_with(end)) {
            found.entry(name.to_owned()).or_insert_with(|| format!("{folder}/{name}"));
        }
    }
    found
}

/// The `.network` files in the image that are not masked, with their drop-ins applied.
pub(super) fn network_files(snapshot: &Snapshot, unread: &mut Vec<String>) -> Vec<NetworkFile> {
    let mut list = Vec::new();
    for (name, path) in files(snapshot, ".network") {
        if snapshot.is_mask(&path) {
            continue;
        }
        let Some(Some(text)) = snapshot.text(&path) else {
            unread.push(path);
            continue;
        };
        let mut file = NetworkFile {
            place: Place::line(&snapshot.image, &path, &text, 1),
            name,
            path: path.clone(),
            matches: Match::default(),
            config: NetworkdConfig::default(),
            generated_by: None,
        };
        file.apply(snapshot, &path, &text);
        for drop_in in drop_ins(snapshot, &file.name) {
            match snapshot.text(&drop_in) {
                Some(Some(text)) => file.apply(snapshot, &drop_in, &text),
                _ => unread.push(drop_in),
            }
        }
        list.push(file);
    }
    list
}

/// Drop-ins of a file in the order they are applied: by name, the strongest folder's of each name.
fn drop_ins(snapshot: &Snapshot, file: &str) -> Vec<String> {
    let mut found = BTreeMap::new();
    for root in SYSTEMD_ROOTS {
        let folder = format!("{root}/systemd/network/{file}.d");
        for name in snapshot.names(&folder) {
            found.entry(name.to_owned()).or_insert_with(|| format!("{folder}/{name}"));
        }
    }
    found.into_values().filter(|path| !snapshot.is_mask(path)).collect()
}

impl NetworkFile {
    fn apply(&mut self, snapshot: &Snapshot, path: &str, text: &str) {
        for Assignment { section, key, value, line } in assignments(text) {
            let place = || Some(Place::line(&snapshot.image, path, text, line));
            let config = &mut self.config;
            match (section.as_str(), key.as_str()) {
                ("Match", _) => self.matches.add(&key, &value),
                ("Network", "DHCP") => {
                    config.dhcp4 = matches!(
                        value.to_ascii_lowercase().as_str(),
                        "yes" | "true" | "on" | "1" | "y" | "t" | "ipv4" | "both"
                    );
                    config.dhcp4_place = place();
                }
                ("Network" | "Address", "Address") => {
                    if value.is_empty() {
                        config.addresses.clear();
                    }
                    if let Some(address) = cidr(&value) {
                        config.addresses.push(address);
                        config.address_place = config.address_place.take().or_else(place);
                    }
                }
                ("Network" | "Route", "Gateway") => {
                    if let Ok(gateway) = value.parse() {
                        config.gateways.push(gateway);
                        config.gateway_place = config.gateway_place.take().or_else(place);
                    }
                }
                ("Network", "DNS") => {
                    if value.is_empty() {
                        config.dns.clear();
                    }
                    config.dns.extend(value.split_whitespace().filter_map(|server| server.parse::<IpAddr>().ok()));
                }
                ("Network", "KeepConfiguration") => {
                    config.keeps_foreign = matches!(value.as_str(), "yes" | "static" | "true" | "1");
                }
                ("DHCP" | "DHCPv4", "ClientIdentifier") => config.identifier_mac = value == "mac",
                ("Link", "Unmanaged") => config.unmanaged = matches!(value.as_str(), "yes" | "true" | "on" | "1"),
                _ => {}
            }
        }
    }
}

impl Match {
    /// Adds one condition of a `[Match]` section.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        let list = match key {
            "Name" | "OriginalName" => &mut self.names,
            "MACAddress" | "PermanentMACAddress" => {
                self.macs.extend(value.split_whitespace().map(|mac| mac.to_ascii_lowercase().replace('-', ":")));
                return;
            }
            "Driver" => &mut self.drivers,
            "Type" => &mut self.types,
            "Kind" => &mut self.kinds,
            _ => {
                self.unmodelled.push(key.to_owned());
                return;
            }
        };
        if value.is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(str::to_owned));
    }
}

/// An address as networkd takes it: without a prefix length it is a host address.
pub(super) fn cidr(text: &str) -> Option<Cidr> {
    text.parse().ok().or_else(|| {
        let address: IpAddr = text.parse().ok()?;
        Some(Cidr { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_fnmatch_does_and_say_when_they_cannot_know() {
        for (glob, name, answer) in [
            ("eth0", "eth0", Answer::Yes),
            ("e*", "eth0", Answer::Yes),
            ("eth[0-2]", "eth1", Answer::Yes),
            ("eth[!0]", "eth0", Answer::No),
            ("en*", "eth0", Answer::No),
            ("en*", "en*", Answer::Yes),
            ("eth0", "en*", Answer::No),
            ("enp0s3", "en*", Answer::Unknown),
        ] {
            assert_eq!(glob_matches(glob, name), answer, "{glob} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "(\\[|\\]|Match|Name|=|!|\\*|eth0|\\\\|\n| |é){0,60}", glob in "\\PC{0,30}") {
            let mut matches = Match::default();
            for one in assignments(&text) {
                matches.add(&one.key, &one.value);
            }
            let _ = matches.answers(&Nic { name: "eth0".into(), mac: None });
            let _ = glob_matches(&glob, "eth0");
        }
    }
}
