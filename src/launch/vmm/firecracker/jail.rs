//! Firecracker behind its jailer: a user, a root folder and a process namespace of its own.
//!
//! Source: Firecracker `docs/jailer.md`, `src/jailer/src/env.rs`. The jail is in the machine's folder, so it goes with it.

use super::super::process::Command;
use super::super::{Error, Machine, file};
use super::{JAILER, Program, id};
use crate::values::Sha256;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How Firecracker is jailed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jail {
    /// Settings of its control group, as in `memory.max=2G`.
    pub cgroups: Vec<String>,
}

/// The group above all control groups of jails, under `/sys/fs/cgroup`.
const PARENT: &str = "goldsmith";
/// How long a dead machine's control group may take to become empty.
const PATIENCE: Duration = Duration::from_secs(2);

/// The user of a machine, and its group: one of 134 million that nothing else uses, by the machine's folder. Source: systemd
/// `docs/UIDS-GIDS.md`: 1879048192 to 2147352575 are free.
pub fn user(folder: &Path) -> u32 {
    let [a, b, c, d, ..] = Sha256::of(folder.as_os_str().as_encoded_bytes()).0;
    0x7000_0000 | u32::from_be_bytes([a, b, c, d]) & 0x07ff_ffff
}

/// The machine's control group, if it will have one. Only version 2 is spoken.
pub fn cgroup(jail: &Jail, name: &str) -> Option<PathBuf> {
    (!jail.cgroups.is_empty()).then(|| Path::new("/sys/fs/cgroup").join(PARENT).join(id(name)))
}

/// A machine's control group. Dropped, it is removed, as soon as the last process in it is gone.
#[derive(Debug)]
pub struct Group(pub PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let started = Instant::now();
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The group above goes with the last one in it.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// Where the jailer makes the jail's root folder.
pub fn root(machine: &Machine, program: &Program) -> PathBuf {
    let name = program.path.file_name().unwrap_or_default();
    base(machine).join(name).join(id(machine.name)).join("root")
}

fn base(machine: &Machine) -> PathBuf {
    machine.folder.join("jail")
}

/// Makes the root folder, and gives it the disk, the log and the metrics, which are the jail's user's.
pub fn furnish(machine: &Machine, root: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    let user = user(machine.folder);
    for name in [file::DISK, file::VMM, super::setup::name::METRICS] {
        // Links, not copies: the machine's folder keeps what is read from outside.
        fs::hard_link(machine.folder.join(name), root.join(name))?;
        chown(root.join(name), Some(user), Some(user))?;
    }
    Ok(())
}

/// The jailer's command line.
///
/// The jailed process changes its user, and the kernel then forgets that it was to end with its parent (prctl(2),
/// `PR_SET_PDEATHSIG`). So it runs in a process namespace whose first process, the inner `unshare`, stays root and ends with
/// the outer one, which ends with us; and with its first process the kernel ends a namespace (pid_namespaces(7)).
pub fn command<'a>(machine: &Machine<'a>, jail: &Jail, program: &Program) -> Result<Command<'a>, Error> {
    let jailer = super::super::program::find(JAILER).ok_or_else(|| Error::Missing { program: JAILER.to_owned() })?;
    let user = user(machine.folder).to_string();
    let mut arguments: Vec<String> =
        ["--pid", "--fork", "--kill-child", "--", "unshare", "--fork", "--"].map(str::to_owned).into();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&[&jailer.to_string_lossy(), "--id", &id(machine.name), "--exec-file", &program.path.to_string_lossy()]);
    add(&["--uid", &user, "--gid", &user, "--chroot-base-dir", &base(machine).to_string_lossy()]);
    if let Some(namespace) = machine.attachment.cell() {
        add(&["--netns", &namespace]);
    }
    if !jail.cgroups.is_empty() {
        add(&["--cgroup-version", "2", "--parent-cgroup", PARENT]);
    }
    for setting in &jail.cgroups {
        add(&["--cgroup", setting]);
    }
    add(&["--", "--api-sock", file::CONTROL]);
    Ok(Command {
        program: "unshare".to_owned(),
        arguments,
        folder: machine.folder,
        output: Some(machine.folder.join(file::CONSOLE)),
        inherited: Vec::new(),
        fenced: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_group_takes_the_one_above_along() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join(PARENT);
        let [first, second] = ["a", "b"].map(|name| parent.join(name));
        fs::create_dir_all(&first).unwrap();
        fs::create_dir_all(&second).unwrap();
        drop(Group(first.clone()));
        assert!(!first.exists() && second.exists());
        drop((Group(first), Group(second)));
        assert!(!parent.exists() && folder.path().exists());
    }

    #[test]
    fn every_folder_has_a_user_of_the_range() {
        let [a, b] = ["/v/a", "/v/b"].map(|folder| user(Path::new(folder)));
        assert_ne!(a, b);
        assert!([a, b].iter().all(|user| (1_879_048_192..=2_147_352_575).contains(user)));
    }
}
