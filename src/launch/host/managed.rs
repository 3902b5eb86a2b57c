//! Networks that goldsmith makes and takes away: a bridge with the host's address, leases, NAT, and walls between VMs.
//!
//! Each is written down in `/run/goldsmith/NAMESPACE/NAME/` (networks and `/run` both end with the machine; NAMESPACE
//! is the number of the network namespace). A network is needed while its bridge has ports: a tap ends with the processes
//! of its VM, however they end, so nothing is counted that a crash could miscount. Whoever lets go of a network, and every
//! later command, sweeps: what has no ports goes, what has ports gets back what it lacks.

use super::subnet::Subnet;
use super::{Error, Mac, bridge, link, netlink, services};
use crate::network::NetworkSpec;
use crate::values::Sha256;
use rustix::fs::{Access, FlockOperation, access, flock};
use serde::Serialize;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Where managed networks are written down.
const ROOT: &str = "/run/goldsmith";
/// Says that goldsmith has switched IP forwarding on.
const FORWARDING: &str = "forwarding";
/// How long the kernel may take to remove a tap whose last holder has just ended.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let ports = netlink::ports(&bridge).map_err(io("count the ports of", &bridge))?;
        let address = fs::read_to_string(folder.join(&name.0).join(SUBNET)).unwrap_or_default();
        Ok(ports.map(|vms| Network { name: name.0, bridge, address, vms }))
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

/// The networks of this namespace, to this process alone.
pub(super) struct Registry {
    folder: PathBuf,
    _lock: File,
}

/// A network's file with its subnet.
const SUBNET: &str = "subnet";

impl Registry {
    /// Waits until no other process makes or removes networks.
    pub(super) fn lock() -> Result<Self, Error> {
        let folder = folder()?;
        let made = fs::create_dir_all(ROOT).and_then(|()| services::readable(Path::new(ROOT), 0o755));
        made.map_err(io("make", ROOT))?;
        let lock = File::open(ROOT).map_err(io("open", ROOT))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| io("lock", ROOT)(errno.into()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Removes networks without ports, mends the others.
    pub(super) fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        for name in names(&self.folder) {
            let bridge = name.bridge();
            if netlink::ports(&bridge).map_err(io("count the ports of", &bridge))?.unwrap_or(0) == 0 {
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
            services::wall(name, subnet)?;
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

    /// Keeps an address in a network for a MAC.
    pub(super) fn reserve(
        &self,
        name: &Name,
        mac: Mac,
        address: Option<Ipv4Addr>,
    ) -> io::Result<std::collections::BTreeMap<String, Ipv4Addr>> {
        services::reserve(&self.folder.join(&name.0), mac, address)
    }

    fn make(&self, name: &Name, subnet: Subnet) -> Result<(), Error> {
        let (bridge, folder) = (name.bridge(), self.folder.join(&name.0));
        if link::exists(&bridge).map_err(io("look for", &bridge))? {
            return Err(Error::Foreign(bridge));
        }
        let write = || {
            fs::create_dir_all(&folder)?;
            services::readable(&self.folder, 0o755)?;
            services::readable(&folder, 0o755)?;
            fs::write(folder.join(SUBNET), subnet.to_string())?;
            services::reserve(&folder, Mac([0; 6]), None)
        };
        write().map_err(io("write to", &folder.display()))?;
        services::forward(&self.folder.join(FORWARDING)).map_err(io("switch on", "IP forwarding"))?;
        let [a, b, c, d, ..] = Sha256::of(format!("{name} {subnet}").as_bytes()).0;
        netlink::add_bridge(&bridge, Mac([0x52, 0x54, a, b, c, d])).map_err(io("make the bridge", &bridge))?;
        self.mend(name)?;
        Ok(services::wall(name, subnet)?)
    }

    /// Gives the network back its address and its server; whether the server was missing.
    fn mend(&self, name: &Name) -> Result<bool, Error> {
        let bridge = name.bridge();
        let Some(subnet) = self.subnet(name) else { return Ok(false) };
        if link::address(&bridge).map_err(io("read the address of", &bridge))?.is_none() {
            netlink::add_address(&bridge, subnet).map_err(io("give an address to", &bridge))?;
        }
        Ok(services::serve(&self.folder.join(&name.0), &bridge, subnet)?)
    }

    /// Takes everything of a network away, its folder last: while that is there, the rest may be.
    fn remove(&self, name: &Name) -> Result<(), Error> {
        let (bridge, folder) = (name.bridge(), self.folder.join(&name.0));
        if !folder.exists() {
            return Ok(());
        }
        services::serve_no_more(&folder);
        services::unwall(name)?;
        netlink::delete(&bridge).map_err(io("delete the bridge", &bridge))?;
        fs::remove_dir_all(&folder).map_err(io("delete", &folder.display()))
    }

    fn subnet(&self, name: &Name) -> Option<Subnet> {
        fs::read_to_string(self.folder.join(&name.0).join(SUBNET)).ok()?.parse().ok()
    }
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
