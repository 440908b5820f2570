//! Who calls, as far as it decides what may be called.

use crate::info::{CallInfo, Scope};
use hvdef::cpuid::PartitionPrivileges;

/// What a partition may call: its privilege mask, as its CPUID shows it, and whether it is the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Privileges {
    mask: PartitionPrivileges,
    is_root: bool,
}

impl Privileges {
    /// The root's, with the mask its CPUID shows.
    pub const fn root(mask: PartitionPrivileges) -> Self {
        Self { mask, is_root: true }
    }

    /// A child's, with the mask its CPUID shows.
    pub const fn child(mask: PartitionPrivileges) -> Self {
        Self { mask, is_root: false }
    }

    /// The mask.
    pub const fn mask(self) -> PartitionPrivileges {
        self.mask
    }

    /// Whether the partition is the root.
    pub const fn is_root(self) -> bool {
        self.is_root
    }

    /// Whether the partition may make this call at all.
    pub const fn allow(self, info: &CallInfo) -> bool {
        let in_scope = match info.scope {
            Scope::Root => self.is_root,
            Scope::Any => true,
            Scope::RootOr(besides) => self.is_root || self.mask.contains(besides),
        };
        in_scope && self.mask.contains(info.needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::find;
    use hvdef::HypercallCode;

    #[test]
    fn the_root_needs_the_privilege_as_well() {
        let deposit = find(HypercallCode::DEPOSIT_MEMORY).unwrap();
        let pool = PartitionPrivileges::new().with_access_memory_pool(true);
        assert!(Privileges::root(pool).allow(deposit));
        assert!(!Privileges::root(PartitionPrivileges::new()).allow(deposit));
    }

    #[test]
    fn a_child_gets_nothing_of_the_roots_whatever_its_mask() {
        let everything = Privileges::child(PartitionPrivileges::from_bits(u64::MAX));
        assert!(!everything.allow(find(HypercallCode::DEPOSIT_MEMORY).unwrap()));
        assert!(everything.allow(find(HypercallCode::SIGNAL_EVENT).unwrap()));
    }

    #[test]
    fn a_childs_own_registers_need_a_privilege_that_the_root_does_not() {
        let registers = find(HypercallCode::GET_VP_REGISTERS).unwrap();
        assert!(Privileges::root(PartitionPrivileges::new()).allow(registers));
        assert!(!Privileges::child(PartitionPrivileges::new()).allow(registers));
        let own = PartitionPrivileges::new().with_access_vp_registers(true);
        assert!(Privileges::child(own).allow(registers));
    }
}
