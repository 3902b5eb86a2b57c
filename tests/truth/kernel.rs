//! A kernel that obeys `ip=`: built from Debian's own source package, once, and kept in the cache.

use super::common;
use goldsmith::progress::Silent;
use goldsmith::store::{Download, Error, Store};
use goldsmith::values::Sha256;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "linux-source-6.1_6.1.192-2_all.deb";
const SIZE: u64 = 139_331_676;
const DIGEST: &str = "ae95fe63d4c553f8d0e6c86cb1ab566f3894a43743eb19ab585cd97d82f26514";
/// Where the package is; the second keeps what the first drops.
const PLACES: [&str; 2] = [
    "http://deb.debian.org/debian-security/pool/updates/main/l/linux",
    "https://snapshot.debian.org/archive/debian-security/20261120T000000Z/pool/updates/main/l/linux",
];

/// The folder with `bzImage` and `config`.
pub fn ip_pnp() -> PathBuf {
    let folder = common::repository().join("tests/truth");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (script, config) = (folder.join("build-kernel"), read("kernel.config"));
    let key = Sha256::of(format!("{DIGEST}\n{}\n{config}", read("build-kernel")).as_bytes());
    let store = Store::at(&common::cache()).unwrap();
    let discard = |work: &Path| -> Result<(), Error> {
        std::fs::remove_dir_all(work).unwrap();
        Ok(())
    };
    let make = |work: &Path| -> Result<(), Error> {
        let download = Download {
            name: PACKAGE.to_owned(),
            urls: PLACES.iter().map(|place| format!("{place}/{PACKAGE}")).collect(),
            size: SIZE,
            sha256: DIGEST.parse().unwrap(),
        };
        let files = store.fetch("kernel source", &[download], &Silent)?;
        println!("building a kernel with CONFIG_IP_PNP=y, about 10 minutes: {}", work.display());
        common::succeed(Command::new(&script).arg(&files[0]).arg(work));
        Ok(())
    };
    store.make_layer("kernel-ip-pnp", &key, discard, make).unwrap()
}
