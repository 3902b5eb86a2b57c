//! What this host knows of the way to a guest when it is not reached: the bridge, DHCP servers, routes, neighbours.

use super::bridge::serves_here;
use super::{Attachment, Bridge, Mac, link, netlink};
use std::io;
use std::net::Ipv4Addr;

/// What this host knows of the way to a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// All of it for people, one thing a line.
    pub lines: Vec<String>,
    /// The VM's tap and its bridge, where it is no port of it any more.
    pub cut: Option<(String, String)>,
    /// Whether a program of this host listens on the DHCP server's port.
    pub serves: bool,
    /// How this host would reach the guest's address.
    pub way: Way,
    /// Whether the address is in the bridge's subnet.
    pub inside: bool,
    /// Who has told this host that the guest's address is his.
    pub neighbour: Option<Mac>,
}

/// How an address is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Way {
    /// Nobody has looked, or the kernel does not say.
    #[default]
    Unknown,
    /// Over the VM's bridge.
    Bridge,
    /// Over another interface.
    Over(String),
    /// Not at all: there is no route.
    Nowhere,
}

impl Attachment {
    /// Looks at the way to the guest at `address`, if that is known. `asks`: it asks for leases.
    pub fn sight(&self, address: Option<Ipv4Addr>, asks: bool) -> Sight {
        match self {
            Self::Bridge(bridge) => on_bridge(bridge, address, asks),
            Self::User(user) => {
                let answers = "user networking: QEMU itself is the network, and answers ARP and DHCP".to_owned();
                let forwards = user.forwards().into_iter().map(|(inside, outside)| {
                    format!("user networking: QEMU takes 127.0.0.1:{outside} to port {inside} of {}", user.guest)
                });
                Sight { lines: std::iter::once(answers).chain(forwards).collect(), ..Sight::default() }
            }
        }
    }
}

fn on_bridge(bridge: &Bridge, address: Option<Ipv4Addr>, asks: bool) -> Sight {
    let (name, tap) = (bridge.name.as_str(), bridge.tap.name());
    let mut sight = Sight { serves: asks && serves_here(), ..Sight::default() };
    match netlink::bridge_of(tap) {
        Ok(Some(other)) if other == name => {
            let own = bridge.facts.cidr.map_or_else(String::new, |cidr| format!(" ({cidr})"));
            sight.lines.push(format!("{tap}, the VM's tap, is a port of {name}{own}"));
        }
        Ok(_) => {
            sight.lines.push(format!("{tap}, the VM's tap, is no port of {name}"));
            sight.cut = Some((tap.to_owned(), name.to_owned()));
        }
        Err(error) => sight.fails(&format!("look at {tap}"), &error),
    }
    if asks {
        let who = if sight.serves { "a program" } else { "no program" };
        sight.lines.push(format!("{who} of this host listens on UDP port 67, the DHCP server's"));
    }
    if let Some(address) = address {
        // As it is now: it may have been changed since the gate looked.
        let subnet = link::address(name).ok().flatten();
        sight.inside = subnet.is_some_and(|subnet| subnet.contains(address.into()));
        sight.reaches(name, address);
    }
    sight
}

impl Sight {
    fn reaches(&mut self, bridge: &str, address: Ipv4Addr) {
        match netlink::way(address) {
            Ok(over) => {
                let how = over.as_ref().map_or_else(|| "has no route".to_owned(), |over| format!("goes over {over}"));
                self.lines.push(format!("to {address} this host {how}"));
                self.way = match over {
                    Some(over) if over == bridge => Way::Bridge,
                    Some(over) => Way::Over(over),
                    None => Way::Nowhere,
                };
            }
            Err(error) => self.fails(&format!("look for a route to {address}"), &error),
        }
        match netlink::neighbour(bridge, address) {
            Ok(None) => self.lines.push(format!("neighbour {address}: not asked for")),
            Ok(Some(found)) => {
                self.neighbour = found.mac;
                let state = format!("{:?}", found.state).to_lowercase();
                let who =
                    found.mac.map_or_else(|| "nobody has answered".to_owned(), |mac| format!("{mac} has answered"));
                self.lines.push(format!("neighbour {address}: {state}, {who}"));
            }
            Err(error) => self.fails(&format!("look at the neighbours on {bridge}"), &error),
        }
    }

    fn fails(&mut self, what: &str, error: &io::Error) {
        self.lines.push(format!("cannot {what}: {error}"));
    }
}
