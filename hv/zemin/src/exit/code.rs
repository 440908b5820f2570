//! Where the code lies that exits: what a walk through the guest's tables found, kept like the processor keeps its
//! translations.

use crate::mem::PAGE;
use crate::mem::phys;
use x86emu::prefix::Opcode;

/// A page of code.
#[derive(Clone, Copy)]
struct Entry {
    /// The guest's CR3.
    cr3: u64,
    /// Linear address of the page, and in its low bits [`CodePages::generation`].
    key: u64,
    page: Option<phys::Page>,
}

impl Entry {
    const EMPTY: Self = Self { cr3: 0, key: 0, page: None };
}

/// Pages in whose place another can be. Kernels exit from half a dozen pages, of which two may get in each other's way, but
/// hardly three.
const WAYS: usize = 2;

/// The pages that a VP's 64-bit code exited from lately.
///
/// A page is forgotten with the VP's other translations. The guest may change its own tables without a word to the
/// hypervisor, so what is read here only counts if it is the instruction that the processor says it was.
#[derive(Clone)]
pub struct CodePages {
    sets: [[Entry; WAYS]; Self::SETS],
    /// Of the entries that count, 1 to 4095.
    generation: u64,
}

impl CodePages {
    const SETS: usize = 16;

    /// None yet.
    pub const fn new() -> Self {
        Self { sets: [[Entry::EMPTY; WAYS]; Self::SETS], generation: 1 }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.generation += 1;
        if self.generation == PAGE {
            *self = Self::new();
        }
    }

    /// Notes that `linear` is at system address `address` under `cr3`.
    pub fn note(&mut self, cr3: u64, linear: u64, address: u64) {
        let entry =
            Entry { cr3, key: self.key(linear), page: phys::Page::at(address & !(PAGE - 1)) };
        if let Some([newest, older]) = self.sets.get_mut(set(linear)) {
            *older = *newest;
            *newest = entry;
        }
    }

    #[inline]
    fn key(&self, linear: u64) -> u64 {
        linear & !(PAGE - 1) | self.generation
    }

    /// The page of `linear`, if it is known.
    #[inline]
    fn page(&self, cr3: u64, linear: u64) -> Option<phys::Page> {
        let key = self.key(linear);
        let [newest, older] = self.sets.get(set(linear))?;
        if newest.key == key && newest.cr3 == cr3 {
            newest.page
        } else if older.key == key && older.cr3 == cr3 {
            older.page
        } else {
            None
        }
    }

    /// Whether `opcode` is known to stand at `linear`, with no prefix.
    #[inline]
    pub fn hold(&self, cr3: u64, linear: u64, opcode: Opcode) -> bool {
        self.page(cr3, linear).is_some_and(|page| {
            let offset = (linear % PAGE) as usize;
            let skipped = offset % 8;
            let mut bytes = page.word(offset / 8) >> (8 * skipped);
            if skipped + opcode.length() > 8 {
                if offset / 8 + 1 == PAGE as usize / 8 {
                    return false;
                }
                bytes |= page.word(offset / 8 + 1) << (64 - 8 * skipped);
            }
            opcode.begins(bytes)
        })
    }
}

/// Pages that follow each other do not get in each other's way.
fn set(linear: u64) -> usize {
    (linear / PAGE) as usize % CodePages::SETS
}
