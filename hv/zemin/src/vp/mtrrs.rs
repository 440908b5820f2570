//! Memory type range registers of a child.

/// MTRRs by number.
pub struct Mtrrs {
    default: u64,
    fixed: [u64; 11],
    variable: [u64; 16],
}

impl Mtrrs {
    /// Off.
    pub const fn new() -> Self {
        Self { default: 0, fixed: [0; 11], variable: [0; 16] }
    }

    /// The register with this number.
    pub fn get(&mut self, index: u32) -> Option<&mut u64> {
        match index {
            0x2FF => Some(&mut self.default),
            0x200..=0x20F => self.variable.get_mut((index - 0x200) as usize),
            0x250 => self.fixed.first_mut(),
            0x258..=0x259 => self.fixed.get_mut((index - 0x258 + 1) as usize),
            0x268..=0x26F => self.fixed.get_mut((index - 0x268 + 3) as usize),
            _ => None,
        }
    }
}
