//! Sections of a 64-bit little-endian ELF file, by name. Source: elf(5).

/// The bytes of the section called `name`; none when there is no such section or the file is damaged.
pub(super) fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size) = (long(file, 0x28)?, usize::from(half(file, 0x3a)?));
    let (count, names) = (usize::from(half(file, 0x3c)?), usize::from(half(file, 0x3e)?));
    let header =
        |index: usize| file.get(table.checked_add(index.checked_mul(size)?)?..).filter(|_| index < count && size >= 64);
    let body = |header: &[u8]| {
        let (start, length) = (long(header, 0x18)?, long(header, 0x20)?);
        file.get(start..start.checked_add(length)?)
    };
    let strings = body(header(names)?)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let start = u32::from_le_bytes(header.get(..4)?.try_into().ok()?) as usize;
        // Compared from the front: to look for the end of every name would take quadratic time in a file made for it.
        let behind = strings.get(start..)?.strip_prefix(name.as_bytes())?;
        if behind.first() == Some(&0) { body(header) } else { None }
    })
}

/// The names in the symbol table's strings, those of symbols and nothing else in relocatable files as the kernel's.
pub(super) fn symbols(file: &[u8]) -> impl Iterator<Item = &str> {
    let strings = section(file, ".strtab").unwrap_or_default();
    strings.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok())
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok()
}
