//! The index files beside a kernel's modules, as `depmod` writes them, so that udev and modprobe load modules in a
//! guest where `depmod` never ran.
//!
//! Source: depmod(8), modules.dep(5), kmod's `tools/depmod.c`; compared with the real `depmod` in `tests/boot.rs`.

use super::modules::{MAX_NEEDED, Modules, list, needs};
use super::trie::Trie;
use super::{Error, elf};
use crate::values::GuestPath;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The most modules, and the most bytes of what they say of themselves. Debian's largest kernel has 4,500 and 6 MB.
const MAX_MODULES: usize = 20_000;
const MAX_WORDS: usize = 64 << 20;

/// What the files are made from: the module's own words.
struct Entry {
    /// Below the modules folder: `kernel/fs/fuse/fuse.ko`.
    path: String,
    depends: Vec<String>,
    aliases: Vec<String>,
    softdeps: Vec<String>,
    symbols: Vec<String>,
}

impl Entry {
    /// Bytes that are kept of it, with what it costs to keep each.
    fn words(&self) -> usize {
        let all = [&self.depends, &self.aliases, &self.softdeps, &self.symbols].into_iter().flatten();
        all.map(|word| word.len() + size_of::<String>()).sum()
    }
}

/// The index files by name (`modules.dep.bin`, …), to be put beside the kernel package's `modules.order`.
pub fn index(
    release: &str,
    paths: &[GuestPath],
    read: &dyn Fn(&GuestPath) -> Option<Vec<u8>>,
) -> Result<BTreeMap<&'static str, Vec<u8>>, Error> {
    let modules = Modules::new(release, paths, read);
    let text = |name: &str| {
        let end = format!("/modules/{release}/{name}");
        let bytes = paths.iter().find(|path| path.as_str().ends_with(&end)).and_then(read).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let order = text("modules.order");
    let rank: BTreeMap<&str, usize> = order.lines().enumerate().map(|(rank, path)| (path, rank)).collect();
    let mut entries = Vec::new();
    let mut words = 0;
    for name in modules.names() {
        let entry = entry(&modules, name)?;
        words += entry.words();
        if entries.len() >= MAX_MODULES || words > MAX_WORDS {
            let problem =
                format!("there are more than {MAX_MODULES} modules, or {MAX_WORDS} bytes of aliases and symbols");
            return Err(Error::Module { name: entry.path, problem });
        }
        entries.push((name.clone(), entry));
    }
    // depmod's order: that of modules.order, the rest behind it. It decides who answers an alias first.
    let uncompressed = |path: &str| path.find(".ko").map(|end| rank.get(&path[..end + 3])).unwrap_or_default().copied();
    entries.sort_by_key(|(_, entry)| (uncompressed(&entry.path).unwrap_or(usize::MAX), entry.path.clone()));

    let mut files = dependencies(&entries)?;
    files.extend(aliases(&entries));
    files.insert("modules.symbols.bin", symbols(&entries));
    files.extend(builtin(&text("modules.builtin"), &text("modules.builtin.modinfo")));
    Ok(files)
}

fn entry(modules: &Modules, name: &str) -> Result<Entry, Error> {
    let (path, bytes) = modules.unpacked(name)?;
    let info = elf::section(&bytes, ".modinfo").unwrap_or_default();
    let (depends, _) = needs(info);
    let depends = depends.iter().map(|name| name.replace('-', "_")).collect();
    let symbols = elf::symbols(&bytes).filter_map(|name| name.strip_prefix("__ksymtab_")).map(str::to_owned);
    Ok(Entry {
        path,
        depends,
        aliases: list(info, "alias"),
        softdeps: list(info, "softdep"),
        symbols: symbols.collect::<BTreeSet<_>>().into_iter().collect(),
    })
}

type Entries = [(String, Entry)];

/// `modules.dep`: a module's file, then the files it needs, those first that need others of them.
fn dependencies(entries: &Entries) -> Result<BTreeMap<&'static str, Vec<u8>>, Error> {
    let by_name: BTreeMap<&str, &Entry> = entries.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
    let (mut text, mut trie) = (String::new(), Trie::default());
    for (priority, (name, entry)) in entries.iter().enumerate() {
        let (mut seen, mut order) = (BTreeSet::from([name.as_str()]), Vec::new());
        for need in &entry.depends {
            visit(need, &by_name, &mut seen, &mut order);
        }
        if seen.len() > MAX_NEEDED || text.len() > MAX_WORDS {
            let problem = format!("it needs more than {MAX_NEEDED} others, or all of them together too many");
            return Err(Error::Module { name: entry.path.clone(), problem });
        }
        let mut line = format!("{}:", entry.path);
        for path in order.iter().rev() {
            let _ = write!(line, " {path}");
        }
        trie.insert(name, &line, priority as u32);
        text += &line;
        text.push('\n');
    }
    Ok(BTreeMap::from([("modules.dep", text.into_bytes()), ("modules.dep.bin", trie.write())]))
}

/// Depth first, what is needed before what needs it. Each module is entered once, so a cycle ends; more than may be needed are
/// not followed.
fn visit<'e>(
    name: &'e str,
    by_name: &BTreeMap<&str, &'e Entry>,
    seen: &mut BTreeSet<&'e str>,
    order: &mut Vec<&'e str>,
) {
    let Some(entry) = by_name.get(name) else { return };
    if seen.len() <= MAX_NEEDED && seen.insert(name) {
        for need in &entry.depends {
            visit(need, by_name, seen, order);
        }
        order.push(&entry.path);
    }
}

/// `modules.alias`, `modules.softdep`, `modules.devname`.
fn aliases(entries: &Entries) -> BTreeMap<&'static str, Vec<u8>> {
    let mut aliases = "# Aliases extracted from modules themselves.\n".to_owned();
    let mut softdeps = "# Soft dependencies extracted from modules themselves.\n".to_owned();
    let mut devices = "# Device nodes to trigger on-demand module loading.\n".to_owned();
    let mut trie = Trie::default();
    for (priority, (name, entry)) in entries.iter().enumerate() {
        for alias in &entry.aliases {
            let _ = writeln!(aliases, "alias {alias} {name}");
            if let Some(key) = normalize(alias) {
                trie.insert(&key, name, priority as u32);
            }
        }
        for softdep in &entry.softdeps {
            let _ = writeln!(softdeps, "softdep {name} {softdep}");
        }
        if let Some((node, number)) = device(&entry.aliases) {
            let _ = writeln!(devices, "{name} {node} {number}");
        }
    }
    BTreeMap::from([
        ("modules.alias", aliases.into_bytes()),
        ("modules.alias.bin", trie.write()),
        ("modules.softdep", softdeps.into_bytes()),
        ("modules.devname", devices.into_bytes()),
    ])
}

/// `devname:fuse` with `char-major-10-229` → `fuse`, `c10:229`.
fn device(aliases: &[String]) -> Option<(&str, String)> {
    let node = aliases.iter().rev().find_map(|alias| alias.strip_prefix("devname:"))?;
    let number = |alias: &String| {
        let (kind, rest) = [("c", "char-major-"), ("b", "block-major-")]
            .iter()
            .find_map(|(kind, prefix)| Some((*kind, alias.strip_prefix(prefix)?)))?;
        let (major, minor) = rest.split_once('-')?;
        Some(format!("{kind}{}:{}", major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    Some((node, aliases.iter().find_map(number)?))
}

fn symbols(entries: &Entries) -> Vec<u8> {
    let mut trie = Trie::default();
    for (priority, (name, entry)) in entries.iter().enumerate() {
        for symbol in &entry.symbols {
            trie.insert(&format!("symbol:{symbol}"), name, priority as u32);
        }
    }
    trie.write()
}

/// What is built into the kernel: its names, and the aliases in `modules.builtin.modinfo` (`name.key=value`, NUL-ended).
fn builtin(names: &str, info: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let (mut modules, mut aliases) = (Trie::default(), Trie::default());
    for name in names.lines().filter_map(super::modules::module_name) {
        modules.insert(&name, "", 0);
    }
    for entry in info.split('\0') {
        let Some((name, alias)) = entry.split_once(".alias=") else { continue };
        if let Some(key) = normalize(alias) {
            aliases.insert(&key, name, 0);
        }
    }
    BTreeMap::from([("modules.builtin.bin", modules.write()), ("modules.builtin.alias.bin", aliases.write())])
}

/// `-` and `_` are one in a name, but not inside a character class. None when a bracket is left open.
fn normalize(alias: &str) -> Option<String> {
    let mut inside = false;
    let key = alias
        .chars()
        .map(|letter| match letter {
            '[' => {
                inside = true;
                letter
            }
            ']' => {
                inside = false;
                letter
            }
            '-' if !inside => '_',
            letter => letter,
        })
        .collect();
    (!inside).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_become_underscores_outside_of_brackets() {
        assert_eq!(normalize("char-major-10-[0-9]-x").as_deref(), Some("char_major_10_[0-9]_x"));
        assert_eq!(normalize("pci:[0-"), None);
    }

    #[test]
    fn a_device_node_needs_a_name_and_a_number() {
        let aliases = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let fuse = aliases(&["devname:fuse", "char-major-10-229"]);
        assert_eq!(device(&fuse), Some(("fuse", "c10:229".to_owned())));
        assert_eq!(device(&aliases(&["devname:fuse"])), None);
        assert_eq!(device(&aliases(&["char-major-10-229", "block-major-7-*"])), None);
    }

    #[test]
    fn what_is_needed_stands_behind_what_needs_it_and_cycles_end() {
        let entry = |name: &str, depends: &[&str]| {
            let depends = depends.iter().map(ToString::to_string).collect();
            let path = format!("kernel/{name}.ko");
            let entry = Entry { path, depends, aliases: vec![], softdeps: vec![], symbols: vec![] };
            (name.to_owned(), entry)
        };
        let entries = [entry("a", &["b", "c"]), entry("b", &["c"]), entry("c", &["a", "missing"])];
        let text = String::from_utf8(dependencies(&entries).unwrap()["modules.dep"].clone()).unwrap();
        assert_eq!(text.lines().next(), Some("kernel/a.ko: kernel/b.ko kernel/c.ko"));
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_chain_of_modules_has_an_end() {
        let entry = |number: usize| {
            let depends = vec![format!("m{}", number + 1)];
            let path = format!("kernel/m{number}.ko");
            (format!("m{number}"), Entry { path, depends, aliases: vec![], softdeps: vec![], symbols: vec![] })
        };
        let chain = |length| (0..length).map(entry).collect::<Vec<_>>();
        assert!(dependencies(&chain(MAX_NEEDED)).is_ok());
        let error = dependencies(&chain(200_000)).unwrap_err().to_string();
        assert!(error.contains("kernel/m0.ko") && error.contains("more than 512"), "{error}");
    }
}
