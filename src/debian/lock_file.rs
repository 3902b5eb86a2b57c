//! The lock's file form: YAML, a package a line.
//!
//! ```text
//! # The packages of desktop.yaml. Written by `goldsmith lock`; commit it, do not edit it.
//! schema: goldsmith.lock/v1
//! recipe: 0123…
//! architecture: amd64
//! epoch: 1788888888
//! archives:
//!   - { mirror: http://deb.debian.org/debian, suite: bookworm, inrelease: …, date: 1788888888, snapshot: … }
//! packages:
//!   - { name: adduser, version: 3.134, architecture: all, role: rootfs, archive: 0, size: …, sha256: …, path: pool/… }
//! ```

use super::{Error, Lock, LockedArchive, LockedPackage, Role};
use crate::door;
use crate::recipe::Recipe;
use crate::values::{GuestPath, Sha256};
use crate::whole;
use crate::yaml;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const SCHEMA: &str = "goldsmith.lock/v1";

/// The longest lock that is read: about 25,000 packages. That of a whole desktop has 500 kB.
const MAX_LOCK: u64 = 8 << 20;
const LIMITS: yaml::Limits = yaml::Limits { text: MAX_LOCK as usize, nodes: 600_000 };

/// The largest package: what an `ar` member's size field can say. Source: ar(5).
const MAX_PACKAGE: u64 = 10_000_000_000;
/// The longest name, version or path of a package.
const MAX_WORD: usize = 512;
/// The years 1970 to 9999, in seconds.
const TIMES: std::ops::Range<i64> = 0..253_402_300_800;

/// What is wrong with a lock file's text.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Left by version control.
    #[error("it has merge conflict markers (line {0})")]
    Conflict(usize),
    /// Some other file.
    #[error("it is no lock: it has no `schema: {SCHEMA}`")]
    Foreign,
    /// Not YAML, or too much of it.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// Not YAML of this shape.
    #[error(transparent)]
    Syntax(#[from] serde_yaml::Error),
    /// Another version's file.
    #[error("its schema is `{0}`, this version reads `{SCHEMA}`")]
    Schema(String),
    /// A value that no lock may have.
    #[error("package `{0}`: {1}")]
    Package(String, &'static str),
    /// An archive that no recipe could name.
    #[error("archive `{0}`: {1}")]
    Archive(String, &'static str),
    /// A package that is there twice.
    #[error("package `{0}` is there twice")]
    Twice(String),
    /// A time that no archive has.
    #[error("{0} is no time that archives were signed at")]
    Time(i64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    recipe: Sha256,
    architecture: String,
    epoch: i64,
    archives: Vec<ArchiveLine>,
    packages: Vec<PackageLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchiveLine {
    mirror: String,
    suite: String,
    inrelease: Sha256,
    date: i64,
    #[serde(default)]
    snapshot: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageLine {
    name: String,
    version: String,
    architecture: String,
    role: Role,
    #[serde(default)]
    essential: bool,
    archive: usize,
    size: u64,
    sha256: Sha256,
    path: String,
}

impl Lock {
    /// Where a recipe's lock is: `NAME.lock` beside the recipe.
    pub fn path_for(recipe: &Recipe) -> PathBuf {
        recipe.file.with_file_name(format!("{}.lock", recipe.name))
    }

    /// Reads the lock at `path`; none when there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        match door::read_text(path, "a lock", MAX_LOCK) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|cause| Error::LockSyntax { path: path.into(), cause }),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(Error::LockFile { what: "read", path: path.into(), cause: error.into() }),
        }
    }

    /// Writes the lock, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |cause| Error::LockFile { what: "write", path: path.into(), cause };
        whole::write(path, self.render(path).as_bytes(), 0o644).map_err(fail)
    }

    /// Reads a lock file's text.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if let Some(line) = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")) {
            return Err(LockError::Conflict(line + 1));
        }
        // Nothing of another file is repeated in a message, and no more is taken in than a lock could need.
        if !text.lines().any(|line| line.starts_with("schema: goldsmith.lock/")) {
            return Err(LockError::Foreign);
        }
        yaml::parse_within(text, LIMITS)?;
        let file: File = serde_yaml::from_str(text)?;
        if file.schema != SCHEMA {
            return Err(LockError::Schema(brief(&file.schema)));
        }
        let times = std::iter::once(file.epoch).chain(file.archives.iter().map(|archive| archive.date));
        if let Some(time) = times.into_iter().find(|time| !TIMES.contains(time)) {
            return Err(LockError::Time(time));
        }
        let archives: Vec<_> = file.archives.into_iter().map(ArchiveLine::check).collect::<Result<_, _>>()?;
        let packages: Vec<_> =
            file.packages.into_iter().map(|line| line.check(archives.len())).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = packages.iter().find(|package| !names.insert((package.role, &package.name))) {
            return Err(LockError::Twice(twice.name.clone()));
        }
        Ok(Self { recipe: file.recipe, architecture: file.architecture, epoch: file.epoch, archives, packages })
    }

    /// The lock file's text. `path` only names the recipe in the comment.
    pub fn render(&self, path: &Path) -> String {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut text = format!(
            "# The packages of {name}.yaml. Written by `goldsmith lock`; commit it, do not edit it.\n\
             schema: {SCHEMA}\nrecipe: {}\narchitecture: {}\nepoch: {}\narchives:\n",
            self.recipe, self.architecture, self.epoch
        );
        for archive in &self.archives {
            let snapshot =
                archive.snapshot.as_ref().map(|url| format!(", snapshot: {}", scalar(url))).unwrap_or_default();
            let _ = writeln!(
                text,
                "  - {{ mirror: {}, suite: {}, inrelease: {}, date: {}{snapshot} }}",
                scalar(&archive.mirror),
                scalar(&archive.suite),
                scalar(&archive.inrelease.to_string()),
                archive.date
            );
        }
        text += "packages:\n";
        for package in &self.packages {
            let essential = if package.essential { ", essential: true" } else { "" };
            let _ = writeln!(
                text,
                "  - {{ name: {}, version: {}, architecture: {}, role: {}{essential}, archive: {}, size: {}, sha256: {}, path: {} }}",
                scalar(&package.name),
                scalar(&package.version),
                package.architecture,
                package.role.as_str(),
                package.archive,
                package.size,
                scalar(&package.sha256.to_string()),
                scalar(&package.path)
            );
        }
        text
    }

    /// The packages of one role, in order.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &LockedPackage> {
        self.packages.iter().filter(move |package| package.role == role)
    }
}

impl ArchiveLine {
    fn check(self) -> Result<LockedArchive, LockError> {
        let url = |url: &String| {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            rest.is_some_and(|rest| !rest.is_empty())
                && url.len() <= MAX_WORD
                && url.bytes().all(|b| b.is_ascii_graphic())
        };
        let suite = !self.suite.is_empty()
            && self.suite.len() <= MAX_WORD
            && self.suite.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte))
            && GuestPath::from_archive(&self.suite).is_ok();
        if !url(&self.mirror) || !self.snapshot.iter().all(url) {
            return Err(LockError::Archive(brief(&self.mirror), "its address is no http or https URL"));
        }
        if !suite {
            return Err(LockError::Archive(brief(&self.mirror), "its suite has a name that no suite has"));
        }
        let Self { mirror, suite, snapshot, inrelease, date } = self;
        Ok(LockedArchive { mirror, suite, snapshot, inrelease, date })
    }
}

impl PackageLine {
    fn check(self, archives: usize) -> Result<LockedPackage, LockError> {
        let problem = if ![&self.name, &self.version, &self.architecture].into_iter().all(|text| is_word(text)) {
            Some("a name, version or architecture that no Debian package has")
        } else if self.archive >= archives {
            Some("it names an archive that is not listed")
        } else if !is_path(&self.path) {
            Some("its path leaves the mirror, or is none of an archive's")
        } else if !is_size(self.size) {
            Some("its size is none that a package has")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(LockError::Package(brief(&self.name), problem));
        }
        Ok(LockedPackage {
            name: self.name,
            version: self.version,
            architecture: self.architecture,
            role: self.role,
            essential: self.essential,
            archive: self.archive,
            path: self.path,
            size: self.size,
            sha256: self.sha256,
        })
    }
}

/// The beginning of a text that a message shows.
fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Whether a text may be a package's name, version or architecture. Source: Debian Policy 5.6.1, 5.6.12.
pub(super) fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte);
    (1..=MAX_WORD).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

/// Whether a text may be a file's path below a mirror: one that stays there.
pub(super) fn is_path(text: &str) -> bool {
    text.len() <= MAX_WORD
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// Whether a package may have so many bytes.
pub(super) fn is_size(bytes: u64) -> bool {
    (1..=MAX_PACKAGE).contains(&bytes)
}

/// A YAML scalar that is read back as this string: quoted unless it cannot be anything else.
fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_lowercase() && c != 'n' && c != 't' && c != 'y' && c != 'f');
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._+/~".contains(&byte));
    let url = text.starts_with("http") && !text.contains([' ', ',', '{', '}', '#', '"', '\\']);
    let hex = text.len() == 64 && text.bytes().any(|byte| (b'a'..=b'f').contains(&byte)) && !text.contains('e');
    if (word && plain) || url || hex {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lock {
        Lock {
            recipe: Sha256::of(b"recipe"),
            architecture: "amd64".to_owned(),
            epoch: 1_788_888_888,
            archives: vec![LockedArchive {
                mirror: "http://deb.debian.org/debian".to_owned(),
                suite: "bookworm".to_owned(),
                snapshot: None,
                inrelease: Sha256::of(b"release"),
                date: 1_788_888_888,
            }],
            packages: ["adduser", "null", "7zip"]
                .map(|name| LockedPackage {
                    name: name.to_owned(),
                    version: "1:24.10".to_owned(),
                    architecture: "all".to_owned(),
                    role: Role::Rootfs,
                    essential: name == "adduser",
                    archive: 0,
                    path: format!("pool/main/{name}_24.10_all.deb"),
                    size: 10,
                    sha256: Sha256::of(name.as_bytes()),
                })
                .to_vec(),
        }
    }

    #[test]
    fn a_lock_reads_back_as_it_was_written() {
        let text = sample().render(Path::new("recipes/desktop.lock"));
        assert_eq!(Lock::parse(&text).unwrap(), sample(), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("name: ")).count(), 3);
    }

    #[test]
    fn damaged_locks_are_refused() {
        let text = sample().render(Path::new("a.lock"));
        let error = |text: &str| Lock::parse(text).unwrap_err().to_string();
        assert!(error(&format!("<<<<<<< HEAD\n{text}")).contains("merge conflict"));
        assert!(error(&text.replace("pool/main/null", "../../etc")).contains("leaves the mirror"));
        assert!(error(&text.replace("goldsmith.lock/v1", "goldsmith.lock/v9")).contains("v9"));
        assert!(error(&text.replace("archive: 0", "archive: 7")).contains("not listed"));
        assert!(error(&text.replace("size: 10", "size: x")).contains("size"));
        for (from, to, part) in [
            ("size: 10", "size: 18446744073709551615", "size is none"),
            ("epoch: 1788888888", "epoch: -9223372036854775808", "no time"),
            ("mirror: http://deb.debian.org/debian", "mirror: file:///etc", "no http or https URL"),
            ("suite: bookworm", "suite: ../../etc", "suite"),
            ("pool/main/null", "pool/main/ü", "none of an archive's"),
            ("name: adduser", "name: 7zip", "twice"),
        ] {
            let found = error(&text.replace(from, to));
            assert!(found.contains(part), "{to}: {found}");
        }
        let secret = error("root:$6$salt$secret:19000:0:99999:7:::\n");
        assert!(secret.contains("it is no lock") && !secret.contains("secret"), "{secret}");
        let long = error(&text.replace("name: adduser", &format!("name: {}", "a".repeat(600))));
        assert!(long.contains("no Debian package has"));
        let bomb = format!("{text}x: &a [{}]\ny: [{}]\n", "x, ".repeat(50_000), "*a, ".repeat(50));
        assert!(error(&bomb).contains("nodes"));
    }
}
