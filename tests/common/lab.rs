//! A network of the test's own: a bridge with a real dnsmasq in namespaces that end with the test.

use super::need;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A bridge `br0` (192.168.100.1/24) in fresh network, mount and pid namespaces. Killing the keeper ends every
/// process in them, and with the last process the network is gone. As an ordinary user the namespaces are owned by a
/// user namespace in which the user is root.
pub struct Lab {
    keeper: Child,
    inner: u32,
    folder: tempfile::TempDir,
}

/// What is on the bridge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dhcp {
    /// dnsmasq leases 192.168.100.50 to .200.
    Served,
    /// Nobody answers.
    None,
    /// There is not even a bridge.
    Bare,
}

const SETUP: &str = r#"
set -e
mount -t sysfs none /sys
# Networks that goldsmith makes are written down here.
mount -t tmpfs none /run
ip link set lo up
if [ "$1" != bare ]; then
ip link add br0 type bridge
ip addr add 192.168.100.1/24 dev br0
ip link set br0 up
fi
if [ "$1" = served ]; then
    dnsmasq --no-daemon --user=root --interface=br0 --bind-interfaces --except-interface=lo --port=0 --conf-file=/dev/null \
        --dhcp-range=192.168.100.50,192.168.100.200,1h --dhcp-leasefile="$2/leases" --log-dhcp 2>"$2/dnsmasq.log" &
    # It listens once /proc shows its port (67) in hexadecimal.
    until grep -q ':0043 ' /proc/net/udp; do
        kill -0 $! || exit 1
        sleep 0.02
    done
fi
echo ready
# Not `exec`: as process 1 the shell reaps what others leave.
sleep infinity &
wait
"#;

impl Lab {
    /// Makes the network.
    pub fn new(dhcp: Dhcp) -> Self {
        for (program, package) in [("unshare", "util-linux"), ("ip", "iproute2"), ("dnsmasq", "dnsmasq-base")] {
            need(program, &format!("apt-get install {package}"));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.arg("--map-root-user");
        }
        let mut keeper = unshare
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SETUP, "lab"])
            .arg(match dhcp {
                Dhcp::Served => "served",
                Dhcp::None => "none",
                Dhcp::Bare => "bare",
            })
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the test's network could not be made");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", keeper.id())).unwrap();
        let inner = children.trim().parse().unwrap();
        Self { keeper, inner, folder }
    }

    /// A command that runs inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--target", &self.inner.to_string(), "--net", "--mount", "--pid"]);
        command.arg("--wd=.").arg(program);
        command
    }

    /// A command that runs in the lab's network and sees the lab's mounts, but is an ordinary child process that its parent
    /// can kill.
    pub fn network_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--target", &self.inner.to_string(), "--net", "--mount"]);
        command.arg("--wd=.").arg(program);
        command
    }

    /// Makes sure that there is a `/dev/kvm` to open inside, even where this machine has none.
    pub fn give_kvm(&self) {
        let script = r#"
            test -e /dev/kvm && exit
            mkdir "$1" && mount -t tmpfs none "$1" && mkdir "$1/net"
            for node in null zero full random urandom tty net/tun; do
                touch "$1/$node" && mount --bind "/dev/$node" "$1/$node"
            done
            ln -s /proc/self/fd "$1/fd" && touch "$1/kvm" && mount --rbind "$1" /dev"#;
        super::succeed(self.command("sh").args(["-ec", script, "sh"]).arg(self.folder.path().join("dev")));
    }

    /// dnsmasq's lease file: one lease a line, `EXPIRY MAC ADDRESS NAME CLIENT-ID`.
    pub fn leases(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("leases")).unwrap_or_default()
    }

    /// What dnsmasq said.
    pub fn dnsmasq_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("dnsmasq.log")).unwrap_or_default()
    }

    /// Command lines of all processes inside but the lab's own.
    pub fn processes(&self) -> Vec<String> {
        let output = self.command("ps").args(["-eo", "args="]).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| {
                !["bash -c", "sleep infinity", "ps -eo", "dnsmasq --no-daemon"].iter().any(|own| line.starts_with(own))
            })
            .map(str::to_owned)
            .collect()
    }

    /// Names of the network interfaces inside.
    pub fn interfaces(&self) -> Vec<String> {
        let output = self.command("ls").arg("/sys/class/net").output().unwrap();
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
    }

    /// A folder of the lab's own.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
