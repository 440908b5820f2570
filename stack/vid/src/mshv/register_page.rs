//! The register page: a VP's registers without a hypercall (Linux `struct hv_vp_register_page`, version 1).
//!
//! While the VP is stopped the hypervisor does not touch it; what is written here counts when the VP goes on, by the
//! classes marked dirty. While the VP runs, and if `isvalid` is 0, the page says nothing.
#![expect(unsafe_code, reason = "reads and writes a page shared with the hypervisor")]

use crate::{CpuState, SegmentRegister};
use mshv_bindings::{RegisterPage as RawPage, hv_vp_register_page};
use zerocopy::{FromBytes, IntoBytes};

const IS_VALID: usize = 2;
const DIRTY: usize = 4;
const GPR: usize = 8;
const RIP: usize = 136;
const RFLAGS: usize = 144;
const SEGMENTS: usize = 256;
const CR0: usize = 352;
const CR3: usize = 360;
const CR4: usize = 368;
const EFER: usize = 384;

const DIRTY_GENERAL: u32 = 1 << 0;
const DIRTY_IP: u32 = 1 << 1;
const DIRTY_FLAGS: u32 = 1 << 4;

/// The page orders its segments ES, CS, SS, DS, FS, GS, as [`CpuState::segments`] does.
const SEGMENT_SIZE: usize = size_of::<SegmentRegister>();

/// A VP's register page, valid when it was made.
pub struct RegisterPage {
    page: *mut u8,
}

impl RegisterPage {
    /// The page, if it says something now. The VP is stopped, and stays so while this lives: its thread holds it.
    pub fn of(raw: Option<&RawPage>) -> Option<Self> {
        let page = Self { page: raw?.0.cast() };
        (page.read::<u8>(IS_VALID) != 0).then_some(page)
    }

    /// All of it that [`CpuState`] has.
    pub fn state(&self) -> CpuState {
        CpuState {
            gpr: std::array::from_fn(|number| self.read(GPR + 8 * number)),
            rip: self.read(RIP),
            rflags: self.read(RFLAGS),
            segments: std::array::from_fn(|number| {
                zerocopy::transmute!(
                    self.read::<[u8; SEGMENT_SIZE]>(SEGMENTS + SEGMENT_SIZE * number)
                )
            }),
            cr0: self.read(CR0),
            cr3: self.read(CR3),
            cr4: self.read(CR4),
            efer: self.read(EFER),
        }
    }

    /// Changes the general-purpose registers, RIP and RFLAGS.
    pub fn set_general(&self, state: &CpuState) {
        for (number, value) in state.gpr.iter().enumerate() {
            self.write(GPR + 8 * number, *value);
        }
        self.write(RIP, state.rip);
        self.write(RFLAGS, state.rflags);
        self.mark(DIRTY_GENERAL | DIRTY_IP | DIRTY_FLAGS);
    }

    /// Changes RIP, and RAX if given.
    pub fn resume_at(&self, rip: u64, rax: Option<u64>) {
        self.write(RIP, rip);
        let mut dirty = DIRTY_IP;
        if let Some(rax) = rax {
            self.write(GPR, rax);
            dirty |= DIRTY_GENERAL;
        }
        self.mark(dirty);
    }

    fn mark(&self, classes: u32) {
        self.write(DIRTY, self.read::<u32>(DIRTY) | classes);
    }

    fn read<T: FromBytes>(&self, offset: usize) -> T {
        assert!(offset + size_of::<T>() <= size_of::<hv_vp_register_page>());
        // SAFETY: inside the mapped page (above), which lives as long as the VP that lends it; any bytes are a `T`.
        unsafe { self.page.add(offset).cast::<T>().read_volatile() }
    }

    fn write<T: IntoBytes>(&self, offset: usize, value: T) {
        assert!(offset + size_of::<T>() <= size_of::<hv_vp_register_page>());
        // SAFETY: inside the mapped page (above), which is mapped writable; only the VP's own thread writes it.
        unsafe { self.page.add(offset).cast::<T>().write_volatile(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gpr;

    #[repr(C, align(4096))]
    struct Page([u8; 4096]);

    fn page(fill: impl Fn(&mut [u8])) -> Box<Page> {
        let mut page = Box::new(Page([0; 4096]));
        page.0[IS_VALID] = 1;
        fill(&mut page.0);
        page
    }

    fn lend(page: &mut Page) -> RawPage {
        RawPage(std::ptr::from_mut(page).cast())
    }

    #[test]
    fn offsets_are_those_of_the_published_bindings() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(hv_vp_register_page, isvalid), IS_VALID);
        assert_eq!(offset_of!(hv_vp_register_page, dirty), DIRTY);
        assert_eq!(offset_of!(hv_vp_register_page, __bindgen_anon_1), GPR);
        assert_eq!(offset_of!(hv_vp_register_page, __bindgen_anon_3), SEGMENTS);
        assert_eq!(offset_of!(hv_vp_register_page, cr0), CR0);
        assert_eq!(offset_of!(hv_vp_register_page, cr3), CR3);
        assert_eq!(offset_of!(hv_vp_register_page, cr4), CR4);
        assert_eq!(offset_of!(hv_vp_register_page, efer), EFER);
    }

    #[test]
    fn a_page_that_is_not_valid_is_not_used() {
        let mut page = page(|bytes| bytes[IS_VALID] = 0);
        assert!(RegisterPage::of(Some(&lend(&mut page))).is_none());
        assert!(RegisterPage::of(None).is_none());
    }

    #[test]
    fn what_is_changed_is_marked_and_nothing_else() {
        let mut page = page(|bytes| bytes[GPR + 8] = 5);
        let raw = lend(&mut page);
        let view = RegisterPage::of(Some(&raw)).unwrap();
        view.resume_at(0x1234, None);
        assert_eq!(view.read::<u32>(DIRTY), DIRTY_IP);
        view.resume_at(0x1236, Some(0xAB));
        assert_eq!(view.read::<u32>(DIRTY), DIRTY_IP | DIRTY_GENERAL);
        let state = view.state();
        assert_eq!((state.rip, state.get(Gpr::Rax), state.get(Gpr::Rcx)), (0x1236, 0xAB, 5));
    }

    #[test]
    fn state_written_is_state_read() {
        let mut page = page(|bytes| bytes[SEGMENTS + 16 + 14] = 0x9B);
        let raw = lend(&mut page);
        let view = RegisterPage::of(Some(&raw)).unwrap();
        let mut state = view.state();
        assert_eq!(state.segments[crate::cpu::CS].attributes.into_bits(), 0x9B);
        state.gpr = std::array::from_fn(|number| number as u64 * 3);
        state.rflags = 0x246;
        view.set_general(&state);
        assert_eq!(view.state(), state);
        assert_eq!(view.read::<u32>(DIRTY), DIRTY_GENERAL | DIRTY_IP | DIRTY_FLAGS);
    }
}
