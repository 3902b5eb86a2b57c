//! The two steps into the sandbox: new namespaces, then, as process 1 of them, root, mounts, filter and exec.

use super::{INNER, filter};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{Signal, chdir, pivot_root, set_parent_process_death_signal, umask};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, unshare_unsafe};
use std::ffi::{CStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Command;

/// Device nodes a package's scripts may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Exit status when the sandbox itself could not be made, as env(1) and chroot(1) use it.
const SETUP_FAILED: i32 = 125;

/// Makes the namespaces and starts their first process.
pub(super) fn outer(arguments: &[OsString]) -> i32 {
    report(|| {
        namespaces()?;
        let status = Command::new("/proc/self/exe").arg(INNER).args(arguments).status()?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    })
}

/// Tries everything the sandbox needs of the kernel, and runs nothing.
pub(super) fn probe() -> i32 {
    report(|| {
        namespaces()?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount("tmpfs", "/proc", "tmpfs", MountFlags::NOSUID, c"mode=755")?;
        filter::install()?;
        Ok(0)
    })
}

fn namespaces() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWCGROUP;
    // SAFETY: this process has one thread; file descriptors stay shared with nobody (FILES is not asked for).
    let _: () = unsafe { unshare_unsafe(namespaces)? };
    Ok(())
}

/// As process 1: makes the root tree the root, and becomes the command.
pub(super) fn inner(arguments: &[OsString]) -> i32 {
    report(|| {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let [root, epoch, count, rest @ ..] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
        let count: usize = count.to_str().and_then(|count| count.parse().ok()).unwrap_or_default();
        let (environment, argv) = rest.split_at_checked(count).ok_or(io::ErrorKind::InvalidInput)?;
        let (program, argv) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        enter(Path::new(root))?;
        rustix::system::sethostname(b"localhost")?;
        umask(Mode::from_raw_mode(0o022));
        drop_capabilities();
        filter::install()?;
        let mut command = Command::new(program);
        command.args(argv).env_clear().env("SOURCE_DATE_EPOCH", epoch).envs(ENVIRONMENT);
        command.envs(environment.iter().filter_map(|pair| pair.to_str()?.split_once('=')));
        Err(command.exec())
    })
}

/// What every command sees, whatever the build machine's environment holds.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("SYSTEMD_OFFLINE", "1"),
];

/// Makes `root` the root, with fresh `/proc`, `/dev`, `/run` and `/tmp`. Everything is mounted after the change of root,
/// so that a link which a package shipped in place of a mount point leads nowhere else.
fn enter(root: &Path) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind(root, root)?;
    let devices = DEVICES.map(|name| open_tree(CWD, format!("/dev/{name}"), OpenTreeFlags::OPEN_TREE_CLONE));
    chdir(root)?;
    pivot_root(".", ".")?;
    for name in ["/proc", "/dev", "/run", "/tmp"] {
        folder(name, 0o755)?;
    }
    let (quiet, none) = (MountFlags::NOSUID | MountFlags::NODEV, None::<&CStr>);
    mount("proc", "/proc", "proc", quiet | MountFlags::NOEXEC, none)?;
    mount("tmpfs", "/run", "tmpfs", quiet, c"mode=755")?;
    mount("tmpfs", "/tmp", "tmpfs", quiet, c"mode=1777")?;
    folder("/run/lock", 0o1777)?;
    populate_dev(devices)?;
    // The old root is stacked upon the new one; see pivot_root(2), "pivot_root(".", ".")".
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// The usual harmless devices (each is the build machine's own, bound), pseudo terminals, shared memory.
fn populate_dev(devices: [Result<OwnedFd, Errno>; DEVICES.len()]) -> io::Result<()> {
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID, c"mode=755")?;
    folder("/dev/shm", 0o1777)?;
    folder("/dev/pts", 0o755)?;
    // Without devpts scripts still run: some containers do not allow it.
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    let _ = mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options);
    for (name, device) in DEVICES.iter().zip(devices) {
        let node = format!("/dev/{name}");
        mknodat(CWD, &node, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)?;
        move_mount(device?, "", CWD, &node, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    let links =
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
    for (name, target) in links {
        std::os::unix::fs::symlink(target, format!("/dev/{name}"))?;
    }
    // Nothing else is to appear in /dev.
    let _ = mount_remount("/dev", MountFlags::NOSUID | MountFlags::RDONLY, c"");
    Ok(())
}

fn folder(path: &str, mode: u32) -> io::Result<()> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What root inside keeps: what unpacking and configuring packages takes. Source: capabilities(7).
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
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

fn report(step: impl FnOnce() -> io::Result<i32>) -> i32 {
    step().unwrap_or_else(|error| {
        eprintln!("the sandbox could not be made: {error}");
        SETUP_FAILED
    })
}
