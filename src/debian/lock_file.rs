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
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const SCHEMA: &str = "goldsmith.lock/v1";

/// The longest lock that is read: about 25,000 packages. That of a whole desktop has 500 kB.
const MAX_LOCK: u64 = 8 << 20;

/// What is wrong with a lock file's text.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Left by version control.
    #[error("it has merge conflict markers (line {0})")]
    Conflict(usize),
    /// Not YAML of this shape.
    #[error(transparent)]
    Syntax(#[from] serde_yaml::Error),
    /// Another version's file.
    #[error("its schema is `{0}`, this version reads `{SCHEMA}`")]
    Schema(String),
    /// A value that no lock may have.
    #[error("package `{0}`: {1}")]
    Package(String, &'static str),
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

    /// Writes the lock beside `path` and renames it.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |cause| Error::LockFile { what: "write", path: path.into(), cause };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        std::io::Write::write_all(&mut file, self.render(path).as_bytes()).map_err(fail)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(fail)?;
        file.persist(path).map_err(|error| fail(error.error))?;
        Ok(())
    }

    /// Reads a lock file's text.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if let Some(line) = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")) {
            return Err(LockError::Conflict(line + 1));
        }
        let file: File = serde_yaml::from_str(text)?;
        if file.schema != SCHEMA {
            return Err(LockError::Schema(file.schema));
        }
        let archives: Vec<_> = file.archives.into_iter().map(LockedArchive::from).collect();
        let packages = file.packages.into_iter().map(|line| line.check(archives.len())).collect::<Result<_, _>>()?;
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

impl From<ArchiveLine> for LockedArchive {
    fn from(line: ArchiveLine) -> Self {
        Self {
            mirror: line.mirror,
            suite: line.suite,
            snapshot: line.snapshot,
            inrelease: line.inrelease,
            date: line.date,
        }
    }
}

impl PackageLine {
    fn check(self, archives: usize) -> Result<LockedPackage, LockError> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte))
        };
        let problem = if !plain(&self.name) || !plain(&self.version) || !plain(&self.architecture) {
            Some("a name, version or architecture that no Debian package has")
        } else if self.archive >= archives {
            Some("it names an archive that is not listed")
        } else if self.path.starts_with('/') || GuestPath::from_archive(&self.path).is_err() {
            Some("its path leaves the mirror")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(LockError::Package(self.name, problem));
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
    }
}
