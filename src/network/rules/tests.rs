//! Every rule with a guest that triggers it and a near miss that does not.
//!
//! A line of the table: the rule and the severity of its finding, what triggers it, what is almost the same and does not.

use super::RULES;
use crate::boot::{KernelArgs, Presence};
use crate::findings::Severity;
use crate::network::tests::{FOUNDING, Guest, dhcp, ethernet, fixed};
use crate::network::{DhcpServer, Initrd, Tap, evaluate};
use std::collections::BTreeSet;

const E: Severity = Severity::Error;
const W: Severity = Severity::Warning;
const I: Severity = Severity::Info;

const MAC: &str = "52:54:00:12:34:56";
const ID: &str = "0123456789abcdef0123456789abcdef\n";
const STATIC: &str = "ip=10.0.0.2::10.0.0.1:255.255.255.0::eth0:off";
const LEASE: &str = "[Match]\nName=eth0\n[Network]\nDHCP=yes\n";
const ADDRESS: &str = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.2/24\nGateway=10.0.0.1\n";
const IFUP_LEASE: &str = "auto eth0\niface eth0 inet dhcp\n";
const IFUP_STATIC: &str = "auto eth0\niface eth0 inet static\n  address 10.0.0.2/24\n";

/// A rule, the severity of what it finds, a guest with it and a guest without.
type Case = (&'static str, Severity, Guest, Guest);

/// A guest with netplan's lease on eth0, as goldsmith builds it.
fn good() -> Guest {
    Guest::new().netplan(&dhcp())
}

/// A guest that nothing configures.
fn bare() -> Guest {
    Guest::new()
}

/// A guest with a `.network` file of its own, and networkd enabled.
fn networkd(name: &str, text: &str) -> Guest {
    bare().file(&format!("/etc/systemd/network/{name}"), text).enable("systemd-networkd.service")
}

/// A guest with ifupdown and a DHCP client.
fn ifupdown(interfaces: &str) -> Guest {
    bare()
        .file("/etc/network/interfaces", interfaces)
        .enable("networking.service")
        .file("/usr/sbin/ifup", "x")
        .file("/usr/sbin/dhclient", "x")
}

/// A guest with cloud-init running.
fn cloud() -> Guest {
    good().enable("cloud-init-local.service")
}

/// dnsmasq with this pool on 192.168.100.1/24.
fn pool(first: &str, last: &str) -> DhcpServer {
    DhcpServer::Present { ranges: vec![(first.parse().unwrap(), last.parse().unwrap())], reservations: [].into() }
}

/// A guest with a lease that the DHCP server reserves for it.
fn reserved(address: &str) -> Guest {
    let reservations: std::collections::BTreeMap<_, _> = [(MAC.to_owned(), address.parse().unwrap())].into();
    good().mac(MAC).host(|host| {
        host.dhcp = DhcpServer::Present { ranges: Vec::new(), reservations: reservations.clone() };
    })
}

fn kernel_arguments() -> Vec<Case> {
    let pnp = |args: &str| bare().pnp().args(args);
    let generator =
        |args: &str| networkd("80-lan.network", LEASE).enable("systemd-network-generator.service").args(args);
    let dracut = |args: &str| good().initrd(Initrd::Dracut).args(args);
    vec![
        ("NET-K001", E, bare().args("ip=dhcp"), pnp("ip=dhcp")),
        ("NET-K001", W, good().args("ip=dhcp"), good().args("ip=off")),
        ("NET-K001", W, bare().unknown_kernel().args(STATIC), pnp(STATIC)),
        ("NET-K002", E, good().args(FOUNDING), good()),
        (
            "NET-K002",
            E,
            good().pnp().args(FOUNDING),
            Guest::new().netplan(&fixed("192.168.100.12/24")).pnp().args(FOUNDING),
        ),
        ("NET-K002", E, ifupdown(IFUP_LEASE).args(STATIC), ifupdown(IFUP_LEASE).pnp().args(STATIC)),
        ("NET-K002", W, reserved("192.168.100.12").args(FOUNDING), reserved("192.168.100.12")),
        ("NET-K002", E, reserved("192.168.100.13").args(FOUNDING), reserved("192.168.100.12")),
        (
            "NET-K002",
            E,
            good().args(FOUNDING),
            good().pnp().netplan(&ethernet("dhcp4: true, critical: true")).args(FOUNDING),
        ),
        (
            "NET-K003",
            E,
            Guest::new().netplan(&fixed("192.168.100.13/24")).args(FOUNDING),
            Guest::new().netplan(&fixed("192.168.100.12/24")).args(FOUNDING),
        ),
        (
            "NET-K003",
            W,
            ifupdown("auto eth0\niface eth0 inet static\n address 10.0.0.3/24\n").pnp().args(STATIC),
            ifupdown(IFUP_STATIC).pnp().args(STATIC),
        ),
        (
            "NET-K004",
            W,
            Guest::new().netplan(&fixed("192.168.100.12/24")).args(FOUNDING),
            Guest::new().netplan(&fixed("192.168.100.12/24")),
        ),
        ("NET-K005", W, ifupdown(IFUP_LEASE).pnp().args(STATIC), ifupdown(IFUP_LEASE).args(STATIC)),
        ("NET-K006", W, pnp(FOUNDING), pnp(STATIC)),
        ("NET-K006", W, generator(FOUNDING), generator(STATIC)),
        ("NET-K007", E, dracut(FOUNDING), dracut(STATIC)),
        ("NET-K007", E, dracut("ip=both"), dracut("ip=dhcp")),
        (
            "NET-K008",
            W,
            generator(&format!("{STATIC}:1.1.1.1:8.8.8.8:")),
            generator(&format!("{STATIC}:1.1.1.1:8.8.8.8")),
        ),
        ("NET-K009", W, good().args("ip=10.0.0.2::10.0.0.1:255.255.255.0::ens3:off"), good()),
        ("NET-K009", E, pnp("ip=10.0.0.2::10.0.0.1:255.255.255.0::wlp59s0:off"), pnp(STATIC)),
        ("NET-K010", E, pnp("ip=10.0.0.2::10.0.0.1:255.255.255.0:::off").nics(2), pnp(STATIC).nics(2)),
        (
            "NET-K010",
            E,
            pnp("ip=10.0.0.2::10.0.0.1:255.255.255.0:::off").kernel(|kernel| kernel.bonding = Presence::BuiltIn),
            pnp("ip=10.0.0.2::10.0.0.1:255.255.255.0:::off"),
        ),
        ("NET-K011", W, pnp("ip=10.0.0.2::10.0.0.1:::eth0:off"), pnp(STATIC)),
        ("NET-K012", E, pnp("ip=10.0.0.2::10.0.1.1:255.255.255.0::eth0:off"), pnp(STATIC)),
        ("NET-K013", W, pnp(&format!("{STATIC} ip=eth1")), pnp(STATIC)),
        ("NET-K014", W, pnp("ip=dhcp"), good().pnp().args("ip=dhcp")),
        (
            "NET-K015",
            W,
            pnp(&format!("{STATIC}:10.0.0.1")),
            pnp(&format!("{STATIC}:10.0.0.1")).file("/etc/resolv.conf", "-> /proc/net/pnp"),
        ),
        (
            "NET-K016",
            E,
            good().initrd(Initrd::None).kernel(|kernel| kernel.virtio_blk = Presence::Module),
            good().kernel(|kernel| kernel.virtio_blk = Presence::Module),
        ),
        (
            "NET-K016",
            E,
            good().args("nomodule").kernel(|kernel| kernel.virtio_net = Presence::Module),
            good().args("nomodule"),
        ),
        (
            "NET-K017",
            E,
            generator("ip=off"),
            networkd("60-lan.network", LEASE).enable("systemd-network-generator.service").args("ip=off"),
        ),
        (
            "NET-K018",
            W,
            generator(STATIC),
            networkd("60-lan.network", LEASE).enable("systemd-network-generator.service").args(STATIC),
        ),
        ("NET-K019", E, good().pci().args("pci=off"), good().args("pci=off")),
        (
            "NET-K020",
            W,
            good().args("i8042.nokbd").vmm(|vmm| vmm.ctrl_alt_del = true),
            good().args("i8042.noaux").vmm(|vmm| vmm.ctrl_alt_del = true),
        ),
        (
            "NET-K021",
            W,
            good().args("rw ro").vmm(|vmm| vmm.appended = "ro".into()),
            good().args("root=/dev/vda ro").vmm(|vmm| vmm.appended = "root=/dev/vda".into()),
        ),
        ("NET-K022", I, good().args("decodo_port=10001"), good().args("loglevel=3 random.trust_cpu=on")),
        ("NET-K023", E, good().args(&"x.y=1234567890 ".repeat(150)), good().args(&"x.y=1234567890 ".repeat(100))),
        (
            "NET-K024",
            E,
            Guest::new().netplan(&ethernet("addresses: [\"fd00::2/64\"]")).args("ipv6.disable=1"),
            good().args("ipv6.disable=1"),
        ),
        ("NET-K025", W, good().args("rd.neednet=1"), good().initrd(Initrd::Dracut).args("rd.neednet=1")),
        (
            "NET-K025",
            W,
            good().args("nameserver=1.1.1.1"),
            good().enable("systemd-network-generator.service").args("nameserver=1.1.1.1"),
        ),
        (
            "NET-K026",
            E,
            good().args("systemd.mask=systemd-networkd.service"),
            good().args("systemd.mask=networking.service"),
        ),
        ("NET-K027", E, cloud().args("network-config=%%%"), cloud().args("network-config=bmV0d29yazoge30K")),
        ("NET-K027", W, good().args("network-config=%%%"), good().args("network-config=disabled")),
        (
            "NET-K028",
            W,
            cloud().args("ds=nocloud;s=http://169.254.169.254/"),
            cloud().args("ds=nocloud;s=http://169.254.169.254/").host(|host| host.metadata = Some(true)),
        ),
        (
            "NET-K029",
            W,
            good().args("8250.nr_uarts=0").vmm(|vmm| vmm.reads_console = true),
            good().vmm(|vmm| vmm.reads_console = true),
        ),
        ("NET-K030", W, good().args("netcfg/choose_interface=eth0"), good()),
    ]
}

fn netplan() -> Vec<Case> {
    let of = |body: &str| Guest::new().netplan(&ethernet(body));
    let more = |text: &str| good().file("/etc/netplan/60-more.yaml", text);
    vec![
        ("NET-N001", E, of("dhcp: true"), of("dhcp4: true")),
        ("NET-N001", E, more("network:\n  ethernets: [\n"), more("network:\n  version: 2\n")),
        (
            "NET-N001",
            W,
            of("dhcp4: true, dhcp: true").file("/usr/lib/x86_64-linux-gnu/libnetplan.so.1", "x"),
            of("dhcp4: true").file("/usr/lib/x86_64-linux-gnu/libnetplan.so.1", "x"),
        ),
        ("NET-N002", W, good().mode("/etc/netplan/01-netcfg.yaml", 0o644), good()),
        (
            "NET-N003",
            W,
            of("addresses: [10.0.0.2/24], gateway4: 10.0.0.1"),
            of("addresses: [10.0.0.2/24], routes: [{to: default, via: 10.0.0.1}]"),
        ),
        (
            "NET-N004",
            E,
            of("match: {macaddress: \"52:54:00:00:00:01\"}, dhcp4: true").mac(MAC),
            of(&format!("match: {{macaddress: \"{MAC}\"}}, dhcp4: true")).mac(MAC),
        ),
        (
            "NET-N004",
            W,
            of("match: {macaddress: \"52:54:00:00:00:01\"}, dhcp4: true"),
            of("match: {name: \"e*\"}, dhcp4: true"),
        ),
        ("NET-N005", E, Guest::new().netplan(&dhcp().replace("eth0", "ens3")), good()),
        (
            "NET-N005",
            W,
            more("network:\n  ethernets:\n    ens3: {dhcp4: true}\n"),
            more("network:\n  ethernets:\n    eth0: {optional: true}\n"),
        ),
        ("NET-N005", E, of("match: {}, dhcp4: true"), of("match: {driver: virtio_net}, dhcp4: true")),
        (
            "NET-N006",
            W,
            more("network:\n  ethernets:\n    eth0: {addresses: [10.0.0.2/24]}\n"),
            more("network:\n  ethernets:\n    eth0: {dhcp4: false, addresses: [10.0.0.2/24]}\n"),
        ),
        ("NET-N007", E, good().mask("systemd-networkd.service"), good()),
        (
            "NET-N007",
            E,
            of("renderer: NetworkManager, dhcp4: true"),
            of("renderer: NetworkManager, dhcp4: true").enable("NetworkManager.service"),
        ),
        ("NET-N008", W, of("dhcp4: true").file("/etc/machine-id", ID), good().file("/etc/machine-id", ID)),
        (
            "NET-N009",
            W,
            more("network:\n  ethernets:\n    eth1: {dhcp4: true}\n")
                .file("/usr/lib/systemd/system/systemd-networkd-wait-online.service", "x"),
            more("network:\n  ethernets:\n    eth1: {dhcp4: true, optional: true}\n")
                .file("/usr/lib/systemd/system/systemd-networkd-wait-online.service", "x"),
        ),
        (
            "NET-N010",
            E,
            of("addresses: [10.0.0.2/24], routes: [{to: default, via: 10.0.0.1}, {to: 0.0.0.0/0, via: 10.0.0.9}]"),
            of(
                "addresses: [10.0.0.2/24], routes: [{to: default, via: 10.0.0.1}, {to: 0.0.0.0/0, via: 10.0.0.9, metric: 500}]",
            ),
        ),
        (
            "NET-N011",
            W,
            of("match: {driver: virtio_net}, set-name: eth1, dhcp4: true"),
            of("match: {driver: virtio_net}, set-name: lan0, dhcp4: true"),
        ),
        ("NET-N012", I, of("dhcp4: true, critical: true").args(FOUNDING), of("dhcp4: true").args(FOUNDING)),
    ]
}

fn daemons() -> Vec<Case> {
    vec![
        (
            "NET-D001",
            E,
            good().file("/etc/systemd/network/05-x.network", ADDRESS),
            good().file("/etc/systemd/network/80-x.network", "[Match]\nName=lo\n"),
        ),
        (
            "NET-D001",
            W,
            good().file("/etc/systemd/network/05-x.network", LEASE),
            good().file("/etc/systemd/network/20-x.network", "[Match]\nName=eth1\n[Network]\nDHCP=yes\n"),
        ),
        (
            "NET-D002",
            W,
            networkd("80-lan.network", LEASE).enable("systemd-network-generator.service"),
            networkd("60-lan.network", LEASE).enable("systemd-network-generator.service"),
        ),
        (
            "NET-D003",
            E,
            networkd("10-lan.network", "[Network]\nDHCP=yes\n"),
            networkd("10-lan.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n"),
        ),
        ("NET-D004", E, bare().file("/etc/systemd/network/10-lan.network", LEASE), networkd("10-lan.network", LEASE)),
        (
            "NET-D005",
            E,
            good().file("/etc/network/interfaces", IFUP_LEASE).enable("networking.service"),
            good().file("/etc/network/interfaces", "auto lo\niface lo inet loopback\n").enable("networking.service"),
        ),
        (
            "NET-D006",
            W,
            good().file("/etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
            good()
                .file("/etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf")
                .enable("systemd-resolved.service"),
        ),
        (
            "NET-D007",
            E,
            good().file("/etc/systemd/network/10-netplan-eth0.network", "-> /dev/null"),
            good().file("/etc/systemd/network/10-netplan-eth1.network", "-> /dev/null"),
        ),
        ("NET-D008", E, bare(), good()),
        (
            "NET-D008",
            E,
            Guest::new().netplan(&ethernet("dhcp4: false")),
            Guest::new().netplan(&ethernet("dhcp6: true")),
        ),
        ("NET-D009", E, Guest::new().netplan(&ethernet("dhcp4: true, activation-mode: manual")), good()),
        ("NET-D010", I, good(), good().enable("systemd-resolved.service")),
        (
            "NET-D011",
            W,
            good().file("/run/netplan/eth0.yaml", "network: {}\n"),
            good().file("/etc/netplan/eth0.yaml", "network: {}\n"),
        ),
        (
            "NET-D012",
            E,
            networkd("10-lan.network", &ADDRESS.replace("/24", "/32")),
            networkd("10-lan.network", ADDRESS),
        ),
        (
            "NET-D012",
            W,
            networkd("10-lan.network", &ADDRESS.replace("Gateway=10.0.0.1", "Gateway=10.0.1.1"))
                .host(|host| host.cidr = "10.0.0.1/24".parse().ok()),
            networkd("10-lan.network", ADDRESS),
        ),
        (
            "NET-D012",
            E,
            Guest::new().netplan(&ethernet("addresses: [10.0.0.2/32], routes: [{to: default, via: 10.0.0.1}]")),
            Guest::new()
                .netplan(&ethernet("addresses: [10.0.0.2/32], routes: [{to: default, via: 10.0.0.1, on-link: true}]")),
        ),
        ("NET-U001", E, ifupdown("auto ens3\niface ens3 inet dhcp\n"), ifupdown(IFUP_LEASE)),
        (
            "NET-U001",
            W,
            good().file("/etc/network/interfaces", "auto ens3\niface ens3 inet dhcp\n").enable("networking.service"),
            good()
                .file("/etc/network/interfaces", "allow-hotplug ens3\niface ens3 inet dhcp\n")
                .enable("networking.service"),
        ),
        ("NET-U002", E, ifupdown(IFUP_LEASE).without("/usr/sbin/dhclient"), ifupdown(IFUP_LEASE)),
        ("NET-U003", W, ifupdown(IFUP_STATIC).pnp().args(STATIC), ifupdown(IFUP_STATIC).args(STATIC)),
        (
            "NET-M001",
            W,
            bare().enable("NetworkManager.service"),
            bare().enable("NetworkManager.service").file(
                "/etc/NetworkManager/system-connections/lan.nmconnection",
                "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n",
            ),
        ),
        ("NET-M002", W, bare().enable("connman.service"), bare().file("/usr/lib/systemd/system/connman.service", "x")),
        ("NET-C001", W, cloud(), cloud().file("/etc/cloud/cloud.cfg", "datasource_list: [NoCloud]\n")),
        ("NET-C002", E, cloud().file("/var/lib/cloud/instance", "-> instances/i-1"), cloud()),
        ("NET-C002", W, Guest::new().file("/etc/netplan/50-cloud-init.yaml", &dhcp()), good()),
        (
            "NET-C003",
            E,
            bare()
                .enable("cloud-init-local.service")
                .file("/etc/cloud/cloud.cfg.d/99-off.cfg", "network: {config: disabled}\n"),
            cloud().file("/etc/cloud/cloud.cfg.d/99-off.cfg", "network: {config: disabled}\n"),
        ),
    ]
}

fn names_and_identity() -> Vec<Case> {
    let lan0 = || good().file("/etc/systemd/network/10-lan.link", "[Match]\nDriver=virtio_net\n[Link]\nName=lan0\n");
    let default_link = "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database onboard slot path\nMACAddressPolicy=persistent\n";
    let on_pci =
        |guest: Guest| guest.pci().named_by_udev().file("/usr/lib/systemd/network/99-default.link", default_link);
    let rules = |mac: &str| format!("SUBSYSTEM==\"net\", ATTR{{address}}==\"{mac}\", NAME=\"eth0\"\n");
    let by_id = || Guest::new().netplan(&ethernet("dhcp4: true")).file("/etc/machine-id", ID);
    let pnp_lan0 = || lan0().pnp().args(STATIC);
    vec![
        ("NET-A001", E, networkd("10-lan.network", &LEASE.replace("eth0", "ens3")), networkd("10-lan.network", LEASE)),
        ("NET-A002", W, lan0(), lan0().named_by_udev()),
        (
            "NET-A003",
            W,
            good().file("/etc/udev/rules.d/70-persistent-net.rules", &rules("52:54:00:00:00:01")).mac(MAC),
            good().file("/etc/udev/rules.d/70-persistent-net.rules", &rules(MAC)).mac(MAC),
        ),
        (
            "NET-A004",
            W,
            on_pci(Guest::new().netplan(&dhcp().replace("eth0", "enp0s3"))),
            on_pci(Guest::new().netplan(&ethernet("match: {name: \"en*\"}, dhcp4: true"))),
        ),
        (
            "NET-A005",
            W,
            good().nics(2),
            Guest::new().netplan(&ethernet(&format!("match: {{macaddress: \"{MAC}\"}}, dhcp4: true"))).mac(MAC).nics(2),
        ),
        ("NET-A006", W, on_pci(good().contract()), on_pci(good().contract()).args("net.ifnames=0")),
        (
            "NET-A007",
            W,
            pnp_lan0().vmm(|vmm| vmm.kernel_release = Some("6.1.0-56-cloud-amd64".into())),
            pnp_lan0().vmm(|vmm| vmm.kernel_release = Some("6.12.1".into())),
        ),
        ("NET-I001", W, by_id(), Guest::new().netplan(&ethernet("dhcp4: true"))),
        ("NET-I001", E, by_id().pci(), good().file("/etc/machine-id", ID).pci()),
        ("NET-I002", W, good().without("/etc/machine-id"), good()),
        ("NET-I002", W, good().file("/etc/machine-id", "uninitialized\n"), good().file("/etc/machine-id", ID)),
        (
            "NET-I003",
            E,
            good().file("/var/lib/dbus/machine-id", ID),
            good().file("/var/lib/dbus/machine-id", "-> /etc/machine-id"),
        ),
        ("NET-I004", E, on_pci(by_id()).vmm(|vmm| vmm.random_mac = true), on_pci(by_id()).mac(MAC)),
        ("NET-I004", W, on_pci(by_id()), on_pci(good())),
        (
            "NET-I005",
            E,
            good().file("/etc/ssh/ssh_host_rsa_key", "x"),
            good().file("/etc/ssh/ssh_host_rsa_key.pub", "x"),
        ),
        (
            "NET-I006",
            W,
            good().file("/var/lib/dhcp/dhclient.eth0.leases", "lease {}\n"),
            good().file("/var/lib/dhcp/dhclient.leases", ""),
        ),
        ("NET-I006", W, good().file("/var/lib/dhcpcd/duid", "00:01\n"), good()),
        ("NET-I007", W, good().file("/var/lib/systemd/random-seed", "x"), good()),
        (
            "NET-I008",
            W,
            Guest::new().netplan(&ethernet("dhcp4: true, dhcp4-overrides: {hostname: golden}")),
            Guest::new().netplan(&ethernet("dhcp4: true, dhcp4-overrides: {send-hostname: false, hostname: golden}")),
        ),
        ("NET-I008", I, good().file("/etc/hostname", "golden\n"), good().file("/etc/hostname", "localhost\n")),
        (
            "NET-I010",
            E,
            good().file("/etc/ejabberd/ejabberd.pem", "key"),
            good().file("/etc/ejabberd/ejabberd.pem", ""),
        ),
        (
            "NET-I010",
            W,
            good().file("/var/lib/postgresql/15/main/global/pg_control", "x"),
            good().file("/var/lib/postgresql/15/main/global/pg_filenode.map", "x"),
        ),
        (
            "NET-I010",
            E,
            good().file("/etc/dbconfig-common/roundcube.conf", "dbc_install='true'\ndbc_dbpass='x'\n"),
            good().file("/etc/dbconfig-common/roundcube.conf", "dbc_install='false'\ndbc_dbpass=''\n"),
        ),
        ("NET-I011", W, good().keyless_sshd("ssh.service"), good()),
        ("NET-I009", E, good().without("/etc/machine-id").args("ro"), good().args("ro")),
    ]
}

fn host_and_contract() -> Vec<Case> {
    let lan = |guest: Guest| guest.host(|host| host.cidr = "192.168.100.1/24".parse().ok());
    let image = || Guest::new().netplan(&fixed("192.168.100.12/24"));
    let serving = |guest: Guest| lan(guest).host(|host| host.dhcp = pool("192.168.100.10", "192.168.100.99"));
    let by_id = || Guest::new().netplan(&ethernet("dhcp4: true")).file("/etc/machine-id", ID);
    let on_lan = |first: &str| image().host(|host| host.cidr = first.parse().ok());
    vec![
        ("NET-H001", E, on_lan("192.168.101.1/24"), on_lan("192.168.100.1/24")),
        (
            "NET-H002",
            E,
            serving(image()),
            lan(image()).host(|host| host.dhcp = pool("192.168.100.50", "192.168.100.99")),
        ),
        ("NET-H003", E, lan(good()).host(|host| host.dhcp = DhcpServer::Absent), serving(good())),
        ("NET-H004", E, serving(good()).expect("192.168.100.12"), serving(image()).expect("192.168.100.12")),
        ("NET-H005", W, serving(by_id()), serving(by_id()).host(|host| host.ignores_client_id = Some(true))),
        (
            "NET-H006",
            E,
            lan(good()).host(|host| host.tap = Tap::Missing("tap0".into())),
            lan(good()).host(|host| host.tap = Tap::Attached),
        ),
        (
            "NET-H006",
            E,
            lan(good()).host(|host| host.tap = Tap::Elsewhere("tap0".into(), Some("br1".into()))),
            lan(good()),
        ),
        (
            "NET-H007",
            E,
            lan(image()).host(|host| host.in_use = vec!["192.168.100.12".parse().unwrap()]),
            lan(image()).host(|host| host.in_use = vec!["192.168.100.13".parse().unwrap()]),
        ),
        (
            "NET-H007",
            E,
            lan(good()).mac(MAC).host(|host| host.macs_in_use = vec![MAC.into()]),
            lan(good()).mac("52:54:00:00:00:01").host(|host| host.macs_in_use = vec![MAC.into()]),
        ),
        (
            "NET-H008",
            W,
            lan(good()).host(|host| host.drops_dhcp = true),
            lan(image()).host(|host| host.drops_dhcp = true),
        ),
        (
            "NET-H009",
            W,
            lan(good()).host(|host| host.routes = vec!["192.168.100.0/25".parse().unwrap()]),
            lan(good()).host(|host| {
                host.routes = vec!["192.168.0.0/16".parse().unwrap(), "192.168.101.0/24".parse().unwrap()];
            }),
        ),
        (
            "NET-H010",
            W,
            lan(good()).host(|host| host.asks_for_guest = true),
            lan(image()).host(|host| host.asks_for_guest = true),
        ),
        (
            "NET-H011",
            E,
            lan(good()).host(|host| host.unguarded = Some("nft is not installed\nhelp: x".to_owned())),
            lan(good()),
        ),
        ("NET-G001", W, good().contract().file("/etc/netplan/02-more.yaml", "network: {}\n"), good().contract()),
        ("NET-G002", E, good().contract().netplan(&fixed("192.168.100.12/24")), good().contract()),
        ("NET-G003", E, image().expect("192.168.100.13"), image().expect("192.168.100.12")),
        ("NET-G004", W, bare().enable("wicked.service"), good()),
    ]
}

fn cases() -> Vec<Case> {
    [kernel_arguments(), netplan(), daemons(), names_and_identity(), host_and_contract()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_rule_has_a_case_and_every_case_holds() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (rule, severity, hit, miss) in cases() {
        seen.insert(rule);
        let (hit, miss) = (evaluate(&hit.inputs()).findings, evaluate(&miss.inputs()).findings);
        let names = |findings: &[crate::findings::Finding]| {
            findings.iter().map(|one| format!("{}:{:?}", one.rule, one.severity)).collect::<Vec<_>>()
        };
        if !hit.iter().any(|one| one.rule == rule && one.severity == severity) {
            wrong.push(format!("{rule} {severity:?} is not found, but {:?}", names(&hit)));
        }
        if let Some(found) = miss.iter().find(|one| one.rule == rule && one.severity >= severity) {
            wrong.push(format!("{rule} is found in the near miss: {}", found.message));
        }
    }
    let without: Vec<_> = RULES.iter().map(|rule| rule.id).filter(|id| !seen.contains(id)).collect();
    assert!(without.is_empty(), "rules without a case: {without:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_finding_weighs_more_than_its_rule() {
    for (_, _, hit, miss) in cases() {
        for found in [hit, miss].iter().flat_map(|guest| evaluate(&guest.inputs()).findings) {
            let rule = RULES.iter().find(|rule| rule.id == found.rule).unwrap();
            assert!(found.severity <= rule.severity, "{}: {:?}", found.rule, found.severity);
        }
    }
}

#[test]
fn every_rule_says_why_how_to_fix_it_and_where_it_comes_from() {
    let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    assert!(ids.is_sorted(), "the catalogue is sorted by id");
    ids.dedup();
    let slugs: BTreeSet<_> = RULES.iter().map(|rule| rule.slug).collect();
    assert_eq!((ids.len(), slugs.len()), (RULES.len(), RULES.len()), "ids and names are unique");
    for rule in RULES {
        assert!(rule.text.contains("# Why") && rule.text.contains("# Fix"), "{}: {}", rule.id, rule.text);
        assert!(rule.text.lines().next().is_some_and(|title| title.trim_end().ends_with('.')), "{}", rule.id);
    }
}

#[test]
fn what_works_is_not_refused() {
    let image = || Guest::new().netplan(&fixed("192.168.100.12/24"));
    for (name, guest) in [
        ("a lease", good()),
        ("a lease, ip=dhcp", good().args("ip=dhcp")),
        ("a lease, ip=dhcp, IP_PNP", good().pnp().args("ip=dhcp")),
        ("a lease, ip=off", good().args("ip=off")),
        ("a fixed address", image()),
        ("the same address twice", image().args(FOUNDING)),
        ("the same address twice, IP_PNP", image().pnp().args(FOUNDING)),
        ("nobody but the kernel", bare().pnp().args(FOUNDING)),
        ("ip= for another device beside a lease", good().pnp().args("ip=10.0.0.2::10.0.0.1:255.255.255.0::wlp59s0:off")),
        ("dhclient beside the kernel's address", ifupdown(IFUP_LEASE).pnp().args(STATIC)),
        (
            "a kernel that nobody looked into, and an address that networkd would keep",
            good().unknown_kernel().netplan(&ethernet("dhcp4: true, critical: true")).args(FOUNDING),
        ),
        (
            "one address, said to networkd and to ifupdown",
            networkd("10-lan.network", ADDRESS)
                .file("/etc/network/interfaces", &format!("{IFUP_STATIC}  gateway 10.0.0.1\n"))
                .enable("networking.service"),
        ),
        ("the generator alone", bare().enable("systemd-networkd.service").enable("systemd-network-generator.service").args(STATIC)),
        ("the generator alone, address and lease", bare().enable("systemd-networkd.service").enable("systemd-network-generator.service").args(FOUNDING)),
        ("a lease that is reserved for the address in ip=", reserved("192.168.100.12").args(FOUNDING)),
        ("a vendor's broad file behind a special one", networkd("10-lan.network", LEASE).file("/etc/systemd/network/80-rest.network", "[Match]\nName=*\n[Network]\nDHCP=no\n")),
        ("a lease on PCI by driver", Guest::new().netplan(&ethernet("match: {driver: virtio_net}, dhcp4: true, dhcp-identifier: mac")).pci().named_by_udev()),
        ("NetworkManager's default", bare().enable("NetworkManager.service")),
        ("dhcpcd", bare().enable("dhcpcd.service")),
        ("cloud-init with a data source", bare().enable("cloud-init-local.service").args("ds=nocloud")),
        ("a bridge in the guest", Guest::new().netplan("network:\n  version: 2\n  ethernets:\n    eth0: {}\n  bridges:\n    br0: {interfaces: [eth0], dhcp4: true}\n")),
        ("a kernel that nobody looked into", bare().unknown_kernel().args(FOUNDING)),
    ] {
        let evaluation = evaluate(&guest.inputs());
        let refusals: Vec<_> = evaluation.findings.iter().filter(|found| found.refuses()).map(|found| (found.rule, &found.message)).collect();
        assert!(refusals.is_empty(), "{name}: {refusals:?}");
    }
}

#[test]
fn columns_point_into_the_command_line_as_it_is() {
    let guest = good().args(FOUNDING).inputs();
    let line = guest.args.to_string();
    let found = &evaluate(&guest).findings[0];
    let start = found.evidence[0].column - 1;
    assert_eq!(&line[start..start + found.evidence[0].length], FOUNDING);
    assert_eq!(KernelArgs::parse(&line), guest.args);
}
