//! The sandbox's first process: from a new set of namespaces to the command.
//!
//! It is root of a user namespace whose ids are the tree's on disk and nobody's else: what it may do, it may do to the
//! tree and to its own mounts. Source: user_namespaces(7), mount_namespaces(7), capabilities(7); what is masked and read-only
//! in `/proc` is what Docker and Podman mask (OCI runtime specification, `maskedPaths` and `readonlyPaths`).

use super::limits::{self, Limits};
use super::{Job, filter, session};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, chmodat, mkdirat, mknodat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, UnmountFlags, mount, mount_bind, mount_remount, move_mount, unmount};
use rustix::process::{Gid, Signal, Uid, chdir, pivot_root, set_parent_process_death_signal, umask};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, unshare_unsafe};
use std::ffi::{CString, OsString};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Device nodes a package's scripts may expect.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What the process outside hands over.
pub(super) struct Gift {
    /// The tree, as a mount that is attached nowhere yet.
    pub tree: OwnedFd,
    /// [`DEVICES`], likewise.
    pub devices: Vec<OwnedFd>,
    /// One byte comes once the ids are mapped and the process is counted; closed when the process outside is gone.
    pub go: OwnedFd,
}

/// Waits for its ids, makes the tree the root, and becomes the command, or process 1 above it. Returns its exit status then, or why it
/// is not there.
pub(super) fn enter(gift: Gift, job: &Job, argv: &[OsString]) -> io::Result<i32> {
    let mut go = std::fs::File::from(gift.go);
    go.read_exact(&mut [0])?;
    become_nobody_else()?;
    // Only now, for a change of user ids takes it back. Whoever went before that has closed the pipe.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if poll(&mut [PollFd::new(&go, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    // SAFETY: this process has one thread. The control group it is in becomes the only one it can name.
    let _ = unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) };
    change_root(&gift.tree, gift.devices, &job.limits)?;
    loopback()?;
    rustix::system::sethostname(b"localhost")?;
    umask(Mode::from_raw_mode(0o022));
    limits::bound(&job.limits)?;
    if let Some(streams) = job.streams {
        session::connect(streams)?;
    }
    drop_capabilities();
    filter::install()?;
    let Some((program, arguments)) = argv.split_first() else { return Ok(0) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("SOURCE_DATE_EPOCH", job.epoch.to_string()).envs(ENVIRONMENT);
    command.envs(job.environment.iter().map(|(name, value)| (name, value)));
    match job.streams {
        Some(streams) => session::run(command, streams),
        None => Err(command.exec()),
    }
}

/// What every command sees, whatever the build machine's environment holds.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    // Scripts that guess a language read these alone.
    ("LANG", "C.UTF-8"),
    ("LANGUAGE", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("SYSTEMD_OFFLINE", "1"),
];

/// Root of the namespace, in no group of the builder's.
fn become_nobody_else() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?)
}

/// Makes the tree the root, with fresh `/proc`, `/dev`, `/run` and `/tmp`. Everything is mounted after the change of root,
/// so that a link which a package shipped in place of a mount point leads nowhere else.
fn change_root(tree: &OwnedFd, devices: Vec<OwnedFd>, limits: &Limits) -> io::Result<()> {
    // Any folder will do to attach it: nothing of this view stays.
    move_mount(tree, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    chdir("/proc")?;
    pivot_root(".", ".")?;
    for name in ["/proc", "/dev", "/run", "/tmp"] {
        folder(name, 0o755)?;
    }
    mount("proc", "/proc", "proc", QUIET | MountFlags::NOEXEC, c"")?;
    tmpfs("/run", "0755", limits.memory / 8)?;
    tmpfs("/tmp", "1777", limits.memory / 2)?;
    folder("/run/lock", 0o1777)?;
    populate_dev(devices, limits)?;
    mask_proc()?;
    // The old root is stacked upon the new one; see pivot_root(2), "pivot_root(".", ".")".
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// Nothing on such a mount is a device or changes who runs it.
const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

fn tmpfs(path: &str, mode: &str, size: u64) -> io::Result<()> {
    let options = CString::new(format!("mode={mode},size={size}"))?;
    Ok(mount("tmpfs", path, "tmpfs", QUIET, options.as_c_str())?)
}

/// The usual harmless devices (each is the build machine's own, bound), pseudo terminals, shared memory.
fn populate_dev(devices: Vec<OwnedFd>, limits: &Limits) -> io::Result<()> {
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID, c"mode=0755,size=64k")?;
    folder("/dev/shm", 0o755)?;
    folder("/dev/pts", 0o755)?;
    tmpfs("/dev/shm", "1777", limits.memory / 4)?;
    // Without devpts scripts still run: some containers do not allow it.
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    let _ = mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options);
    for (name, device) in DEVICES.iter().zip(devices) {
        let node = format!("/dev/{name}");
        mknodat(CWD, &node, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)?;
        move_mount(device, "", CWD, &node, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    let links =
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
    for (name, target) in links {
        std::os::unix::fs::symlink(target, format!("/dev/{name}"))?;
    }
    // Nothing else is to appear in /dev.
    Ok(mount_remount("/dev", MountFlags::NOSUID | MountFlags::RDONLY, c"")?)
}

/// Not to be read: the kernel's memory, keys and timers, and how this machine was booted. Not to be written: what is the whole machine's.
const MASKED_FILES: [&str; 9] = [
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const MASKED_FOLDERS: [&str; 3] = ["/proc/acpi", "/proc/asound", "/proc/scsi"];
const READ_ONLY: [&str; 7] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/mtrr", "/proc/pressure", "/proc/sys", "/proc/sysrq-trigger"];

fn mask_proc() -> io::Result<()> {
    let there = |path: &&&str| Path::new(path).symlink_metadata().is_ok();
    let read_only = MountFlags::BIND | MountFlags::RDONLY | QUIET | MountFlags::NOEXEC;
    for path in MASKED_FILES.iter().filter(there) {
        mount_bind("/dev/null", *path)?;
    }
    for path in MASKED_FOLDERS.iter().filter(there) {
        mount("tmpfs", *path, "tmpfs", QUIET | MountFlags::NOEXEC | MountFlags::RDONLY, c"size=0,mode=0555")?;
    }
    for path in READ_ONLY.iter().filter(there) {
        mount_bind(*path, *path)?;
        mount_remount(*path, read_only, c"")?;
    }
    Ok(())
}

/// The loopback comes up; there is no other interface. Source: netdevice(7).
fn loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an `ifreq` is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives until the call returns and names an interface, as SIOCSIFFLAGS wants it.
    let status = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn folder(path: &str, mode: u32) -> io::Result<()> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What root inside keeps, over its own namespace: what unpacking and configuring packages takes.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::AUDIT_WRITE);

/// Takes the rest from every program that is started from here on. A capability the kernel does not know is not there.
fn drop_capabilities() {
    for capability in (0..64).filter_map(|bit| CapabilitySet::from_bits(1 << bit)) {
        if !CAPABILITIES.contains(capability) {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
}
