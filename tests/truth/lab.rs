//! A network that many rows use one after the other: the bridge of the tests' lab, and a dnsmasq for each row.

use super::cases::Host;
use super::common::lab as shared;
use super::common::succeed;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The pool of the DHCP server.
pub const POOL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(192, 168, 100, 50), Ipv4Addr::new(192, 168, 100, 200));
/// The taps on the bridge.
pub const TAPS: [&str; 2] = ["tap0", "tap1"];

/// A bridge with two taps in namespaces of its own.
pub struct Lab(shared::Lab);

/// A process that ends with its owner.
pub struct Process(Child);

impl Process {
    /// Starts it; what it says goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    /// Makes the network.
    pub fn new() -> Self {
        let lab = Self(shared::Lab::new(shared::Dhcp::None));
        for tap in TAPS {
            lab.ip(&format!("tuntap add {tap} mode tap"));
            lab.ip(&format!("link set {tap} master br0 up"));
        }
        lab
    }

    /// A command that runs in the network and ends with this process, however that ends.
    pub fn command(&self, program: &str) -> Command {
        let inside = self.0.network_command(program);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(inside.get_program()).args(inside.get_args());
        command
    }

    fn ip(&self, line: &str) {
        succeed(self.command("ip").args(line.split(' ')));
    }

    /// The host side of one row: forgets what the row before left, and serves DHCP where the row has a server.
    pub fn host(&self, host: &Host, mac: &str, folder: &Path) -> Option<Process> {
        self.ip("neigh flush dev br0");
        if !host.dhcp {
            return None;
        }
        let mut dnsmasq = self.command("dnsmasq");
        dnsmasq.args(["--no-daemon", "--user=root", "--conf-file=/dev/null", "--port=0", "--no-ping", "--log-dhcp"]);
        dnsmasq.args(["--interface=br0", "--bind-interfaces", "--except-interface=lo"]);
        dnsmasq.arg(format!("--dhcp-range={},{},1h", POOL.0, POOL.1));
        dnsmasq.arg(format!("--dhcp-leasefile={}", folder.join("leases").display()));
        if let Some(address) = host.reserved {
            dnsmasq.arg(format!("--dhcp-host={mac},{address}"));
        }
        Some(Process::start(&mut dnsmasq, &folder.join("dnsmasq.log")))
    }

    /// Who answers `GET /health` at an address: the MAC address behind it. None: nobody.
    pub fn answers(&self, address: Ipv4Addr) -> Option<String> {
        let request = format!(
            "exec 3<>/dev/tcp/{address}/8080 && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && grep -m1 '^HTTP/' <&3"
        );
        for _ in 0..3 {
            let output = self.command("timeout").args(["4", "bash", "-c", &request]).output().unwrap();
            if output.status.success() {
                return self.neighbour(address);
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        None
    }

    /// The MAC address that ARP has for an address.
    pub fn neighbour(&self, address: Ipv4Addr) -> Option<String> {
        let output = self.command("ip").args(["-json", "neigh", "show", "to", &address.to_string()]).output().unwrap();
        let entries: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(entries.get(0)?.get("lladdr")?.as_str()?.to_owned())
    }
}
