//! What a differencing disk says about its parent, and who finds it.

use crate::disk::Disk;
use crate::error::Result;
use std::sync::Arc;

/// A child's note about its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentReference {
    /// Where the parent may be, best first, as the child's writer wrote it: relative to the child's directory or
    /// absolute, often with backslashes.
    pub paths: Vec<String>,
    /// How it is known, for people.
    pub identity: String,
}

/// Opens parents, for reading only. Whether it is the right one is checked by who asks.
pub trait FindParent {
    /// The disk that is meant.
    ///
    /// # Errors
    /// [`crate::Error::Parent`] when it is nowhere, and what opening it says.
    fn find(&mut self, reference: &ParentReference) -> Result<Arc<dyn Disk>>;
}

/// For disks that must not have a parent: naming one is an error.
#[derive(Debug, Clone, Copy)]
pub struct NoParent;

impl FindParent for NoParent {
    fn find(&mut self, reference: &ParentReference) -> Result<Arc<dyn Disk>> {
        Err(crate::Error::Parent(format!("{} is not to be looked for", reference.identity)))
    }
}
