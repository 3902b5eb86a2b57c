//! Files of the host that go into a tree: overlays and artifacts.

use super::{Content, Error};
use crate::door::{self, Stamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files up to this size are held in memory, as long as all of them together stay below [`HELD`].
const SMALL: u64 = 1 << 20;
/// What is held in memory at most.
const HELD: u64 = 64 << 20;

/// The host files of one image: how much they may still be, and what they were when they were read.
#[derive(Debug)]
pub struct Sources {
    limit: u64,
    held: u64,
    seen: Vec<(PathBuf, Stamp)>,
}

impl Sources {
    /// For an image of `limit` bytes: nothing larger fits.
    pub fn new(limit: u64) -> Self {
        Self { limit, held: 0, seen: Vec::new() }
    }

    /// The content of a regular file. All its bytes pass through `take`; a large file's are not kept.
    pub fn content(&mut self, path: &Path, what: &'static str, mut take: impl FnMut(&[u8])) -> Result<Content, Error> {
        let mut opened = door::open(path, what, self.limit)?;
        let len = opened.stamp.len;
        if len <= SMALL && self.held + len <= HELD {
            self.held += len;
            let mut bytes = Vec::new();
            opened.stream(|piece| bytes.extend_from_slice(piece))?;
            take(&bytes);
            return Ok(Content::Bytes(bytes.into()));
        }
        opened.stream(take)?;
        self.seen.push((path.to_owned(), opened.stamp));
        Ok(Content::Host { file: Arc::from(path), offset: 0, len })
    }

    /// Fails when a file that is not in memory changed since it was read: what was written is not what was digested.
    pub fn unchanged(&self) -> Result<(), Error> {
        match self.seen.iter().find(|(path, stamp)| !stamp.holds(path)) {
            Some((path, _)) => Err(Error::Changed(path.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn large_files_stay_outside_and_must_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        File::create(&path).unwrap().set_len(SMALL + 1).unwrap();
        let mut sources = Sources::new(SMALL + 1);
        let mut seen = 0;
        let content = sources.content(&path, "a test", |bytes| seen += bytes.len() as u64).unwrap();
        assert!(matches!(content, Content::Host { len, .. } if len == SMALL + 1 && seen == len));
        sources.unchanged().unwrap();
        fs::write(&path, "other").unwrap();
        assert!(matches!(sources.unchanged(), Err(Error::Changed(_))));
        assert!(matches!(sources.content(&path, "a test", |_| {}), Ok(Content::Bytes(bytes)) if &*bytes == b"other"));
        File::create(&path).unwrap().set_len(5 << 40).unwrap();
        let error = sources.content(&path, "a test", |_| {}).unwrap_err().to_string();
        assert!(error.contains("a test has at most 1048577"), "{error}");
    }
}
