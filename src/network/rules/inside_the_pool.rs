use super::prelude::*;

rule! {
    /// The guest's static address is inside the DHCP server's pool and not reserved.
    ///
    /// # Why it is refused
    /// The server may lease it to another machine.
    ///
    /// # Fix
    /// Reserve it (`dhcp-host=MAC,ADDRESS`) or choose one outside the pool.
    ///
    /// Source: dnsmasq(8), `--dhcp-range`.
    INSIDE_THE_POOL, "NET-H002", "inside-the-pool", Error, |net, report| {
        let Some(HostFacts { dhcp: DhcpServer::Present { ranges, reservations }, .. }) = &net.inputs.host else { return };
        let (addresses, place) = net.static_addresses();
        for address in &addresses {
            let IpAddr::V4(v4) = address.address else { continue };
            let reserved = reservations.iter().any(|(mac, ip)| *ip == v4 && net.nic.mac.as_ref().is_none_or(|own| own == mac));
            if !reserved && ranges.iter().any(|(first, last)| (*first..=*last).contains(&v4)) {
                let finding = RULE.finding(format!("{v4} is inside the DHCP server's pool and not reserved"));
                let finding = place.map_or(finding.clone(), |place| finding.at(place.evidence("sets a static address")));
                report.push(finding.help(format!("reserve it (`dhcp-host=MAC,{v4}`) or choose one outside the pool")));
            }
        }
    }
}
