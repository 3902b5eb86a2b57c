//! ifupdown: the stanzas of `/etc/network/interfaces` and the files it sources.
//!
//! Source: interfaces(5), ifupdown 0.8 `networking.service`, `ifup@.service`, `80-ifupdown.rules`.

use super::ip_argument::prefix_of;
use super::{Cidr, Place, Snapshot};
use std::net::IpAddr;

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
    /// `dns-nameservers`, which only resolvconf reads.
    pub dns: Vec<IpAddr>,
    /// Where it starts.
    pub place: Place,
    /// `auto` names it: `networking.service` brings it up, and fails when the interface is not there.
    pub auto: bool,
    /// `allow-hotplug` names it: udev brings it up when it appears.
    pub hotplug: bool,
}

/// The most files that are read.
const MAX_FILES: usize = 128;

/// The stanzas of `/etc/network/interfaces` and the files it sources, and what it sources from where nobody looked.
pub(super) fn ifupdown(snapshot: &Snapshot) -> (Vec<Stanza>, Vec<String>) {
    let mut reader =
        Reader { snapshot, stanzas: Vec::new(), auto: Vec::new(), hotplug: Vec::new(), files: 0, unread: Vec::new() };
    reader.file("/etc/network/interfaces");
    let Reader { mut stanzas, auto, hotplug, unread, .. } = reader;
    for stanza in &mut stanzas {
        stanza.auto = auto.contains(&stanza.interface);
        stanza.hotplug = hotplug.contains(&stanza.interface);
    }
    (stanzas, unread)
}

struct Reader<'s> {
    snapshot: &'s Snapshot,
    stanzas: Vec<Stanza>,
    auto: Vec<String>,
    hotplug: Vec<String>,
    files: usize,
    unread: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str) {
        self.files += 1;
        if self.files > MAX_FILES {
            return;
        }
        let text = self.snapshot.text(path).flatten().unwrap_or_default();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let mut line = line.trim().to_owned();
            while line.ends_with('\\') {
                line.pop();
                line.push_str(lines.next().map_or("", |(_, more)| more.trim()));
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let place = || Place::line(&self.snapshot.image, path, &text, index + 1);
            match words.as_slice() {
                ["auto" | "allow-auto", names @ ..] => self.auto.extend(names.iter().map(|name| (*name).to_owned())),
                ["allow-hotplug", names @ ..] => self.hotplug.extend(names.iter().map(|name| (*name).to_owned())),
                ["source", pattern] => self.source(pattern, true),
                ["source-directory", folder] => self.source(&format!("{folder}/*"), false),
                ["iface", name, "inet", method, ..] => self.stanzas.push(Stanza {
                    interface: (*name).to_owned(),
                    method: (*method).to_owned(),
                    addresses: Vec::new(),
                    gateways: Vec::new(),
                    dns: Vec::new(),
                    place: place(),
                    auto: false,
                    hotplug: false,
                }),
                // Of another family: what follows is not for the stanza before.
                ["iface", name, _, method, ..] => self.stanzas.push(Stanza {
                    interface: format!("{name} (other family)"),
                    method: (*method).to_owned(),
                    addresses: Vec::new(),
                    gateways: Vec::new(),
                    dns: Vec::new(),
                    place: place(),
                    auto: false,
                    hotplug: false,
                }),
                [key, value, rest @ ..] => self.option(key, value, rest),
                _ => {}
            }
        }
    }

    fn option(&mut self, key: &str, value: &str, rest: &[&str]) {
        let Some(stanza) = self.stanzas.last_mut() else { return };
        match key {
            "address" => stanza.addresses.extend(super::networkd::cidr(value)),
            "netmask" => {
                let prefix = value.parse().ok().and_then(prefix_of);
                let prefix = prefix.or_else(|| value.parse().ok().filter(|bits| *bits <= 32));
                if let (Some(address), Some(prefix)) = (stanza.addresses.last_mut(), prefix) {
                    address.prefix = prefix;
                }
            }
            "gateway" => stanza.gateways.extend(value.parse::<IpAddr>().ok()),
            "dns-nameservers" | "dns-nameserver" => {
                stanza
                    .dns
                    .extend(std::iter::once(&value).chain(rest).filter_map(|server| server.parse::<IpAddr>().ok()));
            }
            _ => {}
        }
    }

    /// Files by pattern: only the last part may have wildcards. `source-directory` takes only plain names.
    fn source(&mut self, pattern: &str, every: bool) {
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/network/{pattern}") };
        let Some((folder, glob)) = pattern.rsplit_once('/') else { return };
        if folder != "/etc/network/interfaces.d" {
            self.unread.push(format!("what /etc/network/interfaces sources from {pattern}"));
            return;
        }
        let names: Vec<String> = self.snapshot.names(folder).into_iter().map(str::to_owned).collect();
        for name in names {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            let fits = super::matching::glob_matches(glob, &name) == super::matching::Answer::Yes;
            if fits && (every && !name.starts_with('.') || plain) {
                self.file(&format!("{folder}/{name}"));
            }
        }
    }
}

/// Whether a client that ifupdown knows is installed. Source: ifupdown `inet.defn`, method dhcp.
pub(super) fn dhcp_client(snapshot: &Snapshot) -> bool {
    let programs = ["dhclient", "dhcpcd", "udhcpc"];
    programs.iter().any(|name| ["/usr/sbin", "/sbin"].iter().any(|folder| snapshot.exists(&format!("{folder}/{name}"))))
}
