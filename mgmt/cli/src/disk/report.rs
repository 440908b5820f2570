//! What an image is, for people and for programs.

use crate::output::{Table, bytes, printable};
use ::disk::{Description, Disk, SectorSizes};
use anyhow::Context;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// In one line: `dynamic VHDX, 40.0 GiB, 3 of 1280 blocks of 32.0 MiB in use`.
pub fn line(disk: &dyn Disk) -> String {
    let it = disk.describe();
    let name = match it.format {
        "raw" => "raw".to_owned(),
        format => format!("{} {}", it.kind, format.to_uppercase()),
    };
    let blocks = match it.blocks {
        0 => String::new(),
        _ => {
            format!(", {} of {} blocks of {} in use", it.allocated, it.blocks, bytes(it.block_size))
        }
    };
    format!("{name}, {}{blocks}", bytes(disk.size()))
}

/// Bytes that a file takes on its file system.
pub fn occupied(path: &Path) -> anyhow::Result<u64> {
    let metadata = std::fs::metadata(path);
    Ok(metadata.with_context(|| format!("{}: opening", path.display()))?.blocks() * 512)
}

/// Everything there is to say.
pub struct Report {
    file: String,
    length: u64,
    occupied: u64,
    size: u64,
    sectors: SectorSizes,
    it: Description,
}

impl Report {
    pub fn of(disk: &dyn Disk, path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            file: path.display().to_string(),
            length: std::fs::metadata(path)?.len(),
            occupied: occupied(path)?,
            size: disk.size(),
            sectors: disk.sectors(),
            it: disk.describe(),
        })
    }

    pub fn json(&self) -> String {
        let it = &self.it;
        let details: Vec<_> = it
            .details
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let object = json!({
            "file": self.file,
            "format": it.format,
            "kind": it.kind,
            "size": self.size,
            "logical_sector_size": self.sectors.logical,
            "physical_sector_size": self.sectors.physical,
            "block_size": it.block_size,
            "blocks": it.blocks,
            "blocks_in_use": it.allocated,
            "unused": it.unused,
            "file_length": self.length,
            "file_occupied": self.occupied,
            "details": details,
            "remarks": it.remarks,
        });
        object.to_string()
    }

    pub fn text(&self) -> String {
        let it = &self.it;
        let exact = |count: u64| format!("{} ({count} bytes)", bytes(count));
        let mut rows = vec![
            ("file", self.file.clone()),
            ("format", format!("{}, {}", it.format, it.kind)),
            ("size", exact(self.size)),
            (
                "sectors",
                format!("{} logical, {} physical", self.sectors.logical, self.sectors.physical),
            ),
        ];
        if it.blocks > 0 {
            let size = bytes(it.block_size);
            rows.push(("blocks", format!("{} of {} in use, {size} each", it.allocated, it.blocks)));
            rows.push(("unused in the file", bytes(it.unused)));
        }
        rows.push(("file's length", exact(self.length)));
        rows.push(("takes on disk", bytes(self.occupied)));
        rows.extend(it.details.iter().map(|(name, value)| (*name, value.clone())));
        rows.extend(it.remarks.iter().map(|remark| ("note", remark.clone())));
        let mut table = Table::prose();
        for (name, value) in rows {
            table.row(vec![name.to_owned(), printable(value.as_bytes())]);
        }
        table.render()
    }
}
