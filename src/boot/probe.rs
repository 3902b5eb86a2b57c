//! What a kernel file says about itself: its configuration, where it carries one, else what its strings give away.
//!
//! Source: `kernel/configs.c` (`IKCFG_ST`, a gzip stream, `IKCFG_ED`), `init/version.c` (`Linux version …`),
//! `net/ipv4/ipconfig.c` (`IP-Config: Complete:`).

use super::{Error, KernelFacts, Presence, extract_vmlinux};
use std::io::Read;

/// The largest configuration that is unpacked. Debian's has 250 KB.
const MAX_CONFIG: u64 = 8 << 20;

/// What is known of a kernel file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// What rules need to know.
    pub facts: KernelFacts,
    /// `6.1.0-56-cloud-amd64`.
    pub release: Option<String>,
    /// The facts come from the configuration that the kernel carries; otherwise only `IP_PNP` is known.
    pub has_config: bool,
}

/// Looks into a bzImage or an ELF kernel.
pub fn probe(kernel: &[u8]) -> Result<Probed, Error> {
    let unpacked;
    let elf = if kernel.starts_with(b"\x7fELF") {
        kernel
    } else {
        unpacked = extract_vmlinux(kernel)?;
        &unpacked
    };
    let config = config(elf);
    let facts = match &config {
        Some(text) => KernelFacts::from_config(text),
        None => {
            let obeys = find(elf, b"IP-Config: Complete").is_some();
            KernelFacts { ip_pnp: if obeys { Presence::BuiltIn } else { Presence::Absent }, ..KernelFacts::default() }
        }
    };
    Ok(Probed { facts, release: release(elf), has_config: config.is_some() })
}

/// The configuration inside an ELF kernel (`CONFIG_IKCONFIG`).
fn config(elf: &[u8]) -> Option<String> {
    let start = find(elf, b"IKCFG_ST\x1f\x8b")? + 8;
    let mut bytes = Vec::new();
    let stream = flate2::read::GzDecoder::new(elf.get(start..)?);
    // What follows the stream is not gzip: the end of the first member is the end.
    stream.take(MAX_CONFIG).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.contains("CONFIG_"))
}

fn release(elf: &[u8]) -> Option<String> {
    let mark = b"Linux version ";
    let start = find(elf, mark)? + mark.len();
    let rest = elf.get(start..)?.iter().take(64).take_while(|byte| byte.is_ascii_graphic());
    let text: String = rest.map(|byte| char::from(*byte)).collect();
    text.starts_with(|c: char| c.is_ascii_digit()).then_some(text)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let at = from + haystack.get(from..)?.iter().position(|byte| *byte == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn elf(parts: &[&[u8]]) -> Vec<u8> {
        [&b"\x7fELF\x02\x01"[..]].iter().chain(parts).flat_map(|part| part.iter().copied()).collect()
    }

    #[test]
    fn a_kernel_that_carries_its_configuration_says_it_all() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"CONFIG_IP_PNP=y\nCONFIG_VIRTIO_NET=m\n").unwrap();
        let kernel = elf(&[b"Linux version 6.1.0-56 (x)\0IKCFG_ST", &gzip.finish().unwrap(), b"IKCFG_ED"]);
        let probed = probe(&kernel).unwrap();
        assert_eq!((probed.facts.ip_pnp, probed.facts.virtio_net), (Presence::BuiltIn, Presence::Module));
        assert_eq!((probed.release.as_deref(), probed.has_config), (Some("6.1.0-56"), true));
    }

    #[test]
    fn without_one_its_strings_tell_whether_it_obeys_ip() {
        for (text, ip_pnp) in [(&b"IP-Config: Complete:\0"[..], Presence::BuiltIn), (b"nothing", Presence::Absent)] {
            let probed = probe(&elf(&[text])).unwrap();
            assert_eq!(
                (probed.facts.ip_pnp, probed.facts.virtio_net, probed.has_config),
                (ip_pnp, Presence::Unknown, false)
            );
        }
        assert!(probe(b"not a kernel").is_err());
    }
}
