//! A set of interrupt vectors: the shape of IRR, ISR and TMR.

/// 256 vectors, bit *n* of word *n* / 64 … as in the posted-interrupt descriptor.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct VectorSet(pub [u64; 4]);

impl VectorSet {
    /// No vector.
    pub const EMPTY: Self = Self([0; 4]);

    /// Adds a vector and says whether it was new.
    #[inline]
    pub fn insert(&mut self, vector: u8) -> bool {
        let Some(word) = self.0.get_mut(usize::from(vector >> 6)) else { return false };
        let bit = 1 << (vector & 63);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes a vector.
    #[inline]
    pub fn remove(&mut self, vector: u8) {
        if let Some(word) = self.0.get_mut(usize::from(vector >> 6)) {
            *word &= !(1 << (vector & 63));
        }
    }

    /// Is the vector in the set?
    #[inline]
    pub fn contains(&self, vector: u8) -> bool {
        self.0.get(usize::from(vector >> 6)).is_some_and(|word| word >> (vector & 63) & 1 != 0)
    }

    /// The highest vector, or 0 if there is none. (Vectors below 16 are never stored, so 0 is free.)
    #[inline]
    pub fn highest(&self) -> u8 {
        let [w0, w1, w2, w3] = self.0;
        let (base, word) = if w3 != 0 {
            (192, w3)
        } else if w2 != 0 {
            (128, w2)
        } else if w1 != 0 {
            (64, w1)
        } else if w0 != 0 {
            (0, w0)
        } else {
            return 0;
        };
        base + (63 - word.leading_zeros() as u8)
    }

    /// Is there no vector?
    #[inline]
    pub fn is_empty(&self) -> bool {
        let [w0, w1, w2, w3] = self.0;
        w0 | w1 | w2 | w3 == 0
    }

    /// The 32-bit register `index` (0…7) as the APIC page shows it.
    pub fn word32(&self, index: u8) -> u32 {
        let word = self.0.get(usize::from(index >> 1)).copied().unwrap_or(0);
        (word >> (32 * (index & 1))) as u32
    }

    /// From the eight 32-bit registers; the impossible vectors 0…15 are dropped.
    pub fn from_words32(words: [u32; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = words.map(u64::from);
        Self([(a | b << 32) & !0xffff, c | d << 32, e | f << 32, g | h << 32])
    }

    /// The eight 32-bit registers.
    pub fn to_words32(self) -> [u32; 8] {
        core::array::from_fn(|i| self.word32(i as u8))
    }
}
