//! A network namespace of a jailed VMM's own: the tap, and nothing of the host's.
//!
//! A veth pair joins it to the bridge: the end outside takes the tap's place and name there, the end inside is bridged with
//! the tap. Nothing outside keeps the namespace but a descriptor of this process, so it goes with the VM, and all that is in
//! it goes along. Source: network_namespaces(7), veth(4).

use super::{Mac, link, netlink};
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs;
use std::io;

/// Names inside.
const BRIDGE: &str = "inner";
const UPLINK: &str = "uplink";

/// The namespace. Dropped, its way to the host is cut.
#[derive(Debug)]
pub struct Cell {
    namespace: OwnedFd,
    port: String,
}

impl Cell {
    /// Moves the tap `name` from its bridge into a namespace of its own, and connects it to the bridge again.
    pub fn around(name: &str, bridge: &str, mac: Mac, isolated: bool) -> io::Result<Self> {
        let cell = Self { namespace: apart(make)?, port: name.to_owned() };
        let namespace = cell.namespace.as_fd();
        netlink::send_away(name, namespace)?;
        netlink::add_pair(name, UPLINK, namespace)?;
        link::join(bridge, name)?;
        netlink::tame(name, isolated)?;
        netlink::place(name, mac)?;
        link::up(name)?;
        apart(|| furnish(namespace, name))?;
        Ok(cell)
    }

    /// Where other processes of this user find it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // What is left goes with the last process inside.
        let _ = netlink::delete(&self.port);
    }
}

/// Calls a function in a thread of its own: namespaces are a thread's.
fn apart<T: Send>(call: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(call).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes a namespace in which no interface talks by itself.
fn make() -> io::Result<OwnedFd> {
    // SAFETY: a new network namespace concerns no memory and no descriptors, and this thread makes only this one thing.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    // A kernel without IPv6 has nothing to switch off.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    Ok(rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Bridges the tap with the way out.
fn furnish(namespace: BorrowedFd, tap: &str) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    netlink::add_bridge(BRIDGE, Mac([2, 0, 0, 0, 0, 1]))?;
    [tap, UPLINK].into_iter().try_for_each(|port| link::join(BRIDGE, port).and_then(|()| link::up(port)))
}
