//! The end of a log, for people.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The most that is read.
const MOST: u64 = 64 << 10;

/// The last lines of a log, control characters made harmless.
pub fn tail(path: &Path, count: usize) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(path)?;
        let size = log.metadata()?.len();
        log.seek(SeekFrom::Start(size.saturating_sub(MOST)))?;
        let mut bytes = Vec::new();
        log.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// A line without terminal control sequences (ECMA-48: `ESC [ … letter`) and other control characters.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' && letters.next_if_eq(&'[').is_some() {
            while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {}
        } else if !letter.is_control() {
            out.push(letter);
        }
    }
    out
}
