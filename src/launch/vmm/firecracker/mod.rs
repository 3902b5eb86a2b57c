//! Firecracker, by its API, in a jail or not.
//!
//! Source: Firecracker `docs/getting-started.md`, `docs/api_requests/actions.md`, `docs/device-api.md`.

pub(super) mod api;
pub mod jail;
mod setup;

pub use jail::Jail;

use super::process::{Command, Process};
use super::{Checked, Error, Machine, file, program};
use crate::launch::disk;
use crate::progress::Silent;
use api::Api;
use serde_json::{Value, json};
use setup::{Setup, name};
use std::fs::File;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// The program.
pub const PROGRAM: &str = "firecracker";
/// The program that jails it.
pub const JAILER: &str = "jailer";
/// The oldest version that is supported.
const OLDEST: (u32, u32) = (1, 13);

/// Firecracker on this machine.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is, links followed: the jail is called by the file's name.
    pub path: PathBuf,
}

impl Program {
    /// Finds it and asks it for its version.
    pub fn find() -> Result<Self, Error> {
        let path = program::find(PROGRAM).ok_or_else(|| Error::Missing { program: PROGRAM.to_owned() })?;
        let io = |what: String| move |cause| Error::Io { what, cause };
        let output = duct::cmd!(&path, "--version").stderr_null().unchecked().read();
        let text = output.map_err(io(format!("run {} --version", path.display())))?;
        let found = text.lines().next().unwrap_or_default().trim().to_owned();
        if version(&found).is_none_or(|version| version < OLDEST) {
            return Err(Error::TooOld { path, found });
        }
        let path = path.canonicalize().map_err(io(format!("follow {}", path.display())))?;
        Ok(Self { path })
    }
}

/// `Firecracker v1.13.1` → 1, 13.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, number) = text.rsplit_once(" v")?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// A machine's name in Firecracker's letters: letters, digits and hyphens.
fn id(name: &str) -> String {
    name.replace('_', "-")
}

/// A running Firecracker.
#[derive(Debug)]
pub struct Firecracker {
    /// Its process, or that of the jail around it.
    pub process: Process,
    api: Api,
}

impl Firecracker {
    /// Starts a machine whose tap has been handed over.
    pub fn start(machine: &Machine) -> Result<Self, Error> {
        let io = |what: &'static str| move |cause| Error::Io { what: what.to_owned(), cause };
        let program = Program::find()?;
        for name in [file::VMM, name::METRICS] {
            File::create(machine.folder.join(name)).map_err(io("make Firecracker's logs"))?;
        }
        let (root, command) = match machine.jail {
            Some(jail) => (jail::root(machine, &program), jail::command(machine, jail, &program)?),
            None => (machine.folder.to_owned(), bare(machine, &program)),
        };
        if machine.jail.is_some() {
            jail::furnish(machine, &root).map_err(io("make the jail"))?;
        }
        for (file, name) in [(machine.kernel, name::KERNEL), (machine.initrd, name::INITRD)] {
            place(file, &root.join(name), owner(machine.jail, machine.folder))
                .map_err(io("give Firecracker its kernel and initrd"))?;
        }
        let setup = Setup::new(machine, name::KERNEL.to_owned(), name::INITRD.to_owned())?;
        let process = Process::start(command)?;
        let api = Api::new(&root);
        process.answer(|| api.get("/version"))?;
        let start = ("/actions".to_owned(), json!({ "action_type": "InstanceStart" }));
        for (path, body) in setup.requests().into_iter().chain([start]) {
            if let Err(cause) = api.put(&path, &body) {
                process.alive()?;
                return Err(Error::Io { what: format!("tell Firecracker about {path}"), cause });
            }
        }
        Ok(Self { process, api })
    }

    /// Presses Ctrl-Alt-Del. A guest that obeys resets the machine, and with that Firecracker ends.
    pub fn press_stop(&self) -> io::Result<()> {
        self.api.put("/actions", &json!({ "action_type": "SendCtrlAltDel" }))
    }
}

/// The user that a machine's Firecracker runs as, and that must be able to open its tap.
pub fn owner(jail: Option<&Jail>, folder: &Path) -> u32 {
    jail.map_or_else(|| rustix::process::geteuid().as_raw(), |_| jail::user(folder))
}

/// The command line outside of a jail.
fn bare<'a>(machine: &Machine<'a>, program: &Program) -> Command<'a> {
    Command {
        program: program.path.to_string_lossy().into_owned(),
        arguments: ["--id", &id(machine.name), "--api-sock", file::CONTROL].map(str::to_owned).into(),
        folder: machine.folder,
        output: Some(machine.folder.join(file::CONSOLE)),
        inherited: Vec::new(),
        fenced: false,
    }
}

/// Copies the very file that was checked to where Firecracker will open it, sharing its blocks where that can be.
fn place(file: &Checked, to: &Path, owner: u32) -> io::Result<()> {
    disk::duplicate(file.file, to, &Silent)?;
    chown(to, Some(owner), Some(owner))
}

/// The machine as `--config-file` reads it. The disk is a copy of the image that a launch makes.
pub fn describe(machine: &Machine) -> Result<Value, Error> {
    let [kernel, initrd] = [machine.kernel, machine.initrd].map(|file| file.path.display().to_string());
    Ok(json!(Setup::new(machine, kernel, initrd)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_program_prints() {
        assert_eq!(version("Firecracker v1.13.1"), Some((1, 13)));
        assert_eq!(version("Firecracker v1.17.0-dev"), Some((1, 17)));
        for bad in ["", "Firecracker", "Firecracker v1", "firecracker vX.1"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
