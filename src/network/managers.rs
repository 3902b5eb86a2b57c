//! Which daemons start in the guest, and what ifupdown would do.
//!
//! Source: systemd.unit(5), systemd.preset(5), machine-id(5) "First Boot Semantics", kernel-command-line(7),
//! netplan `src/generate.c` (`enable_networkd`), interfaces(5).

use super::capture::SYSTEMD_ROOTS;
use super::networkd::{Answer, glob_matches};
use super::{Cidr, Place, Snapshot};
use crate::boot::KernelArgs;
use std::net::IpAddr;

/// Whether a unit starts at boot, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// It starts.
    pub active: bool,
    /// What starts it, or what keeps it from starting.
    pub why: String,
}

/// Whether `unit` starts at boot. `binary`: the program without which it cannot.
pub(super) fn activation(snapshot: &Snapshot, args: &KernelArgs, unit: &str, wanted_by_netplan: bool) -> Activation {
    let off = |why: String| Activation { active: false, why };
    let on = |why: String| Activation { active: true, why };
    if let Some(arg) = args.iter().find(|arg| arg.key() == "systemd.mask" && arg.value() == Some(unit)) {
        return off(format!("masked by `{}`", arg.text));
    }
    for root in SYSTEMD_ROOTS {
        let path = format!("{root}/systemd/system/{unit}");
        if snapshot.is_mask(&path) {
            return off(format!("masked by {path}"));
        }
        if snapshot.exists(&path) {
            break;
        }
    }
    if !SYSTEMD_ROOTS.iter().any(|root| snapshot.exists(&format!("{root}/systemd/system/{unit}"))) {
        return off(format!("{unit} is not installed"));
    }
    if wanted_by_netplan {
        return on("netplan's generator starts it".to_owned());
    }
    if let Some(arg) = args.iter().find(|arg| arg.key() == "systemd.wants" && arg.value() == Some(unit)) {
        return on(format!("`{}`", arg.text));
    }
    for path in snapshot.nodes.keys() {
        let path = path.as_str();
        let wanted = path.ends_with(&format!(".wants/{unit}")) || path.ends_with(&format!(".requires/{unit}"));
        if wanted {
            return on(format!("enabled by {path}"));
        }
    }
    if is_first_boot(snapshot) && preset_enables(snapshot, unit) {
        return on("first boot: a preset enables it".to_owned());
    }
    off(format!("nothing starts {unit}"))
}

/// Whether systemd takes the next boot for the first: no machine-id file, or `uninitialized` in it. An empty file is
/// not a first boot.
pub(super) fn is_first_boot(snapshot: &Snapshot) -> bool {
    match snapshot.text("/etc/machine-id") {
        None => true,
        Some(text) => text.is_some_and(|text| text.trim() == "uninitialized"),
    }
}

/// The first preset line that matches decides; without one a unit is enabled.
fn preset_enables(snapshot: &Snapshot, unit: &str) -> bool {
    let mut files = std::collections::BTreeMap::new();
    for root in SYSTEMD_ROOTS {
        let folder = format!("{root}/systemd/system-preset");
        for name in snapshot.names(&folder) {
            files.entry(name).or_insert_with(|| format!("{folder}/{name}"));
        }
    }
    for path in files.into_values() {
        let text = snapshot.text(&path).flatten().unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(verb @ ("enable" | "disable")), Some(glob)) = (words.next(), words.next()) else { continue };
            if glob_matches(glob, unit) == Answer::Yes {
                return verb == "enable";
            }
        }
    }
    true
}

/// One `iface` stanza of ifupdown's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// The interface.
    pub interface: String,
    /// `dhcp`, `static`, `manual`, …
    pub method: String,
    /// Fixed addresses.
    pub addresses: Vec<Cidr>,
    /// Default gateway.
    pub gateways: Vec<IpAddr>,
    /// Where it starts.
    pub place: Place,
    /// Whether `auto` or `allow-hotplug` names it.
    pub automatic: bool,
}

/// The `inet` stanzas of `/etc/network/interfaces` and the files it sources.
pub(super) fn ifupdown(snapshot: &Snapshot) -> Vec<Stanza> {
    let mut paths = vec!["/etc/network/interfaces".to_owned()];
    let main = snapshot.text("/etc/network/interfaces").flatten().unwrap_or_default();
    if main.lines().any(|line| line.trim_start().starts_with("source") && line.contains("interfaces.d")) {
        paths.extend(
            snapshot.names("/etc/network/interfaces.d").iter().map(|name| format!("/etc/network/interfaces.d/{name}")),
        );
    }
    let (mut stanzas, mut automatic) = (Vec::<Stanza>::new(), Vec::new());
    for path in paths {
        let text = snapshot.text(&path).flatten().unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["auto" | "allow-auto" | "allow-hotplug", names @ ..] => {
                    automatic.extend(names.iter().map(|name| (*name).to_owned()));
                }
                ["iface", name, "inet", method, ..] => stanzas.push(Stanza {
                    interface: (*name).to_owned(),
                    method: (*method).to_owned(),
                    addresses: Vec::new(),
                    gateways: Vec::new(),
                    place: Place::line(&snapshot.image, &path, &text, index + 1),
                    automatic: false,
                }),
                ["address", address, ..] => {
                    let address = super::networkd::cidr(address);
                    stanzas.last_mut().into_iter().for_each(|stanza| stanza.addresses.extend(address));
                }
                ["netmask", mask, ..] => {
                    let prefix = mask
                        .parse()
                        .ok()
                        .and_then(super::ip_argument::prefix_of)
                        .or_else(|| mask.parse().ok().filter(|bits| *bits <= 32));
                    let last = stanzas.last_mut().and_then(|stanza| stanza.addresses.last_mut());
                    if let (Some(address), Some(prefix)) = (last, prefix) {
                        address.prefix = prefix;
                    }
                }
                ["gateway", gateway, ..] => {
                    let gateway: Option<IpAddr> = gateway.parse().ok();
                    stanzas.last_mut().into_iter().for_each(|stanza| stanza.gateways.extend(gateway));
                }
                _ => {}
            }
        }
    }
    for stanza in &mut stanzas {
        stanza.automatic = automatic.contains(&stanza.interface);
    }
    stanzas
}
