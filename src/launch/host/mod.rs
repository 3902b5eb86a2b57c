//! The host side of a VM's NIC: how it is attached, what the gate must know about it, how the guest is reached.

mod bridge;
mod cell;
pub mod frame;
#[cfg(fuzzing)]
pub mod fuzz;
mod guard;
mod link;
pub mod managed;
mod netlink;
pub(super) mod question;
mod server;
mod services;
mod sight;
mod subnet;
mod tap;
mod user;
mod watch;
mod world;

pub use bridge::Bridge;
pub use frame::{Dhcp, Mac, Said};
pub use services::{TOOLS, forget_wards};
pub use sight::{Sight, Way};
pub use subnet::Subnet;
pub use tap::{Tap, Trace};
pub use user::User;
pub use watch::{Told, Watch};
pub use world::may_reach;

use super::option_list::OptionList;
use super::tool;
use crate::network::{Cidr, HostFacts, NetworkSpec};
use managed::Name;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which host network a VM gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// QEMU's user networking: no privileges, ports forwarded from loopback.
    #[default]
    User,
    /// An existing bridge with whatever serves DHCP on it.
    Bridge(String),
    /// A bridge with leases and NAT that goldsmith makes for its VMs and takes away with the last of them.
    Managed {
        /// VMs that name the same network share it.
        name: Name,
        /// Its subnet; by default the one that the image needs, else one that is free.
        subnet: Option<Subnet>,
    },
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None if text == "user" => Ok(Self::User),
            None if text == "managed" => Ok(Self::Managed { name: Name::default(), subnet: None }),
            Some(("bridge", name)) if !name.is_empty() => Ok(Self::Bridge(name.to_owned())),
            Some(("managed", name)) => Ok(Self::Managed { name: name.parse()?, subnet: None }),
            _ => Err("write `user`, `managed`, `managed=NAME` or `bridge=NAME`".to_owned()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Bridge(name) => write!(f, "bridge={name}"),
            Self::Managed { name, .. } => write!(f, "managed={name}"),
        }
    }
}

/// A guest port that is to be reachable from loopback, and from which host port (any free one by default).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publish {
    /// The host's port.
    pub host: Option<u16>,
    /// The guest's port.
    pub guest: u16,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let publish = match text.split_once(':') {
            None => port(text).map(|guest| Self { host: None, guest }),
            Some((host, guest)) => port(host).and_then(|host| Some(Self { host: Some(host), guest: port(guest)? })),
        };
        publish.ok_or_else(|| "write GUEST-PORT or HOST-PORT:GUEST-PORT".to_owned())
    }
}

/// Why a VM cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such bridge.
    #[error(
        "there is no bridge {0}\nhelp: ip link add {0} type bridge && ip addr add 192.168.100.1/24 dev {0} && ip link set {0} up; or use `--network managed`"
    )]
    NoBridge(String),
    /// A program that managed networks need does not do its work.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// The subnet that a managed network must have is reached another way.
    #[error(
        "the subnet {subnet} overlaps {route}, which the host reaches another way (NET-H009)\nhelp: choose another with `--subnet`; an image with a fixed address must be built for another one"
    )]
    Overlap {
        /// What the network would have.
        subnet: Subnet,
        /// What is there.
        route: Cidr,
    },
    /// Every subnet that managed networks try is taken.
    #[error("every usual subnet overlaps a route of this host\nhelp: name one that does not: `--subnet 10.77.0.1/24`")]
    NoSubnet,
    /// The network is there with another subnet.
    #[error(
        "the network {name} is {subnet}, not {wanted}\nhelp: leave `--subnet` out, or make another: `--network managed=NAME`"
    )]
    OtherSubnet {
        /// The network.
        name: Name,
        /// Its subnet.
        subnet: Subnet,
        /// The one asked for.
        wanted: Subnet,
    },
    /// All addresses of the network are taken.
    #[error(
        "every address of the network {0} is taken\nhelp: stop a VM, or make another network: `--network managed=NAME`"
    )]
    Full(Name),
    /// The address at which the guest is expected is another VM's.
    #[error(
        "{address} is the address of another VM in the network {name}\nhelp: leave `--expect` out, or stop that VM"
    )]
    Held {
        /// The address.
        address: Ipv4Addr,
        /// The network.
        name: Name,
    },
    /// Nothing would keep VMs from each other.
    #[error(
        "{0}\nhelp: managed networks need nftables with the families inet and bridge (CONFIG_NF_TABLES_BRIDGE); `--network user` needs neither"
    )]
    Walls(tool::Error),
    /// The folder in which networks are written down may be somebody else's.
    #[error(
        "{} is not a folder that only this user can change\nhelp: look at what is there, then: rm -r {}", .0.display(), .0.display()
    )]
    Unsafe(PathBuf),
    /// An interface of the bridge's name is there, and goldsmith has not made it.
    #[error(
        "there is an interface {0} that goldsmith has not made\nhelp: ip link delete {0}; or choose another name: `--network managed=NAME`"
    )]
    Foreign(String),
    /// The kernel refuses.
    #[error("cannot {what}{}", privileges(cause))]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The declared network does not fit into user networking.
    #[error("user networking cannot serve {0}\nhelp: use `--network bridge=NAME`")]
    Unfit(String),
    /// No host port is free, or the one asked for is not.
    #[error(
        "the host's port {port} cannot be forwarded: {cause}\nhelp: choose another one, or leave it out: `--publish {guest}`"
    )]
    Port {
        /// The host's port.
        port: u16,
        /// The guest's.
        guest: u16,
        /// Why not.
        cause: io::Error,
    },
}

fn privileges(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "\nhelp: bridges need root (sudo goldsmith …); `--network user` needs no privileges"
        }
        io::ErrorKind::NotFound => "\nhelp: modprobe tun",
        _ => "",
    }
}

/// A VM's place on a host network. Dropped, it is gone.
#[derive(Debug)]
pub enum Attachment {
    /// User networking.
    User(User),
    /// A port of a bridge.
    Bridge(Bridge),
}

/// A NIC that is to be attached.
#[derive(Debug, Clone, Copy)]
pub struct Nic<'a> {
    /// What the image declares.
    pub spec: &'a NetworkSpec,
    /// Its address.
    pub mac: Mac,
    /// The address at which somebody will call the guest.
    pub expect: Option<IpAddr>,
    /// The ports to forward under user networking.
    pub ports: &'a [Publish],
}

impl Attachment {
    /// Attaches a NIC. On a bridge this asks the network who else is there, which may take some seconds where nobody
    /// serves DHCP.
    pub fn new(choice: &Choice, nic: Nic) -> Result<Self, Error> {
        let Nic { spec, mac, expect, ports } = nic;
        match choice {
            Choice::User => Ok(Self::User(User::new(spec, mac, ports)?)),
            Choice::Bridge(name) => Ok(Self::Bridge(Bridge::new(name, spec, mac)?)),
            Choice::Managed { name, subnet } => {
                let expect = if let Some(IpAddr::V4(address)) = expect { Some(address) } else { None };
                Ok(Self::Bridge(Bridge::managed(name, *subnet, spec, mac, expect)?))
            }
        }
    }

    /// What the gate must know.
    pub fn facts(&self) -> &HostFacts {
        match self {
            Self::User(user) => &user.facts,
            Self::Bridge(bridge) => &bridge.facts,
        }
    }

    /// The tap behind the NIC. None: QEMU's own network is there.
    pub fn tap(&self) -> Option<&Tap> {
        match self {
            Self::User(_) => None,
            Self::Bridge(bridge) => Some(&bridge.tap),
        }
    }

    /// Lets a process of user `owner` have the tap, by its name; if it is `confined`, in a network namespace in which there
    /// is nothing else ([`Self::cell`]).
    pub fn hand_over(&mut self, owner: u32, confined: bool) -> io::Result<()> {
        let Self::Bridge(bridge) = self else { return Ok(()) };
        if confined {
            bridge.confine()?;
        }
        bridge.tap.hand_over(owner)
    }

    /// The path of the network namespace that the tap was moved to, for as long as this process runs.
    pub fn cell(&self) -> Option<String> {
        match self {
            Self::Bridge(bridge) => bridge.cell.as_ref().map(cell::Cell::path),
            Self::User(_) => None,
        }
    }

    /// QEMU's `-netdev` value for the backend `id`. `open` adds how QEMU gets at the tap: `fd=7` or `ifname=gs0`.
    pub fn netdev<'a>(
        &'a self,
        id: &str,
        open: impl FnOnce(OptionList, &'a Tap) -> io::Result<OptionList>,
    ) -> io::Result<OptionList> {
        match self {
            Self::User(user) => Ok(user.netdev(id)),
            Self::Bridge(bridge) => Ok(open(OptionList::of("tap").with("id", id), &bridge.tap)?.with("vhost", "off")),
        }
    }

    /// Begins to follow what is said on the NIC: on its tap, or in the `capture` that QEMU will write.
    pub fn watch(&self, capture: &Path, guest: Mac) -> io::Result<Watch> {
        match self.tap() {
            Some(tap) => Watch::tap(tap.name(), guest),
            None => Watch::capture(capture, guest),
        }
    }

    /// The guest's address, once it is known: fixed, or that of its lease.
    pub fn address(&self, watch: &Watch) -> Option<Ipv4Addr> {
        match self {
            Self::User(user) if user.fixed => Some(user.guest),
            Self::User(user) => watch.lease().filter(|lease| *lease == user.guest),
            Self::Bridge(Bridge { fixed: Some(address), .. }) => Some(*address),
            // A guest has what it was promised, or nothing.
            Self::Bridge(bridge) => {
                watch.lease().filter(|lease| bridge.promised.is_none_or(|promised| promised == *lease))
            }
        }
    }

    /// Lets the guest have this address, which it has been leased, and no other.
    pub fn pin(&self, address: Ipv4Addr) -> Result<(), Error> {
        match self {
            Self::User(_) => Ok(()),
            Self::Bridge(bridge) => Ok(bridge.pin(address)?),
        }
    }

    /// Where a port of the guest at `address` is reached from this host. None: it is not forwarded.
    pub fn reach(&self, address: Ipv4Addr, port: u16) -> Option<SocketAddr> {
        match self {
            Self::User(user) => user.forwards().get(&port).map(|host| (Ipv4Addr::LOCALHOST, *host).into()),
            Self::Bridge(_) => Some(SocketAddr::new(IpAddr::V4(address), port)),
        }
    }
}
