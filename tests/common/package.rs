//! `.deb` files that no honest tool would make.

use std::io::Write as _;

/// A package under construction.
pub struct Package {
    control: tar::Builder<Vec<u8>>,
    data: tar::Builder<Vec<u8>>,
}

impl Package {
    /// A package that is well formed so far.
    pub fn new(name: &str) -> Self {
        Self::with(name, "")
    }

    /// A package with more fields, a line each.
    pub fn with(name: &str, fields: &str) -> Self {
        let text = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n{fields}Description: hostile\n"
        );
        let mut package = Self { control: tar::Builder::new(Vec::new()), data: tar::Builder::new(Vec::new()) };
        append(&mut package.control, tar::EntryType::Regular, "./control", "", text.as_bytes());
        package
    }

    /// Adds a regular file under exactly this name.
    pub fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        append(&mut self.data, tar::EntryType::Regular, name, "", bytes);
        self
    }

    /// Adds a GNU entry that gives the next one its name.
    pub fn long_name(mut self, name: &[u8]) -> Self {
        append(&mut self.data, tar::EntryType::GNULongName, "././@LongLink", "", name);
        self
    }

    /// Adds a directory.
    pub fn folder(mut self, name: &str) -> Self {
        append(&mut self.data, tar::EntryType::Directory, name, "", b"");
        self
    }

    /// Adds a symbolic link.
    pub fn symlink(mut self, name: &str, target: &str) -> Self {
        append(&mut self.data, tar::EntryType::Symlink, name, target, b"");
        self
    }

    /// Adds a hard link.
    pub fn hard_link(mut self, name: &str, target: &str) -> Self {
        append(&mut self.data, tar::EntryType::Link, name, target, b"");
        self
    }

    /// Adds a maintainer script or another control file.
    pub fn control(mut self, name: &str, text: &str) -> Self {
        append(&mut self.control, tar::EntryType::Regular, name, "", text.as_bytes());
        self
    }

    /// The finished file: an ar archive of three members, deb(5).
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", self.control.into_inner().unwrap()),
            ("data.tar", self.data.into_inner().unwrap()),
        ];
        for (name, content) in members {
            writeln!(bytes, "{name:16}{:12}{:6}{:6}{:8}{:10}`", 0, 0, 0, 100_644, content.len()).unwrap();
            bytes.extend_from_slice(&content);
            if content.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

/// Writes names into the header as they are: the safe setters refuse what these tests are about.
fn append(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    archive.append(&header, bytes).unwrap();
}
