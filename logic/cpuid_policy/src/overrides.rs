//! What the parent registered with REGISTER_INTERCEPT_RESULT.

use crate::Registers;
use crate::query::{Query, slot};
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
    /// Leaves, by their slot, for which there is a result; that for leaves without one of their own included.
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
        let slot = slot(new.leaf);
        if let Some(word) = self.leaves.get_mut(usize::from(slot / 64)) {
            *word |= 1 << (slot % 64);
        }
        Ok(())
    }
}

impl<S: AsRef<[Override]>> Overrides<S> {
    /// `(default & !mask) | (value & mask)`, for every result that fits.
    #[inline]
    pub(crate) fn apply(&self, query: Query, registers: &mut Registers) {
        let word = self.leaves.get(usize::from(query.slot / 64)).copied().unwrap_or(0);
        if word >> (query.slot % 64) & 1 != 0 {
            self.merge(query, registers);
        }
    }

    fn merge(&self, query: Query, registers: &mut Registers) {
        for result in self.results.as_ref().iter().take(self.len) {
            let fits = result.subleaf.is_none_or(|subleaf| subleaf == query.subleaf);
            if result.leaf == query.leaf && fits {
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
