//! VHDX: fixed, dynamic and differencing disks, with a log. Source: MS-VHDX.
//!
//! ```text
//!  0       64K       192K            1M
//!  ├ file ─┼─ 2 × ───┼── 2 × region ─┼─ log · metadata · BAT · blocks · sector bitmaps (each whole MiB, in any order)
//!  │  id   │ header  │    table      │
//! ```
//!
//! Headers say which log counts; the log is replayed before anything else is looked at; the region table says where
//! metadata and BAT are. Everything behind the headers changes through the log only.

mod bat;
mod create;
mod header;
mod locator;
mod log;
mod metadata;
mod open;
mod region;
mod replay;
mod resize;
mod wire;

pub use create::{Parameters, Parent, create, create_like};
pub use header::set_content_id;
pub use open::{is_vhdx, open};

use crate::disk::Description;
use crate::sparse::{Format, Sparse};
use bat::BatLayout;
use log::Log;
use metadata::Metadata;

/// What a VHDX knows beside its blocks.
#[derive(Debug)]
struct Vhdx {
    metadata: Metadata,
    creator: String,
    remarks: Vec<String>,
}

impl Format for Vhdx {
    type Layout = BatLayout;
    type Journal = Log;

    fn describe(&self) -> Description {
        let metadata = &self.metadata;
        let mut details =
            vec![("identifier", metadata.id.to_string()), ("creator", self.creator.clone())];
        if let Some(parent) = &metadata.parent {
            details.extend(parent.paths().into_iter().map(|path| ("parent", path)));
            details.push(("parent's content", parent.linkage().to_owned()));
        }
        Description {
            format: "vhdx",
            kind: match (metadata.fixed, metadata.has_parent) {
                (true, _) => "fixed",
                (_, true) => "differencing",
                _ => "dynamic",
            },
            block_size: metadata.block_size,
            blocks: 0,
            allocated: 0,
            unused: 0,
            remarks: self.remarks.clone(),
            details,
        }
    }

    fn identity(&self) -> [u8; 16] {
        self.metadata.id.0
    }

    fn resize(disk: &Sparse<Self>, size: u64) -> crate::Result<()> {
        resize::resize(disk, size)
    }
}
