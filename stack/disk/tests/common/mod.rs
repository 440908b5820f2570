//! Small disks of every kind, in memory.

#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses a part of it")]

use disk::{
    Disk, FindParent, MemStorage, NoParent, ParentReference, SectorSizes, Storage, raw, vhd, vhdx,
};
use std::sync::Arc;

const MIB: usize = 1 << 20;

/// A kind of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Raw,
    VhdFixed,
    VhdDynamic,
    VhdDifferencing,
    VhdxFixed,
    VhdxDynamic,
    VhdxDynamic4k,
    VhdxDifferencing,
}

/// Content of the parents: not zero, different in every sector.
pub fn parent_byte(at: usize) -> u8 {
    (at / 512 % 251) as u8 + 1
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Raw,
        Self::VhdFixed,
        Self::VhdDynamic,
        Self::VhdDifferencing,
        Self::VhdxFixed,
        Self::VhdxDynamic,
        Self::VhdxDynamic4k,
        Self::VhdxDifferencing,
    ];

    /// Bytes at first.
    pub fn size(self) -> usize {
        match self {
            Self::Raw | Self::VhdFixed => MIB,
            Self::VhdDynamic | Self::VhdDifferencing => MIB + 64 * 1024 + 512,
            _ => 2 * MIB + 64 * 1024,
        }
    }

    pub fn has_parent(self) -> bool {
        matches!(self, Self::VhdDifferencing | Self::VhdxDifferencing)
    }

    pub fn can_resize_to(self, size: usize) -> bool {
        !self.has_parent() && size <= 8 * MIB
    }

    fn parent_storage(self) -> Arc<MemStorage> {
        let storage = Arc::new(MemStorage::new());
        let (kind, size) = match self {
            Self::VhdDifferencing => (Self::VhdDynamic, self.size() - 128 * 1024),
            _ => (Self::VhdxDynamic, self.size()),
        };
        kind.format(&storage, size, None, [7; 16]);
        let disk = open(kind, &storage);
        // A part is left unwritten, so that the parent itself has zeros.
        let data: Vec<u8> = (0..size * 3 / 4 / 4096 * 4096).map(parent_byte).collect();
        disk.write_at(0, &data).unwrap();
        disk.close().unwrap();
        storage
    }

    fn format(self, storage: &MemStorage, size: usize, parent: Option<[u8; 16]>, id: [u8; 16]) {
        let fixed = matches!(self, Self::VhdFixed | Self::VhdxFixed);
        let logical = if self == Self::VhdxDynamic4k { 4096 } else { 512 };
        let path = ".\\parent".to_owned();
        match self {
            Self::Raw => raw::create(storage, size as u64, false).unwrap(),
            Self::VhdFixed | Self::VhdDynamic | Self::VhdDifferencing => {
                let parent = parent.map(|content_id| vhd::Parent {
                    content_id,
                    relative: Some(path.clone()),
                    absolute: path,
                });
                let parameters = vhd::Parameters {
                    size: size as u64,
                    block_size: Some(64 * 1024),
                    fixed,
                    parent,
                    identity: Some(id),
                };
                vhd::create(storage, &parameters).unwrap();
            }
            _ => {
                let parent = parent.map(|content_id| vhdx::Parent {
                    content_id,
                    relative: Some(path.clone()),
                    absolute: path,
                });
                let parameters = vhdx::Parameters {
                    size: size as u64,
                    block_size: Some(MIB as u64),
                    sectors: SectorSizes { logical, physical: 4096 },
                    fixed,
                    parent,
                    identity: Some(id),
                    content_id: Some(id),
                };
                vhdx::create(storage, &parameters).unwrap();
            }
        }
    }

    /// A new disk in an empty storage, and what it holds.
    pub fn create(self, storage: &Arc<MemStorage>) -> (Vec<u8>, Box<dyn Disk>) {
        let mut model = vec![0; self.size()];
        let mut parent = None;
        if self.has_parent() {
            let found = Parents(self).find(&reference()).unwrap();
            let shown = model.len().min(found.size() as usize);
            found.read_at(0, &mut model[..shown]).unwrap();
            parent = found.content_id();
        }
        self.format(storage, self.size(), parent, [9; 16]);
        (model, open(self, storage))
    }
}

fn reference() -> ParentReference {
    ParentReference { paths: Vec::new(), identity: String::new() }
}

struct Parents(Kind);

impl FindParent for Parents {
    fn find(&mut self, _: &ParentReference) -> disk::Result<Arc<dyn Disk>> {
        use std::sync::{LazyLock, Mutex};
        // The parents' content ids must stay, so each is made once.
        type Made = Vec<(Kind, Arc<MemStorage>)>;
        static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let storage = match made.iter().find(|(kind, _)| *kind == self.0) {
            Some((_, storage)) => Arc::clone(storage),
            None => {
                let storage = self.0.parent_storage();
                made.push((self.0, Arc::clone(&storage)));
                storage
            }
        };
        let disk = match self.0 {
            Kind::VhdDifferencing => vhd::open(storage, true, &mut NoParent)?,
            _ => vhdx::open(storage, true, &mut NoParent)?,
        };
        Ok(Arc::from(disk))
    }
}

/// Opens a disk of this kind.
pub fn try_open(kind: Kind, storage: Arc<dyn Storage>) -> disk::Result<Box<dyn Disk>> {
    let sectors = SectorSizes { logical: 512, physical: 4096 };
    match kind {
        Kind::Raw => raw::open(storage, false, sectors),
        Kind::VhdFixed | Kind::VhdDynamic | Kind::VhdDifferencing => {
            vhd::open(storage, false, &mut Parents(kind))
        }
        _ => vhdx::open(storage, false, &mut Parents(kind)),
    }
}

pub fn open(kind: Kind, storage: &Arc<MemStorage>) -> Box<dyn Disk> {
    try_open(kind, Arc::clone(storage) as Arc<dyn Storage>).unwrap()
}

/// A range on a disk of this size, in whole sectors.
pub fn clamp(at: usize, len: usize, sector: usize, size: usize) -> (usize, usize) {
    let at = at % size / sector * sector;
    let len = (len / sector * sector).min(size - at);
    (at, len / sector * sector)
}

/// Bytes that differ by sector and seed, none of them zero.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at / 512) as u8).wrapping_mul(31).wrapping_add(seed) | 1).collect()
}
