//! What has been ordered: a request that has been checked.

use super::api::CreateVm;
use super::idempotency::Asked;
use super::images::Images;
use super::problem::Problem;
use crate::gate;
use crate::launch;
use crate::manifest::{Manifest, Probe};
use crate::values::{ByteSize, utc};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a VM is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The VM's id, and its name.
    pub id: String,
    /// The image's name.
    pub image: String,
    /// Whom it is for.
    pub user: Option<String>,
    /// Boot parameters.
    pub set: Vec<(String, String)>,
    /// Bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u8,
    /// The address at which the guest must be.
    pub expect: Option<IpAddr>,
    /// When it was asked for.
    pub created: String,
    /// What its image's manifest says must answer.
    pub probes: Vec<Probe>,
    /// The request that it was ordered by, if that may come again.
    pub asked: Option<Asked>,
}

/// A guest of ours needs more to boot at all.
const LEAST_MEMORY: ByteSize = ByteSize(64 << 20);

impl Order {
    /// Checks a request against the image's manifest. Reads a file.
    pub fn new(request: CreateVm, asked: Option<Asked>, images: &Images) -> Result<Self, Problem> {
        let CreateVm { image, parameters, user, memory, cpus, expect } = request;
        let Some(folder) = images.folder(&image) else {
            let detail = format!("there is no image {image:?}; there are: {}", images.names().join(", "));
            return Err(Problem::value("/image", detail));
        };
        let default = launch::Options::new(folder);
        if let Some(user) = &user {
            check_user("/user", user)?;
        }
        let memory = match memory {
            Some(text) => text.parse().map_err(|error| Problem::value("/memory", format!("{error}")))?,
            None => default.memory,
        };
        if memory < LEAST_MEMORY || !memory.0.is_multiple_of(1 << 20) {
            return Err(Problem::value(
                "/memory",
                format!("a VM has at least {LEAST_MEMORY} of memory, and no fractions of an M"),
            ));
        }
        let cpus = cpus.unwrap_or(default.cpus);
        if !(1..=32).contains(&cpus) {
            return Err(Problem::value("/cpus", "a VM has 1 to 32 processors"));
        }
        let manifest = images.manifest(&image).map_err(|error| Problem::internal(error.to_string()))?;
        let set: Vec<_> = parameters.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        check_parameters(&manifest, &set)?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let id = new_id().map_err(|error| Problem::internal(format!("no random number: {error}")))?;
        Ok(Self {
            id,
            image,
            user,
            set,
            memory: memory.0,
            cpus,
            expect,
            created: utc(seconds),
            probes: manifest.probes,
            asked,
        })
    }
}

fn new_id() -> io::Result<String> {
    // Short enough for the table of `goldsmith ps`, long enough not to meet another one.
    let mut random = [0; 6];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    let digits = random.map(|byte| format!("{byte:02x}"));
    Ok(format!("vm-{}", digits.concat()))
}

/// A user's name: it appears in logs and quotas.
pub fn check_user(field: &str, user: &str) -> Result<(), Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(&byte);
    if user.is_empty() || user.len() > 64 || !user.bytes().all(good) {
        return Err(Problem::value(field, "a user is 1 to 64 letters, digits and `._@:-`"));
    }
    Ok(())
}

/// What `goldsmith launch --set` would refuse, said before a VM waits for its turn.
fn check_parameters(manifest: &Manifest, set: &[(String, String)]) -> Result<(), Problem> {
    gate::arguments(&manifest.boot, set, "", &[]).map(|_| ()).map_err(|error| {
        use gate::ArgumentError::{Append, Missing, TooLong, Unknown, Value};
        let text = error.to_string();
        let (problem, help) = text.split_once("\nhelp: ").unwrap_or((&text, ""));
        // The other hints say what to type at a terminal.
        let (name, detail) = match &error {
            Append(_) | TooLong { .. } => return Problem::value("/parameters", problem.to_owned()),
            Unknown { name, .. } => (name, format!("{problem}; {help}")),
            Value { name, .. } | Missing { name, .. } => (name, problem.to_owned()),
        };
        Problem::value(&format!("/parameters/{name}"), detail)
    })
}
