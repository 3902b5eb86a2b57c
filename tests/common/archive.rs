//! A small archive of the test's own, signed by GnuPG with a key of the test's own.

use super::mirror::{Answer, Mirror};
use super::{need, succeed};
use goldsmith::values::Sha256;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A key pair; deleted with the value.
pub struct Key {
    home: tempfile::TempDir,
}

/// How long a signed text is good, counted from now: date and expiry in seconds.
#[derive(Clone, Copy)]
pub struct Dates {
    /// `Date`.
    pub date: i64,
    /// `Valid-Until`.
    pub until: i64,
}

/// Yesterday until tomorrow.
pub const FRESH: Dates = Dates { date: -86_400, until: 86_400 };

impl Key {
    /// Makes one.
    pub fn new() -> Self {
        need("gpg", "apt-get install gnupg");
        // Below /tmp: the path of the agent's socket may have 107 bytes.
        let key = Self { home: tempfile::tempdir().unwrap() };
        let user = "Test Archive <archive@example.org>";
        succeed(&mut key.gpg(&["--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"]));
        let ring = key.gpg(&["--export"]).output().unwrap().stdout;
        std::fs::write(key.keyring(), ring).unwrap();
        key
    }

    /// The public half, as recipes name it.
    pub fn keyring(&self) -> PathBuf {
        self.home.path().join("archive.gpg")
    }

    /// A text with its signature.
    pub fn sign(&self, text: &str) -> Vec<u8> {
        let file = self.home.path().join("text");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        succeed(&mut self.gpg(&["--passphrase", "", "--clear-sign", "--output", "-", file])).stdout
    }

    fn gpg(&self, arguments: &[&str]) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path()).args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
        gpg.args(arguments);
        gpg
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output();
    }
}

/// The text of a `Release` file for one component with these packages, xz-compressed as archives have them.
pub fn release(suite: &str, packages: &[u8], dates: Dates) -> String {
    format!(
        "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {}\nValid-Until: {}\nArchitectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages.xz\n",
        date(dates.date),
        date(dates.until),
        Sha256::of(packages),
        packages.len()
    )
}

/// Puts an archive at `/debian` of a mirror: its index, its signed list, its packages.
pub fn publish(mirror: &Mirror, key: &Key, suite: &str, index: &str, files: &[(&str, Vec<u8>)], dates: Dates) {
    let packages = xz(index.as_bytes());
    let base = format!("/debian/dists/{suite}");
    mirror.set(&format!("{base}/InRelease"), Answer::Bytes(key.sign(&release(suite, &packages, dates))));
    mirror.set(&format!("{base}/main/binary-amd64/Packages.xz"), Answer::Bytes(packages));
    for (path, bytes) in files {
        mirror.set(&format!("/debian/{path}"), Answer::Bytes(bytes.clone()));
    }
}

/// A stanza of `Packages`, with what else belongs into it.
pub fn stanza(name: &str, version: &str, rest: &str, file: &[u8]) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{rest}Filename: pool/{name}.deb\nSize: {}\nSHA256: {}\n\n",
        file.len(),
        Sha256::of(file)
    )
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(bytes, 6), &mut compressed).unwrap();
    compressed
}

/// `Sat, 06 Sep 2026 09:33:18 UTC`, so many seconds from now.
fn date(offset: i64) -> String {
    let shift = Duration::from_secs(offset.unsigned_abs());
    let time = if offset < 0 { SystemTime::now() - shift } else { SystemTime::now() + shift };
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--date", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S UTC"]);
    String::from_utf8(succeed(&mut date).stdout).unwrap().trim().to_owned()
}
