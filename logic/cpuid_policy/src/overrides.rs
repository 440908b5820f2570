//! What the parent registered with REGISTER_INTERCEPT_RESULT.

use crate::Registers;
use hvdef::HvStatus;
use hvdef::hypercall::intercept::{CpuidInterceptResult, MaskedValue};

/// A registered result, as the parent passed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Override {
    leaf: u32,
    subleaf: Option<u32>,
    registers: [MaskedValue; 4],
}

impl Override {
    /// Fills storage that was not used yet.
    pub const EMPTY: Self =
        Self { leaf: 0, subleaf: None, registers: [MaskedValue { value: 0, mask: 0 }; 4] };
}

/// The registered results of a partition, or of one VP.
#[derive(Clone, Debug)]
pub struct Overrides<S> {
    results: S,
    len: usize,
    /// Leaves, by their slot, for which there is a result; bit 255 for leaves without a slot.
    leaves: [u64; 4],
}

/// No results, for VPs that have none.
impl Overrides<[Override; 0]> {
    /// Nothing, and nowhere to put anything.
    pub const NONE: Self = Self::new([]);
}

impl<S> Overrides<S> {
    /// No results yet.
    pub const fn new(results: S) -> Self {
        Self { results, len: 0, leaves: [0; 4] }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<S: AsRef<[Override]> + AsMut<[Override]>> Overrides<S> {
    /// Registers a result; one for the same leaf and subleaf is replaced. `always_override` makes no difference here:
    /// a result always wins.
    ///
    /// NO_RESOURCES: the storage is full. (No memory status: the storage does not grow, so the parent would deposit for
    /// ever.)
    pub fn register(&mut self, input: &CpuidInterceptResult) -> Result<(), HvStatus> {
        let subleaf = (input.subleaf_specific != 0).then_some(input.ecx);
        let new = Override { leaf: input.eax, subleaf, registers: input.registers };
        let results = self.results.as_mut();
        let same = |old: &Override| (old.leaf, old.subleaf) == (new.leaf, new.subleaf);
        let at = results.iter().take(self.len).position(same).unwrap_or(self.len);
        *results.get_mut(at).ok_or(HvStatus::NO_RESOURCES)? = new;
        self.len = self.len.max(at + 1);
        let (word, bit) = place(new.leaf);
        if let Some(word) = self.leaves.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }
}

impl<S: AsRef<[Override]>> Overrides<S> {
    /// `(default & !mask) | (value & mask)`, for every result that fits.
    #[inline]
    pub(crate) fn apply(&self, leaf: u32, subleaf: u32, registers: &mut Registers) {
        let (word, bit) = place(leaf);
        if self.leaves.get(word).is_none_or(|word| word & bit == 0) {
            return;
        }
        for result in self.results.as_ref().iter().take(self.len) {
            if result.leaf == leaf && result.subleaf.is_none_or(|wanted| wanted == subleaf) {
                result.apply(registers);
            }
        }
    }
}

impl Override {
    fn apply(&self, r: &mut Registers) {
        let merge = |register: &mut u32, new: MaskedValue| {
            *register = *register & !new.mask | new.value & new.mask;
        };
        let [eax, ebx, ecx, edx] = self.registers;
        merge(&mut r.eax, eax);
        merge(&mut r.ebx, ebx);
        merge(&mut r.ecx, ecx);
        merge(&mut r.edx, edx);
    }
}

/// A small number for each leaf that there may be an answer for: basic, the hypervisor's, extended.
#[inline]
pub(crate) const fn slot(leaf: u32) -> Option<usize> {
    let base = match leaf & 0xFFFF_FFC0 {
        0 => 0,
        0x4000_0000 => 64,
        0x8000_0000 => 128,
        _ => return None,
    };
    Some(base + (leaf & 0x3F) as usize)
}

/// Word and bit of a leaf in a set.
fn place(leaf: u32) -> (usize, u64) {
    let number = slot(leaf).unwrap_or(255);
    (number / 64, 1 << (number % 64))
}
