//! Which ports and MSRs a partition reaches without an exit (AMD APM vol. 2, 15.10 and 15.11).

/// The I/O and MSR permission maps of one kind of partition. A set bit means exit.
#[repr(C, align(4096))]
pub struct PermissionMaps {
    /// One bit per port, and three more for accesses that reach past the last.
    io: [u8; 3 * 4096],
    /// Two bits (read, write) per MSR of three ranges; MSRs outside them always exit.
    msr: [u8; 2 * 4096],
}

/// First MSR of each range the map covers; each range is 0x2000 MSRs, 2 KiB of the map.
const RANGES: [u32; 3] = [0, 0xC000_0000, 0xC001_0000];

impl PermissionMaps {
    /// Everything is allowed without an exit.
    pub const fn open() -> Self {
        Self { io: [0; 3 * 4096], msr: [0; 2 * 4096] }
    }

    /// Every access exits.
    pub fn close(&mut self) {
        self.io.fill(0xFF);
        self.msr.fill(0xFF);
    }

    /// Sets whether reads and writes of `msr` exit. MSRs outside the map's ranges always do.
    pub fn set_msr(&mut self, msr: u32, read_exits: bool, write_exits: bool) {
        let Some(range) = RANGES.iter().position(|&first| msr.wrapping_sub(first) < 0x2000) else {
            return;
        };
        let bit = (msr - RANGES[range]) as usize * 2;
        let Some(byte) = self.msr.get_mut(range * 2048 + bit / 8) else { return };
        *byte &= !(3 << (bit % 8));
        *byte |= (u8::from(read_exits) | u8::from(write_exits) << 1) << (bit % 8);
    }

    /// Sets whether accesses to `port` exit.
    pub fn set_port(&mut self, port: u16, exits: bool) {
        let Some(byte) = self.io.get_mut(usize::from(port) / 8) else { return };
        let bit = 1 << (port % 8);
        *byte = if exits { *byte | bit } else { *byte & !bit };
    }

    /// Offset of the MSR map from the start of the structure, in bytes.
    pub const MSR_OFFSET: u64 = 3 * 4096;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msr_bits_land_where_the_manual_says() {
        let mut maps = PermissionMaps::open();
        maps.set_msr(0xC000_0080, true, false);
        assert_eq!(maps.msr[0x800 + 0x80 / 4], 1);
        maps.set_msr(0x1B, false, true);
        assert_eq!(maps.msr[0x1B / 4], 2 << (0x1B % 4 * 2));
        maps.set_msr(0x1B, false, false);
        assert_eq!(maps.msr[0x1B / 4], 0);
        maps.set_msr(0x4000_0000, true, true);
        assert_eq!(maps.msr.iter().filter(|&&byte| byte != 0).count(), 1);
    }

    #[test]
    fn port_bits_toggle() {
        let mut maps = PermissionMaps::open();
        maps.set_port(0xCF9, true);
        assert_eq!(maps.io[0xCF9 / 8], 1 << (0xCF9 % 8));
        maps.set_port(0xCF9, false);
        assert_eq!(maps.io[0xCF9 / 8], 0);
    }
}
