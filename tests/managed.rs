//! Networks that goldsmith makes: VMs on them get leases and answer, reach the world and not each other; subnets that are
//! taken are not taken again; with the last VM everything goes, whatever was killed.

mod common;
#[path = "common/hostile.rs"]
mod hostile;

use common::host::{Host, forwarding};
use common::succeed;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The address at which a launch says that its VM is ready.
#[track_caller]
fn ready_at(launch: Child) -> String {
    let output = launch.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["ready"]["address"].as_str().unwrap().to_owned()
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(240), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn vms_reach_the_host_and_the_world_and_not_each_other() {
    let mut host = Host::new();
    let mut httpd = start(host.world());

    let [a, b] =
        ["a", "b"].map(|name| start(host.launch("minimal", &format!("--network managed --detach --name {name}"))));
    let (a, b) = (ready_at(a), ready_at(b));
    assert!(a != b && [&a, &b].iter().all(|address| address.starts_with("192.168.100.")), "{a} {b}");
    let networks = host.networks();
    assert_eq!((&networks[0]["name"], &networks[0]["vms"]), (&"default".into(), &2.into()), "{networks:#}");
    assert_eq!((host.servers(), forwarding(&host.lab).as_str()), (1, "1"));
    let isolated = || {
        let flags = host.lab.command("sh").args(["-c", "cat /sys/class/net/gs[0-9]/brport/isolated"]).output().unwrap();
        String::from_utf8_lossy(&flags.stdout).split_whitespace().collect::<String>()
    };
    assert_eq!(isolated(), "11");

    // Another machine on the network, whose commands the test can give.
    host.ip("netns add guest");
    host.ip("link add port type veth peer name eth0 netns guest");
    host.ip("link set port master gs-default up");
    host.ip("-n guest addr add 192.168.100.77/24 dev eth0");
    host.ip("-n guest link set eth0 up");
    host.ip("-n guest route add default via 192.168.100.1");
    // Where bridged frames pass the firewall too, that alone would keep them apart.
    let firewall = "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 >$f";
    succeed(host.lab.command("sh").args(["-c", firewall]));
    let meets = |from: &str| host.reaches(from, &a, 8080);
    wait_until("a port that is not isolated reaches a VM", || meets("guest"));
    succeed(host.lab.command("bridge").args("link set dev port isolated on".split(' ')));
    assert!(!meets("guest"), "an isolated port reaches a VM");
    host.ip(&format!("-n guest route add {a}/32 via 192.168.100.1"));
    assert!(!meets("guest"), "the host forwards between VMs");
    wait_until("the network's traffic leaves under the host's address", || host.reaches("guest", "203.0.113.2", 80));
    host.ip("-n world route add 192.168.100.0/24 via 203.0.113.1");
    assert!(!meets("world"), "the world reaches a VM");
    succeed(host.lab.command("ip").args("netns exec guest busybox ping -c 1 -W 10 192.168.100.1".split(' ')));
    host.ip("link delete port");

    succeed(&mut host.goldsmith("stop a"));
    assert_eq!(host.networks()[0]["vms"], 1);
    assert_eq!(host.servers(), 1);
    succeed(&mut host.goldsmith("stop b"));
    succeed(host.lab.command("pkill").args(["-f", "busybox httpd"]));
    httpd.wait().unwrap();
    host.assert_as_before();
}

#[test]
fn whatever_is_killed_the_next_command_puts_in_order() {
    let host = Host::new();
    ready_at(start(host.launch("minimal", "--network managed=fleet --detach --name a")));
    succeed(host.lab.command("pkill").args(["-KILL", "-x", "dnsmasq"]));
    wait_until("dnsmasq is gone", || host.servers() == 0);
    assert_eq!(host.networks()[0]["vms"], 1);
    assert_eq!(host.servers(), 1, "it was not restarted");

    // The VM ends with its launch; the network has nobody who could take it away.
    succeed(host.lab.command("pkill").args(["-KILL", "-f", "launch --accel"]));
    wait_until("the VM ends with its launch", || !host.lab.processes().iter().any(|line| line.contains("qemu")));
    assert_eq!((host.servers(), forwarding(&host.lab).as_str()), (1, "1"));
    assert_eq!(host.networks(), serde_json::json!([]));
    host.assert_as_before();

    // The VMM is killed: its launch cleans up by itself.
    let launch = start(host.launch("minimal", "--network managed=fleet"));
    wait_until("the VM runs", || host.lab.processes().iter().any(|line| line.starts_with("qemu")));
    succeed(host.lab.command("pkill").args(["-KILL", "-f", "^qemu-system"]));
    assert!(!launch.wait_with_output().unwrap().status.success());
    host.assert_as_before();
}

#[test]
fn fleets_do_not_collide_and_taken_subnets_are_left_alone() {
    let mut host = Host::new();
    host.ip("link add taken type bridge");
    host.ip("addr add 192.168.100.5/24 dev taken");
    host.ip("link set taken up");
    host.interfaces = host.lab.interfaces();
    let fails = |recipe: &str, line: &str, words: &str| {
        let output = host.launch(recipe, line).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(words), "{words}: {}", text(&output));
        host.assert_as_before();
    };
    fails("static", "--network managed", "NET-H009");
    fails("minimal", "--network managed --subnet 192.168.100.129/25", "192.168.100.0/24");
    fails("minimal", "--subnet 10.0.0.1/24 --network user", "--network managed");

    let [a, b] =
        ["a", "b"].map(|name| start(host.launch("minimal", &format!("--network managed={name} --name {name}"))));
    wait_until("both networks are there", || host.networks().as_array().is_some_and(|all| all.len() == 2));
    let mut addresses = ["gs-a", "gs-b"].map(|bridge| host.address(bridge).unwrap());
    addresses.sort();
    assert_eq!(addresses, ["192.168.101.1/24", "192.168.102.1/24"]);
    wait_until("each has its server", || host.servers() == 2);
    // One that is there is not made anew with another subnet.
    let output = host.launch("minimal", "--network managed=a --subnet 10.9.0.1/24").output().unwrap();
    assert!(text(&output).contains("the network a is 192.168.10"), "{}", text(&output));

    wait_until("it can be stopped", || host.goldsmith("stop a").output().unwrap().status.success());
    a.wait_with_output().unwrap();
    assert_eq!((host.address("gs-a"), host.servers()), (None, 1));
    assert!(host.address("gs-b").is_some());
    wait_until("it can be stopped", || host.goldsmith("stop b").output().unwrap().status.success());
    b.wait_with_output().unwrap();
    host.assert_as_before();
}

#[test]
fn a_fixed_or_expected_address_is_kept_for_its_guest() {
    let mut host = Host::new();
    // A host that forwards already goes on doing so.
    succeed(host.lab.command("sh").args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]));
    host.forwarding = "1".to_owned();
    let launch = host.launch("static", "--network managed --stop-after-ready");
    assert_eq!(ready_at(start(launch)), "192.168.100.12");
    host.assert_as_before();
    let launch = host.launch("minimal", "--network managed --expect 192.168.100.77 --stop-after-ready");
    assert_eq!(ready_at(start(launch)), "192.168.100.77");
    host.assert_as_before();
}

/// Says that this test process is inside, where it plays guests and host.
const INSIDE: &str = "GOLDSMITH_TEST_INSIDE";

/// Runs an ignored test of this file in the network of `host`.
#[track_caller]
fn inside(host: &Host, test: &str) {
    let mut command = host.lab.command(std::env::current_exe().unwrap());
    let output = succeed(command.args(["--exact", test, "--ignored", "--nocapture"]).env(INSIDE, "1"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{}", text(&output));
}

#[test]
fn guests_send_only_what_is_theirs_and_reach_only_what_is_meant() {
    let mut host = Host::new();
    let mut httpd = start(host.world());
    // It has what clouds have at 169.254.169.254.
    host.ip("-n world addr add 169.254.169.254/32 dev far");
    host.ip("route add 169.254.169.254/32 dev uplink");
    inside(&host, "play::neighbours");
    inside(&host, "play::a_bridge_that_others_look_after");
    succeed(host.lab.command("pkill").args(["-f", "busybox httpd"]));
    httpd.wait().unwrap();
    host.assert_as_before();
}

#[test]
fn what_others_have_put_in_the_way_is_not_taken_for_ours() {
    let host = Host::new();
    inside(&host, "play::processes_and_folders_of_others");
    host.assert_as_before();
}

/// Guests without VMs: what a test says for them goes into their taps as if they had said it.
mod play {
    use super::hostile::*;
    use super::{INSIDE, succeed, wait_until};
    use goldsmith::launch::host::{Attachment, Choice, Error, Mac, Nic, Tap, Watch};
    use goldsmith::network::{NetworkMode, NetworkSpec};
    use smoltcp::wire::Ipv4Cidr;
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::unix::fs::MetadataExt as _;
    use std::process::{Child, Command};
    use std::time::Duration;

    const A: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xa]);
    const B: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xb]);
    const C: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xc]);
    /// Nobody's.
    const X: Mac = Mac([0x52, 0x54, 0, 0xba, 0xd, 1]);

    fn attach(network: &str, mac: Mac, expect: Option<Ipv4Addr>) -> Result<Attachment, Error> {
        let spec = NetworkSpec { interface: "eth0".parse().unwrap(), mode: NetworkMode::Dhcp };
        let choice: Choice = network.parse().unwrap();
        Attachment::new(&choice, Nic { spec: &spec, mac, expect: expect.map(IpAddr::V4), ports: &[] })
    }

    fn tap(attachment: &Attachment) -> &Tap {
        attachment.tap().unwrap()
    }

    fn host_of(attachment: &Attachment) -> Ipv4Addr {
        match attachment.facts().cidr.unwrap().address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => unreachable!(),
        }
    }

    fn run(line: &str) -> String {
        let mut words = line.split(' ');
        let output = succeed(Command::new(words.next().unwrap()).args(words));
        String::from_utf8(output.stdout).unwrap()
    }

    fn connects(address: Ipv4Addr, port: u16) -> bool {
        TcpStream::connect_timeout(&SocketAddr::from((address, port)), Duration::from_secs(2)).is_ok()
    }

    /// The frames of a machine with address `me` that no guest may send, next to a `neighbour` and a `host`.
    fn hostile(me: (Mac, Ipv4Addr), neighbour: (Mac, Ipv4Addr), host: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
        let (mac, own) = me;
        let all = Ipv4Addr::BROADCAST;
        let none = Ipv4Addr::UNSPECIFIED;
        let ping = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        let tagged = [&[0, 5, 8, 6][..], &arp(mac, 1, me, host)[14..]].concat();
        let link = |last: [u8; 3]| {
            let mut address = [0; 16];
            (address[0], address[1]) = (0xfe, 0x80);
            address[8..].copy_from_slice(&[0x50, 0x54, 0, 0xff, 0xfe, last[0], last[1], last[2]]);
            address
        };
        let mut everybody = [0; 16];
        (everybody[0], everybody[1], everybody[15]) = (0xff, 2, 1);
        let [_, _, _, d, e, f] = mac.0;
        let (mine, others) = (link([d, e, f]), link([neighbour.0.0[3], neighbour.0.0[4], neighbour.0.0[5]]));
        let advert = |target: [u8; 16]| [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target, &[2, 1], &mac.0].concat();
        let router = [134, 0, 0, 0, 64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        let six = |source, next: u8, payload: &[u8]| {
            let length = (payload.len() as u16).to_be_bytes();
            let head = [&[0x60, 0, 0, 0][..], &length, &[next, 64], source, &everybody].concat();
            frame([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd, &[&head, payload].concat())
        };
        vec![
            ("announces the neighbour's address", arp(mac, 1, (mac, neighbour.1), neighbour.1)),
            ("answers for the neighbour", arp(mac, 2, (mac, neighbour.1), host)),
            ("answers for the host", arp(mac, 2, (mac, host), own)),
            ("announces the host's address", arp(mac, 1, (mac, host), host)),
            ("says that another MAC has its address", arp(mac, 2, (X, own), host)),
            ("claims an address with no operation", arp(mac, 8, (mac, neighbour.1), host)),
            ("asks as somebody else", arp(X, 1, (X, own), host)),
            ("asks as the neighbour", arp(neighbour.0, 1, neighbour, host)),
            ("probes as somebody else", arp(mac, 1, (X, none), host)),
            ("sends IPv4 as the neighbour", ipv4(ALL, mac, [neighbour.1, host], 1, &ping)),
            ("sends IPv4 as the host", ipv4(ALL, mac, [host, host], 1, &ping)),
            ("sends IPv4 as the world", ipv4(ALL, mac, [Ipv4Addr::new(8, 8, 8, 8), host], 1, &ping)),
            ("sends IPv4 as nobody", ipv4(ALL, mac, [none, host], 1, &ping)),
            ("sends with another MAC", ipv4(ALL, X, [own, host], 1, &ping)),
            ("is a DHCP server", ipv4(ALL, mac, [own, all], 17, &udp([67, 68], &dhcp(2, 2, none, neighbour.0)))),
            (
                "is the host's DHCP server",
                ipv4(ALL, mac, [host, all], 17, &udp([67, 68], &dhcp(2, 5, none, neighbour.0))),
            ),
            (
                "answers DHCP from another port",
                ipv4(ALL, mac, [own, all], 17, &udp([99, 68], &dhcp(2, 5, none, neighbour.0))),
            ),
            (
                "asks for a lease as the neighbour",
                ipv4(ALL, mac, [none, all], 17, &udp([68, 67], &dhcp(1, 1, none, neighbour.0))),
            ),
            (
                "gives the neighbour's lease back",
                ipv4(ALL, mac, [own, host], 17, &udp([68, 67], &dhcp(1, 7, none, neighbour.0))),
            ),
            (
                "declines for the neighbour",
                ipv4(ALL, mac, [none, all], 17, &udp([68, 67], &dhcp(1, 4, none, neighbour.0))),
            ),
            ("is a DHCP relay", ipv4(ALL, mac, [own, host], 17, &udp([68, 67], &dhcp(1, 1, neighbour.1, mac)))),
            ("sends a VLAN tag", frame(ALL, mac, 0x8100, &tagged)),
            ("sends a priority tag", frame(ALL, mac, 0x8100, &[&[0, 0][..], &tagged[2..]].concat())),
            ("sends a provider's tag", frame(ALL, mac, 0x88a8, &tagged)),
            ("speaks STP", frame([1, 0x80, 0xc2, 0, 0, 0], mac, 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0])),
            ("speaks something else", frame(ALL, mac, 0x88b5, &[0; 46])),
            ("advertises a router", icmpv6(mac, [mine, everybody], &router)),
            ("redirects", icmpv6(mac, [mine, everybody], &[&[137, 0, 0, 0, 0, 0, 0, 0][..], &mine, &others].concat())),
            ("advertises the neighbour's address", icmpv6(mac, [mine, everybody], &advert(others))),
            ("advertises as the neighbour", icmpv6(mac, [others, everybody], &advert(others))),
            (
                "says that the neighbour's address is taken",
                icmpv6(mac, [[0; 16], everybody], &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &others].concat()),
            ),
            ("sends IPv6 as the neighbour", six(&others, 17, &udp([9, 9], b"x"))),
            ("is a DHCPv6 server", six(&mine, 17, &udp([547, 546], &[7, 0, 0, 1]))),
        ]
    }

    /// The frames among these that a bridge takes from a tap.
    fn pass(bridge: &str, tap: &Tap, frames: &[(&'static str, Vec<u8>)]) -> Vec<&'static str> {
        let mut watch = Watch::tap(bridge, X).unwrap();
        let mut passed = Vec::new();
        for (what, frame) in frames {
            watch.poll().unwrap();
            let before = watch.frames();
            tap.send(frame).unwrap();
            // A tap hands a frame to the bridge before the call returns; what the kernel does later is soon.
            std::thread::sleep(Duration::from_millis(3));
            watch.poll().unwrap();
            passed.extend((watch.frames() > before).then_some(*what));
        }
        passed
    }

    #[test]
    #[ignore = "runs inside of the test that makes its network"]
    fn neighbours() {
        assert!(std::env::var_os(INSIDE).is_some());
        let [a, b] = [A, B].map(|mac| attach("managed", mac, None).unwrap());
        let c = attach("managed=other", C, None).unwrap();
        let (host, other) = (host_of(&a), host_of(&c));
        let [mut guest_a, mut guest_b, mut guest_c] =
            [(&a, A), (&b, B), (&c, C)].map(|(at, mac)| Guest::new(tap(at), mac));
        let [at_a, at_b, at_c] = [&mut guest_a, &mut guest_b, &mut guest_c].map(|guest| guest.lease(20.0).unwrap());
        assert!(at_a != at_b && [at_a, at_b].iter().all(|one| one.octets()[..3] == host.octets()[..3]));
        assert_ne!(other, host);

        // What is meant works: names, the world, and the host calls its guests.
        assert!(guest_a.reaches(host, 53, 10.0), "names");
        assert!(guest_a.reaches(Ipv4Addr::new(203, 0, 113, 2), 80, 10.0), "the world");
        let call = |guest: &mut Guest, address| {
            let caller = std::thread::spawn(move || (0..5).any(|_| connects(address, 8080)));
            guest.serves(8080, 10.0) && caller.join().unwrap()
        };
        assert!(call(&mut guest_a, at_a) && call(&mut guest_b, at_b), "the host's calls");

        // What listens on the host, whatever its address, is not for guests; nor are other networks, nor a cloud's secrets.
        let _listener = TcpListener::bind("0.0.0.0:7777").unwrap();
        let _six = TcpListener::bind("[::]:7778").unwrap();
        let udp_door = UdpSocket::bind("0.0.0.0:7777").unwrap();
        let metadata = Ipv4Addr::new(169, 254, 169, 254);
        assert!(connects(host, 7777) && connects(metadata, 80), "they are there");
        for (address, port) in [
            (host, 7777),
            (host, 7778),
            (other, 7777),
            (other, 53),
            (Ipv4Addr::new(203, 0, 113, 1), 7777),
            (metadata, 80),
            (at_b, 8080),
            (at_c, 8080),
        ] {
            assert!(!guest_a.reaches(address, port, 0.4), "a guest reaches {address}:{port}");
        }
        tap(&a).send(&ipv4(ALL, A, [at_a, Ipv4Addr::BROADCAST], 17, &udp([7777, 7777], b"x"))).unwrap();
        udp_door.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(udp_door.recv(&mut [0; 8]).is_err(), "a guest's broadcast reaches a door of the host");

        // An attacker on B's port.
        let frames = hostile((B, at_b), (A, at_a), host);
        assert_eq!(pass("gs-default", tap(&b), &frames), [""; 0]);
        for from in [A, X] {
            tap(&b).send(&frame([1, 0x80, 0xc2, 0, 0, 0xe], from, 0x88cc, &[0; 46])).unwrap();
        }
        let known = run(&format!("bridge fdb show brport {}", tap(&b).name()));
        assert!(
            known.contains(&B.to_string()) && [A, X].iter().all(|one| !known.contains(&one.to_string())),
            "{known}"
        );
        assert!(call(&mut guest_a, at_a), "the neighbour's calls still arrive");
        // A port that nobody guards passes them, so the test would see them.
        let loose = Tap::create().unwrap();
        run(&format!("ip link set {} master gs-default up", loose.name()));
        let passed = pass("gs-default", &loose, &frames);
        assert_eq!(passed.len(), frames.len(), "{passed:?}");
        drop(loose);
        run("ip neigh flush dev gs-default");
        assert!(call(&mut guest_b, at_b), "the host finds its guests again");

        // Leases for whoever comes next, whatever B asks in however many names.
        for number in 0..300_u16 {
            let [high, low] = number.to_be_bytes();
            let name = Mac([2, 9, 9, 9, high, low]);
            let ask = |from, client| {
                let message = udp([68, 67], &dhcp(1, 1, Ipv4Addr::UNSPECIFIED, client));
                ipv4(ALL, from, [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST], 17, &message)
            };
            for (from, client) in [(B, name), (name, name), (B, B)] {
                tap(&b).send(&ask(from, client)).unwrap();
            }
        }
        let d = attach("managed", C, None).unwrap();
        assert!(Guest::new(tap(&d), C).lease(20.0).is_some(), "the newcomer gets no lease");
        // An address is one guest's.
        let taken = attach("managed", X, Some(at_a)).err().unwrap().to_string();
        assert!(taken.contains("another VM"), "{taken}");
        drop((a, b, c, d));
    }

    #[test]
    #[ignore = "runs inside of the test that makes its network"]
    fn a_bridge_that_others_look_after() {
        assert!(std::env::var_os(INSIDE).is_some());
        run("ip link add br9 type bridge");
        run("ip addr add 10.9.0.1/24 dev br9");
        run("ip link set br9 up");
        // Somebody serves DHCP there.
        let _server = UdpSocket::bind("0.0.0.0:67").unwrap();
        let b = attach("bridge=br9", B, None).unwrap();
        assert_eq!(b.facts().unguarded, None);
        let (own, host) = (Ipv4Addr::new(10, 9, 0, 7), Ipv4Addr::new(10, 9, 0, 1));
        let frames = hostile((B, own), (A, Ipv4Addr::new(10, 9, 0, 8)), host);
        assert_eq!(pass("br9", tap(&b), &frames), [""; 0]);
        let mine = || vec![("its own", arp(B, 1, (B, own), host))];
        assert_eq!(pass("br9", tap(&b), &mine()), [""; 0], "before it has a lease");
        b.pin(own).unwrap();
        assert_eq!(pass("br9", tap(&b), &mine()), ["its own"]);
        assert_eq!(pass("br9", tap(&b), &frames), [""; 0]);
        b.pin(Ipv4Addr::new(10, 9, 0, 9)).unwrap();
        assert_eq!(pass("br9", tap(&b), &mine()), [""; 0], "after it has another");
        let mut guest = Guest::new(tap(&b), B);
        guest.take(Ipv4Cidr::new(Ipv4Addr::new(10, 9, 0, 9), 24), None);
        let _listener = TcpListener::bind("10.9.0.1:7777").unwrap();
        assert!(guest.reaches(host, 7777, 10.0));
        // IPv6 from its own addresses passes.
        let own = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 0xb];
        let mut all = [0; 16];
        (all[0], all[1], all[15]) = (0xff, 2, 1);
        let advert = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &own, &[2, 1], &B.0].concat();
        let probe = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &own].concat();
        let good = [("advert", icmpv6(B, [own, all], &advert)), ("probe", icmpv6(B, [[0; 16], all], &probe))];
        assert_eq!(pass("br9", tap(&b), &good), ["advert", "probe"]);
        drop(b);
        run("ip link delete br9");
    }

    #[test]
    #[ignore = "runs inside of the test that makes its network"]
    fn processes_and_folders_of_others() {
        assert!(std::env::var_os(INSIDE).is_some());
        let root = "/run/goldsmith";
        // A folder that somebody else has made, or could write to, or a way to another.
        for trap in ["mkdir R && chown 65534 R", "mkdir -m 777 R", "ln -s /tmp R", "touch R"] {
            succeed(Command::new("sh").args(["-c", &trap.replace('R', root)]));
            let error = attach("managed", A, None).err().unwrap().to_string();
            assert!(error.contains("only this user can change"), "{trap}: {error}");
            succeed(Command::new("rm").args(["-r", root]));
        }
        // A process that says that it is dnsmasq of this network.
        let folder = format!("{root}/{}/default", fs::metadata("/proc/self/ns/net").unwrap().ino());
        let claims = |command: &mut Command| -> Child {
            command.stdin(std::process::Stdio::piped());
            command.args(["-c", "trap '' TERM; while :; do read -t 1000 _; done"]);
            command
                .args(["dnsmasq", &format!("--dhcp-leasefile={folder}/leases"), "--interface=gs-default"])
                .spawn()
                .unwrap()
        };
        let mut fake = claims(&mut Command::new("bash"));
        // This process has descriptors that it does not know of, as one that a shell has started.
        let secret = fs::File::open("/etc/shadow").unwrap();
        rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
        let a = attach("managed", A, None).unwrap();
        assert!(Guest::new(tap(&a), A).lease(20.0).is_some(), "dnsmasq has not been started");
        let servers = || run("pgrep -x dnsmasq").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(servers().len(), 1);
        let status = fs::read_to_string(format!("/proc/{}/status", servers()[0])).unwrap();
        assert!(!status.contains("Uid:\t0\t"), "it runs as root: {status}");
        let held = fs::read_dir(format!("/proc/{}/fd", servers()[0])).unwrap();
        let held = held.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect::<Vec<_>>();
        let foreign = |path: &std::path::PathBuf| {
            path.starts_with("/") && !path.starts_with(&folder) && !path.starts_with("/dev/null")
        };
        assert!(!held.iter().any(foreign), "{held:?}");

        // Its number is used again: another process, which is left alone.
        let record = format!("{folder}/dnsmasq");
        let line = fs::read_to_string(&record).unwrap();
        let number = line.split(' ').next().unwrap();
        succeed(Command::new("kill").args(["-KILL", number]));
        wait_until("dnsmasq is gone", || !std::path::Path::new(&format!("/proc/{number}")).exists());
        fs::write(&record, line.replacen(number, &fake.id().to_string(), 1)).unwrap();
        let b = attach("managed", B, None).unwrap();
        assert!(Guest::new(tap(&b), B).lease(20.0).is_some(), "dnsmasq has not been started again");
        drop((a, b));
        assert!(!std::path::Path::new(&folder).exists());
        assert!(fake.try_wait().unwrap().is_none(), "somebody else's process was ended");
        fake.kill().unwrap();
        fake.wait().unwrap();
    }
}
