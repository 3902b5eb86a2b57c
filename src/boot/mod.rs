//! Booting: the kernel's argument list, facts about a kernel, the ELF `vmlinux` inside a bzImage, the initrd.
//!
//! Bytes in, values out; no I/O. Uses `values`.

mod args;
mod cpio;
mod elf;
mod error;
mod facts;
mod index;
pub mod initrd;
mod lz4;
mod modules;
mod probe;
mod trie;
mod vmlinux;

pub use args::*;
pub use error::Error;
pub use facts::*;
pub use index::index;
pub use probe::{Probed, probe};
pub use vmlinux::extract_vmlinux;
