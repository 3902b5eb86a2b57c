//! Every layer between a VM and its being ready is broken on purpose, on real VMs, and the report must say which, with what
//! shows it and the rule that predicts it.
//!
//! One image has a unit for every break; nothing starts them but `systemd.wants=UNIT` among the kernel arguments.

#[path = "../common/mod.rs"]
mod common;

mod case;

use case::{CASE, Case, FOR_EVER, LONG, run, vm};
use common::lab::Lab;
use common::need;
use serde_json::Value;
use std::path::Path;

/// Drops what matches on its way into the lab's host.
fn drop_incoming(lab: &Lab, what: &str) {
    need("nft", "apt-get install nftables");
    run(lab, "nft add table inet lab");
    run(lab, "nft add chain inet lab incoming { type filter hook input priority filter; }");
    run(lab, &format!("nft add rule inet lab incoming {what} drop"));
}

#[test]
fn the_vmm_is_killed() {
    let kill = |lab: &Lab| {
        let record = Path::join(&vm(lab), "vm.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        run(lab, &format!("kill -KILL {}", record["vmm"]));
    };
    Case {
        patience: FOR_EVER,
        meanwhile: Some(kill),
        layer: "vmm",
        message: &["the VMM ended with signal 9"],
        help: "the host's kernel log",
        console: &["[    "],
        bridge: &["the VM's tap, is a port of br0 (192.168.100.1/24)"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_powers_off() {
    Case {
        patience: FOR_EVER,
        append: "systemd.wants=power-off.service",
        layer: "vmm",
        message: &["the guest has ended itself", "exit status 0", "reboot: Power down"],
        help: "before it went down",
        console: &["reboot: Power down"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_kernel_panics() {
    Case {
        patience: FOR_EVER,
        // It would stay so until the probes are late.
        append: "init=/bin/false panic=0",
        layer: "kernel",
        message: &["Kernel panic - not syncing", "Attempted to kill init"],
        console: &["Kernel panic - not syncing", "Comm: false"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_root_is_not_found() {
    Case {
        patience: FOR_EVER,
        append: "root=/dev/vdz rootdelay=1",
        layer: "root",
        message: &["the root device /dev/vdz did not appear"],
        help: "the block devices that the console lists",
        console: &["initrd: looked for root=/dev/vdz", "initrd:   vda: 1024 MiB"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_kernel_has_no_driver_for_the_disk() {
    Case {
        patience: FOR_EVER,
        append: "module_blacklist=virtio_blk rootdelay=1",
        layer: "root",
        rule: Some("NET-K016"),
        message: &["the root device /dev/vda did not appear"],
        console: &["initrd: block devices:", "initrd:   none"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_unit_that_answers_the_probe_fails() {
    Case {
        append: "systemd.wants=break-agent.service systemd.wants=unrelated.service",
        layer: "unit",
        message: &["oauth-agent.service failed to start: oauth-agent at 192.168.100.", "port 8080 is closed"],
        help: "goldsmith logs broken-1",
        console: &["[FAILED] Failed to start oauth-agen", "See 'systemctl status oauth-agent.service'"],
        exchange: &["DHCPACK", "ARP: 192.168.100.", "refuses port 8080"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_unit_that_configures_the_nic_fails() {
    Case {
        append: "systemd.wants=break-networkd.service systemd.wants=unrelated.service",
        layer: "unit",
        message: &["systemd-networkd.service failed to start: the guest has not asked for a lease"],
        help: "last words are on the console",
        console: &[
            "[FAILED] Failed to start systemd-ne",
            "goldsmith: failed: systemd-networkd.service",
            "  | systemd-networkd.service: Main process exited, code=exited, status=1/FAILURE",
        ],
        unsaid: &["DHCP"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_never_asks_for_a_lease() {
    Case {
        append: "systemd.wants=no-network.service systemd.wants=unrelated.service",
        layer: "discover",
        rule: Some("NET-D008"),
        message: &["the guest has not asked for a lease", "besides, failed to start: unrelated.service"],
        help: "goldsmith inspect net",
        console: &["Reached target multi-user.target"],
        unsaid: &["DHCP"],
        bridge: &["the VM's tap, is a port of br0", "a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_gate_was_told_to_let_it_through() {
    Case {
        append: "systemd.mask=systemd-networkd.service",
        arguments: &["--allow", "NET-K026=a test", "--allow", "NET-N007=a test", "--allow", "NET-G002=a test"],
        layer: "discover",
        rule: Some("NET-K026"),
        console: &["Reached target multi-user.target"],
        unsaid: &["DHCP"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_dhcp_server_dies() {
    Case {
        meanwhile: Some(|lab| run(lab, "pkill -x dnsmasq")),
        layer: "offer",
        rule: Some("NET-H003"),
        message: &["the guest asks for a lease and nobody answers"],
        help: "start a DHCP server",
        exchange: &["DHCPDISCOVER from 52:54:"],
        unsaid: &["DHCPOFFER"],
        bridge: &["no program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn a_firewall_drops_dhcp() {
    Case {
        before: Some(|lab| drop_incoming(lab, "udp dport 67")),
        layer: "offer",
        rule: Some("NET-H003"),
        message: &["nobody answers, though a DHCP server runs on this host"],
        help: "NET-H008",
        exchange: &["DHCPDISCOVER from 52:54:"],
        unsaid: &["DHCPOFFER"],
        bridge: &["a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_tap_leaves_the_bridge() {
    let leave = |lab: &Lab| {
        let tap = lab.interfaces().into_iter().find(|name| !["br0", "lo"].contains(&name.as_str())).unwrap();
        run(lab, &format!("ip link set {tap} nomaster"));
    };
    Case {
        meanwhile: Some(leave),
        layer: "offer",
        rule: Some("NET-H006"),
        message: &["nobody answers", "the VM's tap, is no port of br0"],
        help: "master br0",
        exchange: &["DHCPDISCOVER"],
        unsaid: &["DHCPOFFER"],
        bridge: &["the VM's tap, is no port of br0"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_offer_is_not_confirmed() {
    Case {
        // A DHCPREQUEST: behind the UDP header (8 bytes) and the fixed fields (240) option 53, length 1, type 3 (RFC 2131).
        before: Some(|lab| drop_incoming(lab, "udp dport 67 @th,1984,24 0x350103")),
        layer: "lease",
        message: &["an address was offered and asked for, and no server confirmed it"],
        help: "a firewall between the two",
        exchange: &["DHCPDISCOVER", "DHCPOFFER 192.168.100.", "by 192.168.100.1", "DHCPREQUEST"],
        unsaid: &["DHCPACK", "DHCPNAK"],
        bridge: &["a program of this host listens on UDP port 67"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_has_a_lease_and_answers_no_arp() {
    Case {
        patience: LONG,
        append: "systemd.wants=no-arp.service",
        layer: "reach",
        message: &["the guest has its lease, and does not answer ARP at 192.168.100.", "times)"],
        exchange: &["DHCPACK 192.168.100.", "ARP: who has 192.168.100.", "asks 192.168.100.1 at", "times)"],
        unsaid: &["is at 52:54:"],
        bridge: &["this host goes over br0", "neighbour 192.168.100.", "nobody has answered"],
        ..CASE
    }
    .holds();
}

#[test]
fn nobody_listens_on_the_port() {
    Case {
        append: "systemd.mask=oauth-agent.service systemd.wants=unrelated.service",
        layer: "port",
        message: &["answers ARP, and port 8080 is closed", "besides, failed to start: unrelated.service"],
        help: "nothing listens there",
        exchange: &["is at 52:54:", "is asked for port 8080", "refuses port 8080"],
        unsaid: &["accepts on port"],
        bridge: &["this host goes over br0", "has answered"],
        console: &["Reached target multi-user.target"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_guest_drops_what_it_is_asked() {
    Case {
        patience: LONG,
        append: "systemd.wants=no-answer.service",
        layer: "port",
        message: &["answers ARP, and what comes for port 8080 is dropped"],
        help: "a firewall in the guest",
        exchange: &["is at 52:54:", "is asked for port 8080"],
        unsaid: &["accepts on port"],
        bridge: &["52:54:", "has answered"],
        console: &["Reached target multi-user.target"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_service_is_not_well() {
    Case {
        network: "user",
        append: "systemd.mask=oauth-agent.service systemd.wants=sick.service",
        layer: "answer",
        message: &["oauth-agent at 10.0.2.15: HTTP status 503", "\"failed\":[\"vnc\"]"],
        help: "says what it lacks",
        exchange: &["DHCPACK 10.0.2.15", "accepts on port 8080"],
        bridge: &["user networking: QEMU takes 127.0.0.1:", "to port 8080 of 10.0.2.15", "the guest's NIC, has sent"],
        ..CASE
    }
    .holds();
}

#[test]
fn the_bridge_loses_the_guests_subnet() {
    Case {
        image: "static",
        meanwhile: Some(|lab| run(lab, "ip address flush dev br0")),
        layer: "reach",
        rule: Some("NET-H001"),
        message: &["this host has no route to the guest at 192.168.100.12"],
        help: "give the bridge an address",
        bridge: &["to 192.168.100.12 this host has no route"],
        ..CASE
    }
    .holds();
}
