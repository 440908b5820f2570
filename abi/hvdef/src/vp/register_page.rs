//! The register page: registers of a stopped VP, shared with its parent (Linux `struct hv_vp_register_page`).

use crate::register::{InterruptState, PendingInterruption, RegisterValue, SegmentRegister};
use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the layout.
pub const REGISTER_PAGE_VERSION: u16 = 1;

wire! {
    /// The register page, as far as it is used; the rest of the page is 0.
    ///
    /// The hypervisor fills it whenever the VP stops, with nothing dirty, before the parent hears of it. The parent changes
    /// registers and marks their class dirty; what is dirty is loaded when the VP goes on, and shows in GET_VP_REGISTERS
    /// before that. Control registers are for reading.
    pub struct RegisterPage {
        /// [`REGISTER_PAGE_VERSION`].
        pub version: u16,
        /// 1: the contents are those of the VP.
        pub is_valid: u8,
        /// Virtual trust level.
        pub vtl: u8,
        /// What the parent has changed.
        pub dirty: DirtyClasses,
        /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
        pub gp: [u64; 16],
        /// RIP.
        pub rip: u64,
        /// RFLAGS.
        pub rflags: u64,
        /// 0.
        pub reserved_152: u64,
        /// XMM0 to XMM5.
        pub xmm: [RegisterValue; 6],
        /// ES, CS, SS, DS, FS, GS.
        pub segments: [SegmentRegister; 6],
        /// CR0.
        pub cr0: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// CR8.
        pub cr8: u64,
        /// EFER.
        pub efer: u64,
        /// DR7.
        pub dr7: u64,
        /// Event under way.
        pub pending_interruption: PendingInterruption,
        /// Interrupt shadow and NMI mask.
        pub interrupt_state: InterruptState,
        /// Hints for an instruction emulator.
        pub instruction_emulation_hints: u64,
        /// XCR0.
        pub xfem: u64,
        /// 0.
        pub reserved_432: [u8; 256],
        /// Interrupts for a dispatched VP (root scheduler).
        pub interrupt_vectors: InterruptVectors,
    }

    /// Vectors that the root adds while the VP does not run.
    pub struct InterruptVectors {
        /// How many.
        pub count: u8,
        /// Vectors.
        pub vectors: [u8; 7],
    }
}
layout!(
    RegisterPage, 696, version @ 0, is_valid @ 2, vtl @ 3, dirty @ 4, gp @ 8, rip @ 136, rflags @ 144, xmm @ 160,
    segments @ 256, cr0 @ 352, cr3 @ 360, cr4 @ 368, cr8 @ 376, efer @ 384, dr7 @ 392, pending_interruption @ 400,
    interrupt_state @ 408, instruction_emulation_hints @ 416, xfem @ 424, reserved_432 @ 432, interrupt_vectors @ 688
);
layout!(InterruptVectors, 8, count @ 0, vectors @ 1);

/// Classes of registers in the page.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DirtyClasses {
    /// General registers.
    pub general: bool,
    /// RIP.
    pub ip: bool,
    /// XMM registers.
    pub xmm: bool,
    /// Segments.
    pub segments: bool,
    /// RFLAGS.
    pub flags: bool,
    #[bits(27)]
    __: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_classes_have_the_documented_bits() {
        let boot = DirtyClasses::new().with_general(true).with_ip(true).with_flags(true);
        assert_eq!(boot.into_bits(), 0b1_0011);
        assert_eq!(DirtyClasses::new().with_segments(true).into_bits(), 1 << 3);
    }
}
