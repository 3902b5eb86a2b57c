//! What Firecracker is told about a machine. Pure.
//!
//! Source: Firecracker `src/firecracker/swagger/firecracker.yaml` of v1.13 to v1.16, which agree on all that is used here
//! (tests/data/firecracker). The whole is what `--config-file` reads; its parts are the bodies of the API's requests. The
//! serial console is Firecracker's standard output, which every version has; `/serial` came with v1.14.

use super::super::{Error, Machine, file};
use crate::values::ByteSize;
use serde::Serialize;
use serde_json::{Value, json};

/// Names of files in the machine's folder that only Firecracker has.
pub mod name {
    /// The kernel, an ELF file: no version up to v1.16 reads a bzImage.
    pub const KERNEL: &str = "vmlinux";
    /// The initrd.
    pub const INITRD: &str = "initrd.img";
    /// Counters, a JSON document a line.
    pub const METRICS: &str = "metrics.json";
    /// The host's end of the guest's vsock.
    pub const VSOCK: &str = "vsock.sock";
}

/// The guest's vsock address: each VM has a socket of its own, so all may have the first that is free (vsock(7)).
const CID: u32 = 3;

/// A machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setup {
    boot_source: BootSource,
    drives: [Disk; 1],
    entropy: Entropy,
    logger: Logger,
    machine_config: MachineConfig,
    metrics: Metrics,
    network_interfaces: [NetworkInterface; 1],
    vsock: Vsock,
}

#[derive(Debug, Serialize)]
struct BootSource {
    kernel_image_path: String,
    initrd_path: String,
    boot_args: String,
}

/// The root disk. It is not called the root device: then Firecracker would append a `root=` of its own.
#[derive(Debug, Serialize)]
struct Disk {
    drive_id: &'static str,
    is_root_device: bool,
    is_read_only: bool,
    path_on_host: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limiter: Option<RateLimiter>,
}

/// A device whose presence says all.
#[derive(Debug, Serialize)]
struct Entropy {}

#[derive(Debug, Serialize)]
struct Logger {
    log_path: &'static str,
    level: &'static str,
}

#[derive(Debug, Serialize)]
struct MachineConfig {
    vcpu_count: u8,
    mem_size_mib: u64,
    smt: bool,
}

#[derive(Debug, Serialize)]
struct Metrics {
    metrics_path: &'static str,
}

#[derive(Debug, Serialize)]
struct NetworkInterface {
    iface_id: &'static str,
    host_dev_name: String,
    guest_mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_rate_limiter: Option<RateLimiter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_rate_limiter: Option<RateLimiter>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct RateLimiter {
    bandwidth: TokenBucket,
}

/// So many bytes in so many milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct TokenBucket {
    size: u64,
    refill_time: u64,
}

#[derive(Debug, Serialize)]
struct Vsock {
    guest_cid: u32,
    uds_path: &'static str,
}

/// A request: its path and its body.
pub type Request = (String, Value);

impl Setup {
    /// The configuration of a machine whose kernel and initrd Firecracker will find at these paths.
    pub fn new(machine: &Machine, kernel: String, initrd: String) -> Result<Self, Error> {
        let tap = machine.attachment.tap().ok_or(Error::NoTap)?;
        let limiter = |limit: Option<ByteSize>| {
            limit.map(|ByteSize(size)| RateLimiter { bandwidth: TokenBucket { size, refill_time: 1000 } })
        };
        Ok(Self {
            boot_source: BootSource {
                kernel_image_path: kernel,
                initrd_path: initrd,
                boot_args: machine.args.to_string(),
            },
            drives: [Disk {
                drive_id: "root",
                is_root_device: false,
                is_read_only: false,
                path_on_host: file::DISK,
                rate_limiter: limiter(machine.limits.disk),
            }],
            entropy: Entropy {},
            logger: Logger { log_path: file::VMM, level: "Info" },
            machine_config: MachineConfig {
                vcpu_count: machine.cpus,
                mem_size_mib: machine.memory.0 >> 20,
                smt: false,
            },
            metrics: Metrics { metrics_path: name::METRICS },
            network_interfaces: [NetworkInterface {
                iface_id: "nic",
                host_dev_name: tap.name().to_owned(),
                guest_mac: machine.mac.to_string(),
                rx_rate_limiter: limiter(machine.limits.net),
                tx_rate_limiter: limiter(machine.limits.net),
            }],
            vsock: Vsock { guest_cid: CID, uds_path: name::VSOCK },
        })
    }

    /// The requests that say the same, in order: the log first, so that it holds what goes wrong later.
    pub fn requests(&self) -> Vec<Request> {
        let mut requests = vec![
            ("/logger".to_owned(), json!(self.logger)),
            ("/metrics".to_owned(), json!(self.metrics)),
            ("/machine-config".to_owned(), json!(self.machine_config)),
            ("/boot-source".to_owned(), json!(self.boot_source)),
        ];
        requests.extend(self.drives.iter().map(|drive| (format!("/drives/{}", drive.drive_id), json!(drive))));
        let nics = self.network_interfaces.iter();
        requests.extend(nics.map(|nic| (format!("/network-interfaces/{}", nic.iface_id), json!(nic))));
        requests.push(("/vsock".to_owned(), json!(self.vsock)));
        requests.push(("/entropy".to_owned(), json!(self.entropy)));
        requests
    }
}
