//! The end of a log, for people.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The most that is read.
const MOST: u64 = 64 << 10;

/// The last lines of a log, control characters made harmless.
pub fn tail(path: &Path, count: usize) -> String {
    let read = || -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut log = File::from(rustix::fs::open(path, flags, Mode::empty())?);
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

/// A line without terminal control sequences (ECMA-48: `ESC [ … letter`, else `ESC letter`) and other control characters.
pub fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            if letters.next() == Some('[') {
                while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {}
            }
        } else if !letter.is_control() {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_a_terminal_shows_them() {
        // systemd goes one line up (`ESC M`) to write over what it said of a unit that takes long.
        let line =
            "\u{1b}M\r\u{1b}[K[\u{1b}[0;1;31mFAILED\u{1b}[0m] Failed to start \u{1b}[0;1;39mx.service\u{1b}[0m - X.\r";
        assert_eq!(plain(line), "[FAILED] Failed to start x.service - X.");
        assert_eq!(plain("\u{1b}"), "");
    }
}
