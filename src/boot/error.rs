//! Why a kernel or its modules cannot be used.

/// Why a kernel or its modules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a bzImage.
    #[error("it is not a bzImage: {0}")]
    NotBzImage(&'static str),
    /// Compressed in a way that is not supported.
    #[error(
        "its payload is compressed in a way that is not supported (first bytes {0:02x?}; gzip, xz, zstd, lz4 and lzma are)"
    )]
    Compression([u8; 4]),
    /// The payload is damaged.
    #[error("its payload cannot be decompressed: {0}")]
    Payload(String),
    /// What came out is no x86-64 ELF file.
    #[error("its payload is not an x86-64 ELF file")]
    NotElf,
    /// A module file is damaged.
    #[error("the module {name} cannot be read: {problem}")]
    Module {
        /// Its path.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A driver that booting needs is neither built in nor a module.
    #[error("the kernel has no {0}, neither built in nor as a module")]
    NoDriver(String),
}
