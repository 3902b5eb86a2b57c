//! QEMU's `microvm`, with KVM or emulation.
//!
//! Source: QEMU `docs/system/i386/microvm.rst`, qemu(1); measured with 7.2. With ACPI on, devices are not put on the kernel
//! command line, so the guest's arguments are exactly those the gate has seen. `reboot=k` needs the keyboard controller.

use super::qmp::Qmp;
use super::{Accelerator, Machine, disk, file};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// How long QEMU may take until it answers on its control socket.
const STARTUP: Duration = Duration::from_secs(20);

/// Why QEMU does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("{PROGRAM} is not installed\nhelp: apt-get install qemu-system-x86")]
    Missing,
    /// It could not be started or talked to.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It ended at once.
    #[error("{PROGRAM} ended with {status}{}\n  command: {command}", lines(log))]
    Ended {
        /// Its status.
        status: String,
        /// What it said.
        log: String,
        /// The whole command line.
        command: String,
    },
}

fn lines(log: &str) -> String {
    log.lines().map(|line| format!("\n  | {line}")).collect()
}

/// A running QEMU. Dropped, it is killed.
#[derive(Debug)]
pub struct Qemu {
    process: duct::Handle,
    control: Qmp,
}

impl Qemu {
    /// Starts a machine and waits until its control socket answers. QEMU ends with this process, however that ends.
    pub fn start(machine: &Machine) -> Result<Self, Error> {
        let io = |what| move |cause| Error::Io { what, cause };
        let mut inherited = Vec::new();
        let arguments = arguments(machine, &mut inherited).map_err(io("pass files to QEMU"))?;
        let command = format!("{PROGRAM} {}", arguments.join(" "));
        let inherited: Vec<RawFd> = inherited.iter().map(rustix::fd::AsRawFd::as_raw_fd).collect();
        let log = machine.folder.join(file::VMM);
        let process = duct::cmd(PROGRAM, arguments)
            .dir(machine.folder)
            .stdin_null()
            .stdout_null()
            .stderr_path(&log)
            .unchecked()
            .before_spawn(move |command| {
                keep(command, inherited.clone());
                Ok(())
            })
            .start()
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::NotFound => Error::Missing,
                _ => Error::Io { what: "start QEMU", cause },
            })?;
        let started = Instant::now();
        // By the folder's descriptor: a socket's whole path may be longer than an address can be.
        let folder = rustix::fs::open(machine.folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::Io { what: "open the machine's folder", cause: errno.into() })?;
        let socket = PathBuf::from(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), file::CONTROL));
        loop {
            match Qmp::connect(&socket) {
                Ok(control) => return Ok(Self { process, control }),
                Err(cause) => {
                    if let Some(output) = process.try_wait().map_err(io("wait for QEMU"))? {
                        return Err(Error::Ended { status: describe(output.status), log: tail(&log, 10), command });
                    }
                    if started.elapsed() > STARTUP {
                        let _ = process.kill();
                        return Err(Error::Io { what: "reach QEMU's control socket", cause });
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> io::Result<Option<String>> {
        Ok(self.process.try_wait()?.map(|output| describe(output.status)))
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.pids().first().copied()
    }

    /// Ends the capture of the NIC's traffic.
    pub fn end_capture(&mut self) -> io::Result<()> {
        self.control.execute("object-del", json!({ "id": CAPTURE })).map(|_| ())
    }

    /// Ends it at once and waits for its end.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(|_| ())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

/// Lets the child keep some descriptors, and end when its parent does.
fn keep(command: &mut std::process::Command, inherited: Vec<RawFd>) {
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        for fd in &inherited {
            // SAFETY: the parent holds these descriptors open while it waits for the exec.
            rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(*fd) }, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only prctl(2) and fcntl(2) are called; nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}

/// The id of the object that captures traffic.
const CAPTURE: &str = "capture";

fn arguments<'a>(machine: &'a Machine, inherited: &mut Vec<BorrowedFd<'a>>) -> io::Result<Vec<String>> {
    let mut inherit = |fd: BorrowedFd<'a>| {
        inherited.push(fd);
        Ok(fd.as_raw_fd())
    };
    let kernel = inherit(machine.kernel.as_fd())?;
    let initrd = inherit(machine.initrd.as_fd())?;
    let disk = match machine.disk {
        disk::Kind::Copy => {
            vec![format!("driver=raw,node-name=root,discard=unmap,file.driver=file,file.filename={}", file::DISK)]
        }
        disk::Kind::Overlay => {
            let golden = inherit(machine.image.as_fd())?;
            vec![
                format!(
                    "driver=raw,node-name=golden,read-only=on,file.driver=file,file.filename=/proc/self/fd/{golden},file.read-only=on"
                ),
                format!(
                    "driver=qcow2,node-name=root,discard=unmap,backing=golden,file.driver=file,file.filename={}",
                    file::OVERLAY
                ),
            ]
        }
    };
    let netdev = machine.attachment.netdev("n0", &mut inherit)?;
    let (accelerator, processor) = match machine.accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Emulation => ("tcg,thread=multi", "max"),
    };
    let mut list: Vec<String> = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned).into();
    let mut add = |option: &str, value: String| list.extend([option.to_owned(), value]);
    add("-name", format!("guest={}", machine.name));
    add("-M", "microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,x-option-roms=off".to_owned());
    add("-accel", accelerator.to_owned());
    add("-cpu", processor.to_owned());
    add("-smp", machine.cpus.to_string());
    add("-m", format!("{}K", machine.memory.0 >> 10));
    add("-kernel", format!("/proc/self/fd/{kernel}"));
    add("-initrd", format!("/proc/self/fd/{initrd}"));
    add("-append", machine.args.to_string());
    for node in disk {
        add("-blockdev", node);
    }
    add("-device", "virtio-blk-device,drive=root".to_owned());
    add("-netdev", netdev);
    add("-device", format!("virtio-net-device,netdev=n0,mac={}", machine.mac));
    add("-object", format!("filter-dump,id={CAPTURE},netdev=n0,file={},maxlen=1600", file::CAPTURE));
    add("-device", "virtio-rng-device".to_owned());
    add("-device", "i8042".to_owned());
    add("-serial", format!("file:{}", file::CONSOLE));
    add("-qmp", format!("unix:{},server=on,wait=off", file::CONTROL));
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    add("-display", "none".to_owned());
    add("-monitor", "none".to_owned());
    Ok(list)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => status.to_string(),
    }
}

/// The last lines of a log, control characters made harmless.
pub fn tail(path: &Path, count: usize) -> String {
    const MOST: u64 = 64 << 10;
    let read = || -> io::Result<String> {
        let mut log = File::open(path)?;
        let size = log.metadata()?.len();
        log.seek(SeekFrom::Start(size.saturating_sub(MOST)))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(log, MOST), &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// A line without terminal control sequences (ECMA-48: `ESC [ … letter`) and other control characters.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' && letters.next_if_eq(&'[').is_some() {
            while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {}
        } else if !letter.is_control() {
            out.push(letter);
        }
    }
    out
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
    Err(first.unwrap_or_else(|| describe(output.status)))
}
