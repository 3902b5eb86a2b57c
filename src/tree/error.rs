//! Why a tree could not be changed as asked.

use crate::values::{GuestPath, GuestPathError};
use std::path::PathBuf;

/// Why a tree could not be changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a path inside the image.
    #[error(transparent)]
    Path(#[from] GuestPathError),
    /// A parent is a file, or a link in circles.
    #[error("{0} cannot be made: something on the way is not a directory")]
    Parent(GuestPath),
    /// A directory would become something else, or the other way round.
    #[error("{path} is {} in the image already", if *.old { "a directory" } else { "not a directory" })]
    Kind {
        /// Where.
        path: GuestPath,
        /// Whether the old node is a directory.
        old: bool,
    },
    /// A host file could not be read.
    #[error("cannot read {}", path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A host file is not one that may be read.
    #[error(transparent)]
    Door(#[from] crate::door::Error),
    /// A host file is not what was digested.
    #[error("{} was changed while the image was made\nhelp: build again", .0.display())]
    Changed(PathBuf),
    /// A host file is of a kind that cannot be shipped.
    #[error("{} is {what}; overlays hold files, directories and symbolic links", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Data that are to be made anew and are not in the image, or cannot be made there.
    #[error("`renew` names {name}, and the image has no {}, or not what makes them\nhelp: leave it out, or install the packages that make it", .files.join(" "))]
    Renew {
        /// The name in the recipe.
        name: &'static str,
        /// Where they would be.
        files: &'static [&'static str],
    },
    /// A user, group or unit that is not in the image.
    #[error("there is no {what} `{name}` in the image{}", .similar.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Missing {
        /// `user`, `group`, `unit`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The closest one there is.
        similar: Option<String>,
    },
    /// A user or id that is taken.
    #[error("the user `{name}` cannot be created: {problem}")]
    User {
        /// The name asked for.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A unit that cannot be enabled.
    #[error("the unit `{name}` cannot be enabled: {problem}")]
    Unit {
        /// The unit.
        name: String,
        /// Why not.
        problem: String,
    },
}
