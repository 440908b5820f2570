//! Why a kernel is not unpacked here.

use thiserror::Error;

/// What is not as it should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// No bzImage, or one from before boot protocol 2.10, whose header does not tell enough.
    #[error("it is no bzImage of boot protocol 2.10 or later")]
    NoBzImage,
    /// It wants to be where it was linked for, or says so of no place.
    #[error("it is not relocatable")]
    NotRelocatable,
    /// The header names bytes that the file does not have.
    #[error("its header describes more than the file has")]
    Header,
    /// Neither zstd, nor anything else that is known.
    #[error("its payload is not compressed by zstd")]
    Compression,
    /// More than any kernel has.
    #[error("it has {size} bytes unpacked, more than the {limit} that are kept")]
    TooLarge {
        /// By its own word.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// The payload does not decompress to what its last word says.
    #[error("its payload is damaged: {0}")]
    Payload(String),
    /// The unpacked file is no ELF file of the kind that a kernel is.
    #[error("what is packed in it is no kernel: {0}")]
    Elf(&'static str),
    /// The list of addresses behind it is not understood.
    #[error("its relocations are not as they are known: {0}")]
    Relocations(&'static str),
    /// A kept file that this version did not write, or not to its end.
    #[error("the kept file is not whole: {0}")]
    Kept(&'static str),
}
