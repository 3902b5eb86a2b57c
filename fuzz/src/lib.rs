//! What the targets share: inputs taken apart, images and manifests with edits, folders in memory.
//!
//! Inputs are short lists of choices, not whole images: which field of which structure gets which value. So a corpus stays
//! small, libFuzzer's own mutations change one thing at a time, and checksums are right after every one of them.

pub mod choices;
pub mod ext4;
pub mod files;
pub mod guest;
pub mod json;
pub mod layout;
