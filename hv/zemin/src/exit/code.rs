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
    /// Linear address of the page; [`Entry::NONE`] for no page.
    linear: u64,
    page: Option<phys::Page>,
}

impl Entry {
    /// No page starts here.
    const NONE: u64 = 1;
    const EMPTY: Self = Self { cr3: 0, linear: Self::NONE, page: None };
}

/// The pages that a VP's 64-bit code exited from lately.
///
/// A page is forgotten with the VP's other translations. The guest may change its own tables without a word to the
/// hypervisor, so what is read here only counts if it is the instruction that the processor says it was.
#[derive(Clone)]
pub struct CodePages([Entry; CodePages::COUNT]);

impl CodePages {
    const COUNT: usize = 8;

    /// None yet.
    pub const fn new() -> Self {
        Self([Entry::EMPTY; Self::COUNT])
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0 = [Entry::EMPTY; Self::COUNT];
    }

    /// Notes that `linear` is at system address `address` under `cr3`.
    pub fn note(&mut self, cr3: u64, linear: u64, address: u64) {
        let page = phys::Page::at(address & !(PAGE - 1));
        if let Some(entry) = self.0.get_mut(slot(linear)) {
            *entry = Entry { cr3, linear: linear & !(PAGE - 1), page };
        }
    }

    /// Whether `opcode` is known to stand at `linear`, with no prefix.
    #[inline]
    pub fn hold(&self, cr3: u64, linear: u64, opcode: Opcode) -> bool {
        let Some(entry) = self.0.get(slot(linear)) else { return false };
        if entry.cr3 != cr3 || entry.linear != linear & !(PAGE - 1) {
            return false;
        }
        entry.page.is_some_and(|page| {
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
fn slot(linear: u64) -> usize {
    (linear / PAGE) as usize % CodePages::COUNT
}
