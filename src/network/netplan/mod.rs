//! netplan: the file goldsmith writes, and what a guest's files merge to.

mod read;
mod render;

pub use read::{Ethernet, Netplan, is_modern, read};
pub use render::render;
