//! The other programs that may configure a NIC: NetworkManager, dhcpcd, cloud-init; connman and wicked are only named.
//!
//! Source: NetworkManager.conf(5), nm-settings-keyfile(5), dhcpcd.conf(5), cloud-init 22.4 `cloudinit/net/cmdline.py`,
//! `cloudinit/stages.py` (`_find_networking_config`), `tools/ds-identify`.

use super::networkd::{assignments, boolean, cidr};
use super::{Cidr, Place, Snapshot};
use crate::boot::KernelArgs;
use std::net::IpAddr;

/// What one of them would do to the NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The file that says so, or the unit when nothing does.
    pub file: String,
    /// Where.
    pub place: Place,
    /// It asks for a lease.
    pub dhcp4: bool,
    /// It sets these.
    pub addresses: Vec<Cidr>,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

impl Plan {
    fn new(file: &str, place: Place) -> Self {
        let file = file.to_owned();
        Self { file, place, dhcp4: false, addresses: Vec::new(), gateways: Vec::new(), dns: Vec::new() }
    }
}

/// What NetworkManager does to an interface; none when it leaves it alone.
pub(super) fn network_manager(snapshot: &Snapshot, interface: &str) -> Result<Option<Plan>, String> {
    let mut settings = Vec::new();
    let folders = ["/usr/lib/NetworkManager/conf.d", "/etc/NetworkManager/conf.d"];
    let drop_ins = folders
        .iter()
        .flat_map(|folder| snapshot.names(folder).into_iter().map(move |name| format!("{folder}/{name}")));
    for path in std::iter::once("/etc/NetworkManager/NetworkManager.conf".to_owned()).chain(drop_ins) {
        settings.extend(assignments(&snapshot.text(&path).flatten().unwrap_or_default()));
    }
    let setting = |key: &str| settings.iter().rev().find(|one| one.key == key).map(|one| one.value.as_str());
    let named = format!("interface-name:{interface}");
    if setting("unmanaged-devices").is_some_and(|list| list.split([';', ',']).any(|one| one == named || one == "*")) {
        return Ok(None);
    }
    let folder = "/etc/NetworkManager/system-connections";
    let profiles = snapshot.names(folder);
    for name in &profiles {
        let path = format!("{folder}/{name}");
        let Some(Some(text)) = snapshot.text(&path) else { return Err(format!("{path} could not be read")) };
        let list = assignments(&text);
        let value = |section: &str, key: &str| {
            list.iter().rev().find(|one| one.section == section && one.key == key).map(|one| one.value.as_str())
        };
        let wired = value("connection", "type").is_some_and(|kind| matches!(kind, "ethernet" | "802-3-ethernet"));
        let mine = value("connection", "interface-name").is_none_or(|name| name == interface);
        let automatic = value("connection", "autoconnect").and_then(boolean) != Some(false);
        if !(wired && mine && automatic) {
            continue;
        }
        let line = list.iter().find(|one| one.section == "ipv4").map_or(1, |one| one.line);
        let mut plan = Plan::new(&path, Place::line(&snapshot.image, &path, &text, line));
        plan.dhcp4 = value("ipv4", "method").is_none_or(|method| method == "auto");
        for one in list.iter().filter(|one| one.section == "ipv4" && one.key.starts_with("address")) {
            let mut fields = one.value.split([',', ';']);
            plan.addresses.extend(fields.next().and_then(cidr));
            plan.gateways.extend(fields.next().and_then(|gateway| gateway.parse::<IpAddr>().ok()));
        }
        plan.gateways.extend(value("ipv4", "gateway").and_then(|gateway| gateway.parse::<IpAddr>().ok()));
        plan.dns.extend(
            value("ipv4", "dns").unwrap_or_default().split([';', ',']).filter_map(|one| one.parse::<IpAddr>().ok()),
        );
        return Ok(Some(plan));
    }
    if setting("no-auto-default").is_some_and(|list| !list.is_empty()) {
        return Ok(None);
    }
    let unit = "/usr/lib/systemd/system/NetworkManager.service";
    let mut plan = Plan::new("its automatic default profile", Place::file(&snapshot.image, unit));
    plan.dhcp4 = true;
    Ok(Some(plan))
}

/// What dhcpcd, run as a service of its own, does to an interface; none when it is told to leave it alone.
pub(super) fn dhcpcd(snapshot: &Snapshot, interface: &str) -> Option<Plan> {
    let path = "/etc/dhcpcd.conf";
    let text = snapshot.text(path).flatten().unwrap_or_default();
    let mut plan = Plan::new(path, Place::file(&snapshot.image, path));
    plan.dhcp4 = true;
    let mut mine = true;
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fits = |names: &[&str]| {
            names.iter().any(|glob| super::matching::glob_matches(glob, interface) == super::matching::Answer::Yes)
        };
        match words.as_slice() {
            ["denyinterfaces", names @ ..] if fits(names) => return None,
            ["allowinterfaces", names @ ..] if !fits(names) => return None,
            ["interface", name] => mine = *name == interface,
            ["nodhcp" | "nodhcp4" | "noipv4", ..] if mine => plan.dhcp4 = false,
            ["static", setting, more @ ..] if mine => {
                let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
                match key {
                    "ip_address" => {
                        plan.addresses.extend(cidr(value));
                        plan.dhcp4 = false;
                        plan.place = Place::line(&snapshot.image, path, &text, index + 1);
                    }
                    "routers" => plan.gateways.extend(value.parse::<IpAddr>().ok()),
                    "domain_name_servers" => {
                        plan.dns.extend(
                            std::iter::once(value)
                                .chain(more.iter().copied())
                                .filter_map(|one| one.parse::<IpAddr>().ok()),
                        );
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Some(plan)
}

/// What is known of cloud-init in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudInit {
    /// It runs.
    pub active: bool,
    /// What starts it, or keeps it from starting.
    pub why: String,
    /// Its network part is off, and what says so.
    pub network_off: Option<Place>,
    /// Netplan text that the kernel command line hands over (`network-config=`), decoded.
    pub handed_over: Option<String>,
    /// `network-config=` that cannot be decoded.
    pub undecodable: Option<Place>,
    /// The data sources it may use, as the command line or its configuration names them.
    pub sources: Vec<String>,
    /// A metadata service at 169.254.169.254 is named.
    pub metadata: Option<Place>,
}

/// Reads what decides cloud-init's network.
pub(super) fn cloud_init(snapshot: &Snapshot, args: &KernelArgs, starts: &super::Activation) -> CloudInit {
    let line = args.to_string();
    let place = |key: &str| KernelArgs::parse(&line).last(key).map(|arg| Place::argument(&line, arg));
    let mut cloud = CloudInit { active: starts.active, why: starts.why.clone(), ..CloudInit::default() };
    let off = [
        (snapshot.exists("/etc/cloud/cloud-init.disabled"), "/etc/cloud/cloud-init.disabled is there"),
        (args.last("cloud-init").and_then(|arg| arg.value()) == Some("disabled"), "`cloud-init=disabled`"),
    ];
    if let Some((_, why)) = off.iter().find(|(holds, _)| *holds && cloud.active) {
        (cloud.active, cloud.why) = (false, (*why).to_owned());
    }
    for path in std::iter::once("/etc/cloud/cloud.cfg".to_owned())
        .chain(snapshot.names("/etc/cloud/cloud.cfg.d").iter().map(|name| format!("/etc/cloud/cloud.cfg.d/{name}")))
    {
        let text = snapshot.text(&path).flatten().unwrap_or_default();
        let Ok(root) = crate::yaml::parse(&text) else { continue };
        if let Some(network) = root.get("network") {
            let disabled = network.get("config").and_then(|config| config.text()) == Some("disabled");
            cloud.network_off = disabled.then(|| Place::line(&snapshot.image, &path, &text, network.span.line));
        }
        if let Some(list) = root.get("datasource_list").and_then(|list| list.items()) {
            cloud.sources = list.iter().filter_map(|one| one.text().map(str::to_owned)).collect();
        }
    }
    if let Some(arg) = args.last("network-config") {
        match arg.value().unwrap_or_default() {
            "disabled" => cloud.network_off = place("network-config"),
            encoded => match base64(encoded).and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) if crate::yaml::parse(&text).is_ok_and(|root| root.entries().is_some()) => {
                    cloud.handed_over = Some(text);
                }
                _ => cloud.undecodable = place("network-config"),
            },
        }
    }
    if let Some(arg) = args.last("ds") {
        let value = arg.value().unwrap_or_default();
        cloud.sources = vec![value.split([';', ',']).next().unwrap_or_default().to_owned()];
        cloud.metadata = value.contains("169.254.169.254").then(|| place("ds")).flatten();
    }
    cloud
}

/// Base64 as RFC 4648 has it, padding optional. At most 64 KiB come out.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() > 1 << 16 || text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_and_garbage_refused() {
        assert_eq!(base64("bmV0d29yazoge30K").as_deref(), Some(&b"network: {}\n"[..]));
        assert_eq!(base64("Zm9v").as_deref(), Some(&b"foo"[..]));
        assert_eq!((base64("Zm9vYg==").as_deref(), base64("a"), base64("%%%%")), (Some(&b"foob"[..]), None, None));
    }
}
