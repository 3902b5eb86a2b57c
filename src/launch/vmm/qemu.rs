//! QEMU's `microvm` and `q35`, with KVM or emulation.
//!
//! Source: QEMU `docs/system/i386/microvm.rst`, qemu(1); measured with 7.2. With ACPI on, devices are not put on the kernel
//! command line, so the guest's arguments are exactly those the gate has seen.

use super::process::{self, Command, Process};
use super::qmp::Qmp;
use super::{Accelerator, Error, Machine, Model, disk, file};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// The id of the object that captures traffic.
const CAPTURE: &str = "capture";

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
        let netdev = machine.attachment.netdev("n0", |tap| Ok(format!("fd={}", inherit(tap.fd()?.as_raw_fd()))));
        let netdev = netdev.map_err(|cause| Error::Io { what: "pass the tap to QEMU".to_owned(), cause })?;
        let process = Process::start(Command {
            program: PROGRAM.to_owned(),
            arguments: arguments(machine, [&kernel, &initrd, &image], netdev),
            folder: machine.folder,
            output: None,
            inherited,
        })?;
        process.answer(|| Qmp::connect(machine.folder))?;
        Ok(Self { process, folder: machine.folder.to_owned() })
    }

    /// The machine's state unless it runs. Source: QEMU `qapi/run-state.json`.
    pub fn halted(&self) -> io::Result<Option<String>> {
        let answer = Qmp::connect(&self.folder)?.execute("query-status", json!({}))?;
        let state = answer.get("status").and_then(Value::as_str).unwrap_or_default();
        Ok((answer.get("running") == Some(&json!(false))).then(|| state.to_owned()))
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
    let by_name = |tap: &super::Tap| Ok(format!("ifname={},script=no,downscript=no", tap.name()));
    let netdev = machine.attachment.netdev("n0", by_name)?;
    let files = [machine.kernel, machine.initrd, machine.image].map(|file| file.path.display().to_string());
    let mut line = vec![PROGRAM.to_owned()];
    line.extend(arguments(machine, files.each_ref().map(String::as_str), netdev));
    Ok(json!(line))
}

fn arguments(machine: &Machine, [kernel, initrd, image]: [&str; 3], netdev: String) -> Vec<String> {
    let (accelerator, processor) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Emulation => ("tcg,thread=multi", "max"),
    };
    // A NIC on PCI would bring a boot ROM that nobody boots from.
    let (model, bus, no_rom) = match machine.model {
        Model::Q35 => ("q35", "pci", ",romfile="),
        _ => ("microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off", "device", ""),
    };
    let (file, format) = match machine.disk {
        disk::Kind::Copy => (file::DISK, "raw"),
        disk::Kind::Overlay => (file::OVERLAY, "qcow2,backing=golden"),
    };
    let mut disk = format!("id=root,file={file},format={format},if=none,discard=unmap,cache=writeback");
    if let Some(limit) = machine.limits.disk {
        disk += &format!(",throttling.bps-total={}", limit.0);
    }
    let mut list: Vec<String> = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned).into();
    let mut add = |option: &str, value: String| list.extend([option.to_owned(), value]);
    add("-name", format!("guest={}", machine.name));
    add("-M", model.to_owned());
    add("-accel", accelerator.to_owned());
    add("-cpu", processor.to_owned());
    add("-smp", machine.cpus.to_string());
    add("-m", format!("{}K", machine.memory.0 >> 10));
    add("-kernel", kernel.to_owned());
    add("-initrd", initrd.to_owned());
    add("-append", machine.args.to_string());
    if machine.disk == disk::Kind::Overlay {
        let golden = "driver=raw,node-name=golden,read-only=on,file.driver=file,file.read-only=on";
        add("-blockdev", format!("{golden},file.filename={image}"));
    }
    add("-drive", disk);
    add("-device", format!("virtio-blk-{bus},drive=root"));
    add("-netdev", netdev);
    add("-device", format!("virtio-net-{bus},netdev=n0,mac={}{no_rom}", machine.mac));
    if machine.attachment.tap().is_none() {
        add("-object", format!("filter-dump,id={CAPTURE},netdev=n0,file={},maxlen=1600", file::CAPTURE));
    }
    add("-device", format!("virtio-rng-{bus}"));
    // A keyboard controller to reset by and to press Ctrl-Alt-Del on; a display to picture. A PC has the former.
    add("-device", if machine.model == Model::Q35 { "VGA" } else { "i8042" }.to_owned());
    add("-serial", format!("file:{}", file::CONSOLE));
    add("-qmp", format!("unix:{},server=on,wait=off", file::CONTROL));
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    add("-display", "none".to_owned());
    add("-monitor", "none".to_owned());
    list
}

/// Whether KVM works here, found out by making a paused machine with the host's processor; else why not. A device file
/// says little: nested virtualisation may be there and broken.
pub fn kvm() -> Result<(), String> {
    fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").map_err(|error| format!("/dev/kvm: {error}"))?;
    let arguments = "-M microvm -accel kvm -cpu host -m 64 -S -nodefaults -no-user-config -display none -qmp stdio";
    // Commands are obeyed once the machine is made, so one that quits in order was made.
    let output = duct::cmd(PROGRAM, arguments.split(' '))
        .stdin_bytes("{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}")
        .stdout_null()
        .stderr_capture()
        .unchecked()
        .run()
        .map_err(|error| format!("{PROGRAM}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    Err(first.unwrap_or_else(|| process::describe(output.status)))
}
