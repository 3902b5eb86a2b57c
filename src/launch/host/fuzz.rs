//! Doors to the readers of this room, for `fuzz/` only.

use super::{bridge, netlink, server};

/// What the kernel answers.
pub fn netlink(bytes: &[u8]) {
    let _ = netlink::read(bytes, &mut drop);
}

/// `/proc/net/route`, and dnsmasq's leases.
pub fn tables(text: &str) {
    let _ = (bridge::routes(text, "br0"), text.lines().filter_map(server::lease).count());
}
