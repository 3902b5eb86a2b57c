//! A VM's secret: 128 random bits that every launch makes anew, for the guest's services and for whoever is told their address.
//!
//! The guest gets it in an archive behind the golden initrd, which is put together in memory; nothing of it is on its disk,
//! in its kernel arguments or in its record. The host keeps it as a file of the VM's folder, which only its user can open,
//! as long as the VM runs: a `serve` that was started again tells it to its clients.

use super::vmm::file;
use crate::boot::initrd;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What a unit of the guest calls it: `LoadCredential=vm-secret`.
const CREDENTIAL: &str = "vm-secret";
/// How many hexadecimal digits it has.
const DIGITS: usize = 32;

/// A secret. It is shown to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        let mut random = [0; DIGITS / 2];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        Ok(Self(random.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Its digits, for an address.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Writes it into a VM's folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(file::SECRET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(self.0.as_bytes())
    }

    /// The secret of the VM in a folder, if it has one.
    pub fn read(folder: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(folder.join(file::SECRET)).ok()?.take(DIGITS as u64 + 1).read_to_string(&mut text).ok()?;
        (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(Self(text))
    }

    /// The golden initrd, byte by byte, and behind it what hands this secret to the guest.
    pub fn behind(&self, mut golden: &File) -> io::Result<File> {
        let mut initrd = File::from(memfd_create(c"initrd", MemfdFlags::CLOEXEC)?);
        fchmod(&initrd, Mode::RUSR | Mode::WUSR)?;
        golden.rewind()?;
        let size = io::copy(&mut golden, &mut initrd)?;
        initrd.write_all(&initrd::credentials(size, &[(CREDENTIAL, self.0.as_bytes())]))?;
        Ok(initrd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_new_each_time_and_readable_by_its_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(first, second);
        assert!(!format!("{first:?}").contains(first.digits()));
        assert_eq!(Secret::read(folder.path()), None);
        first.write(folder.path()).unwrap();
        second.write(folder.path()).unwrap();
        assert_eq!(Secret::read(folder.path()), Some(second));
        let mode = fs::metadata(folder.path().join(file::SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_golden_initrd_is_handed_over_as_it_is() {
        let mut golden = tempfile::tempfile().unwrap();
        golden.write_all(b"golden").unwrap();
        let secret = Secret::new().unwrap();
        let (mut initrd, mut bytes) = (secret.behind(&golden).unwrap(), Vec::new());
        initrd.rewind().unwrap();
        initrd.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.strip_prefix(b"golden\0\0").map(|rest| &rest[..6]), Some(b"070701".as_slice()));
        assert!(bytes.windows(DIGITS).any(|window| window == secret.digits().as_bytes()));
    }
}
