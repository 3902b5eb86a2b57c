//! `.link` files and the name a NIC ends up with.
//!
//! Source: systemd.link(5), systemd.net-naming-scheme(7), netplan `write_link_file`.

use super::activation::systemd_version;
use super::matching::{Answer, Match, Nic};
use super::networkd::{self, assignments};
use super::udev::Renames;
use super::{Inputs, Place, Snapshot, Transport};
use crate::boot::KernelArgs;

/// The longest name an interface can have (`IFNAMSIZ` less the terminator).
pub(super) const MAX_NAME: usize = 15;

/// One `.link` file: udev applies the first that matches a NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFile {
    /// Its name, which decides the order.
    pub name: String,
    /// Its path, or where it would be generated.
    pub path: String,
    /// Where it is said.
    pub place: Place,
    /// Which NICs it is for, by the kernel's name.
    pub matches: Match,
    /// `Name=`.
    pub rename: Option<(String, Place)>,
    /// `NamePolicy=`, in order.
    pub policy: Vec<String>,
    /// `MACAddressPolicy=persistent`.
    pub persistent_mac: bool,
}

/// The `.link` files in the image that are not masked.
pub(super) fn link_files(snapshot: &Snapshot, args: &KernelArgs) -> Vec<LinkFile> {
    let mut list = Vec::new();
    for (name, path) in networkd::files(snapshot, ".link").0 {
        let Some(Some(text)) = snapshot.text(&path).filter(|_| !snapshot.is_mask(&path)) else { continue };
        let place = Place::line(&snapshot.image, &path, &text, 1);
        let mut file = LinkFile { name, path: path.clone(), place, ..LinkFile::nothing(&snapshot.image) };
        file.apply(snapshot, args, &path, &text);
        for drop_in in networkd::drop_ins(snapshot, &file.name) {
            if let Some(Some(text)) = snapshot.text(&drop_in) {
                file.apply(snapshot, args, &drop_in, &text);
            }
        }
        list.push(file);
    }
    list
}

impl LinkFile {
    /// A file that says nothing yet.
    pub(super) fn nothing(image: &str) -> Self {
        Self {
            name: String::new(),
            path: String::new(),
            place: Place::file(image, ""),
            matches: Match::default(),
            rename: None,
            policy: Vec::new(),
            persistent_mac: false,
        }
    }

    fn apply(&mut self, snapshot: &Snapshot, args: &KernelArgs, path: &str, text: &str) {
        for one in assignments(text) {
            let words = || one.value.split_whitespace().map(str::to_owned).collect();
            match (one.section.as_str(), one.key.as_str()) {
                ("Match", key) => self.matches.add(key, &one.value, args),
                ("Link", "Name") => {
                    let place = Place::line(&snapshot.image, path, text, one.line);
                    let name = one.value.chars().take(MAX_NAME).collect::<String>();
                    self.rename = (!name.is_empty()).then_some((name, place));
                }
                ("Link", "NamePolicy") => self.policy = words(),
                ("Link", "MACAddressPolicy") => self.persistent_mac = one.value == "persistent",
                _ => {}
            }
        }
    }
}

/// What becomes of a NIC's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The name in userspace; `en*` when only the beginning is known.
    pub name: String,
    /// Why, in a few words.
    pub why: String,
    /// The `.link` file that decides, if one does.
    pub link: Option<LinkFile>,
}

/// The NIC's name once udev is done; `nic` has the kernel's. `links` are sorted by name.
pub(super) fn naming(inputs: &Inputs, nic: &Nic, links: &[LinkFile], renames: &Renames) -> Naming {
    let kernel_name = nic.name.as_str();
    if let Some((name, place)) = &renames.name {
        return Naming { name: name.clone(), why: format!("a udev rule names it ({place})"), link: None };
    }
    let kept = |why: &str| Naming { name: kernel_name.to_owned(), why: why.to_owned(), link: None };
    let udev = ["/usr/lib", "/lib"].iter().any(|root| {
        inputs.snapshot.exists(&format!("{root}/systemd/systemd-udevd"))
            || inputs.snapshot.exists(&format!("{root}/systemd/system/systemd-udevd.service"))
    });
    let Some(link) = links.iter().find(|link| link.matches.answers(nic) == Answer::Yes) else {
        return kept(if udev { "no .link file matches it" } else { "nothing renames it" });
    };
    let off = inputs.args.last("net.ifnames").and_then(|arg| arg.value()) == Some("0");
    let predictable = inputs.vmm.transport == Transport::Pci && !off;
    let by_policy = ["path", "slot", "onboard", "mac"].iter().find(|word| link.policy.iter().any(|one| one == *word));
    if let Some(policy) = by_policy.filter(|policy| predictable || **policy == "mac" && !off) {
        let version =
            systemd_version(&inputs.snapshot).map_or("unknown version".to_owned(), |version| format!("v{version}"));
        return Naming {
            name: "en*".to_owned(),
            why: format!(
                "{} has NamePolicy={policy}; the rest of the name depends on the slot and on systemd ({version})",
                link.path
            ),
            link: Some(link.clone()),
        };
    }
    match &link.rename {
        Some((name, _)) => {
            Naming { name: name.clone(), why: format!("{} renames it", link.path), link: Some(link.clone()) }
        }
        None => {
            let why = match (off, inputs.vmm.transport) {
                (true, _) => "`net.ifnames=0` keeps the kernel's name",
                (false, Transport::Mmio) => "nothing gives a virtio-mmio NIC a predictable name",
                (false, Transport::Pci) => "the .link file that matches has no naming policy",
            };
            Naming { link: Some(link.clone()), ..kept(why) }
        }
    }
}
