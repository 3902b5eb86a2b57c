//! Debian archives: signed metadata, the resolved package closure, `.deb` files, the [`Lock`].
//!
//! In: a recipe's distribution and package list. Out: a [`Lock`]; readers of `.deb` payloads. Uses `recipe`, `store`.

mod control;
mod deb;
mod error;
mod fetch;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod index;
mod lock;
mod lock_file;
mod relation;
mod release;
mod resolve;
mod solver;
mod templates;
mod universe;
mod version;

pub use control::Stanza;
pub use deb::{ControlFile, Deb, DebError, DebFile, DebFileKind};
pub use error::Error;
pub use fetch::{FetchedPackage, fetch};
pub use lock::*;
pub use lock_file::LockError;
pub use relation::Relation;
pub use resolve::{Metadata, Offered, resolve};
pub use templates::Templates;
pub use version::compare as compare_versions;
