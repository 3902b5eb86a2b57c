//! The rows: which image, arguments, kernel and host. Data only.

use goldsmith::network::Transport;

/// The founding argument.
const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";
/// The same, unambiguous.
const FOUNDING_OFF: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:off";
/// The gateway is not in the network.
const WRONG_GATEWAY: &str = "ip=192.168.100.12::10.9.0.1:255.255.255.0::eth0:off";
/// A device that is not there.
const WRONG_DEVICE: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::ens3:on";
/// The address the control plane is told.
const TWELVE: &str = "192.168.100.12";

const NETPLAN: &str = "/etc/netplan/01-netcfg.yaml";
const INTERFACES: &str = "/etc/network/interfaces";
const DHCP_BY_DUID: &str = "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n";
const STATIC_12: &str = "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [192.168.100.12/24]\n      routes:\n        - to: 0.0.0.0/0\n          via: 192.168.100.1\n";
const STATIC_13: &str = "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [192.168.100.13/24]\n      routes:\n        - to: 0.0.0.0/0\n          via: 192.168.100.1\n";
const IFUPDOWN_DHCP: &str = "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n";
const IFUPDOWN_STATIC: &str = "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet static\n  address 192.168.100.12/24\n  gateway 192.168.100.1\n";

/// Where a row's kernel is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's cloud kernel, as in the image.
    Debian,
    /// Our own, which obeys `ip=`.
    IpPnp,
}

/// A change to one file of an image.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// This content, mode 0644.
    File(&'static str, &'static str),
    /// This content, mode 0600.
    Netplan(&'static str, &'static str),
    /// A symbolic link.
    Link(&'static str, &'static str),
    /// No longer there.
    Remove(&'static str),
}

impl Edit {
    /// The path.
    pub fn path(&self) -> &'static str {
        match self {
            Self::File(path, _) | Self::Netplan(path, _) | Self::Link(path, _) | Self::Remove(path) => path,
        }
    }
}

/// The host side.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Whether dnsmasq leases addresses.
    pub dhcp: bool,
    /// The address that it keeps for the guest.
    pub reserved: Option<&'static str>,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Case {
    /// What the image is.
    pub name: &'static str,
    /// The recipe in `tests/truth` that it is built from.
    pub image: &'static str,
    /// What differs from that.
    pub edits: Vec<Edit>,
    /// Arguments behind those of the image.
    pub args: &'static str,
    /// Whether `net.ifnames=0 biosdevname=0` of the image's arguments stay.
    pub ifnames_off: bool,
    /// The kernel.
    pub kernel: Kernel,
    /// How devices reach the guest.
    pub transport: Transport,
    /// Where the control plane will call the guest; its lease when it was told nothing.
    pub told: Option<&'static str>,
    /// Whether the gate is told so too, although an argument names the address already.
    pub expected: bool,
    /// The host.
    pub host: Host,
    /// Two machines are started from the image.
    pub twins: bool,
    /// What a reader must know besides.
    pub note: &'static str,
}

fn of(image: &'static str, name: &'static str, edits: &[Edit]) -> Case {
    Case {
        name,
        image,
        edits: edits.to_vec(),
        args: "",
        ifnames_off: true,
        kernel: Kernel::Debian,
        transport: Transport::Mmio,
        told: None,
        expected: false,
        host: Host { dhcp: true, reserved: None },
        twins: false,
        note: "",
    }
}

fn netplan(name: &'static str, edits: &[Edit]) -> Case {
    of("netplan", name, edits)
}

fn ifupdown(name: &'static str, edits: &[Edit]) -> Case {
    of("ifupdown", name, edits)
}

fn cloud(name: &'static str, edits: &[Edit]) -> Case {
    of("cloud", name, edits)
}

impl Case {
    fn args(self, args: &'static str) -> Self {
        Self { args, ..self }
    }

    /// The control plane calls the guest at .12.
    fn told(self) -> Self {
        Self { told: Some(TWELVE), ..self }
    }

    fn expected(self) -> Self {
        Self { expected: true, ..self }
    }

    fn founding(self) -> Self {
        self.args(FOUNDING).told()
    }

    fn ip_pnp(self) -> Self {
        Self { kernel: Kernel::IpPnp, ..self }
    }

    /// On PCI, with the names that systemd gives.
    fn pci(self) -> Self {
        Self { transport: Transport::Pci, ifnames_off: false, ..self }
    }

    fn ifnames_on(self) -> Self {
        Self { ifnames_off: false, ..self }
    }

    fn ifnames_off(self) -> Self {
        Self { ifnames_off: true, ..self }
    }

    fn host(self, dhcp: bool, reserved: Option<&'static str>) -> Self {
        Self { host: Host { dhcp, reserved }, ..self }
    }

    fn twins(self) -> Self {
        Self { twins: true, ..self }
    }

    fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }
}

const NO_NETPLAN: Edit = Edit::Remove(NETPLAN);
const NETWORKD_ENABLED: Edit = Edit::Link(
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "/lib/systemd/system/systemd-networkd.service",
);
const GENERATOR_UNMASKED: Edit = Edit::Remove("/etc/systemd/system/systemd-network-generator.service");
const GENERATOR_ENABLED: Edit = Edit::Link(
    "/etc/systemd/system/sysinit.target.wants/systemd-network-generator.service",
    "/lib/systemd/system/systemd-network-generator.service",
);
const MACHINE_ID: Edit = Edit::File("/etc/machine-id", "8f3b0a5e6d7c4b2a9e1f0d3c5b7a9e11\n");
const PCI_BY_DRIVER: Edit = Edit::Netplan(
    NETPLAN,
    "network:\n  version: 2\n  ethernets:\n    nic:\n      match: {driver: virtio_net}\n      dhcp4: true\n",
);

/// Every row, in the order of the table.
pub fn all() -> Vec<Case> {
    let parts = [plain(), units(), managers(), names(), files(), hosts(), cloud_init(), ip_pnp(), identity()];
    parts.into_iter().flatten().collect()
}

fn plain() -> Vec<Case> {
    let (twelve, thirteen) = (Edit::Netplan(NETPLAN, STATIC_12), Edit::Netplan(NETPLAN, STATIC_13));
    vec![
        netplan("DHCP", &[]),
        netplan("static .12", &[twelve]).told(),
        netplan("DHCP, founding argument", &[]).founding(),
        netplan("static .12, founding argument", &[twelve]).founding(),
        netplan("static .13, founding argument", &[thirteen]).founding(),
        netplan("static .13, expected at .12", &[thirteen]).told(),
        netplan("DHCP, `:off`", &[]).args(FOUNDING_OFF).told(),
        netplan("DHCP, ip=dhcp", &[]).args("ip=dhcp"),
        netplan("DHCP, ip=off", &[]).args("ip=off"),
        netplan("DHCP, wrong device", &[]).args(WRONG_DEVICE),
        netplan("DHCP, wrong device, expected at .12", &[]).args(WRONG_DEVICE).told().expected(),
        netplan("static .12, wrong gateway", &[twelve]).args(WRONG_GATEWAY).told(),
        netplan("no manager", &[NO_NETPLAN]),
        netplan("no manager, founding argument", &[NO_NETPLAN]).founding(),
    ]
}

fn units() -> Vec<Case> {
    let generator = [GENERATOR_UNMASKED, GENERATOR_ENABLED];
    let alone = [NO_NETPLAN, NETWORKD_ENABLED, GENERATOR_UNMASKED, GENERATOR_ENABLED];
    vec![
        netplan(
            "networkd masked by a file",
            &[Edit::Link("/etc/systemd/system/systemd-networkd.service", "/dev/null")],
        ),
        netplan("networkd masked by an argument", &[]).args("systemd.mask=systemd-networkd.service"),
        netplan("network-generator enabled, DHCP", &generator).founding(),
        netplan(
            "network-generator enabled, static .12",
            &[&generator[..], &[Edit::Netplan(NETPLAN, STATIC_12)]].concat(),
        )
        .founding(),
        netplan("network-generator and networkd, no file", &alone).founding(),
        netplan("network-generator and networkd, no file, `:off`", &alone).args(FOUNDING_OFF).told(),
        netplan("network-generator and networkd, no file, ip=dhcp", &alone).args("ip=dhcp"),
        netplan("network-generator and networkd, no file, trailing colons", &alone)
            .args("ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:off:::")
            .told(),
        netplan("no machine-id: first boot", &[Edit::Remove("/etc/machine-id")]),
        netplan("no machine-id, no netplan file", &[NO_NETPLAN, Edit::Remove("/etc/machine-id"), GENERATOR_UNMASKED])
            .founding()
            .note("the first boot's presets start networkd and the network generator"),
    ]
}

fn managers() -> Vec<Case> {
    let (dhcp, fixed) = (Edit::File(INTERFACES, IFUPDOWN_DHCP), Edit::File(INTERFACES, IFUPDOWN_STATIC));
    let ens3 = Edit::File(INTERFACES, "auto ens3\niface ens3 inet dhcp\n");
    vec![
        ifupdown("ifupdown, DHCP", &[NO_NETPLAN, dhcp]),
        ifupdown("ifupdown, static .12", &[NO_NETPLAN, fixed]).told(),
        ifupdown("ifupdown, DHCP, founding argument", &[NO_NETPLAN, dhcp]).founding(),
        ifupdown("ifupdown, DHCP, no client", &[NO_NETPLAN, dhcp, Edit::Remove("/usr/sbin/dhclient")]),
        ifupdown("ifupdown, for ens3", &[NO_NETPLAN, ens3]),
        ifupdown("networkd and ifupdown, both DHCP", &[dhcp]),
        ifupdown("networkd DHCP and ifupdown static .12", &[fixed]).told(),
    ]
}

fn names() -> Vec<Case> {
    let any = Edit::Netplan(
        NETPLAN,
        "network:\n  version: 2\n  ethernets:\n    nic:\n      match: {name: \"en*\"}\n      dhcp4: true\n",
    );
    let set_name = Edit::Netplan(
        NETPLAN,
        "network:\n  version: 2\n  ethernets:\n    nic:\n      match: {macaddress: \"52:54:00:aa:00:01\"}\n      set-name: lan0\n      dhcp4: true\n",
    );
    let link = Edit::File("/etc/systemd/network/10-lan.link", "[Match]\nOriginalName=eth*\n\n[Link]\nName=lan0\n");
    let lan0 = Edit::Netplan(NETPLAN, "network:\n  version: 2\n  ethernets:\n    lan0:\n      dhcp4: true\n");
    const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";
    let other =
        Edit::File(RULES, "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:99:99:99\", NAME=\"eth0\"\n");
    let mine =
        Edit::File(RULES, "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:aa:00:01\", NAME=\"wan0\"\n");
    vec![
        netplan("PCI, netplan for eth0", &[]).pci(),
        netplan("PCI, netplan for eth0, net.ifnames=0", &[]).pci().ifnames_off(),
        netplan("PCI, netplan for en*", &[any]).pci(),
        netplan("PCI, netplan by driver", &[PCI_BY_DRIVER]).pci(),
        netplan("mmio, net.ifnames on", &[]).ifnames_on(),
        netplan("netplan set-name by MAC", &[set_name]),
        netplan(".link file renames, netplan for eth0", &[link]),
        netplan(".link file renames, netplan for the new name", &[link, lan0]),
        netplan("70-persistent-net.rules for another MAC", &[other]),
        netplan("70-persistent-net.rules renames this MAC", &[mine]),
        netplan("PCI, 70-persistent-net.rules for another MAC", &[other]).pci(),
    ]
}

fn files() -> Vec<Case> {
    let plan = |text| Edit::Netplan(NETPLAN, text);
    vec![
        netplan(
            "netplan for a stale MAC",
            &[plan("network:\n  version: 2\n  ethernets:\n    nic:\n      match: {macaddress: \"52:54:00:99:99:99\"}\n      dhcp4: true\n")],
        ),
        netplan(
            "netplan with an unknown key",
            &[plan("network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      dhpc6: false\n")],
        ),
        netplan(
            "netplan for NetworkManager, which is not there",
            &[plan("network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    eth0:\n      dhcp4: true\n")],
        ),
        netplan(
            "two netplan files: DHCP and .12",
            &[Edit::Netplan("/etc/netplan/60-static.yaml", "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [192.168.100.12/24]\n")],
        )
        .told(),
        netplan(
            "a .network file wins: DHCP loses to .12",
            &[Edit::File("/etc/systemd/network/05-eth0.network", "[Match]\nName=eth0\n\n[Network]\nAddress=192.168.100.12/24\n")],
        ),
        netplan(
            "a .network file wins: .12 loses to DHCP",
            &[
                plan(STATIC_12),
                Edit::File("/etc/systemd/network/05-any.network", "[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n"),
            ],
        )
        .told(),
        netplan(
            "netplan, static .12, gateway in another network",
            &[plan("network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [192.168.100.12/24]\n      routes: [{to: 0.0.0.0/0, via: 10.9.0.1}]\n")],
        )
        .told(),
        netplan(
            "netplan, static .12/32, no route to the host",
            &[plan("network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [192.168.100.12/32]\n      routes: [{to: 0.0.0.0/0, via: 192.168.100.1}]\n")],
        )
        .told(),
    ]
}

fn hosts() -> Vec<Case> {
    let other_subnet = Edit::Netplan(
        NETPLAN,
        "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [10.9.0.12/24]\n      routes: [{to: 0.0.0.0/0, via: 10.9.0.1}]\n",
    );
    let mut elsewhere = netplan("static in another subnet than the bridge", &[other_subnet]);
    elsewhere.told = Some("10.9.0.12");
    vec![
        netplan("DHCP, nobody leases", &[]).host(false, None),
        netplan("static .12, nobody leases", &[Edit::Netplan(NETPLAN, STATIC_12)]).host(false, None).told(),
        elsewhere,
        netplan("DHCP, .12 is reserved", &[]).host(true, Some(TWELVE)).told(),
        netplan("DHCP, .12 is expected but not reserved", &[]).told(),
        netplan("DHCP, .12 is reserved, founding argument", &[]).host(true, Some(TWELVE)).founding(),
    ]
}

fn cloud_init() -> Vec<Case> {
    let disabled = Edit::File("/etc/cloud/cloud.cfg.d/99-network.cfg", "network: {config: disabled}\n");
    let no_cloud = Edit::File("/etc/cloud/cloud.cfg.d/90-sources.cfg", "datasource_list: [NoCloud, None]\n");
    let seed = |text| {
        [
            no_cloud,
            Edit::File("/var/lib/cloud/seed/nocloud/meta-data", "instance-id: truth\n"),
            Edit::File("/var/lib/cloud/seed/nocloud/user-data", "#cloud-config\n{}\n"),
            Edit::File("/var/lib/cloud/seed/nocloud/network-config", text),
        ]
    };
    let seeded = seed("version: 2\nethernets:\n  eth0:\n    addresses: [192.168.100.12/24]\n");
    vec![
        cloud("cloud-init without a data source, netplan DHCP", &[]),
        cloud("cloud-init with networking disabled, netplan DHCP", &[disabled]),
        cloud("cloud-init with networking disabled, no netplan file", &[disabled, NO_NETPLAN]),
        cloud("cloud-init, NoCloud seed says .12", &[&seeded[..], &[NO_NETPLAN]].concat()).told(),
        cloud("cloud-init=disabled, netplan DHCP", &seeded).args("cloud-init=disabled"),
    ]
}

fn ip_pnp() -> Vec<Case> {
    let (twelve, thirteen) = (Edit::Netplan(NETPLAN, STATIC_12), Edit::Netplan(NETPLAN, STATIC_13));
    let (dhcp, fixed) = (Edit::File(INTERFACES, IFUPDOWN_DHCP), Edit::File(INTERFACES, IFUPDOWN_STATIC));
    let critical = Edit::Netplan(
        NETPLAN,
        "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      critical: true\n",
    );
    let keeps = Edit::File(
        "/etc/systemd/network/05-eth0.network",
        "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nKeepConfiguration=static\n",
    );
    let rows = vec![
        netplan("DHCP", &[]),
        netplan("DHCP, founding argument", &[]).founding(),
        netplan("static .12, founding argument", &[twelve]).founding(),
        netplan("static .13, founding argument", &[thirteen]).founding(),
        netplan("no manager, founding argument", &[NO_NETPLAN]).founding(),
        netplan("no manager, `:off`", &[NO_NETPLAN]).args(FOUNDING_OFF).told(),
        netplan("no manager, wrong gateway", &[NO_NETPLAN]).args(WRONG_GATEWAY).told(),
        netplan("no manager, wrong device", &[NO_NETPLAN]).args(WRONG_DEVICE).told(),
        netplan("no manager, ip=dhcp", &[NO_NETPLAN]).args("ip=dhcp"),
        netplan("no manager, ip=off", &[NO_NETPLAN]).args("ip=off"),
        netplan("DHCP, ip=dhcp", &[]).args("ip=dhcp"),
        netplan("DHCP, wrong device", &[]).args(WRONG_DEVICE),
        netplan("DHCP, wrong device, expected at .12", &[]).args(WRONG_DEVICE).told().expected(),
        netplan("DHCP, wrong device, no address", &[]).args("ip=:::::ens3:dhcp"),
        netplan("netplan, DHCP and `critical: true`", &[critical]).founding(),
        netplan("a .network file, DHCP and `KeepConfiguration=static`", &[keeps]).founding(),
        ifupdown("ifupdown, DHCP, founding argument", &[NO_NETPLAN, dhcp]).founding(),
        ifupdown("ifupdown, static .12, founding argument", &[NO_NETPLAN, fixed]).founding(),
    ];
    rows.into_iter().map(Case::ip_pnp).collect()
}

fn identity() -> Vec<Case> {
    let by_duid = Edit::Netplan(NETPLAN, DHCP_BY_DUID);
    let by_mac = Edit::Netplan(
        NETPLAN,
        "network:\n  version: 2\n  ethernets:\n    nic:\n      match: {driver: virtio_net}\n      dhcp4: true\n      dhcp-identifier: mac\n",
    );
    vec![
        netplan("clones, mmio, fixed machine-id", &[MACHINE_ID, by_duid]).twins(),
        netplan("clones, PCI, fixed machine-id", &[MACHINE_ID, PCI_BY_DRIVER]).pci().twins(),
        netplan("clones, PCI, fixed machine-id, dhcp-identifier: mac", &[MACHINE_ID, by_mac]).pci().twins(),
        netplan("clones, PCI, empty machine-id", &[PCI_BY_DRIVER]).pci().twins(),
        netplan("clones, PCI, fixed machine-id, net.ifnames=0", &[MACHINE_ID, PCI_BY_DRIVER])
            .pci()
            .ifnames_off()
            .twins(),
    ]
}
