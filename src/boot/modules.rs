//! Kernel modules: which a driver needs, in the order they must be loaded. Read from the modules themselves
//! (`.modinfo`: `depends=`, `softdep=pre:`), so that no index has to be trusted or made first.

use super::{Error, elf};
use crate::values::GuestPath;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Bytes a module may have when unpacked. Debian's largest, amdgpu, has 20 MB.
const MAX_MODULE: u64 = 64 << 20;

/// How many modules one may need, with all that those need. Debian's most needy have some forty.
pub(super) const MAX_NEEDED: usize = 512;

/// The modules of one kernel release.
pub(super) struct Modules<'a> {
    paths: BTreeMap<String, &'a GuestPath>,
    folder: String,
    builtin: BTreeSet<String>,
    read: &'a dyn Fn(&GuestPath) -> Option<Vec<u8>>,
}

/// A module and its unpacked bytes.
pub(super) struct Module {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl<'a> Modules<'a> {
    pub fn new(release: &str, paths: &'a [GuestPath], read: &'a dyn Fn(&GuestPath) -> Option<Vec<u8>>) -> Self {
        let folder = format!("/modules/{release}/");
        let mut by_name = BTreeMap::new();
        let mut builtin = BTreeSet::new();
        for path in paths.iter().filter(|path| path.as_str().contains(&folder)) {
            if path.name() == "modules.builtin" {
                let text = read(path).unwrap_or_default();
                builtin.extend(String::from_utf8_lossy(&text).lines().filter_map(module_name));
            } else if let Some(name) = module_name(path.as_str()) {
                by_name.insert(name, path);
            }
        }
        Self { paths: by_name, folder, builtin, read }
    }

    /// The modules' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.paths.keys()
    }

    /// A module's path below the modules folder, and its unpacked bytes.
    pub fn unpacked(&self, name: &str) -> Result<(String, Vec<u8>), Error> {
        let path = self.paths.get(name).ok_or_else(|| Error::NoDriver(name.to_owned()))?;
        let fail = |problem: String| Error::Module { name: path.to_string(), problem };
        let packed = (self.read)(path).ok_or_else(|| fail("it cannot be read".to_owned()))?;
        let bytes = unpack(path.as_str(), packed).map_err(|error| fail(error.to_string()))?;
        let below = path.as_str().split_once(&self.folder).map_or(path.as_str(), |(_, below)| below);
        Ok((below.to_owned(), bytes))
    }

    /// The modules that the drivers need, dependencies first. A driver that is built in needs none; one that is
    /// `optional` and missing is passed over.
    pub fn closure(&self, drivers: &[(&str, bool)]) -> Result<Vec<Module>, Error> {
        let mut loaded = BTreeSet::new();
        let mut order = Vec::new();
        for (driver, optional) in drivers {
            self.load(driver, *optional, &mut loaded, &mut order)?;
        }
        Ok(order)
    }

    fn load(
        &self,
        name: &str,
        optional: bool,
        loaded: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), Error> {
        let name = name.replace('-', "_");
        if self.builtin.contains(&name) || !loaded.insert(name.clone()) {
            return Ok(());
        }
        if optional && !self.paths.contains_key(&name) {
            return Ok(());
        }
        let (path, bytes) = self.unpacked(&name)?;
        let fail = |problem: String| Error::Module { name: path.clone(), problem };
        if loaded.len() > MAX_NEEDED {
            return Err(fail(format!("more than {MAX_NEEDED} modules are needed for booting")));
        }
        let info = elf::section(&bytes, ".modinfo").ok_or_else(|| fail("it has no .modinfo section".to_owned()))?;
        let (hard, soft) = needs(info);
        for need in soft {
            self.load(&need, true, loaded, order)?;
        }
        for need in hard {
            self.load(&need, false, loaded, order)?;
        }
        order.push(Module { name, bytes });
        Ok(())
    }
}

/// All values of a key in `.modinfo`, in order.
pub(super) fn list(info: &[u8], key: &str) -> Vec<String> {
    let entries = info.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    entries.filter_map(|entry| entry.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)).collect()
}

/// Names of modules that must, and that should, be loaded before.
pub(super) fn needs(info: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut hard, mut soft) = (Vec::new(), Vec::new());
    for entry in info.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok()) {
        if let Some(names) = entry.strip_prefix("depends=") {
            hard.extend(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
        } else if let Some(names) =
            entry.strip_prefix("softdep=").and_then(|entry| entry.trim_start().strip_prefix("pre:"))
        {
            let names = names.split("post:").next().unwrap_or_default();
            soft.extend(names.split_whitespace().map(str::to_owned));
        }
    }
    (hard, soft)
}

/// `kernel/fs/ext4/ext4.ko.xz` → `ext4`, with `-` and `_` made one.
pub(super) fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|suffix| file.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

fn unpack(path: &str, packed: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match path.rsplit('.').next() {
        Some("xz") => liblzma::read::XzDecoder::new(&packed[..]).take(MAX_MODULE).read_to_end(&mut bytes)?,
        Some("zst") => zstd::stream::read::Decoder::new(&packed[..])?.take(MAX_MODULE).read_to_end(&mut bytes)?,
        Some("gz") => flate2::read::GzDecoder::new(&packed[..]).take(MAX_MODULE).read_to_end(&mut bytes)?,
        _ => return Ok(packed),
    };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_from_modinfo() {
        let (hard, soft) = needs(b"license=GPL\0depends=jbd2,mbcache\0softdep=pre: crc32c post: x\0softdep=post: y\0");
        assert_eq!((hard, soft), (vec!["jbd2".to_owned(), "mbcache".to_owned()], vec!["crc32c".to_owned()]));
        assert_eq!(needs(b"depends=\0").0, Vec::<String>::new());
        assert_eq!(module_name("kernel/drivers/net/virtio-net.ko.xz").as_deref(), Some("virtio_net"));
        assert_eq!(module_name("modules.dep"), None);
    }
}
