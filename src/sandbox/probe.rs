//! Whether the sandbox works here, found out by making one.

use super::{PROBE, user};
use rustix::process::geteuid;
use std::process::{Command, Output};

/// How commands get to be root of their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// This process is root.
    Root,
    /// By a user namespace with subordinate ids.
    UserNamespace,
}

/// Makes and leaves a sandbox; says how, or what stands in the way and what to type.
pub fn probe() -> Result<Way, user::Problem> {
    let (way, output) = if geteuid().is_root() {
        let stage = Command::new("/proc/self/exe").arg(PROBE).stdin(std::process::Stdio::null()).output()?;
        (Way::Root, stage)
    } else {
        (Way::UserNamespace, user::start(&[PROBE.into()], true)?.wait_with_output()?)
    };
    if output.status.success() { Ok(way) } else { Err(refused(&output)) }
}

fn refused(output: &Output) -> user::Problem {
    let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if geteuid().is_root() { user::Problem::Namespaces { cause } } else { user::Problem::Refused { cause } }
}
