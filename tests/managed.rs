//! Networks that goldsmith makes: VMs on them get leases and answer, reach the world and not each other; subnets that are
//! taken are not taken again; with the last VM everything goes, whatever was killed.

mod common;

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
    // The world beyond the host knows no way back to the VMs.
    host.ip("netns add world");
    host.ip("link add uplink type veth peer name far netns world");
    host.ip("addr add 203.0.113.1/24 dev uplink");
    host.ip("link set uplink up");
    host.ip("-n world addr add 203.0.113.2/24 dev far");
    host.ip("-n world link set far up");
    let mut httpd = host.lab.command("ip");
    httpd.args("netns exec world busybox httpd -f -p 80 -h".split(' ')).arg(host.lab.folder());
    let mut httpd = start(httpd);
    host.interfaces = host.lab.interfaces();

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
