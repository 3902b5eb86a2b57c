//! What is known of a VM that is not ready.

use super::Failed;
use crate::launch::host::{Mac, Said, Sight, Told};
use crate::launch::probe::Failure;
use std::net::Ipv4Addr;

/// A probe that has not passed.
#[derive(Debug, Clone)]
pub struct Unpassed {
    /// Its name.
    pub name: String,
    /// The guest's port that it asks.
    pub port: u16,
    /// Why it failed the last time; none when it has not been asked yet.
    pub failure: Option<Failure>,
}

/// What is known of a VM that is not ready.
#[derive(Debug, Clone, Default)]
pub struct Symptoms<'a> {
    /// Its name.
    pub name: &'a str,
    /// How the VMM ended, if it did.
    pub ended: Option<&'a str>,
    /// What the VMM says of a machine that does not run.
    pub halted: Option<&'a str>,
    /// The console's last few hundred lines.
    pub console: &'a str,
    /// The units that failed by the console, with what the image says about them.
    pub units: &'a [Failed],
    /// What was said on the NIC.
    pub said: &'a [Told],
    /// How many frames the guest has sent.
    pub frames: u64,
    /// The guest's NIC.
    pub guest: Option<Mac>,
    /// Whether the guest is to take a lease.
    pub dhcp: bool,
    /// Its address, if it is known.
    pub address: Option<Ipv4Addr>,
    /// What the host knows of the way there.
    pub sight: Sight,
    /// The probes that have not passed.
    pub probes: &'a [Unpassed],
    /// The rules that the gate found broken, and let through.
    pub findings: &'a [&'static str],
}

impl Symptoms<'_> {
    /// The first of these rules that the gate found broken and let through.
    pub(super) fn predicted(&self, rules: &[&'static str]) -> Option<&'static str> {
        rules.iter().copied().find(|rule| self.findings.contains(rule))
    }

    pub(super) fn any(&self, wanted: impl Fn(&Said) -> bool) -> bool {
        self.said.iter().any(|told| wanted(&told.said))
    }

    pub(super) fn has(&self, wanted: &Said) -> bool {
        self.any(|said| said == wanted)
    }

    /// Whether the guest has said by ARP that it holds its address.
    pub(super) fn claimed(&self) -> bool {
        self.any(|said| said.claim().is_some_and(|(mac, held)| Some(mac) == self.guest && Some(held) == self.address))
    }

    /// Whether it has said so to somebody who asked, this host for one.
    pub(super) fn answered(&self) -> bool {
        let (Some(mac), Some(address)) = (self.guest, self.address) else { return false };
        self.has(&Said::Arp { mac, address }) || self.sight.neighbour == Some(mac)
    }

    /// Who else has said so.
    pub(super) fn other(&self) -> Option<Mac> {
        let claims = self.said.iter().filter_map(|told| told.said.claim());
        let said = claims.filter(|(_, held)| Some(*held) == self.address).map(|(mac, _)| mac);
        said.chain(self.sight.neighbour).find(|mac| self.guest.is_some_and(|guest| guest != *mac))
    }

    /// How often others have asked by ARP who holds the guest's address.
    pub(super) fn questions(&self) -> u32 {
        let asks = |said: &Said| matches!(said, Said::WhoHas { mac, wanted, .. } if Some(*mac) != self.guest && Some(*wanted) == self.address);
        self.said.iter().filter(|told| asks(&told.said)).map(|told| told.times).sum()
    }

    pub(super) fn place(&self) -> String {
        self.address.map(|address| format!(" at {address}")).unwrap_or_default()
    }
}
