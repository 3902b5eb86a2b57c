//! The bearer token: whoever has it may do everything.

use crate::door;
use crate::values::Sha256;
use crate::whole;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Fewer characters can be guessed.
const LEAST: usize = 16;
/// A file with more is something else.
const MOST: u64 = 4096;

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or made.
    #[error("cannot use the token file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Others can read it.
    #[error("others can read the token file {0}\nhelp: chmod 600 {0}")]
    Open(String),
    /// It holds no token.
    #[error("the token file {0} must hold one line of at least {LEAST} printable characters without spaces")]
    Weak(String),
}

/// A token. Only its digest is kept.
#[derive(Debug)]
pub struct Token(Sha256);

impl Token {
    /// Reads the token from a file, or from `token` in the server's folder, which is made if it is not there. Returns the
    /// file too.
    pub fn read(file: Option<&Path>, folder: &Path) -> Result<(Self, PathBuf), Error> {
        let own = folder.join("token");
        let path = file.unwrap_or(&own);
        let fail = |cause| Error::Io { path: path.to_owned(), cause };
        if file.is_none() && !own.exists() {
            make(&own).map_err(fail)?;
        }
        let opened = door::open(path, "a token file", MOST).map_err(|error| fail(error.into()))?;
        // What is read is what was looked at: both by the same descriptor.
        if opened.file.metadata().map_err(fail)?.mode() & 0o077 != 0 {
            return Err(Error::Open(path.display().to_string()));
        }
        let text = String::from_utf8(opened.read().map_err(|error| fail(error.into()))?).unwrap_or_default();
        let token = text.trim_end();
        if token.len() < LEAST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Weak(path.display().to_string()));
        }
        Ok((Self(Sha256::of(token.as_bytes())), path.to_owned()))
    }

    /// Whether this is the token. Digests are compared, all of their bytes, so the time it takes tells nothing.
    pub fn is(&self, given: &[u8]) -> bool {
        let given = Sha256::of(given);
        std::hint::black_box(self.0.0.iter().zip(given.0).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    // As many digits as a digest has, and random ones. One that is there meanwhile is as good.
    whole::write_new(path, format!("{}\n", Sha256(random)).as_bytes(), 0o600).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (token, path) = Token::read(None, folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(token.is(text.trim().as_bytes()));
        assert!(!token.is(b"") && !token.is(text.as_bytes()));
        assert!(Token::read(None, folder.path()).unwrap().0.is(text.trim().as_bytes()));
    }

    #[test]
    fn what_others_can_read_or_guess_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Token::read(Some(&path), folder.path()).map(|_| ())
        };
        assert!(read("0123456789abcdef\n", 0o600).is_ok());
        assert!(matches!(read("0123456789abcdef", 0o640), Err(Error::Open(_))));
        assert!(matches!(read("0123456789abcde", 0o600), Err(Error::Weak(_))));
        assert!(matches!(read("0123456789 abcdef", 0o600), Err(Error::Weak(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Token::read(Some(&path), folder.path()), Err(Error::Io { .. })), "a named file is not made");
    }
}
