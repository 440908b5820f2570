//! What can go wrong, said to an operator: which structure, where in the file, and why.

use std::io;

/// What the operations of this crate return.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a disk operation was not done. Unless said otherwise, nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file below refused.
    #[error("{doing}")]
    Io {
        /// What was being done: "writing 4096 bytes at 0x10000".
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The file is not what its format demands.
    #[error("{structure} at byte {offset:#x}: {reason}")]
    Malformed {
        /// The structure's name in the specification.
        structure: &'static str,
        /// Where the structure starts in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file may be fine, but needs something that is not there (or a request asks for it).
    #[error("{0}")]
    Unsupported(String),
    /// The request reaches beyond the end of the disk.
    #[error("{len} bytes at {offset:#x} reach beyond the end of the disk ({size} bytes)")]
    OutOfRange {
        /// Where the request starts on the disk.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// The disk's size in bytes.
        size: u64,
    },
    /// The request does not start and end at a logical sector.
    #[error("{len} bytes at {offset:#x} are not whole sectors of {sector} bytes")]
    Unaligned {
        /// Where the request starts on the disk.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes of a logical sector.
        sector: u32,
    },
    /// The disk was opened for reading only.
    #[error("the disk is open for reading only")]
    ReadOnly,
    /// The parent of a differencing disk is missing or is another than it was.
    #[error("the parent of this differencing disk: {0}")]
    Parent(String),
    /// An error about one of several files, with its path.
    #[error("{path}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    /// An error of the file below.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    pub(crate) fn malformed(
        structure: &'static str,
        offset: u64,
        reason: impl Into<String>,
    ) -> Self {
        Self::Malformed { structure, offset, reason: reason.into() }
    }

    /// Names the file that this error is about.
    pub fn in_file(self, path: &std::path::Path) -> Self {
        Self::File { path: path.display().to_string(), source: Box::new(self) }
    }

    /// What the operating system said, if it was asked.
    pub fn os(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::File { source, .. } => source.os(),
            _ => None,
        }
    }

    /// Whether the host's disk is full: space can be made and the request repeated.
    pub fn is_out_of_space(&self) -> bool {
        let kind = self.os().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
