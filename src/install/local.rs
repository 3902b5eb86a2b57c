//! What the tree itself says about unpacking: diversions, overridden owners and modes, paths that are left out. Scripts
//! of packages say it with dpkg-divert(1) and dpkg-statoverride(1), packages with files in `/etc/dpkg/dpkg.cfg.d`.

use super::Error;
use super::root::Root;
use crate::debian::{DebFile, DebFileKind};
use crate::values::GuestPath;
use std::collections::BTreeMap;

const DIVERSIONS: &str = "var/lib/dpkg/diversions";
const OVERRIDES: &str = "var/lib/dpkg/statoverride";
const SETTINGS: &str = "/etc/dpkg/dpkg.cfg.d";

/// All of it, as it is at one moment.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Where a path goes, and the package that keeps it; `:` when no package does.
    diversions: BTreeMap<GuestPath, (GuestPath, String)>,
    /// Owner, group and mode of a path.
    overrides: BTreeMap<GuestPath, (u32, u32, u16)>,
    /// Patterns of paths, and whether such a path is in. The last one that fits counts.
    filters: Vec<(String, bool)>,
}

impl Local {
    /// What a tree says now.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let text =
            |path: &str| Ok::<_, Error>(String::from_utf8_lossy(&root.read(path)?.unwrap_or_default()).into_owned());
        let lines = text(DIVERSIONS)?;
        let lines: Vec<_> = lines.lines().collect();
        let diversion = |lines: &[&str]| {
            let [from, to, package] = lines else { return None };
            Some((from.parse().ok()?, (to.parse().ok()?, (*package).to_owned())))
        };
        // Three lines each.
        let diversions = lines.chunks_exact(3).filter_map(diversion).collect();
        let overrides = text(OVERRIDES)?;
        let accounts = if overrides.is_empty() {
            [String::new(), String::new()]
        } else {
            [text("etc/passwd")?, text("etc/group")?]
        };
        let overrides = overrides.lines().filter_map(|line| overridden(line, &accounts)).collect();
        let mut filters = Vec::new();
        for name in settings(root)? {
            filters.extend(text(&format!("{SETTINGS}/{name}"))?.lines().filter_map(filter));
        }
        filters.extend(text("etc/dpkg/dpkg.cfg")?.lines().filter_map(filter));
        Ok(Self { diversions, overrides, filters })
    }

    /// Where a package's path goes.
    pub fn place(&self, package: &str, path: &GuestPath) -> GuestPath {
        match self.diversions.get(path) {
            Some((to, owner)) if owner != package => to.clone(),
            _ => path.clone(),
        }
    }

    /// The diversions: path, where it goes, and who keeps the path.
    pub fn diversions(&self) -> impl Iterator<Item = (&GuestPath, &GuestPath, &str)> {
        self.diversions.iter().map(|(from, (to, owner))| (from, to, owner.as_str()))
    }

    /// A file with the owner and mode that are set for its place.
    pub fn overridden(&self, file: DebFile) -> DebFile {
        match self.overrides.get(&file.path) {
            Some((uid, gid, mode)) => DebFile { uid: *uid, gid: *gid, mode: *mode, ..file },
            None => file,
        }
    }

    /// Whether a file of a package is left out. Source: `filter_should_skip` in dpkg's `src/main/filters.c`.
    pub fn leaves_out(&self, file: &DebFile) -> bool {
        let path = file.path.as_str();
        let last = self.filters.iter().rev().find(|(pattern, _)| fits(pattern.as_bytes(), path.as_bytes()));
        let out = last.is_some_and(|(_, included)| !included);
        // A folder, or a link that may be one, stays when something below it may be in.
        let leads = matches!(file.kind, DebFileKind::Directory | DebFileKind::Symlink(_));
        let fixed = |pattern: &str| {
            let end = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
            pattern.get(..end).unwrap_or_default().trim_end_matches('/').to_owned()
        };
        out && !(leads && self.filters.iter().any(|(pattern, included)| *included && path.starts_with(&fixed(pattern))))
    }
}

/// The files in `dpkg.cfg.d` that dpkg reads, in its order. Source: dpkg(1), "FILES".
fn settings(root: &Root) -> Result<Vec<String>, Error> {
    let path: GuestPath = GuestPath::from_archive(SETTINGS).unwrap_or_else(|_| GuestPath::root());
    let names =
        root.files(&path).map_err(|cause| Error::Io { what: "list", path: root.path.join(path.relative()), cause })?;
    let read = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let mut names: Vec<_> = names.unwrap_or_default().into_iter().filter(read).collect();
    names.sort();
    Ok(names)
}

/// `path-exclude=PATTERN`, `path-include PATTERN`; a pattern may stand in quotes.
fn filter(line: &str) -> Option<(String, bool)> {
    let line = line.trim_end();
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-')?;
    let (name, value) = line.split_at(end);
    let included = match name {
        "path-include" => true,
        "path-exclude" => false,
        _ => return None,
    };
    let value = value.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim_start();
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((quoted.unwrap_or(value).to_owned(), included))
}

/// `USER GROUP MODE PATH`; users and groups by name, or as `#ID`. `accounts` are the texts of `passwd` and `group`.
fn overridden(line: &str, accounts: &[String; 2]) -> Option<(GuestPath, (u32, u32, u16))> {
    let mut words = line.splitn(4, ' ');
    let mut id = |accounts: &str| -> Option<u32> {
        let name = words.next()?;
        if let Some(id) = name.strip_prefix('#') {
            return id.parse().ok();
        }
        accounts
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?)
    };
    let (uid, gid) = (id(&accounts[0])?, id(&accounts[1])?);
    let mode = u16::from_str_radix(words.next()?, 8).ok()?;
    Some((words.next()?.parse().ok()?, (uid, gid, mode)))
}

/// Whether a text is one that a shell pattern stands for; `*` and `?` stand for a `/` too. Source: fnmatch(3) without flags.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        let one = pattern.get(p..).and_then(|rest| one(rest, *text.get(t)?));
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = one {
            (p, t) = (p + length, t + 1);
        } else if let Some((at, from)) = star {
            // The last star takes one more.
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// The length of the pattern's beginning that stands for this one byte; none when it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match set(rest, byte) {
            Some((fits, length)) => fits.then_some(length + 1),
            None => (byte == b'[').then_some(1),
        },
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

/// Whether a byte is in the set that begins here, and the set's length; none when it has no end.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    let members = pattern.get(start..end)?;
    let mut at = 0;
    let mut found = false;
    while let Some(first) = members.get(at) {
        let range = members.get(at + 1) == Some(&b'-');
        match members.get(at + 2).filter(|_| range) {
            Some(last) => {
                found |= (*first..=*last).contains(&byte);
                at += 3;
            }
            None => {
                found |= *first == byte;
                at += 1;
            }
        }
    }
    Some((found != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_shell() {
        for (pattern, text, expected) in [
            ("/usr/share/doc/*", "/usr/share/doc/a/b", true),
            ("/usr/share/doc/*", "/usr/share/doc", false),
            ("/usr/*/copyright", "/usr/share/doc/a/copyright", true),
            ("/usr/*/copyright", "/usr/share/doc/a/copyright.gz", false),
            ("/a?c", "/abc", true),
            ("/a[b-d]c", "/acc", true),
            ("/a[!b-d]c", "/acc", false),
            ("/a[]x]c", "/a]c", true),
            ("/a[c", "/a[c", true),
            ("/a\\*c", "/abc", false),
            ("/a\\*c", "/a*c", true),
            ("*a*b", "xaxxab", true),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn settings_and_overrides_are_read_as_dpkg_reads_them() {
        for (line, expected) in [
            ("path-exclude=/a", Some(("/a", false))),
            ("path-include /a b  ", Some(("/a b", true))),
            ("path-exclude=\"/a\"", Some(("/a", false))),
            ("# path-exclude=/a", None),
            ("force-unsafe-io", None),
        ] {
            assert_eq!(filter(line), expected.map(|(pattern, included)| (pattern.to_owned(), included)), "{line}");
        }
        let accounts = ["games:x:5:60::/:/\n".to_owned(), "mail:x:8:\n".to_owned()];
        let expected = ("/a b".parse().unwrap(), (5, 8, 0o2755));
        assert_eq!(overridden("games mail 2755 /a b", &accounts), Some(expected));
        let expected = ("/a".parse().unwrap(), (12, 8, 0o640));
        assert_eq!(overridden("#12 mail 640 /a", &accounts), Some(expected));
        assert_eq!(overridden("nobody mail 640 /a", &accounts), None);
    }
}
