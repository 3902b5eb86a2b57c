//! A tree → a deterministic ext4 image; an image → a read-only view, its fs-verity digest, a diff.
//! Uses `tree`. Trusts nothing it reads.

mod acl;
mod declare;
mod diff;
mod error;
mod inventory;
mod meter;
mod transfer;
pub mod verity;
mod view;
mod walk;
mod write;

pub use diff::{Change, Difference, Field, diff, first_difference};
pub use error::Error;
pub use inventory::{Inventory, Item, of_image, of_tree};
pub use view::{Kind, Stat, View, file_of};
pub use write::{Options, Summary, write};
