//! Networks that goldsmith makes and takes away: a bridge with the host's address, leases, NAT, and walls between VMs.
//!
//! Each is written down in `/run/goldsmith/NAMESPACE/NAME/` (networks and `/run` both end with the machine; NAMESPACE
//! is the number of the network namespace). A network is needed while its bridge has ports: a tap ends with the processes
//! of its VM, however they end, so nothing is counted that a crash could miscount. Whoever lets go of a network, and every
//! later command, sweeps: what has no ports goes, what has ports gets back what it lacks.

use super::guard::Port;
use super::subnet::Subnet;
use super::{Error, Mac, bridge, link, netlink, server, services};
use crate::network::NetworkSpec;
use crate::values::Sha256;
use rustix::fs::{Access, FlockOperation, Mode, OFlags, access, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Where managed networks are written down.
const ROOT: &str = "/run/goldsmith";
/// Says that goldsmith has switched IP forwarding on.
const FORWARDING: &str = "forwarding";
/// How long the kernel may take to remove a tap whose last holder has just ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// A network's files with its subnet, and with its ports: a line for each VM.
const SUBNET: &str = "subnet";
const PORTS: &str = "ports";

/// The name of a managed network: 1 to 12 lower-case letters, digits and `-`, a letter first, so that the bridge's name is
/// one and no script can be made of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Default for Name {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.len() <= 12 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` cannot be a network's name: use at most 12 of a-z, 0-9 and `-`, a letter first"))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Name {
    /// The bridge.
    pub fn bridge(&self) -> String {
        format!("gs-{self}")
    }

    /// The nftables table.
    pub(super) fn table(&self) -> String {
        format!("goldsmith-{self}")
    }
}

/// A managed network that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// The host's address in it, with the prefix length.
    pub address: String,
    /// How many VMs are on it.
    pub vms: usize,
}

/// All managed networks of this network namespace, by name.
pub fn list() -> Result<Vec<Network>, Error> {
    let folder = folder()?;
    let network = |name: Name| {
        let bridge = name.bridge();
        let ports = netlink::ports_of(&bridge).map_err(io("count the ports of", &bridge))?;
        let address = subnet(&folder, &name).map(|subnet| subnet.to_string()).unwrap_or_default();
        Ok(ports.map(|ports| Network { name: name.0, bridge, address, vms: ports.len() }))
    };
    names(&folder).into_iter().filter_map(|name| network(name).transpose()).collect()
}

/// Takes away what no VM uses and mends what VMs use; a line for each thing done. Without the right to, nothing is.
pub fn reconcile() -> Result<Vec<String>, Error> {
    if !folder()?.exists() || access(ROOT, Access::WRITE_OK).is_err() {
        return Ok(Vec::new());
    }
    Registry::lock()?.sweep()
}

/// A VM's share of a network. Dropped, the network goes with it if it was the last.
#[derive(Debug)]
pub struct Member {
    tap: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        let started = Instant::now();
        while link::exists(&self.tap).unwrap_or(false) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        // What cannot be taken away now is taken away by the next command.
        let _ = reconcile();
    }
}

impl Member {
    /// Waits for this tap's end when dropped.
    pub(super) fn holds(&mut self, tap: &str) {
        tap.clone_into(&mut self.tap);
    }

    /// Of no tap yet.
    pub(super) fn new() -> Self {
        Self { tap: String::new() }
    }
}

/// What a VM gets in a network.
#[derive(Debug)]
pub(super) struct Admission {
    /// Its address, which nobody else is given and at which nobody else is heard. None: the one it must have is not to be
    /// had, which the gate says.
    pub address: Option<Ipv4Addr>,
    /// Whether another VM has the address that this one must have, or its MAC address.
    pub taken: [bool; 2],
    /// Who is given which address.
    pub reservations: BTreeMap<String, Ipv4Addr>,
}

/// The networks of this namespace, to this process alone.
pub(super) struct Registry {
    folder: PathBuf,
    _lock: File,
}

impl Registry {
    /// Waits until no other process makes or removes networks.
    pub(super) fn lock() -> Result<Self, Error> {
        let folder = folder()?;
        let lock = own_folder(Path::new(ROOT))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| io("lock", ROOT)(errno.into()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Removes networks without ports, mends the others.
    pub(super) fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        for name in names(&self.folder) {
            let bridge = name.bridge();
            if netlink::ports_of(&bridge)
                .map_err(io("count the ports of", &bridge))?
                .is_none_or(|ports| ports.is_empty())
            {
                self.remove(&name)?;
                done.push(format!("removed the network {name}, which no VM used"));
            } else if self.mend(&name)? {
                done.push(format!("restarted dnsmasq of the network {name}"));
            }
        }
        self.close()?;
        Ok(done)
    }

    /// Leaves the host as it was once the last network is gone.
    fn close(&self) -> Result<(), Error> {
        if names(&self.folder).is_empty() && self.folder.exists() {
            services::forward_no_more(&self.folder.join(FORWARDING)).map_err(io("switch off", "IP forwarding"))?;
            fs::remove_dir(&self.folder).map_err(io("delete", &self.folder.display()))?;
        }
        Ok(())
    }

    /// The subnet of the network, which is made where there is none.
    pub(super) fn ensure(&self, name: &Name, wanted: Option<Subnet>, spec: &NetworkSpec) -> Result<Subnet, Error> {
        services::TOOLS.into_iter().try_for_each(|tool| tool.find().map(drop))?;
        self.sweep()?;
        if let Some(subnet) = self.subnet(name) {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != subnet) {
                return Err(Error::OtherSubnet { name: name.clone(), subnet, wanted });
            }
            return Ok(subnet);
        }
        let subnet = choose(name, wanted.or_else(|| Subnet::needed_by(spec)))?;
        let made = self.make(name, subnet);
        if made.is_err() {
            // The failure is what counts; the next command tries again.
            let _ = self.remove(name).and_then(|()| self.close());
        }
        made.map(|()| subnet)
    }

    /// Lets a VM behind this tap, which is no port yet, into a network: from here on the port may send what is its own and
    /// nothing else. It gets the address that is `wanted`, if that can be, else another that is free.
    pub(super) fn admit(
        &self,
        name: &Name,
        subnet: Subnet,
        port: &mut Port,
        wanted: Option<Ipv4Addr>,
    ) -> Result<Admission, Error> {
        let mut ports = self.ports(name);
        // What had this tap before is gone, or the tap would not be new.
        ports.retain(|other| other.tap != port.tap);
        let held = |address| ports.iter().any(|other| other.address == Some(address));
        let taken = [wanted.is_some_and(held), ports.iter().any(|other| other.mac == port.mac)];
        port.address = match (taken, wanted) {
            ([_, true] | [true, _], _) => None,
            (_, Some(wanted)) => Some(wanted).filter(|wanted| subnet.can_be_a_vms(*wanted)),
            (_, None) => {
                let leased = server::leases(&self.folder.join(&name.0));
                Some(subnet.address_for(port.mac, &held, &leased).ok_or_else(|| Error::Full(name.clone()))?)
            }
        };
        ports.push(port.clone());
        self.settle(name, subnet, &ports)?;
        let reservations = ports.iter().filter_map(|port| Some((port.mac.to_string(), port.address?))).collect();
        Ok(Admission { address: port.address, taken, reservations })
    }

    /// The ports of a network, as they are written down.
    fn ports(&self, name: &Name) -> Vec<Port> {
        let text = fs::read_to_string(self.folder.join(&name.0).join(PORTS)).unwrap_or_default();
        text.lines().filter_map(Port::read).collect()
    }

    /// Writes down a network's ports; builds its walls and tells its server to match.
    fn settle(&self, name: &Name, subnet: Subnet, ports: &[Port]) -> Result<(), Error> {
        let folder = self.folder.join(&name.0);
        let (path, part) = (folder.join(PORTS), folder.join("ports.part"));
        let text: String = ports.iter().map(Port::line).collect();
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(io("write", &path.display()))?;
        services::wall(name, subnet, ports).map_err(Error::Walls)?;
        Ok(server::reserve(&folder, &name.bridge(), subnet, ports)?)
    }

    fn make(&self, name: &Name, subnet: Subnet) -> Result<(), Error> {
        let (bridge, folder) = (name.bridge(), self.folder.join(&name.0));
        if link::exists(&bridge).map_err(io("look for", &bridge))? {
            return Err(Error::Foreign(bridge));
        }
        own_folder(&self.folder)?;
        own_folder(&folder)?;
        fs::write(folder.join(SUBNET), subnet.to_string()).map_err(io("write to", &folder.display()))?;
        services::forward(&self.folder.join(FORWARDING)).map_err(io("switch on", "IP forwarding"))?;
        let [a, b, c, d, ..] = Sha256::of(format!("{name} {subnet}").as_bytes()).0;
        netlink::add_bridge(&bridge, Mac([0x52, 0x54, a, b, c, d])).map_err(io("make the bridge", &bridge))?;
        self.mend(name).map(drop)
    }

    /// Gives the network back its address, its walls and its server; whether the server was missing. What was let in and is
    /// gone loses its place.
    fn mend(&self, name: &Name) -> Result<bool, Error> {
        let bridge = name.bridge();
        let Some(subnet) = self.subnet(name) else { return Ok(false) };
        if link::address(&bridge).map_err(io("read the address of", &bridge))?.is_none() {
            netlink::add_address(&bridge, subnet).map_err(io("give an address to", &bridge))?;
        }
        let there = netlink::ports_of(&bridge).map_err(io("list the ports of", &bridge))?.unwrap_or_default();
        let mut ports = self.ports(name);
        ports.retain(|port| there.contains(&port.tap));
        self.settle(name, subnet, &ports)?;
        Ok(server::serve(&self.folder.join(&name.0), &bridge, subnet)?)
    }

    /// Takes everything of a network away, its folder last: while that is there, the rest may be.
    fn remove(&self, name: &Name) -> Result<(), Error> {
        let (bridge, folder) = (name.bridge(), self.folder.join(&name.0));
        if !folder.exists() {
            return Ok(());
        }
        server::serve_no_more(&folder);
        services::unwall(name)?;
        netlink::delete(&bridge).map_err(io("delete the bridge", &bridge))?;
        fs::remove_dir_all(&folder).map_err(io("delete", &folder.display()))
    }

    fn subnet(&self, name: &Name) -> Option<Subnet> {
        subnet(&self.folder, name)
    }
}

fn subnet(folder: &Path, name: &Name) -> Option<Subnet> {
    fs::read_to_string(folder.join(&name.0).join(SUBNET)).ok()?.parse().ok()
}

/// The subnet that is wanted, or the first one that the host does not reach another way.
fn choose(name: &Name, wanted: Option<Subnet>) -> Result<Subnet, Error> {
    let taken = bridge::routes(&fs::read_to_string("/proc/self/net/route").unwrap_or_default(), &name.bridge());
    let Some(wanted) = wanted else { return Subnet::free(&taken).ok_or(Error::NoSubnet) };
    match wanted.overlapped(&taken) {
        Some(route) => Err(Error::Overlap { subnet: wanted, route }),
        None => Ok(wanted),
    }
}

/// Makes a folder that everybody may read and this user alone may change, and opens it. One that somebody else has made, or
/// could have put something into, is none: what is written there decides whom networks are taken from.
fn own_folder(path: &Path) -> Result<File, Error> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io("make", &path.display())(error)),
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty());
    let folder = File::from(folder.map_err(|errno| match errno {
        // A link, or no folder at all.
        Errno::LOOP | Errno::NOTDIR => Error::Unsafe(path.to_owned()),
        errno => io("open", &path.display())(errno.into()),
    })?);
    let found = folder.metadata().map_err(io("look at", &path.display()))?;
    if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(Error::Unsafe(path.to_owned()));
    }
    // Whatever this process's umask was.
    folder.set_permissions(fs::Permissions::from_mode(0o755)).map_err(io("open up", &path.display()))?;
    Ok(folder)
}

fn folder() -> Result<PathBuf, Error> {
    const NAMESPACE: &str = "/proc/self/ns/net";
    let number = fs::metadata(NAMESPACE).map_err(io("look at", NAMESPACE))?.ino();
    Ok(Path::new(ROOT).join(number.to_string()))
}

fn names(folder: &Path) -> Vec<Name> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<Name> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    names
}

fn io(what: &str, on: &(impl fmt::Display + ?Sized)) -> impl FnOnce(io::Error) -> Error {
    let what = format!("{what} {on}");
    move |cause| Error::Io { what, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_interface_names() {
        assert_eq!("fleet-a".parse::<Name>().unwrap().bridge(), "gs-fleet-a");
        assert!(Name::default().bridge().len() <= 15);
        for bad in ["", "Fleet", "1a", "-a", "a b", "a\"b", "abcdefghijklm"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
