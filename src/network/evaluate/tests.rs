//! Each rule with what triggers it and a near miss.

use super::*;
use crate::boot::{KernelArgs, KernelFacts};
use crate::network::*;
use crate::values::GuestPath;

const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

fn dhcp() -> String {
    netplan::render(&NetworkSpec { interface: "eth0".into(), mode: NetworkMode::Dhcp })
}

fn fixed(address: &str) -> String {
    let mode =
        NetworkMode::Static { address: address.parse().unwrap(), gateway: "192.168.100.1".parse().ok(), dns: vec![] };
    netplan::render(&NetworkSpec { interface: "eth0".into(), mode })
}

fn put(snapshot: &mut Snapshot, path: &str, text: &str) {
    let node = match text.strip_prefix("-> ") {
        Some(target) => SnapshotNode::Symlink(target.to_owned()),
        None => SnapshotNode::File { mode: 0o600, bytes: FileBytes::Known(text.as_bytes().into()) },
    };
    snapshot.nodes.insert(path.parse::<GuestPath>().unwrap(), node);
}

/// A Debian 12 with netplan, as goldsmith builds it, plus the given files.
fn guest(netplan: &str, files: &[(&str, &str)], args: &str) -> Inputs {
    let mut snapshot = Snapshot { image: "rootfs.ext4".into(), ..Snapshot::default() };
    put(&mut snapshot, "/etc/machine-id", "");
    put(&mut snapshot, "/usr/lib/systemd/system-generators/netplan", "-> /usr/libexec/netplan/generate");
    put(&mut snapshot, "/usr/lib/systemd/system/systemd-networkd.service", "[Service]");
    if !netplan.is_empty() {
        put(&mut snapshot, "/etc/netplan/01-netcfg.yaml", netplan);
    }
    for (path, text) in files {
        put(&mut snapshot, path, text);
    }
    let kernel = KernelFacts { ip_pnp: Presence::Absent, ..KernelFacts::default() };
    Inputs {
        snapshot,
        args: KernelArgs::parse(&format!("console=ttyS0 root=/dev/vda rw net.ifnames=0 {args}")),
        kernel,
        initrd: Initrd::Goldsmith,
        vmm: VmmFacts::default(),
        host: None,
        contract: None,
        expect: None,
    }
}

fn verdict(inputs: &Inputs) -> Vec<String> {
    let all = evaluate(inputs).findings;
    all.iter().map(|finding| format!("{}{}", finding.rule, if finding.refuses() { "!" } else { "" })).collect()
}

fn bridge(cidr: &str, dhcp: DhcpServer) -> Option<HostFacts> {
    Some(HostFacts { name: "bridge br0".into(), cidr: cidr.parse().ok(), dhcp, ..HostFacts::default() })
}

#[test]
fn the_founding_case_is_refused_on_every_kernel() {
    for ip_pnp in [Presence::Absent, Presence::BuiltIn, Presence::Unknown] {
        let mut inputs = guest(&dhcp(), &[], FOUNDING);
        inputs.kernel.ip_pnp = ip_pnp;
        let evaluation = evaluate(&inputs);
        let [finding] = evaluation.findings.as_slice() else { panic!("{:?}", evaluation.findings) };
        assert_eq!((finding.rule, finding.refuses()), ("NET-K002", true));
        assert_eq!(finding.message, "eth0 is 192.168.100.12 by `ip=` but the guest runs DHCP");
        assert_eq!((finding.evidence[0].column, finding.evidence[0].length), (46, FOUNDING.len()));
        assert_eq!((finding.evidence[1].line, finding.evidence[1].column, finding.evidence[1].length), (7, 7, 11));
    }
}

#[test]
fn pairs_that_work_are_not_refused() {
    for (netplan, files, args) in [
        (dhcp(), vec![], ""),
        (dhcp(), vec![], "ip=dhcp"),
        (dhcp(), vec![], "ip=off"),
        (fixed("192.168.100.12/24"), vec![], ""),
        (fixed("192.168.100.12/24"), vec![], FOUNDING),
        (dhcp(), vec![], "ip=192.168.100.12::192.168.100.1:255.255.255.0::wlp59s0:off"),
    ] {
        let verdict = verdict(&guest(&netplan, &files, args));
        assert!(!verdict.iter().any(|rule| rule.ends_with('!')), "{args}: {verdict:?}");
    }
    let mut alone = guest("", &[], FOUNDING);
    alone.kernel.ip_pnp = Presence::BuiltIn;
    assert_eq!(evaluate(&alone).interfaces["eth0"].effective.manager, "kernel");
    assert!(!verdict(&alone).iter().any(|rule| rule.ends_with('!')), "{:?}", verdict(&alone));
}

#[test]
fn each_rule_speaks_when_it_should() {
    let network = "/etc/systemd/network/05-x.network";
    let static_file = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.2/24\n";
    let ifup = [
        ("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n"),
        ("/usr/lib/systemd/system/networking.service", "x"),
        ("/etc/systemd/system/multi-user.target.wants/networking.service", "-> x"),
    ];
    let generator = [
        ("/usr/lib/systemd/system/systemd-network-generator.service", "x"),
        ("/etc/systemd/system/sysinit.target.wants/systemd-network-generator.service", "-> x"),
    ];
    let eth = |body: &str| format!("network:\n  version: 2\n  ethernets:\n    {body}\n");
    for (rule, inputs) in [
        ("NET-K001!", guest("", &[], "ip=dhcp")),
        ("NET-K001", guest(&dhcp(), &[], "ip=dhcp")),
        ("NET-K003!", guest(&fixed("192.168.100.13/24"), &[], FOUNDING)),
        ("NET-K004", guest(&fixed("192.168.100.12/24"), &[], FOUNDING)),
        ("NET-K008", guest(&dhcp(), &generator, "ip=10.0.0.2::10.0.0.1:24::eth0:off:1.1.1.1:8.8.8.8:")),
        ("NET-K009", guest(&dhcp(), &[], "ip=10.0.0.2::10.0.0.1:255.255.255.0::ens3:off")),
        ("NET-N001!", guest(&eth("eth0: {dhcp: true}"), &[], "")),
        ("NET-N005!", guest(&eth("ens3: {dhcp4: true}"), &[], "")),
        (
            "NET-N007!",
            guest(&eth("eth0: {dhcp4: true}"), &[("/etc/systemd/system/systemd-networkd.service", "-> /dev/null")], ""),
        ),
        ("NET-N007!", guest(&dhcp(), &[], "systemd.mask=systemd-networkd.service")),
        ("NET-D001!", guest(&dhcp(), &[(network, static_file)], "")),
        ("NET-D004!", guest("", &[(network, static_file)], "")),
        ("NET-D005!", guest(&dhcp(), &ifup, "")),
        ("NET-D008!", guest("", &[], "")),
        (
            "NET-A001!",
            guest(
                "",
                &[
                    (network, "[Match]\nName=ens3\n[Network]\nDHCP=yes\n"),
                    ("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "-> x"),
                ],
                "",
            ),
        ),
        (
            "NET-I001",
            guest(&eth("eth0: {dhcp4: true}"), &[("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")], ""),
        ),
        ("NET-I003!", guest(&dhcp(), &[("/var/lib/dbus/machine-id", "0123\n")], "")),
        ("NET-I005", guest(&dhcp(), &[("/etc/ssh/ssh_host_rsa_key", "x")], "")),
    ] {
        let verdict = verdict(&inputs);
        assert!(verdict.iter().any(|found| found == rule), "{rule}: {verdict:?}");
    }
}

#[test]
fn the_host_side_must_fit() {
    let present = |first: &str, last: &str| DhcpServer::Present {
        ranges: vec![(first.parse().unwrap(), last.parse().unwrap())],
        reservations: BTreeMap::new(),
    };
    let with = |netplan: &str, host, expect: Option<&str>| {
        let mut inputs = guest(netplan, &[], "");
        (inputs.host, inputs.expect) = (host, expect.map(|text| text.parse().unwrap()));
        verdict(&inputs)
    };
    let image = fixed("192.168.100.12/24");
    assert_eq!(with(&image, bridge("192.168.101.1/24", DhcpServer::Unknown), None), ["NET-H001!"]);
    assert_eq!(with(&image, bridge("192.168.100.1/24", DhcpServer::Absent), None), [""; 0]);
    assert_eq!(
        with(&image, bridge("192.168.100.1/24", present("192.168.100.10", "192.168.100.99")), None),
        ["NET-H002!"]
    );
    assert_eq!(with(&image, None, Some("192.168.100.13")), ["NET-G003!"]);
    assert_eq!(with(&image, None, Some("192.168.100.12")), [""; 0]);
    assert_eq!(with(&dhcp(), bridge("192.168.100.1/24", DhcpServer::Absent), None), ["NET-H003!"]);
    assert_eq!(with(&dhcp(), bridge("192.168.100.1/24", DhcpServer::Unknown), Some("192.168.100.12")), ["NET-H004!"]);
    assert_eq!(with(&dhcp(), bridge("192.168.100.1/24", present("192.168.100.10", "192.168.100.99")), None), [""; 0]);
}

#[test]
fn an_image_edited_after_it_was_built_breaks_its_contract() {
    let built = guest(&dhcp(), &[], "");
    let contract = Contract {
        declared: NetworkSpec { interface: "eth0".into(), mode: NetworkMode::Dhcp },
        files: built.snapshot.participants(),
        effective: evaluate(&built)
            .interfaces
            .into_iter()
            .map(|(name, interface)| (name, interface.effective))
            .collect(),
    };
    let mut same = built.clone();
    same.contract = Some(contract.clone());
    assert_eq!(verdict(&same), [""; 0]);
    let mut edited = guest(&fixed("192.168.100.12/24"), &[], "");
    edited.contract = Some(contract);
    assert_eq!(verdict(&edited), ["NET-G002!", "NET-G001"]);
}

proptest::proptest! {
    #[test]
    fn nothing_panics(netplan in "(network|ethernets|eth0|dhcp4|addresses|match|: |\n|  |- |\\[|\\]|true|10.0.0.1/8|é){0,40}", args in "(ip=|:|eth0|on|10.0.0.1| |\"){0,20}", unit in "(\\[Match\\]|Name=|=|\n|e\\*){0,10}") {
        let _ = evaluate(&guest(&netplan, &[("/etc/systemd/network/a.network", &unit), ("/etc/network/interfaces", &netplan)], &args));
    }
}
