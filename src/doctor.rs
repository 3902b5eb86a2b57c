//! What goldsmith needs of this machine, each need tried rather than looked up. In: nothing. Out: a list of checks.
//! Uses `launch`, `sandbox`, `store`.

use crate::launch::host::TOOLS;
use crate::launch::qemu::PROGRAM as QEMU;
use crate::launch::tool::Tool;
use crate::launch::{self, firecracker};
use crate::sandbox::{self, Way};
use crate::store::Store;
use crate::values::ByteSize;
use rustix::fs::{ioctl_ficlone, statvfs};
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// How much a need is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All well.
    Ok,
    /// Goldsmith works, slower or without one of its verbs.
    Warn,
    /// No image can be built.
    Fail,
}

/// One need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is needed, one or two words.
    pub name: &'static str,
    /// Whether it is there.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to type to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The disk space under which a build of the desktop is likely to fail.
const SPACE: u64 = 6 << 30;
/// Where Debian's `debian-archive-keyring` package puts the keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Makes every check, in the order in which a build needs them.
pub fn examine() -> Vec<Check> {
    let mut checks = vec![sandbox(), keyring()];
    checks.extend(cache());
    checks.extend([qemu(), kvm(), firecracker(), tun()]);
    checks.extend(TOOLS.map(|needed| tool(needed, "`launch --network managed` needs it")));
    checks.push(tool(Tool { program: "newuidmap", package: "uidmap" }, "ordinary users need it to build"));
    checks
}

fn check(name: &'static str, verdict: Verdict, found: impl Into<String>, help: Option<&str>) -> Check {
    Check { name, verdict, found: found.into(), help: help.map(str::to_owned) }
}

fn sandbox() -> Check {
    match sandbox::probe() {
        Ok(Way::Root) => check("sandbox", Verdict::Ok, "namespaces, as root", None),
        Ok(Way::UserNamespace) => check("sandbox", Verdict::Ok, "a user namespace with subordinate ids", None),
        Err(problem) => {
            let text = problem.to_string();
            let (found, help) = text.split_once("\nhelp: ").unwrap_or((&text, "run goldsmith as root"));
            check("sandbox", Verdict::Fail, found, Some(help))
        }
    }
}

fn keyring() -> Check {
    if Path::new(KEYRING).exists() {
        return check("keyring", Verdict::Ok, KEYRING, None);
    }
    let help = "apt-get install debian-archive-keyring";
    check("keyring", Verdict::Fail, format!("{KEYRING} is not there"), Some(help))
}

fn cache() -> Vec<Check> {
    let store = match Store::open() {
        Ok(store) => store,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let text = error.to_string();
            let text = text.split("\nhelp: ").next().unwrap_or_default();
            let help = Some("set GOLDSMITH_CACHE to a folder that you may write to");
            return vec![check("cache", Verdict::Fail, format!("{text}{cause}"), help)];
        }
    };
    vec![writable(store.root()), space(store.root()), sharing(store.root())]
}

fn writable(folder: &Path) -> Check {
    match tempfile::tempfile_in(folder) {
        Ok(_) => check("cache", Verdict::Ok, folder.display().to_string(), None),
        Err(error) => {
            let help = Some("set GOLDSMITH_CACHE to a folder that you may write to");
            check("cache", Verdict::Fail, format!("{}: {error}", folder.display()), help)
        }
    }
}

fn space(folder: &Path) -> Check {
    let free = statvfs(folder).map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize));
    let (found, help) =
        (format!("{} free", ByteSize(free)), "goldsmith clean, or set GOLDSMITH_CACHE to a larger disk");
    if free >= SPACE {
        check("space", Verdict::Ok, found, None)
    } else {
        check("space", Verdict::Warn, format!("{found}; a desktop takes {}", ByteSize(SPACE)), Some(help))
    }
}

/// Whether files can share their bytes (reflinks): a virtual machine's disk then costs nothing to make.
fn sharing(folder: &Path) -> Check {
    let share = || -> io::Result<()> {
        let (from, to) = (tempfile::NamedTempFile::new_in(folder)?, tempfile::tempfile_in(folder)?);
        fs::write(from.path(), [0; 4096])?;
        Ok(ioctl_ficlone(to, File::open(from.path())?)?)
    };
    match share() {
        Ok(()) => check("reflinks", Verdict::Ok, "copies share their blocks", None),
        Err(_) => {
            check("reflinks", Verdict::Ok, "not on this filesystem (XFS, btrfs have them): copies are sparse", None)
        }
    }
}

fn qemu() -> Check {
    let help = Some("apt-get install qemu-system-x86");
    match Command::new(QEMU).arg("--version").stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            check("qemu", Verdict::Ok, text.lines().next().unwrap_or_default().trim(), None)
        }
        Ok(output) => check("qemu", Verdict::Warn, format!("`{QEMU} --version`: {}", output.status), help),
        Err(error) => check("qemu", Verdict::Warn, format!("{QEMU}: {error}; images build, but do not launch"), help),
    }
}

/// A device file says little: nested virtualisation may be broken, so code is run.
fn kvm() -> Check {
    match launch::kvm() {
        Ok(()) => check("kvm", Verdict::Ok, "it runs a guest's code", None),
        Err(broken) => {
            let found = format!("{broken}; virtual machines are emulated (slow, but they work)");
            check("kvm", Verdict::Warn, found, Some(&broken.help))
        }
    }
}

/// Nobody must have it: QEMU does all that it does, more slowly.
fn firecracker() -> Check {
    match firecracker::Program::find() {
        Ok(program) => check("firecracker", Verdict::Ok, program.path.display().to_string(), None),
        Err(error) => {
            let text = error.to_string();
            let found = text.split("\nhelp: ").next().unwrap_or_default();
            check("firecracker", Verdict::Ok, format!("{found}; QEMU is used"), None)
        }
    }
}

fn tun() -> Check {
    match fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => check("tap", Verdict::Ok, "/dev/net/tun", None),
        Err(error) => {
            let found = format!("/dev/net/tun: {error}; `launch --network user` works, bridges do not");
            check("tap", Verdict::Warn, found, Some("sudo modprobe tun"))
        }
    }
}

fn tool(tool: Tool, purpose: &str) -> Check {
    match tool.find() {
        Ok(path) => check(tool.program, Verdict::Ok, path.display().to_string(), None),
        Err(_) => {
            let help = format!("apt-get install {}", tool.package);
            check(tool.program, Verdict::Warn, format!("not installed; {purpose}"), Some(&help))
        }
    }
}
