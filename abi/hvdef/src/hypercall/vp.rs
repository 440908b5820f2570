//! VPs: creation, registers, state, address translation, dispatch (TLFS, "Virtual Processor Management").

use crate::id::{ProximityDomain, Vtl};
use crate::register::{RegisterName, RegisterValue, SegmentRegister, TableRegister};
use crate::vp::{VpStatePageType, VpStateType};
use crate::{Gpn, PartitionId, VpIndex};
use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`CREATE_VP`](super::HypercallCode::CREATE_VP).
    pub struct CreateVp {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Index for the new VP.
        pub vp_index: VpIndex,
        /// Linux leaves garbage here.
        pub padding: [u8; 3],
        /// 0: any.
        pub subnode_type: u8,
        /// Linux leaves garbage here.
        pub subnode_id: u64,
        /// Where its memory should come from; ignored.
        pub proximity: ProximityDomain,
        /// 0 for a child; the LP for a VP of the root.
        pub flags: u64,
    }

    /// [`DELETE_VP`](super::HypercallCode::DELETE_VP), a fast call.
    pub struct DeleteVp {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub vp_index: VpIndex,
        /// 0.
        pub reserved: u32,
    }

    /// Header of [`GET_VP_REGISTERS`](super::HypercallCode::GET_VP_REGISTERS), which a list of [`RegisterName`] follows,
    /// and of [`SET_VP_REGISTERS`](super::HypercallCode::SET_VP_REGISTERS), which a list of [`RegisterAssoc`] follows.
    /// The output of the former is a list of [`RegisterValue`].
    pub struct VpRegisters {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Which VP; may be [`VpIndex::SELF`].
        pub vp_index: VpIndex,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// 0.
        pub reserved: [u8; 3],
    }

    /// TLFS `HV_REGISTER_ASSOC`: a register and its value.
    pub struct RegisterAssoc {
        /// Which.
        pub name: RegisterName,
        /// 0.
        pub reserved_4: u32,
        /// 0.
        pub reserved_8: u64,
        /// Value.
        pub value: RegisterValue,
    }

    /// [`TRANSLATE_VIRTUAL_ADDRESS`](super::HypercallCode::TRANSLATE_VIRTUAL_ADDRESS).
    pub struct TranslateVirtualAddress {
        /// In which partition.
        pub partition_id: PartitionId,
        /// By which VP's tables.
        pub vp_index: VpIndex,
        /// 0.
        pub padding: u32,
        /// As if for what access.
        pub control: TranslateControl,
        /// The virtual address divided by 4096.
        pub gva_page: u64,
    }

    /// Output of [`TranslateVirtualAddress`].
    pub struct TranslateVirtualAddressOutput {
        /// Success, or why not.
        pub result_code: TranslateResultCode,
        /// Memory type and overlay.
        pub attributes: TranslateAttributes,
        /// Where the page is, on success.
        pub gpa_page: Gpn,
    }

    /// [`MAP_VP_STATE_PAGE`](super::HypercallCode::MAP_VP_STATE_PAGE).
    pub struct MapVpStatePage {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Whose state.
        pub vp_index: VpIndex,
        /// Which page.
        pub page_type: VpStatePageType,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// Bit 0: use the location. Never set by a root.
        pub flags: u8,
        /// Where the caller wants it.
        pub requested_location: Gpn,
    }

    /// Output of [`MapVpStatePage`].
    pub struct MapVpStatePageOutput {
        /// Where it is in the caller's memory.
        pub map_location: Gpn,
    }

    /// [`UNMAP_VP_STATE_PAGE`](super::HypercallCode::UNMAP_VP_STATE_PAGE).
    pub struct UnmapVpStatePage {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Whose state.
        pub vp_index: VpIndex,
        /// Which page.
        pub page_type: VpStatePageType,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// 0.
        pub reserved: u8,
    }

    /// [`GET_VP_STATE`](super::HypercallCode::GET_VP_STATE) and [`SET_VP_STATE`](super::HypercallCode::SET_VP_STATE).
    ///
    /// The variable header is a list of the caller's pages for types passed by page, and for setting the others it is the
    /// data. Getting the others puts the data into the output.
    pub struct VpState {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Whose state.
        pub vp_index: VpIndex,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// 0.
        pub reserved_13: [u8; 3],
        /// Which part.
        pub state_type: VpStateType,
        /// 0.
        pub reserved_20: u32,
        /// For XSAVE: 0.
        pub xsave_flags: u64,
        /// For XSAVE: which components.
        pub xsave_states: u64,
    }

    /// [`DISPATCH_VP`](super::HypercallCode::DISPATCH_VP).
    pub struct DispatchVp {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub vp_index: VpIndex,
        /// How.
        pub flags: DispatchFlags,
        /// For at most so many units of 100 ns; 0 for as long as it lasts.
        pub time_slice: u64,
        /// The caller's SPEC_CTRL.
        pub spec_ctrl: u64,
    }

    /// Output of [`DispatchVp`].
    pub struct DispatchVpOutput {
        /// What the VP is now.
        pub state: DispatchState,
        /// Why.
        pub event: DispatchEvent,
    }

    /// TLFS `HV_INITIAL_VP_CONTEXT`.
    pub struct InitialVpContext {
        /// RIP.
        pub rip: u64,
        /// RSP.
        pub rsp: u64,
        /// RFLAGS.
        pub rflags: u64,
        /// CS, DS, ES, FS, GS, SS, TR, LDTR.
        pub segments: [SegmentRegister; 8],
        /// IDTR.
        pub idtr: TableRegister,
        /// GDTR.
        pub gdtr: TableRegister,
        /// EFER.
        pub efer: u64,
        /// CR0.
        pub cr0: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// Page attribute table.
        pub pat: u64,
    }

    /// [`START_VP`](super::HypercallCode::START_VP) and [`ENABLE_VP_VTL`](super::HypercallCode::ENABLE_VP_VTL).
    pub struct StartVp {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub vp_index: VpIndex,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// 0.
        pub reserved: [u8; 3],
        /// Its registers.
        pub context: InitialVpContext,
    }

    /// [`GET_VP_INDEX_FROM_APIC_ID`](super::HypercallCode::GET_VP_INDEX_FROM_APIC_ID): list of APIC ids (u32) follows,
    /// output is a list of [`VpIndex`].
    pub struct GetVpIndexFromApicId {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Virtual trust level.
        pub vtl: Vtl,
        /// 0.
        pub reserved: [u8; 7],
    }
}

layout!(
    CreateVp, 40, partition_id @ 0, vp_index @ 8, padding @ 12, subnode_type @ 15, subnode_id @ 16,
    proximity @ 24, flags @ 32
);
layout!(DeleteVp, 16, partition_id @ 0, vp_index @ 8);
layout!(VpRegisters, 16, partition_id @ 0, vp_index @ 8, vtl @ 12);
layout!(RegisterAssoc, 32, name @ 0, reserved_4 @ 4, reserved_8 @ 8, value @ 16);
layout!(TranslateVirtualAddress, 32, partition_id @ 0, vp_index @ 8, control @ 16, gva_page @ 24);
layout!(TranslateVirtualAddressOutput, 16, result_code @ 0, attributes @ 4, gpa_page @ 8);
layout!(
    MapVpStatePage, 24, partition_id @ 0, vp_index @ 8, page_type @ 12, vtl @ 14, flags @ 15, requested_location @ 16
);
layout!(MapVpStatePageOutput, 8);
layout!(UnmapVpStatePage, 16, partition_id @ 0, vp_index @ 8, page_type @ 12, vtl @ 14);
layout!(
    VpState, 40, partition_id @ 0, vp_index @ 8, vtl @ 12, state_type @ 16, reserved_20 @ 20, xsave_flags @ 24,
    xsave_states @ 32
);
layout!(DispatchVp, 32, partition_id @ 0, vp_index @ 8, flags @ 12, time_slice @ 16, spec_ctrl @ 24);
layout!(DispatchVpOutput, 8, state @ 0, event @ 4);
layout!(
    InitialVpContext, 224, rip @ 0, segments @ 24, idtr @ 152, gdtr @ 168, efer @ 184, cr0 @ 192, pat @ 216
);
layout!(StartVp, 240, partition_id @ 0, vp_index @ 8, vtl @ 12, context @ 16);
layout!(GetVpIndexFromApicId, 16, partition_id @ 0, vtl @ 8);

/// Control flags of [`TranslateVirtualAddress`].
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TranslateControl {
    /// A read must be allowed.
    pub validate_read: bool,
    /// A write must be allowed.
    pub validate_write: bool,
    /// Execution must be allowed.
    pub validate_execute: bool,
    /// Whatever the privilege level.
    pub privilege_exempt: bool,
    /// Set accessed and dirty bits.
    pub set_page_table_bits: bool,
    /// Leave the TLB alone.
    pub tlb_flush_inhibit: bool,
    /// As a supervisor access.
    pub supervisor_access: bool,
    /// As a user access.
    pub user_access: bool,
    #[bits(56)]
    __: u64,
}

open_enum! {
    /// TLFS `HV_TRANSLATE_GVA_RESULT_CODE`.
    pub struct TranslateResultCode(u32) {
        /// Translated.
        SUCCESS = 0;
        /// A page is not present.
        PAGE_NOT_PRESENT = 1;
        /// The access is not allowed.
        PRIVILEGE_VIOLATION = 2;
        /// Reserved bits are set in a table.
        INVALID_PAGE_TABLE_FLAGS = 3;
        /// A table or the page is not backed.
        GPA_UNMAPPED = 4;
        /// The GPA may not be read.
        GPA_NO_READ_ACCESS = 5;
        /// The GPA may not be written.
        GPA_NO_WRITE_ACCESS = 6;
        /// It is an overlay page.
        GPA_ILLEGAL_OVERLAY_ACCESS = 7;
        /// The parent intercepts the access.
        INTERCEPT = 8;
    }
}

/// Second word of [`TranslateVirtualAddressOutput`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TranslateAttributes {
    /// Memory type as in MTRRs.
    pub cache_type: u8,
    /// The page is an overlay of the hypervisor's.
    pub overlay_page: bool,
    #[bits(23)]
    __: u32,
}

/// Flags of [`DispatchVp`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DispatchFlags {
    /// The intercept is handled.
    pub clear_intercept_suspend: bool,
    /// Interrupts of the caller may come in.
    pub enable_caller_interrupts: bool,
    /// Load the caller's SPEC_CTRL afterwards.
    pub set_caller_spec_ctrl: bool,
    /// Skip a speculation barrier of the VP.
    pub skip_vp_spec_flush: bool,
    /// Skip a speculation barrier of the caller.
    pub skip_caller_spec_flush: bool,
    /// Skip a speculation barrier of the caller's user mode.
    pub skip_caller_user_spec_flush: bool,
    /// Take interrupts from the register page.
    pub scan_interrupt_injection: bool,
    #[bits(25)]
    __: u32,
}

open_enum! {
    /// TLFS `HV_VP_DISPATCH_STATE`.
    pub struct DispatchState(u32) {
        /// Never.
        INVALID = 0;
        /// Nothing to run.
        BLOCKED = 1;
        /// Could go on.
        READY = 2;
    }
}

open_enum! {
    /// TLFS `HV_VP_DISPATCH_EVENT`.
    pub struct DispatchEvent(u32) {
        /// None.
        INVALID = 0;
        /// The VP is suspended.
        SUSPEND = 1;
        /// The VP has an intercept.
        INTERCEPT = 2;
    }
}
