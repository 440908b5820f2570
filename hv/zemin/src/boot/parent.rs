//! The parent partition: its view of memory, its VPs, and where its first VP starts.
#![expect(unsafe_code, reason = "creates VPs on pool pages")]

use crate::exit::code::CodePages;
use crate::exit::memory::PARENT_ACCESS;
use crate::exit::synic::VpSynic;
use crate::intercepts;
use crate::lp::{self, Lp};
use crate::mem::frames::{self, PoolFrames};
use crate::mem::{IMAGE_OFFSET, PAGE, phys, space};
use crate::partition::{Partition, ROOT, ROOT_ID, Stage};
use crate::sched;
use crate::sync::SpinLock;
use crate::vp::{Activity, Mtrrs, State, Vp};
use arch_x86::cpu::CR4_PAE;
use arch_x86::msr;
use arch_x86::vcpu::{PermissionMaps, Reg, Segment, SegmentName, SystemReg, TableName, Vcpu};
use lapic::{APIC_BASE_ADDRESS, Apic};
use page_table::{NESTED, PageSize, Table};

use super::Facts;

/// Pages that the hypervisor owns and the parent may read and write, in a row.
#[derive(Clone, Copy, Debug)]
pub struct SharedPages {
    base: u64,
    lps: u32,
}

/// Pages of one VP: assist, message (SIM), event flags (SIEF), event ring (SIRB).
const PER_VP: u64 = 4;
/// Pages of the partition: hypercall, reference TSC.
const PER_PARTITION: u64 = 2;

/// A page of one VP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum VpPage {
    /// VP assist page.
    Assist = 0,
    /// SynIC messages.
    Messages = 1,
    /// SynIC event flags.
    Events = 2,
    /// SynIC event rings.
    Ring = 3,
}

impl SharedPages {
    fn alloc(lps: u32) -> Option<Self> {
        let count = PER_PARTITION + PER_VP * u64::from(lps);
        Some(Self { base: frames::alloc_contiguous(count as usize)?, lps })
    }

    /// System address, which is the parent's address, of the hypercall page.
    pub fn hypercall(&self) -> u64 {
        self.base
    }

    /// Address of the reference TSC page.
    pub fn reference_tsc(&self) -> u64 {
        self.base + PAGE
    }

    /// Address of a page of VP `index`.
    pub fn vp(&self, index: u32, page: VpPage) -> u64 {
        self.base + (PER_PARTITION + PER_VP * u64::from(index) + page as u64) * PAGE
    }

    fn len(&self) -> u64 {
        (PER_PARTITION + PER_VP * u64::from(self.lps)) * PAGE
    }
}

/// Read by the processor for as long as the parent runs.
static MAPS: SpinLock<PermissionMaps> = SpinLock::new(PermissionMaps::open());

/// MSRs of the parent that exit: number, reads, writes. Those outside the maps (synthetic ones) always exit.
const INTERCEPTED_MSRS: [(u32, bool, bool); 10] = [
    (msr::TSC, false, true),
    (msr::APIC_BASE, true, true),
    (msr::EFER, true, true),
    (msr::SYSCFG, false, true),
    (msr::VM_CR, true, true),
    (msr::VM_HSAVE_PA, true, true),
    (0xC001_0115, true, true), // IGNNE
    (0xC001_0116, true, true), // SMM_CTL
    (0xC001_0118, true, true), // SVM_KEY
    (0x6E0, true, true),       // TSC deadline, which the parent is not offered
];

/// Fills the maps and returns where they lie.
fn permission_maps() -> u64 {
    let mut maps = MAPS.lock();
    INTERCEPTED_MSRS
        .into_iter()
        .for_each(|(index, reads, writes)| maps.set_msr(index, reads, writes));
    (msr::X2APIC_FIRST..=msr::X2APIC_LAST).for_each(|index| maps.set_msr(index, true, true));
    for index in (msr::MTRR_FIRST..=msr::MTRR_DEF_TYPE).filter(|&index| index != msr::PAT) {
        maps.set_msr(index, false, true);
    }
    &raw const *maps as u64 - IMAGE_OFFSET
}

/// Builds the parent partition with one VP on every LP. `None` if the pool is too small.
pub fn create(facts: &Facts) -> Option<&'static Partition> {
    let shared = SharedPages::alloc(lp::count())?;
    let slat = build_slat(&shared, facts.premapped_end)?;
    let partition = ROOT.set(Partition::new(ROOT_ID, true, super::PARENT_FEATURES.0));
    partition.set_slat(slat);
    partition.advance(Stage::Created, Stage::Active);
    fill_shared_pages(partition, &shared);
    let maps = permission_maps();
    for lp in lp::all() {
        let vp = create_vp(partition, lp, maps, &shared, facts.parent_x2apic)?;
        intercepts::publish(vp);
        lp.root_vp.set(Some(vp));
        partition.add_vp(vp);
    }
    Some(partition)
}

/// Identity from 0 to `memory_end`, without the hypervisor's memory and without the APIC's page.
fn build_slat(shared: &SharedPages, memory_end: u64) -> Option<Table> {
    let largest = super::largest_parent_page();
    let frames = &mut PoolFrames;
    let slat = Table::new(frames, NESTED)?;
    slat.map(frames, 0, 0, memory_end, PARENT_ACCESS, largest).ok()?;
    let (image_start, image_end) = space::image_range();
    let (pool, pool_len) = frames::range();
    slat.unmap(frames, image_start, image_end - image_start).ok()?;
    slat.unmap(frames, pool, pool_len).ok()?;
    slat.unmap(frames, APIC_BASE_ADDRESS, PAGE).ok()?;
    slat.map(frames, shared.base, shared.base, shared.len(), PARENT_ACCESS, PageSize::Small)
        .ok()?;
    Some(slat)
}

fn create_vp(
    partition: &'static Partition,
    lp: &'static Lp,
    maps: u64,
    shared: &SharedPages,
    x2apic: bool,
) -> Option<&'static Vp> {
    const { assert!(size_of::<Vp>() <= PAGE as usize) };
    let vmcb = frames::alloc()?;
    let memory = phys::pointer(frames::alloc()?).cast::<Vp>();
    // SAFETY: a fresh zeroed frame of our own; the maps live for ever in the image.
    let vcpu = unsafe { Vcpu::new(phys::pointer(vmcb), vmcb, maps, partition.slat()?.root()) };
    let is_first = lp.index == 0;
    let assist_page = shared.vp(lp.index, VpPage::Assist);
    lp.ring.place(shared.vp(lp.index, VpPage::Ring));
    let state = State {
        vcpu,
        apic: create_apic(lp.apic_id, is_first, x2apic)?,
        activity: if is_first { Activity::Running } else { Activity::WaitForStartup },
        nmi_pending: false,
        assist_msr: assist_page,
        assist_page,
        eoi_skippable: false,
        xcr0: 1,
        reevaluate: false,
        on_lp: false,
        extended: frames::alloc()?,
        breakpoints: [0; 4],
        tsc_aux: 0,
        mtrrs: Mtrrs::new(),
        ended_level: 0,
        code: CodePages::new(),
        synic: VpSynic::new(shared, lp.index),
    };
    // SAFETY: a fresh frame, large and aligned enough, never freed.
    unsafe {
        let entity = sched::entity(lp, None);
        memory.write(Vp::new(partition, entity, lp.index, lp.apic_id, 0, state));
        Some(&*memory)
    }
}

/// The parent's APIC. Where x2APIC mode is offered it is on from the start, as firmware may leave it: the register page
/// then never has to be emulated.
fn create_apic(apic_id: u32, is_first: bool, x2apic: bool) -> Option<Apic> {
    const X2APIC_MODE: u64 = 1 << 10;
    let mut apic = Apic::new(apic_id, is_first, x2apic);
    if x2apic {
        apic.set_apic_base(apic.apic_base() | X2APIC_MODE).ok()?;
    }
    Some(apic)
}

/// VMMCALL; RET. The rest of the page is INT3.
const HYPERCALL_CODE: [u8; 4] = [0x0F, 0x01, 0xD9, 0xC3];

fn fill_shared_pages(partition: &Partition, shared: &SharedPages) {
    use core::sync::atomic::Ordering::Relaxed;
    phys::write(shared.hypercall(), &hypercall_page());
    partition.hypercall_msr.store(shared.hypercall(), Relaxed);
    partition.reference_tsc_msr.store(shared.reference_tsc(), Relaxed);
    partition.crash[5].store(crate::exit::CRASH_CAPABILITIES, Relaxed);
    partition.clock.fill_page(shared.reference_tsc());
}

/// The content of a hypercall page.
pub fn hypercall_page() -> [u8; PAGE as usize] {
    let mut code = [0xCC; PAGE as usize];
    for (byte, instruction) in code.iter_mut().zip(HYPERCALL_CODE) {
        *byte = instruction;
    }
    code
}

/// Where and how the parent's kernel starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Instruction pointer.
    pub entry: u64,
    /// RSI: the zero page.
    pub rsi: u64,
    /// The flat GDT.
    pub gdt: u64,
    /// CR3.
    pub page_tables: u64,
}

/// Puts the first VP at the kernel's entry in 64-bit mode, as Linux' boot protocol asks
/// (Documentation/arch/x86/boot.rst, "64-bit boot protocol").
pub fn set_entry(partition: &Partition, start: Start) {
    let Some(vp) = partition.vp(0) else { return };
    // SAFETY: the run loop of this LP has not begun.
    let vcpu = unsafe { &mut vp.state().vcpu };
    vcpu.set_system(SystemReg::Cr0, CR0_LONG_MODE);
    vcpu.set_system(SystemReg::Cr4, CR4_PAE);
    vcpu.set_system(SystemReg::Cr3, start.page_tables);
    vcpu.set_system(SystemReg::Efer, msr::EFER_LME | msr::EFER_LMA);
    vcpu.set_segment(
        SegmentName::Cs,
        Segment { base: 0, limit: u32::MAX, selector: 0x10, attributes: 0xA09B },
    );
    let data = Segment { base: 0, limit: u32::MAX, selector: 0x18, attributes: 0xC093 };
    for name in
        [SegmentName::Ds, SegmentName::Es, SegmentName::Ss, SegmentName::Fs, SegmentName::Gs]
    {
        vcpu.set_segment(name, data);
    }
    vcpu.set_table(TableName::Gdtr, start.gdt, 31);
    vcpu.set_rip(start.entry);
    vcpu.set_reg(Reg::Rdx, 0);
    vcpu.set_reg(Reg::Rsi, start.rsi);
}

/// Paging, write protection, numeric errors, extension type, protection.
const CR0_LONG_MODE: u64 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1;
