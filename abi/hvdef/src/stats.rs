//! Statistics pages: 512 counters of u64 for an object (TLFS, "Statistics"; Linux `mshv_debugfs_counters.c` for the
//! numbers of the counters).

use crate::{LpIndex, PartitionId, VpIndex};
use wire::{layout, open_enum, wire};
use zerocopy::IntoBytes;

open_enum! {
    /// TLFS `HV_STATS_OBJECT_TYPE`.
    pub struct StatsObjectType(u32) {
        /// The hypervisor.
        HYPERVISOR = 0x0000_0001;
        /// An LP.
        LOGICAL_PROCESSOR = 0x0000_0002;
        /// A partition.
        PARTITION = 0x0001_0001;
        /// A VP.
        VP = 0x0001_0002;
    }
}

open_enum! {
    /// TLFS `HV_STATS_AREA_TYPE`: whose view of the object.
    pub struct StatsArea(u8) {
        /// The object's own.
        SELF = 0;
        /// Its parent's. May be refused with INVALID_PARAMETER: Linux then takes the own one.
        PARENT = 1;
        /// The hypervisor's.
        INTERNAL = 2;
    }
}

wire! {
    /// TLFS `HV_STATS_OBJECT_IDENTITY`: which object. What the first words mean depends on the type; the area is always
    /// the last byte.
    pub struct StatsIdentity {
        /// Partition id; for an LP its index.
        pub object: u64,
        /// VP index.
        pub vp_index: VpIndex,
        /// Flags of a VP; 0.
        pub flags: u16,
        /// 0.
        pub reserved: u8,
        /// Which view.
        pub area: StatsArea,
    }
}
layout!(StatsIdentity, 16, object @ 0, vp_index @ 8, flags @ 12, reserved @ 14, area @ 15);

impl StatsIdentity {
    /// The partition, for types PARTITION and VP.
    pub const fn partition_id(&self) -> PartitionId {
        PartitionId(self.object)
    }

    /// The LP, for type LOGICAL_PROCESSOR.
    pub const fn lp_index(&self) -> LpIndex {
        LpIndex(self.object as u32)
    }

    /// The identity as one number, to compare and to keep.
    pub fn to_key(self) -> u128 {
        let mut key = [0; 16];
        key.copy_from_slice(self.as_bytes());
        u128::from_le_bytes(key)
    }
}

/// Counters on a page.
pub const COUNTERS_PER_PAGE: usize = 512;
/// Hypervisor page: number of LPs, which is how many LP pages Linux maps.
pub const HYPERVISOR_LOGICAL_PROCESSORS: usize = 1;
/// VP page: the root's thread that dispatches the VP is blocked. Read with the root scheduler only.
pub const VP_ROOT_DISPATCH_THREAD_BLOCKED: usize = 202;

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn an_identity_tells_partition_lp_and_area() {
        let mut bytes = [0u8; 16];
        bytes[0] = 3;
        bytes[8] = 2;
        bytes[15] = 1;
        let identity = StatsIdentity::read_from_bytes(&bytes).unwrap();
        assert_eq!(identity.partition_id(), PartitionId(3));
        assert_eq!(identity.lp_index(), LpIndex(3));
        assert_eq!(identity.vp_index, VpIndex(2));
        assert_eq!(identity.area, StatsArea::PARENT);
        assert_eq!(identity.to_key(), 3 | 2 << 64 | 1 << 120);
    }
}
