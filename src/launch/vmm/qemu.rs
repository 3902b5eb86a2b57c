//! QEMU's `microvm` and `q35`, with KVM or emulation.
//!
//! Source: QEMU `docs/system/i386/microvm.rst`, qemu(1); measured with 7.2. With ACPI on, devices are not put on the kernel
//! command line, so the guest's arguments are exactly those the gate has seen.

use super::process::{Command, Process};
use super::qmp::Qmp;
use super::{Accelerator, Error, Machine, Model, disk, file};
use crate::launch::option_list::OptionList;
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// The id of the object that captures traffic.
const CAPTURE: &str = "capture";

/// States that a machine does not leave by itself.
const STOPPED: [&str; 4] = ["internal-error", "guest-panicked", "shutdown", "io-error"];

/// A running QEMU.
#[derive(Debug)]
pub struct Qemu {
    /// Its process.
    pub process: Process,
    folder: PathBuf,
}

impl Qemu {
    /// Starts a machine and waits until its control socket answers.
    pub fn start(machine: &Machine) -> Result<Self, Error> {
        let mut inherited: Vec<RawFd> = Vec::new();
        let mut inherit = |fd: RawFd| {
            inherited.push(fd);
            fd
        };
        let kernel = format!("/proc/self/fd/{}", inherit(machine.kernel.file.as_raw_fd()));
        let initrd = format!("/proc/self/fd/{}", inherit(machine.initrd.file.as_raw_fd()));
        let image = format!("/proc/self/fd/{}", inherit(machine.image.file.as_raw_fd()));
        let netdev = machine.attachment.netdev("n0", |list, tap| Ok(list.with("fd", inherit(tap.fd()?.as_raw_fd()))));
        let netdev = netdev.map_err(|cause| Error::Io { what: "pass the tap to QEMU".to_owned(), cause })?;
        let process = Process::start(Command {
            program: PROGRAM.to_owned(),
            arguments: arguments(machine, [&kernel, &initrd, &image], netdev),
            folder: machine.folder,
            output: None,
            inherited,
            fenced: machine.attachment.tap().is_none(),
        })?;
        process.answer(|| Qmp::connect(machine.folder))?;
        Ok(Self { process, folder: machine.folder.to_owned() })
    }

    /// What has stopped the machine, unless it runs or was only paused. Source: QEMU `qapi/run-state.json`.
    pub fn halted(&self) -> io::Result<Option<String>> {
        let answer = Qmp::connect(&self.folder)?.execute("query-status", json!({}))?;
        let state = answer.get("status").and_then(Value::as_str).unwrap_or_default();
        Ok(STOPPED.contains(&state).then(|| state.to_owned()))
    }

    /// Presses Ctrl-Alt-Del, which systemd obeys in every image, and the power button, which some guests obey.
    pub fn press_stop(&self) -> io::Result<()> {
        let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
        let mut control = Qmp::connect(&self.folder)?;
        control.execute("send-key", json!({ "keys": keys }))?;
        control.execute("system_powerdown", json!({}))?;
        Ok(())
    }

    /// Ends the capture of the NIC's traffic.
    pub fn end_capture(&self) -> io::Result<()> {
        Qmp::connect(&self.folder)?.execute("object-del", json!({ "id": CAPTURE })).map(|_| ())
    }
}

/// Has the QEMU in a folder write a picture of its display there, as a PNG file (QEMU 7.1 or newer).
pub fn screenshot(folder: &Path, name: &str) -> io::Result<()> {
    Qmp::connect(folder)?.execute("screendump", json!({ "filename": name, "format": "png" })).map(|_| ())
}

/// The command line of a machine as it could be typed: the files and the tap by their names.
pub fn describe(machine: &Machine) -> io::Result<Value> {
    let by_name = |list: OptionList, tap: &super::Tap| {
        Ok(list.with("ifname", tap.name()).with("script", "no").with("downscript", "no"))
    };
    let netdev = machine.attachment.netdev("n0", by_name)?;
    let files = [machine.kernel, machine.initrd, machine.image].map(|file| file.path.display().to_string());
    let mut line = vec![PROGRAM.to_owned()];
    line.extend(arguments(machine, files.each_ref().map(String::as_str), netdev));
    Ok(json!(line))
}

fn arguments(machine: &Machine, [kernel, initrd, image]: [&str; 3], netdev: OptionList) -> Vec<String> {
    let mut list: Vec<String> = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned).into();
    let mut add = |option: &str, value: String| list.extend([option.to_owned(), value]);
    for (option, value) in board(machine) {
        add(option, value.to_string());
    }
    add("-kernel", kernel.to_owned());
    add("-initrd", initrd.to_owned());
    add("-append", machine.args.to_string());
    for (option, value) in devices(machine, image, netdev) {
        add(option, value.to_string());
    }
    add("-serial", format!("file:{}", file::CONSOLE));
    add("-qmp", OptionList::of(format!("unix:{}", file::CONTROL)).with("server", "on").with("wait", "off").to_string());
    let deny = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
    add("-sandbox", deny.into_iter().fold(OptionList::of("on"), |list, what| list.with(what, "deny")).to_string());
    add("-display", "none".to_owned());
    add("-monitor", "none".to_owned());
    list
}

/// The machine itself.
fn board(machine: &Machine) -> [(&'static str, OptionList); 6] {
    let (accelerator, processor) = match machine.accelerator {
        Accelerator::Kvm => (OptionList::of("kvm"), "host"),
        Accelerator::Emulation => (OptionList::of("tcg").with("thread", "multi"), "max"),
    };
    let model = match machine.model {
        Model::Q35 => OptionList::of("q35"),
        _ => ["acpi", "pit", "pic", "rtc", "isa-serial"]
            .into_iter()
            .fold(OptionList::of("microvm"), |list, device| list.with(device, "on"))
            .with("x-option-roms", "off"),
    };
    [
        ("-name", OptionList::default().with("guest", machine.name)),
        ("-M", model),
        ("-accel", accelerator),
        ("-cpu", OptionList::of(processor)),
        ("-smp", OptionList::of(machine.cpus)),
        ("-m", OptionList::of(format!("{}K", machine.memory.0 >> 10))),
    ]
}

/// What is plugged into it.
fn devices(machine: &Machine, image: &str, netdev: OptionList) -> Vec<(&'static str, OptionList)> {
    // A NIC on PCI would bring a boot ROM that nobody boots from.
    let (bus, no_rom) = if machine.model == Model::Q35 { ("pci", Some("")) } else { ("device", None) };
    let device = |kind: &str| OptionList::of(format!("{kind}-{bus}"));
    let disk =
        |file: &str, format: &str| OptionList::default().with("id", "root").with("file", file).with("format", format);
    let disk = match machine.disk {
        disk::Kind::Copy => disk(file::DISK, "raw"),
        disk::Kind::Overlay => disk(file::OVERLAY, "qcow2").with("backing", "golden"),
    };
    let disk = disk.with("if", "none").with("discard", "unmap").with("cache", "writeback");
    let mut list = Vec::new();
    if machine.disk == disk::Kind::Overlay {
        let golden = OptionList::default().with("driver", "raw").with("node-name", "golden").with("read-only", "on");
        let golden = golden.with("file.driver", "file").with("file.read-only", "on").with("file.filename", image);
        list.push(("-blockdev", golden));
    }
    list.push(("-drive", disk.with_some("throttling.bps-total", machine.limits.disk.map(|limit| limit.0))));
    list.push(("-device", device("virtio-blk").with("drive", "root")));
    list.push(("-netdev", netdev));
    let nic = device("virtio-net").with("netdev", "n0").with("mac", machine.mac);
    list.push(("-device", nic.with_some("romfile", no_rom)));
    if machine.attachment.tap().is_none() {
        let dump = OptionList::of("filter-dump").with("id", CAPTURE).with("netdev", "n0").with("file", file::CAPTURE);
        list.push(("-object", dump.with("maxlen", 1600)));
    }
    list.push(("-device", device("virtio-rng")));
    // A keyboard controller to reset by and to press Ctrl-Alt-Del on; a display to picture. A PC has the former.
    list.push(("-device", OptionList::of(if machine.model == Model::Q35 { "VGA" } else { "i8042" })));
    list
}
