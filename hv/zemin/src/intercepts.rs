//! Telling the parent what a child's VP did: the intercept.
//!
//! The VP stops, its registers go onto the register page, the message onto the intercept page, the VP counts as suspended,
//! and only then the parent's driver gets one word of it: OPAQUE_INTERCEPT, in the slot of the LP's own parent VP.
#![expect(unsafe_code, reason = "finds VPs that live on deposited pages by number")]

use crate::exit::synic::Note;
use crate::lp::{self, Lp, MAX_CHILD_VPS, MAX_LPS};
use crate::mem::phys;
use crate::vp::{INTERCEPT, Owned, State, Vp};
use arch_x86::vcpu::{Event, Reg, Segment, SegmentName, SystemReg, Vcpu};
use core::sync::atomic::{AtomicPtr, Ordering};
use hvdef::VpIndex;
use hvdef::message::{
    AccessType, ApicEoi, CpuidIntercept, ExecutionState, HypercallIntercept, InstructionInfo,
    InterceptHeader, Message, MessageType, SintDeliverable,
};
use hvdef::register::{
    InterruptState, InterruptionType, PendingInterruption, RegisterName, SegmentAttributes,
    SegmentRegister,
};
use hvdef::vp::{DirtyClasses, InterruptVectors, REGISTER_PAGE_VERSION, RegisterPage};
use synic::RootMessage;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// All VPs: those of children by number, and behind them the parent's by index.
static VPS: [AtomicPtr<Vp>; MAX_CHILD_VPS + MAX_LPS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CHILD_VPS + MAX_LPS];

/// A number for a new VP, from 1 up; `None` when there are too many VPs.
pub fn reserve_number() -> Option<u32> {
    let reserved = core::ptr::dangling_mut();
    let free = |slot: &&AtomicPtr<Vp>| {
        slot.compare_exchange(core::ptr::null_mut(), reserved, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    VPS.iter().take(MAX_CHILD_VPS).skip(1).find(free).map(|slot| {
        let index = (core::ptr::from_ref(slot) as usize - VPS.as_ptr() as usize)
            / size_of::<AtomicPtr<Vp>>();
        index as u32
    })
}

/// The place of a VP among all.
#[inline]
pub fn place(vp: &Vp) -> u32 {
    if vp.number != 0 { vp.number } else { MAX_CHILD_VPS as u32 + vp.index }
}

/// Says who has the place.
pub fn publish(vp: &'static Vp) {
    if let Some(slot) = VPS.get(place(vp) as usize) {
        slot.store(core::ptr::from_ref(vp).cast_mut(), Ordering::Release);
    }
}

/// Frees a number. Nothing waits for the VP in any queue any more.
pub fn retract(number: u32) {
    if let Some(slot) = VPS.get(number as usize) {
        slot.store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// The VP in this place: a child's with this number, or one of the parent's.
#[inline]
pub fn by_place(place: u32) -> Option<&'static Vp> {
    let pointer = VPS.get(place as usize)?.load(Ordering::Acquire);
    // Null or reserved.
    if pointer.addr() <= core::ptr::dangling::<Vp>().addr() {
        return None;
    }
    // SAFETY: a VP leaves the table before its page is given up, and the queues forget it before that.
    Some(unsafe { &*pointer })
}

/// The message for the parent's driver that an entry of its queue stands for.
pub fn root_message(entry: RootMessage) -> Option<Note> {
    Some(match entry {
        RootMessage::SintRing(sint) => Note::new(MessageType::SYNIC_SINT_INTERCEPT, 0, sint.into()),
        RootMessage::Intercept(number) => {
            let vp = by_place(number as u32)?;
            Note::new(MessageType::OPAQUE_INTERCEPT, vp.partition.id.0, vp.index)
        }
    })
}

/// Stops the VP with an intercept.
pub fn raise<T: IntoBytes + Immutable>(
    lp: &Lp,
    vp: &Vp,
    state: &mut State,
    kind: MessageType,
    payload: &T,
) {
    let (page, registers) =
        (vp.intercept_page.load(Ordering::Relaxed), vp.register_page.load(Ordering::Relaxed));
    if let (Some(message), true) =
        (Message::new(kind, vp.partition.id.0, payload.as_bytes()), page != 0)
    {
        phys::write(page, message.as_bytes());
    }
    if registers != 0 {
        phys::write(registers, register_page(state).as_bytes());
    }
    vp.suspend(INTERCEPT);
    let target = lp::listening(lp);
    target.root_queue.push_intercept(vp.number as usize);
    target.kick();
}

/// Stops the VP at a hypercall that its parent is to serve.
pub fn raise_hypercall(lp: &Lp, vp: &Vp, state: &mut State) {
    let reg = |reg| state.vcpu.reg(reg);
    let payload = HypercallIntercept {
        header: header(vp, state, 3, AccessType::EXECUTE),
        rax: reg(Reg::Rax),
        rbx: reg(Reg::Rbx),
        rcx: reg(Reg::Rcx),
        rdx: reg(Reg::Rdx),
        r8: reg(Reg::R8),
        rsi: reg(Reg::Rsi),
        rdi: reg(Reg::Rdi),
        xmm: state.xmm_head(),
        flags: 0,
        reserved: 0,
    };
    raise(lp, vp, state, MessageType::HYPERCALL_INTERCEPT, &payload);
}

/// Stops the VP at a CPUID that its parent wants to see.
pub fn raise_cpuid(lp: &Lp, vp: &Vp, state: &mut State) {
    let reg = |reg| state.vcpu.reg(reg);
    let (rax, rcx) = (reg(Reg::Rax), reg(Reg::Rcx));
    let view = crate::cpuid_table::view(vp, state);
    let default = vp.partition.cpuid.answer(vp, &view, rax as u32, rcx as u32, true);
    let payload = CpuidIntercept {
        header: header(vp, state, 2, AccessType::EXECUTE),
        rax,
        rcx,
        rdx: reg(Reg::Rdx),
        rbx: reg(Reg::Rbx),
        default_rax: default.eax.into(),
        default_rcx: default.ecx.into(),
        default_rdx: default.edx.into(),
        default_rbx: default.ebx.into(),
    };
    raise(lp, vp, state, MessageType::X64_CPUID_INTERCEPT, &payload);
}

/// Stops the VP to tell that slots became free for which the parent waits.
pub fn raise_deliverable(lp: &Lp, vp: &Vp, state: &mut State, sints: u16) {
    let payload = SintDeliverable {
        header: header(vp, state, 0, AccessType::READ),
        deliverable_sints: sints,
        reserved_42: 0,
        reserved_44: 0,
    };
    raise(lp, vp, state, MessageType::SYNIC_SINT_DELIVERABLE, &payload);
}

/// Stops the VP to tell that a level-triggered interrupt has ended.
pub fn raise_eoi(lp: &Lp, vp: &Vp, state: &mut State, vector: u8) {
    let payload = ApicEoi { vp_index: VpIndex(vp.index), vector: vector.into() };
    raise(lp, vp, state, MessageType::X64_APIC_EOI, &payload);
}

/// DR7: breakpoints that are on.
const BREAKPOINTS: u64 = 0xFF;

/// The part that most intercepts begin with.
pub fn header(vp: &Vp, state: &State, length: u8, access: AccessType) -> InterceptHeader {
    let vcpu = &state.vcpu;
    let cr0 = vcpu.system(SystemReg::Cr0);
    let execution_state = ExecutionState::new()
        .with_cpl(vcpu.cpl())
        .with_cr0_pe(cr0 & 1 != 0)
        .with_cr0_am(cr0 & 1 << 18 != 0)
        .with_efer_lma(vcpu.system(SystemReg::Efer) & 1 << 10 != 0)
        .with_debug_active(vcpu.system(SystemReg::Dr7) & BREAKPOINTS != 0)
        .with_interruption_pending(vcpu.has_event())
        .with_interrupt_shadow(vcpu.interrupt_shadow());
    InterceptHeader {
        vp_index: VpIndex(vp.index),
        instruction: InstructionInfo::new().with_length(length & 0xF).with_cr8(vcpu.cr8()),
        access_type: access,
        execution_state,
        cs: segment(vcpu.segment(SegmentName::Cs)),
        rip: vcpu.rip(),
        rflags: vcpu.rflags(),
    }
}

/// A segment register in the ABI's form.
pub fn segment(segment: Segment) -> SegmentRegister {
    SegmentRegister {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        attributes: SegmentAttributes::from_bits(segment.attributes),
    }
}

/// A segment register from the ABI's form.
pub fn from_segment(segment: SegmentRegister) -> Segment {
    Segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        attributes: segment.attributes.into_bits(),
    }
}

/// An event that waits, in the ABI's form.
pub fn pending(event: Option<Event>) -> PendingInterruption {
    let form = |kind: InterruptionType, vector: u8| {
        PendingInterruption::new()
            .with_pending(true)
            .with_interruption_type(kind.0)
            .with_vector(vector.into())
    };
    match event {
        None => PendingInterruption::new(),
        Some(Event::Interrupt(vector)) => form(InterruptionType::INTERRUPT, vector),
        Some(Event::Nmi) => form(InterruptionType::NMI, 2),
        Some(Event::Exception { vector, error_code }) => form(InterruptionType::EXCEPTION, vector)
            .with_deliver_error_code(error_code.is_some())
            .with_error_code(error_code.unwrap_or(0)),
    }
}

/// What keeps interrupts and NMIs from the guest beside its flags, in the ABI's form.
pub fn interrupt_state(vcpu: &Vcpu) -> InterruptState {
    InterruptState::new()
        .with_interrupt_shadow(vcpu.interrupt_shadow())
        .with_nmi_masked(vcpu.is_in_nmi_handler())
}

/// Segment registers in the order of the register page.
const PAGE_SEGMENTS: [SegmentName; 6] = [
    SegmentName::Es,
    SegmentName::Cs,
    SegmentName::Ss,
    SegmentName::Ds,
    SegmentName::Fs,
    SegmentName::Gs,
];

fn register_page(state: &mut State) -> RegisterPage {
    let gp = *state.vcpu.regs();
    let mut page = RegisterPage::new_zeroed();
    page.version = REGISTER_PAGE_VERSION;
    page.is_valid = 1;
    page.dirty = DirtyClasses::new();
    page.gp = gp;
    page.xmm = state.xmm_head();
    let vcpu = &state.vcpu;
    page.rip = vcpu.rip();
    page.rflags = vcpu.rflags();
    page.segments = PAGE_SEGMENTS.map(|name| segment(vcpu.segment(name)));
    page.cr0 = vcpu.system(SystemReg::Cr0);
    page.cr3 = vcpu.system(SystemReg::Cr3);
    page.cr4 = vcpu.system(SystemReg::Cr4);
    page.cr8 = vcpu.cr8().into();
    page.efer = vcpu.system(SystemReg::Efer);
    page.dr7 = vcpu.system(SystemReg::Dr7);
    page.pending_interruption = pending(vcpu.pending_event());
    page.interrupt_state = interrupt_state(vcpu);
    page.xfem = state.xcr0;
    page.interrupt_vectors = InterruptVectors::new_zeroed();
    page
}

/// Stops a VP and takes its state, and with it what its parent wrote to the register page while the VP was suspended.
///
/// What is written there while the VP may run is nobody's register, and is overwritten when it stops.
pub fn stop(vp: &Vp) -> Owned<'_> {
    let is_pages_turn = vp.suspended() != 0;
    let mut state = vp.stop();
    if is_pages_turn {
        load_register_page(vp, &mut state);
    }
    state
}

/// Brings the register page up to date with a stopped VP: its registers were set by name, or its parent suspended it.
pub fn refresh_register_page(vp: &Vp, state: &mut State) {
    let address = vp.register_page.load(Ordering::Relaxed);
    if address != 0 {
        phys::write(address, register_page(state).as_bytes());
    }
}

/// Whether the parent says of the register page that it changed something there.
fn is_written(address: u64) -> bool {
    // Version, validity and dirty classes.
    phys::read_word(address).is_some_and(|word| word >> 16 & 0xFF != 0 && word >> 32 != 0)
}

/// Takes over what the parent changed on the register page.
fn load_register_page(vp: &Vp, state: &mut State) {
    let address = vp.register_page.load(Ordering::Relaxed);
    let mut page = RegisterPage::new_zeroed();
    if address == 0 || !is_written(address) || !phys::read(address, page.as_mut_bytes()) {
        return;
    }
    if page.dirty.general() {
        *state.vcpu.regs() = page.gp;
    }
    if page.dirty.ip() {
        state.vcpu.set_rip(page.rip);
    }
    if page.dirty.flags() {
        state.vcpu.set_rflags(page.rflags);
    }
    if page.dirty.xmm()
        && let Some(mut area) = xsave_area::Area::new(state.extended_area())
    {
        for (number, value) in (0..).zip(page.xmm) {
            let _ = area.set(RegisterName(RegisterName::XMM0.0 + number), value);
        }
    }
    if page.dirty.segments() {
        for (name, value) in PAGE_SEGMENTS.into_iter().zip(page.segments) {
            state.vcpu.set_segment(name, from_segment(value));
        }
    }
    page.dirty = DirtyClasses::new();
    phys::write(address + core::mem::offset_of!(RegisterPage, dirty) as u64, page.dirty.as_bytes());
}
