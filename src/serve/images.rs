//! The images that requests may name. A request never says a path.

use crate::gate;
use crate::manifest::Manifest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why an image cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder cannot be read.
    #[error("cannot read the folder of images {}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Nothing in it is an image.
    #[error("there is no image in {}\nhelp: goldsmith build RECIPE --output {}", .0.display(), .0.display())]
    None(PathBuf),
    /// Not a name.
    #[error(
        "`{0}` cannot be the name of an image\nhelp: NAME=FOLDER, with a name of at most 40 letters, digits, `-` and `_`"
    )]
    Name(String),
    /// Two of one name.
    #[error("two images are called {0}\nhelp: give one of them another name: NAME=FOLDER")]
    Twice(String),
    /// The folder is no image.
    #[error(transparent)]
    Gate(#[from] gate::Error),
    /// `--auth-image` names none of them.
    #[error("`--auth-image {name}`: no such image is offered\nhelp: one of: {}", names.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Nobody could be told where the agent is.
    #[error(
        "`--auth-image {0}`: its manifest has no HTTP probe called `oauth-agent`\nhelp: add one to the recipe's `probes:`"
    )]
    NoAgent(String),
}

/// Image folders by name.
#[derive(Debug, Clone, Default)]
pub struct Images(BTreeMap<String, PathBuf>);

impl Images {
    /// From arguments: `NAME=FOLDER`, or a folder of image folders, each under its own name.
    pub fn new(arguments: &[String]) -> Result<Self, Error> {
        let mut images = Self::default();
        for argument in arguments {
            match argument.split_once('=') {
                Some((name, folder)) => images.add(name, Path::new(folder))?,
                None => images.add_all(Path::new(argument))?,
            }
        }
        Ok(images)
    }

    fn add_all(&mut self, folder: &Path) -> Result<(), Error> {
        let fail = |cause| Error::Read { path: folder.to_owned(), cause };
        let mut found = false;
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.join("manifest.json").exists() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.add(&name, &path)?;
                found = true;
            }
        }
        if found { Ok(()) } else { Err(Error::None(folder.to_owned())) }
    }

    fn add(&mut self, name: &str, folder: &Path) -> Result<(), Error> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 40 || !name.bytes().all(good) {
            return Err(Error::Name(name.to_owned()));
        }
        let fail = |cause| Error::Read { path: folder.to_owned(), cause };
        let folder = std::path::absolute(folder).map_err(fail)?;
        // What is no image is said now, not to the first who asks for it.
        gate::manifest(&folder)?;
        match self.0.insert(name.to_owned(), folder) {
            None => Ok(()),
            Some(_) => Err(Error::Twice(name.to_owned())),
        }
    }

    /// The folder of an image.
    pub fn folder(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }

    /// The manifest of an image, as it is now: images may be built anew while they are offered.
    pub fn manifest(&self, name: &str) -> Result<Manifest, Error> {
        let folder = self.folder(name).ok_or_else(|| Error::Unknown { name: name.to_owned(), names: self.names() })?;
        Ok(gate::manifest(folder)?)
    }

    /// The names of all.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}
