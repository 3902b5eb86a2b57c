//! dpkg's database, written as dpkg leaves it after unpacking. Source: dpkg's `lib/dpkg/dump.c`, `infodb-format.c`,
//! `trignote.c`; deb-triggers(5).

use super::local::Local;
use super::root::Root;
use super::unpack::{NEW, Payload};
use super::{Error, Package};
use crate::debian::Stanza;
use crate::values::GuestPath;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const ADMIN: &str = "var/lib/dpkg";

/// What has been recorded so far.
#[derive(Default)]
pub(super) struct Database {
    /// Triggers by name: who is interested.
    interests: BTreeMap<String, BTreeSet<String>>,
    begun: bool,
}

impl Database {
    /// Records packages as unpacked, with their file lists, scripts, configuration files and triggers.
    pub fn add(
        &mut self,
        packages: &[&Package],
        payloads: &[Payload],
        local: &Local,
        root: &Root,
    ) -> Result<(), Error> {
        self.begin(root)?;
        let status = format!("{ADMIN}/status");
        let mut text = String::from_utf8_lossy(&root.read(&status)?.unwrap_or_default()).into_owned();
        let before: BTreeSet<String> = self.interests.values().flatten().cloned().collect();
        let mut activated = BTreeSet::new();
        for (package, Payload { list, sums }) in packages.iter().zip(payloads) {
            let base = info_name(package);
            for (name, (mode, bytes)) in &package.control {
                if is_info_name(name) {
                    root.write(&format!("{ADMIN}/info/{base}.{name}"), bytes, *mode)?;
                }
            }
            if let Some(sums) = sums {
                root.write(&format!("{ADMIN}/info/{base}.md5sums"), sums.as_bytes(), 0o644)?;
            }
            write_list(root, &base, list)?;
            text += &status_stanza(package, local, root)?;
            if let Some(text) = package.text("triggers") {
                self.triggers(&text, &base, &mut activated);
            }
            for path in list {
                activated.extend(self.touched(path, &before));
            }
        }
        root.write(&status, text.as_bytes(), 0o644)?;
        self.write_triggers(root, &activated)
    }

    /// Records a package as installed whose files come into the image by another way, so that dpkg sets up what depends on it. What
    /// it depends on itself is left out: it is not there.
    pub fn pretend(package: &Package, root: &Root) -> Result<(), Error> {
        const KEPT: [&str; 8] =
            ["Package", "Priority", "Section", "Maintainer", "Architecture", "Version", "Provides", "Description"];
        let Some(stanza) = Stanza::all(&package.facts.control).next() else { return Ok(()) };
        let fields = stanza.fields().filter(|(name, _)| KEPT.contains(name));
        let mut fields: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        fields.push(("Status".to_owned(), "install ok installed".to_owned()));
        let status = format!("{ADMIN}/status");
        let text = String::from_utf8_lossy(&root.read(&status)?.unwrap_or_default()).into_owned() + &written(fields);
        root.write(&status, text.as_bytes(), 0o644)?;
        let base = info_name(package);
        // `dpkg --audit` misses it otherwise.
        root.write(&format!("{ADMIN}/info/{base}.md5sums"), b"", 0o644)?;
        write_list(root, &base, &["/.".to_owned()])
    }

    /// Takes a path that another package replaced off a package's file list.
    pub fn disown(package: &Package, path: &str, root: &Root) -> Result<(), Error> {
        let base = info_name(package);
        let bytes = root.read(&format!("{ADMIN}/info/{base}.list"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let rest: Vec<_> = text.lines().filter(|line| *line != path).map(str::to_owned).collect();
        write_list(root, &base, &rest)?;
        Self::outdate(package, path, root)
    }

    /// Notes that a configuration file is its package's no more.
    fn outdate(package: &Package, path: &str, root: &Root) -> Result<(), Error> {
        let status = format!("{ADMIN}/status");
        let text = String::from_utf8_lossy(&root.read(&status)?.unwrap_or_default()).into_owned();
        let (name, conffile) = (format!("Package: {}", package.name()), format!(" {path} "));
        let mut inside = false;
        let lines = text.lines().map(|line| {
            inside = if line.is_empty() { false } else { inside || line == name };
            let mark = if inside && line.starts_with(&conffile) { " obsolete" } else { "" };
            format!("{line}{mark}\n")
        });
        root.write(&status, lines.collect::<String>().as_bytes(), 0o644)
    }

    fn begin(&mut self, root: &Root) -> Result<(), Error> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        root.write(&format!("{ADMIN}/info/format"), b"1\n", 0o644)
    }

    /// Reads a package's `triggers` file.
    fn triggers(&mut self, text: &str, base: &str, activated: &mut BTreeSet<String>) {
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else { continue };
            if let Some(kind) = directive.strip_prefix("interest") {
                let suffix = if kind == "-noawait" { "/noawait" } else { "" };
                self.interests.entry(trigger.to_owned()).or_default().insert(format!("{base}{suffix}"));
            } else if directive.starts_with("activate") {
                activated.insert(trigger.to_owned());
            }
        }
    }

    /// File triggers of packages that were there before and cover a new path.
    fn touched(&self, path: &str, before: &BTreeSet<String>) -> Vec<String> {
        let covers =
            |trigger: &str| path.strip_prefix(trigger).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let hit = |(trigger, who): &(&String, &BTreeSet<String>)| {
            trigger.starts_with('/') && covers(trigger) && who.iter().any(|name| before.contains(name))
        };
        self.interests.iter().filter(hit).map(|(trigger, _)| trigger.clone()).collect()
    }

    fn write_triggers(&self, root: &Root, activated: &BTreeSet<String>) -> Result<(), Error> {
        let mut files = String::new();
        for (trigger, who) in &self.interests {
            if trigger.starts_with('/') {
                who.iter().for_each(|name| {
                    let _ = writeln!(files, "{trigger} {name}");
                });
            } else {
                let names: String = who.iter().map(|name| format!("{name}\n")).collect();
                root.write(&format!("{ADMIN}/triggers/{trigger}"), names.as_bytes(), 0o644)?;
            }
        }
        root.write(&format!("{ADMIN}/triggers/File"), files.as_bytes(), 0o644)?;
        let pending: String = activated
            .iter()
            .filter(|trigger| self.interests.contains_key(*trigger))
            .map(|trigger| format!("{trigger} -\n"))
            .collect();
        root.write(&format!("{ADMIN}/triggers/Unincorp"), pending.as_bytes(), 0o644)
    }
}

fn write_list(root: &Root, base: &str, list: &[String]) -> Result<(), Error> {
    let text: String = list.iter().map(|path| format!("{path}\n")).collect();
    root.write(&format!("{ADMIN}/info/{base}.list"), text.as_bytes(), 0o644)
}

/// `NAME`, or `NAME:ARCH` for packages that several architectures may share.
pub(super) fn info_name(package: &Package) -> String {
    let stanza = Stanza::all(&package.facts.control).next();
    let field = |name| stanza.and_then(|stanza| stanza.field(name)).unwrap_or_default();
    if field("Multi-Arch") == "same" {
        format!("{}:{}", package.name(), field("Architecture"))
    } else {
        package.name().to_owned()
    }
}

/// Whether dpkg keeps a control file of this name: all but the control data themselves, which go into `status`.
fn is_info_name(name: &str) -> bool {
    !matches!(name, "control" | "list") && is_file_name(name)
}

/// Whether a control file lies in the package's control folder itself, under a name that control files have.
pub(super) fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The order in which dpkg writes fields (`lib/dpkg/parse.c`, `fieldinfos`).
const FIELDS: [&str; 33] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Config-Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Filename",
    "Size",
    "MD5sum",
    "MSDOS-Filename",
    "Description",
    "Triggers-Pending",
    "Triggers-Awaited",
    "SHA256",
];

fn status_stanza(package: &Package, local: &Local, root: &Root) -> Result<String, Error> {
    let Some(stanza) = Stanza::all(&package.facts.control).next() else { return Ok(String::new()) };
    let mut fields: Vec<(String, String)> =
        stanza.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    fields.push(("Status".to_owned(), "install ok unpacked".to_owned()));
    let conffiles = package.text("conffiles").unwrap_or_default();
    let listed = conffiles
        .lines()
        .filter_map(|line| conffile(line, package.name(), local, root).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    if !listed.is_empty() {
        fields.push(("Conffiles".to_owned(), format!("\n {}", listed.join("\n "))));
    }
    Ok(written(fields))
}

/// A stanza of `status`, its fields in dpkg's order.
fn written(mut fields: Vec<(String, String)>) -> String {
    let rank = |name: &str| FIELDS.iter().position(|field| field.eq_ignore_ascii_case(name)).unwrap_or(FIELDS.len());
    fields.sort_by_key(|(name, _)| rank(name));
    let mut text = String::new();
    for (name, value) in fields {
        let separator = if value.starts_with('\n') { "" } else { " " };
        let _ = writeln!(text, "{name}:{separator}{value}");
    }
    text.push('\n');
    text
}

/// `/etc/file MD5`: what dpkg remembers of a configuration file that was installed as shipped. Of one that it has yet to decide
/// about it notes `newconffile` (`NEWCONFFILEFLAG` in dpkg's `lib/dpkg/dpkg.h`).
fn conffile(line: &str, package: &str, local: &Local, root: &Root) -> Result<Option<String>, Error> {
    if let Some(path) = line.trim().strip_prefix("remove-on-upgrade ") {
        return Ok(Some(format!("{} newconffile remove-on-upgrade", path.trim())));
    }
    let Ok(path) = line.trim().parse::<GuestPath>() else { return Ok(None) };
    let place = local.place(package, &path);
    if root.has_entry(&format!("{}{NEW}", place.relative())) {
        return Ok(Some(format!("{path} newconffile")));
    }
    let bytes = root.read(place.relative())?;
    Ok(bytes.map(|bytes| format!("{path} {}", super::unpack::md5(&bytes))))
}
