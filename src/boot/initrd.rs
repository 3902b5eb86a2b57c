//! The initrd: busybox, the modules that the root disk and the NIC need, and a short `/init`.

use super::Error;
use super::cpio::Cpio;
use super::modules::Modules;
use crate::values::GuestPath;
use std::io::Write as _;

/// What an initrd is made from.
pub struct Input<'a> {
    /// The kernel release: `6.1.0-56-cloud-amd64`.
    pub release: &'a str,
    /// A static busybox.
    pub busybox: &'a [u8],
    /// The kernel package's files.
    pub paths: &'a [GuestPath],
    /// Reads one of them.
    pub read: &'a dyn Fn(&GuestPath) -> Option<Vec<u8>>,
    /// Seconds since 1970 for every entry.
    pub epoch: i64,
}

/// Drivers in the order they are wanted, and whether a kernel may lack them. virtio over MMIO (Firecracker, microvm)
/// and PCI (q35, Firecracker with `--enable-pci`); the NIC is loaded here so that the guest sees it from the start.
const DRIVERS: [(&str, bool); 6] = [
    ("virtio_mmio", true),
    ("virtio_pci", true),
    ("virtio_blk", false),
    ("virtio_net", false),
    ("crc32c_generic", true),
    ("ext4", false),
];

const INIT: &str = include_str!("init.sh");

/// What a launch puts behind the golden initrd, which ends at `offset`, so that this VM's units find the files by their names
/// with `LoadCredential=NAME`. The kernel unpacks one archive after the other; one that is not compressed begins at a
/// multiple of four (Linux `init/initramfs.c`, `unpack_to_rootfs`).
pub fn credentials(offset: u64, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Cpio::new(0);
    archive.directory("credentials");
    for (name, content) in files {
        archive.file(&format!("credentials/{name}"), 0o400, content);
    }
    let gap = offset.next_multiple_of(4) - offset;
    let mut bytes = vec![0; usize::try_from(gap).unwrap_or_default()];
    bytes.extend(archive.finish());
    bytes
}

/// Builds the initrd: a gzip-compressed cpio archive. Same input, same bytes.
pub fn build(input: &Input) -> Result<Vec<u8>, Error> {
    let modules = Modules::new(input.release, input.paths, input.read).closure(&DRIVERS)?;
    let mut archive = Cpio::new(u32::try_from(input.epoch).unwrap_or_default());
    for folder in ["bin", "dev", "modules", "proc", "root", "sys"] {
        archive.directory(folder);
    }
    // Before devtmpfs is mounted the kernel opens this for the first program's output.
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", 0o755, input.busybox);
    archive.link("bin/sh", "busybox");
    archive.file("init", 0o755, INIT.as_bytes());
    let order: String = modules.iter().map(|module| format!("{}\n", module.name)).collect();
    archive.file("modules/order", 0o644, order.as_bytes());
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
    }
    // gzip at a low level: emulated guests spend more on decompressing than the kernel's loader on reading.
    let mut packed = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    packed
        .write_all(&archive.finish())
        .and_then(|()| packed.finish())
        .map_err(|error| Error::Payload(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::credentials;

    #[test]
    fn an_archive_of_credentials_begins_where_the_kernel_looks() {
        for (offset, gap) in [(8, 0), (9, 3), (11, 1)] {
            let bytes = credentials(offset, &[("secret", b"0123")]);
            assert!(bytes[..gap].iter().all(|byte| *byte == 0));
            assert_eq!(&bytes[gap..gap + 6], b"070701", "{offset}");
            assert!(bytes.windows(18).any(|window| window == b"credentials/secret"));
        }
    }
}
