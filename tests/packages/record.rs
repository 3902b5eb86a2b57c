//! What was seen, in a file for each package and each image, so that a run that was interrupted goes on; and the table of it.

use super::SUITES;
use super::list::Entry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

/// What was seen of a package, alone with the essential ones. A field that has lines fell short, and they say how.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Of the locked packages.
    pub key: String,
    /// The package's own.
    pub version: String,
    /// How many are installed.
    pub packages: usize,
    /// Another closure than apt's.
    pub locks: Vec<String>,
    /// It does not build.
    pub builds: Vec<String>,
    /// Another tree than mmdebstrap's.
    pub tree: Vec<String>,
    /// Other bytes at the second time.
    pub twice: Vec<String>,
}

impl Row {
    /// What fell short, by name.
    pub fn short(&self) -> Vec<(&'static str, &[String])> {
        let fields: [(_, &[String]); 4] =
            [("lock", &self.locks), ("build", &self.builds), ("tree", &self.tree), ("twice", &self.twice)];
        fields.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
    }
}

/// What was seen of services in a guest: for each unit its state, and what it said when it was not active.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Boot {
    /// Of the locked packages.
    pub key: String,
    pub units: BTreeMap<String, Vec<String>>,
    /// Identities, path and digest, that a second guest of the image has too.
    #[serde(default)]
    pub shared: Vec<String>,
    /// Those that it has not.
    #[serde(default)]
    pub own: Vec<String>,
}

/// Where records are kept.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packages").join(format!("{name}.json"))
}

/// What an earlier run has seen.
pub fn read<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path(name)).ok()?).ok()
}

/// Keeps what was seen.
pub fn write(name: &str, record: &impl Serialize) {
    let path = path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    serde_json::to_writer_pretty(&mut file, record).unwrap();
    file.persist(path).unwrap();
}

const HEAD: &str = "# Packages

What images most often carry, each package alone beside the essential ones. `make packages` writes this table; it goes on where it
was interrupted.

- **lock**: the closure is the one that `apt-get install --no-install-recommends` would fetch.
- **build**: all are unpacked and set up.
- **tree**: the tree is mmdebstrap's of the same packages, in type, mode, owner, content, links, extended attributes and times, but
  for what every image has otherwise (`tests/common/peer.rs`) and what is named below.
- **twice**: a second build gives the same bytes; databases are made anew by each guest (`renew`).
- **active**: the service is active in a booted guest, several in one. A second guest of the same image shares no identity with it
  ([guest.md](guest.md)).

A cell has the version and how many packages are installed; then `ok`, or what fell short.

";

/// The table, as far as there are records.
pub fn table(entries: &[Entry], dates: &BTreeMap<&str, i64>) -> String {
    let mut text = HEAD.to_owned();
    for (suite, number) in SUITES {
        let day = dates[suite] / 86400;
        let rows: Vec<Row> = entries.iter().filter_map(|entry| read(&format!("{suite}-{}", entry.name))).collect();
        let good = rows.iter().filter(|row| row.short().is_empty()).count();
        let _ = writeln!(
            text,
            "Debian {number} as of {}: {good} of {} packages without anything to say ({} tried).\n",
            date(day),
            entries.len(),
            rows.len()
        );
    }
    let (mut notes, mut named) = (String::new(), BTreeSet::new());
    let mut heading = "";
    for entry in entries {
        if entry.heading != heading {
            heading = &entry.heading;
            let _ = write!(text, "\n## {heading}\n\n| package | Debian 12 | Debian 13 |\n|---|---|---|\n");
        }
        let cells = SUITES.map(|(suite, number)| cell(entry, suite, number, &mut notes, &mut named));
        let _ = writeln!(text, "| {} | {} |", entry.name, cells.join(" | "));
    }
    if !notes.is_empty() {
        let _ = write!(text, "\n## What fell short\n\n{notes}");
    }
    let _ = write!(text, "\n## What is named\n\n{}", named.into_iter().collect::<String>());
    text
}

fn cell(entry: &Entry, suite: &str, number: u8, notes: &mut String, named: &mut BTreeSet<String>) -> String {
    let Some(row) = read::<Row>(&format!("{suite}-{}", entry.name)) else { return "not yet".to_owned() };
    let mut words: Vec<String> = row.short().iter().map(|(name, _)| format!("**{name}**")).collect();
    for (name, lines) in row.short() {
        note(notes, &format!("{}, Debian {number}, {name}", entry.name), lines);
    }
    if let Some((_, why)) = super::UNBUILT.iter().find(|(name, _)| *name == entry.name && !words.is_empty()) {
        let _ = writeln!(notes, "  - {why}");
    }
    if words.is_empty() {
        words.push("ok".to_owned());
    }
    if let Some((_, lines)) = super::NAMED.iter().find(|(name, _)| *name == entry.name) {
        words.push("but for [what is named](#what-is-named)".to_owned());
        named.extend(lines.iter().map(|(path, _, why)| format!("- {}: `{path}`: {why}\n", entry.name)));
    }
    if let Some(service) = &entry.service
        && let Some(boot) = read::<Boot>(&format!("{suite}-boot-{}", service.group))
    {
        match boot.units.get(&service.unit).map(Vec::as_slice) {
            Some([state]) if state == "active" => words.push("active".to_owned()),
            Some(lines) => {
                words.push("**not active**".to_owned());
                note(notes, &format!("{}, Debian {number}, {}", entry.name, service.unit), lines);
            }
            None => {}
        }
    }
    if row.version.is_empty() {
        words.join(", ")
    } else {
        format!("{}, {}: {}", row.version, row.packages, words.join(", "))
    }
}

/// At most so many lines of one kind are shown.
const LINES: usize = 8;

fn note(notes: &mut String, what: &str, lines: &[String]) {
    let _ = writeln!(notes, "- {what}");
    for line in lines.iter().flat_map(|text| text.lines()).take(LINES) {
        let _ = writeln!(notes, "  - `{}`", line.replace('`', "'"));
    }
    if lines.len() > LINES {
        let _ = writeln!(notes, "  - and {} more", lines.len() - LINES);
    }
}

/// A day since 1970 as `2026-01-31`.
fn date(day: i64) -> String {
    let output = super::common::succeed(std::process::Command::new("date").args([
        "--utc",
        "+%F",
        "--date",
        &format!("@{}", day * 86400),
    ]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
