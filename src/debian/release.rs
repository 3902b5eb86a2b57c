//! `InRelease`: the signed list of an archive's index files. Source: Debian Wiki "DebianRepository/Format", apt-secure(8).

use super::{Error, Stanza};
use crate::door;
use crate::recipe::Archive;
use crate::store;
use crate::values::Sha256;
use openpgp::KeyHandle;
use openpgp::cert::CertParser;
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{MessageLayer, MessageStructure, VerificationError, VerificationHelper, VerifierBuilder};
use openpgp::policy::StandardPolicy;
use sequoia_openpgp as openpgp;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest `InRelease` that is read. Debian's have 150 kB.
const MAX_RELEASE: u64 = 8 << 20;

/// The longest keyring that is read. Debian's has 60 kB.
const MAX_KEYRING: u64 = 4 << 20;

/// A verified `InRelease`.
pub(super) struct Release {
    /// Digest of the whole signed file.
    pub digest: Sha256,
    /// Seconds since 1970.
    pub date: i64,
    /// Whether index files are also found under their digest.
    pub by_hash: bool,
    /// Size and digest of every index file, by path.
    pub files: BTreeMap<String, (u64, Sha256)>,
}

impl Release {
    /// Downloads and verifies the `InRelease` of an archive: signature, dates, suite.
    pub fn fetch(archive: &Archive, now: SystemTime) -> Result<Self, Error> {
        let url = format!("{}/dists/{}/InRelease", archive.mirror, archive.suite);
        let metadata = |cause: String| Error::Metadata { url: url.clone(), cause };
        let signed = store::get(&url, MAX_RELEASE)
            .map_err(metadata)?
            .ok_or_else(|| metadata("the server has no such suite (404)".to_owned()))?;
        let untrusted = |cause: String| Error::Untrusted { url: url.clone(), cause };
        let text = verify(&signed, archive, now)?.map_err(untrusted)?;
        Self::parse(&text, archive, now, Sha256::of(&signed)).map_err(untrusted)
    }

    pub fn parse(text: &[u8], archive: &Archive, now: SystemTime, digest: Sha256) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let stanza = Stanza::all(text).next().ok_or("it is empty")?;
        let named = |name: &str| stanza.field(name).unwrap_or_default();
        if named("Suite") != archive.suite && named("Codename") != archive.suite {
            return Err(format!("it is for `{}` ({}), not for `{}`", named("Suite"), named("Codename"), archive.suite));
        }
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let date = parse_date(named("Date")).ok_or_else(|| format!("its date `{}` cannot be read", named("Date")))?;
        if date > now + 3600 {
            return Err(format!("it is from the future ({}); is this machine's clock right?", named("Date")));
        }
        if let Some(until) = stanza.field("Valid-Until") {
            let end = parse_date(until).ok_or_else(|| format!("its Valid-Until `{until}` cannot be read"))?;
            if end < now {
                return Err(format!("it expired on {until}: the mirror is stale, or this machine's clock is wrong"));
            }
        }
        let files = named("SHA256").lines().filter_map(parse_file).collect();
        Ok(Self { digest, date, by_hash: named("Acquire-By-Hash") == "yes", files })
    }
}

fn parse_file(line: &str) -> Option<(String, (u64, Sha256))> {
    let mut words = line.split_whitespace();
    let (digest, size, path) = (words.next()?, words.next()?, words.next()?);
    Some((path.to_owned(), (size.parse().ok()?, digest.parse().ok()?)))
}

/// `Sat, 06 Sep 2026 09:33:18 UTC` → seconds since 1970. Source: RFC 5322 as Debian archives write it.
fn parse_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ").map_or(text, |(_, rest)| rest).split_whitespace();
    let day = i64::from(words.next()?.parse::<u8>().ok()?);
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok().map(i64::from));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !matches!(words.next()?, "UTC" | "GMT" | "+0000") || !(1970..10_000).contains(&year) {
        return None;
    }
    // Days from the civil calendar, with March as the first month (Howard Hinnant, "chrono-compatible date algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The signed text of `message`, if at least one key of the archive's keyring made a good signature.
pub(super) fn verify(message: &[u8], archive: &Archive, now: SystemTime) -> Result<Result<Vec<u8>, String>, Error> {
    let path = &archive.keyring;
    let keyring = door::read(path, "a keyring", MAX_KEYRING).map_err(|error| match error.problem {
        door::Problem::Absent => Error::NoKeyring(path.clone()),
        problem => Error::Keyring { path: path.clone(), cause: problem.to_string() },
    })?;
    let certs = CertParser::from_bytes(&keyring)
        .map_err(|error| Error::Keyring { path: path.clone(), cause: error.to_string() })?
        .filter_map(Result::ok)
        .collect();
    let policy = StandardPolicy::at(now);
    let verified = VerifierBuilder::from_bytes(message)
        .and_then(|builder| builder.with_policy(&policy, now + Duration::from_secs(3600), Keyring { certs }))
        .and_then(|mut verifier| {
            let mut text = Vec::new();
            verifier.read_to_end(&mut text)?;
            Ok(text)
        });
    Ok(verified.map_err(|error| format!("{error:#} (keyring {})", path.display())))
}

struct Keyring {
    certs: Vec<openpgp::Cert>,
}

impl VerificationHelper for Keyring {
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<openpgp::Cert>> {
        Ok(self.certs.clone())
    }

    fn check(&mut self, structure: MessageStructure) -> openpgp::Result<()> {
        let mut problems = Vec::new();
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                match result {
                    Ok(_) => return Ok(()),
                    Err(VerificationError::MissingKey { sig }) => {
                        let issuer =
                            sig.get_issuers().first().map_or_else(|| "an unnamed key".to_owned(), ToString::to_string);
                        problems.push(format!("signed by {issuer}, which is not in the keyring"));
                    }
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        if problems.is_empty() {
            problems.push("it carries no signature".to_owned());
        }
        Err(openpgp::anyhow::anyhow!(problems.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_archives_write_them() {
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(parse_date("Sat, 29 Feb 2020 12:30:05 UTC"), Some(1_582_979_405));
        assert_eq!(parse_date("Sat, 06 Sep 2026 09:33:18 CEST"), None);
        assert_eq!(parse_date("yesterday"), None);
        assert_eq!(parse_date("Sat, 9223372036854775807 Sep 2026 09:33:18 UTC"), None);
        assert_eq!(parse_date("Sat, 06 Sep 2026 9223372036854775807:33:18 UTC"), None);
    }
}
