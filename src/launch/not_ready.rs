//! A VM that did not become ready: gathering what is known of it, and the report.

use super::Vm;
use super::diagnosis::{self, Diagnosis, Failed, Symptoms, Unpassed, diagnose};
use super::ready::Passed;
use super::vmm::tail;
use crate::image::View;
use crate::network::NetworkMode;
use schemars::JsonSchema;
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::Path;

/// How many lines of the console a diagnosis looks at.
const LINES: usize = 400;
/// Where systemd looks for units in an image (systemd.unit(5)).
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
/// The longest unit that is read.
const MAX_UNIT: u64 = 64 << 10;

/// A VM that did not become ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotReady {
    /// The VM's name.
    pub name: String,
    /// What failed first.
    pub diagnosis: Diagnosis,
    /// The probes that have passed.
    pub passed: Vec<Passed>,
    /// The probes that have not.
    pub failed: Vec<String>,
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Diagnosis { message, rule, help, exchange, bridge, console, .. } = &self.diagnosis;
        write!(f, "{} is not ready: {message}", self.name)?;
        for passed in &self.passed {
            write!(f, "\n  passed  {} ({})", passed.name, passed.answer)?;
        }
        for name in &self.failed {
            write!(f, "\n  failed  {name}")?;
        }
        for (title, lines) in [("on the NIC", exchange), ("on the host", bridge), ("on the console", console)] {
            if !lines.is_empty() {
                write!(f, "\n  {title}:")?;
            }
            for line in lines {
                write!(f, "\n  | {line}")?;
            }
        }
        if let Some(rule) = rule {
            write!(f, "\n  `goldsmith explain {rule}` explains the rule that predicts this")?;
        }
        write!(f, "\nhelp: {help}")
    }
}

impl Vm {
    /// Looks at everything that may say why it is not ready.
    pub(super) fn not_ready(
        &self,
        address: Option<Ipv4Addr>,
        passed: Vec<Passed>,
        unpassed: &[Unpassed],
        ended: Option<&str>,
    ) -> NotReady {
        let console = tail(&self.console(), LINES);
        let (said, frames) = self.watch.as_ref().map_or((&[][..], 0), |watch| (watch.seen(), watch.frames()));
        // A VMM that does not answer has nothing to say.
        let halted = self.vmm.halted().ok().flatten();
        let dhcp = self.manifest.network.declared.mode == NetworkMode::Dhcp;
        let name = &self.record.name;
        let diagnosis = diagnose(&Symptoms {
            name,
            ended,
            halted: halted.as_deref(),
            console: &console,
            units: &failed_units(&self.record.image.join(&self.manifest.image.file), &console),
            said,
            frames,
            guest: Some(self.mac),
            dhcp,
            address,
            sight: self.attachment.sight(address, dhcp),
            probes: unpassed,
            findings: &self.findings,
        });
        let failed = unpassed.iter().map(|Unpassed { name, failure, .. }| match failure {
            Some(failure) => format!("{name}: {failure}"),
            None if address.is_none() => format!("{name}: not asked, the guest's address is not known"),
            None => format!("{name}: not asked yet"),
        });
        NotReady { name: name.to_string(), failed: failed.collect(), diagnosis, passed }
    }
}

/// The units that failed, with the ports that their files in the image name.
pub(super) fn failed_units(image: &Path, console: &str) -> Vec<Failed> {
    let mut units = diagnosis::failed(console);
    if !units.is_empty()
        && let Ok(image) = View::open_path(image)
    {
        for unit in &mut units {
            // What cannot be read says nothing.
            let read = |folder: &&str| image.read(&format!("{folder}/{}", unit.name).parse().ok()?, MAX_UNIT).ok()?;
            let text = UNITS.iter().find_map(read).unwrap_or_default();
            unit.ports = diagnosis::ports(&String::from_utf8_lossy(&text));
        }
    }
    units
}
