//! Which daemons start in the guest, and why.
//!
//! Source: systemd.unit(5), systemd.preset(5), machine-id(5) "First Boot Semantics", kernel-command-line(7),
//! netplan `src/generate.c` (`enable_networkd`).

use super::Snapshot;
use super::capture::{BOOT_ROOTS, UNITS};
use super::matching::{Answer, glob_matches};
use crate::boot::KernelArgs;

/// Whether a unit starts at boot, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// It starts.
    pub active: bool,
    /// Something forbids it: a mask.
    pub masked: bool,
    /// Its unit file is there.
    pub installed: bool,
    /// What starts it, or what keeps it from starting.
    pub why: String,
}

/// Whether `unit` starts at boot.
pub(super) fn activation(snapshot: &Snapshot, args: &KernelArgs, unit: &str, wanted_by_netplan: bool) -> Activation {
    let path = BOOT_ROOTS.iter().map(|root| format!("{root}/systemd/system/{unit}")).find(|path| snapshot.exists(path));
    let installed = path.as_ref().is_some_and(|path| !snapshot.is_mask(path));
    let answer = |active, masked, why: String| Activation { active, masked, installed, why };
    let (off, on) = (|why| answer(false, false, why), |why| answer(true, false, why));
    if let Some(arg) = args.iter().find(|arg| arg.key() == "systemd.mask" && arg.value() == Some(unit)) {
        return answer(false, true, format!("masked by `{}`", arg.text));
    }
    match path {
        Some(path) if snapshot.is_mask(&path) => return answer(false, true, format!("masked by {path}")),
        Some(_) => {}
        None => return off(format!("{unit} is not installed")),
    }
    let target = args.last("systemd.unit").and_then(|arg| arg.value());
    if let Some(target) = target.filter(|target| matches!(*target, "rescue.target" | "emergency.target")) {
        return off(format!("`systemd.unit={target}` starts hardly anything"));
    }
    let short =
        args.iter().find(|arg| matches!(arg.text.as_str(), "single" | "s" | "S" | "1" | "rescue" | "emergency" | "-b"));
    if let Some(arg) = short {
        return off(format!("`{}` boots into a single-user shell", arg.text));
    }
    if wanted_by_netplan {
        return on("netplan's generator starts it".to_owned());
    }
    if let Some(arg) = args.iter().find(|arg| arg.key() == "systemd.wants" && arg.value() == Some(unit)) {
        return on(format!("`{}`", arg.text));
    }
    if let Some(path) = wanted(snapshot, unit) {
        return on(format!("enabled by {path}"));
    }
    // The socket stays even where a preset disables the service: the first message from the kernel starts it.
    if let Some(socket) = unit.strip_suffix(".service").map(|name| format!("{name}.socket"))
        && UNITS.contains(&socket.as_str())
        && let Some(path) = wanted(snapshot, &socket)
    {
        return on(format!("its socket is enabled by {path}"));
    }
    if is_first_boot(snapshot, args) {
        return match preset(snapshot, unit) {
            (true, by) => on(format!("first boot: {by} enables it")),
            (false, by) => off(format!("nothing starts {unit} ({by} disables it)")),
        };
    }
    off(format!("nothing starts {unit}"))
}

/// The link that makes some unit want or require this one. Links from targets of the initrd or of rescue do not count.
fn wanted<'s>(snapshot: &'s Snapshot, unit: &str) -> Option<&'s str> {
    let (wants, requires) = (format!(".wants/{unit}"), format!(".requires/{unit}"));
    let elsewhere =
        |path: &str| ["/initrd", "/rescue.target", "/emergency.target", "/run/"].iter().any(|part| path.contains(part));
    let mut links = snapshot.nodes.keys().map(crate::values::GuestPath::as_str);
    links.find(|path| (path.ends_with(&wants) || path.ends_with(&requires)) && !elsewhere(path))
}

/// Whether systemd takes the next boot for the first: no machine-id file, or `uninitialized` in it. An empty file is
/// not a first boot (machine-id(5)). `systemd.condition-first-boot=` decides only conditions, not presets.
pub(super) fn is_first_boot(snapshot: &Snapshot, args: &KernelArgs) -> bool {
    if args.last("systemd.machine_id").is_some_and(|arg| arg.value().is_some_and(|id| id.len() == 32)) {
        return false;
    }
    match snapshot.text("/etc/machine-id") {
        None => true,
        Some(text) => text.is_some_and(|text| text.trim() == "uninitialized"),
    }
}

/// The first preset line that matches decides; without one a unit is enabled. Second, what says so.
pub(super) fn preset(snapshot: &Snapshot, unit: &str) -> (bool, String) {
    let mut files = std::collections::BTreeMap::new();
    for root in BOOT_ROOTS {
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
                return (verb == "enable", path);
            }
        }
    }
    (true, "no preset, which".to_owned())
}

/// systemd's version, from the name of its private library.
pub(super) fn systemd_version(snapshot: &Snapshot) -> Option<u32> {
    snapshot
        .nodes
        .keys()
        .find_map(|path| path.name().strip_prefix("libsystemd-shared-")?.split(['.', '-']).next()?.parse().ok())
}

/// The distribution's `ID=`, in lower case.
pub(super) fn distribution(snapshot: &Snapshot) -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| snapshot.text(path).flatten())?;
    let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(id.trim_matches(['"', '\'', ' ']).to_ascii_lowercase())
}
