//! VHD: fixed, dynamic and differencing disks of up to 2040 GiB. Source: "Virtual Hard Disk Image Format
//! Specification" 1.0.
//!
//! ```text
//!  fixed:  data ···················································· footer
//!  other:  footer copy · dynamic header · block table · (bitmap · data)* · footer
//! ```

mod create;
mod footer;
mod header;
mod journal;
mod open;
mod resize;
mod table;
mod wire;

pub use create::{Parameters, Parent, create, create_like};
pub use open::{is_vhd, open};

use crate::disk::Description;
use crate::error::Result;
use crate::flat::Around;
use crate::sparse::{Format, Sparse};
use crate::storage::Storage;
use journal::InPlace;
use table::TableLayout;
use uuid::Uuid;
use wire::{DIFFERENCING, FIXED, Footer};

/// What a VHD knows beside its blocks.
#[derive(Debug)]
struct Vhd {
    /// As it was when the disk was opened.
    footer: Footer,
    /// Where the dynamic header is.
    header_offset: u64,
    remarks: Vec<String>,
    parent_paths: Vec<String>,
}

impl Vhd {
    fn description(&self) -> Description {
        let mut details = vec![
            ("identifier", Uuid::from_bytes(self.footer.id).to_string()),
            ("creator", self.footer.creator_name()),
        ];
        details.extend(self.parent_paths.iter().map(|path| ("parent", path.clone())));
        Description {
            format: "vhd",
            kind: match self.footer.kind.get() {
                FIXED => "fixed",
                DIFFERENCING => "differencing",
                _ => "dynamic",
            },
            block_size: 0,
            blocks: 0,
            allocated: 0,
            unused: 0,
            remarks: self.remarks.clone(),
            details,
        }
    }
}

impl Format for Vhd {
    type Layout = TableLayout;
    type Journal = InPlace;

    fn describe(&self) -> Description {
        self.description()
    }

    fn identity(&self) -> [u8; 16] {
        self.footer.id
    }

    fn resize(disk: &Sparse<Self>, size: u64) -> Result<()> {
        resize::resize(disk, size)
    }
}

/// A fixed VHD: [`Vhd`] without blocks.
#[derive(Debug)]
struct FixedVhd(Vhd);

impl Around for FixedVhd {
    fn describe(&self) -> Description {
        self.0.description()
    }

    fn identity(&self) -> Option<[u8; 16]> {
        Some(self.0.footer.id)
    }

    fn resize(&self, storage: &dyn Storage, from: u64, to: u64) -> Result<()> {
        resize::resize_fixed(storage, &self.0.footer, from, to)
    }

    fn keeps_space(&self) -> bool {
        true
    }
}
