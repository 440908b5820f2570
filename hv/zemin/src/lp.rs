//! A logical processor: what the hypervisor keeps for each.
#![expect(unsafe_code, reason = "per-LP state reached through GS, owned by the LP")]

use crate::mem::{frames, space};
use crate::ring::{Patience, Ring};
use crate::sync::SpinLock;
use crate::time;
use crate::vp::Vp;
use arch_x86::tables::{IST_DOUBLE_FAULT, IST_NMI, LpTables};
use arch_x86::vcpu::LpContext;
use arch_x86::{cpu, msr};
use core::cell::{Cell, RefCell, UnsafeCell};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering};
use hvdef::LpIndex;
use synic::RootQueue;
use vp_sched::RunQueue;
use zemindef::counters::Counter;

/// Most LPs this build handles; further ones stay off.
pub const MAX_LPS: usize = 64;

/// Most VPs of children on the machine.
pub const MAX_CHILD_VPS: usize = 1024;

/// State of one LP. Fields in cells are touched by the LP itself only; atomics by all.
#[repr(C)]
pub struct Lp {
    /// First field: what `gs:0` reads.
    this: *const Lp,
    /// Index, 0 for the one on which the parent begins.
    pub index: u32,
    /// Physical APIC id.
    pub apic_id: u32,
    /// The parent's VP that lives on this LP.
    pub root_vp: Cell<Option<&'static Vp>>,
    /// The scheduler's queue of VPs that are at home here.
    pub queue: SpinLock<RunQueue>,
    /// The scheduler is to decide anew.
    pub reschedule: AtomicBool,
    /// Times that the LP was in its run loop, where it holds no VP but the one it runs.
    passes: AtomicU64,
    /// Time-stamp counter value at which it does so in any case.
    pub turn_end: Cell<u64>,
    /// The parent's VP on this LP can be sent messages: its SynIC is on.
    pub takes_messages: AtomicBool,
    /// Messages for the parent's VP on this LP that wait for its slot.
    pub root_queue: RootQueue<{ MAX_CHILD_VPS / 64 }>,
    /// The event ring of the parent's VP on this LP.
    pub ring: Ring,
    /// How long children on this LP go on after a doorbell.
    pub patience: Patience,
    /// Time-stamp counter value the physical timer is set to fire at; `u64::MAX` while it is off.
    pub timer_deadline: Cell<u64>,
    /// Vectors of level-triggered device interrupts whose physical end-of-interrupt is still owed.
    pub owed_eoi: Cell<[u64; 4]>,
    /// Set by the interrupt handlers, consumed by the run loop: something about this LP's VPs may have changed.
    pub attention: AtomicBool,
    /// The LP has finished its own start.
    pub online: AtomicBool,
    /// How many device interrupts are mapped to each vector of this LP. Linux parks several that are shut down on one.
    pub device_vectors: [AtomicU16; 256],
    /// Vectors that were last mapped as level-triggered.
    pub level_vectors: [AtomicU64; 4],
    /// Time-stamp counter value of the next update of statistics pages.
    pub stats_due: Cell<u64>,
    counters: [AtomicU64; Counter::COUNT],
    /// Time-stamp counter ticks spent in guests, for the run-time call.
    pub guest_ticks: AtomicU64,
    /// Time-stamp counter ticks spent waiting with nothing to run, without the present wait.
    idle_ticks: AtomicU64,
    /// When the present wait began; 0 while there is none.
    idle_since: AtomicU64,
    context: RefCell<LpContext>,
    tables: UnsafeCell<LpTables>,
}

// SAFETY: cells are touched only by the LP that owns the structure (`current`), the rest are atomics.
unsafe impl Sync for Lp {}

static LPS: [AtomicPtr<Lp>; MAX_LPS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_LPS];
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Creates the state of the next LP. `None` when memory or [`MAX_LPS`] is exhausted.
pub fn create(apic_id: u32) -> Option<&'static Lp> {
    let index = COUNT.load(Ordering::Relaxed);
    let slot = LPS.get(index as usize)?;
    let lp = allocate(index, apic_id)?;
    slot.store(lp.this.cast_mut(), Ordering::Release);
    COUNT.store(index + 1, Ordering::Release);
    crate::sched::on_new_lp(index + 1);
    Some(lp)
}

/// Creates the state of a processor that boots the others and is none of them. There is one at most.
pub fn create_unlisted(apic_id: u32) -> Option<&'static Lp> {
    allocate(MAX_LPS as u32, apic_id)
}

fn allocate(index: u32, apic_id: u32) -> Option<&'static Lp> {
    let pages = size_of::<Lp>().div_ceil(4096);
    let memory = crate::mem::phys::pointer(frames::alloc_contiguous(pages)?).cast::<Lp>();
    let mut tables = LpTables::new();
    tables.set_stack(IST_DOUBLE_FAULT, space::map_stack(index, IST_DOUBLE_FAULT)?);
    tables.set_stack(IST_NMI, space::map_stack(index, IST_NMI)?);
    let lp = Lp {
        this: memory,
        index,
        apic_id,
        root_vp: Cell::new(None),
        queue: SpinLock::new(RunQueue::new(LpIndex(index))),
        reschedule: AtomicBool::new(false),
        passes: AtomicU64::new(0),
        turn_end: Cell::new(u64::MAX),
        takes_messages: AtomicBool::new(false),
        root_queue: RootQueue::new(),
        ring: Ring::new(),
        patience: Patience::new(),
        timer_deadline: Cell::new(u64::MAX),
        owed_eoi: Cell::new([0; 4]),
        attention: AtomicBool::new(false),
        online: AtomicBool::new(false),
        device_vectors: [const { AtomicU16::new(0) }; 256],
        level_vectors: [const { AtomicU64::new(0) }; 4],
        stats_due: Cell::new(0),
        counters: [const { AtomicU64::new(0) }; Counter::COUNT],
        guest_ticks: AtomicU64::new(0),
        idle_ticks: AtomicU64::new(0),
        idle_since: AtomicU64::new(0),
        context: RefCell::new(LpContext::new()),
        tables: UnsafeCell::new(tables),
    };
    // SAFETY: fresh, aligned pool memory of sufficient size that is never freed.
    unsafe { memory.write(lp) };
    // SAFETY: just initialised.
    Some(unsafe { &*memory })
}

/// Number of LPs.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// LP `index`, if there is one.
pub fn get(index: u32) -> Option<&'static Lp> {
    let pointer = LPS.get(index as usize)?.load(Ordering::Acquire);
    // SAFETY: null or initialised by `create`, and never freed.
    unsafe { pointer.as_ref() }
}

/// All LPs.
pub fn all() -> impl Iterator<Item = &'static Lp> {
    (0..count()).filter_map(get)
}

/// An LP whose parent VP takes messages: `preferred` if that one does. The parent may have taken some of its processors
/// out of use.
pub fn listening(preferred: &Lp) -> &Lp {
    let listens = |lp: &&Lp| lp.takes_messages.load(Ordering::Acquire);
    Some(preferred).filter(listens).or_else(|| all().find(listens)).unwrap_or(preferred)
}

/// The calling LP. Valid once [`Lp::adopt`] has run on it.
#[inline(always)]
pub fn current() -> &'static Lp {
    let lp: *const Lp;
    // SAFETY: GS points to this LP's structure while the hypervisor runs: exits restore it (VMLOAD).
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) lp, options(nostack, pure, readonly, preserves_flags))
    };
    // SAFETY: see above.
    unsafe { &*lp }
}

/// The calling LP, or `None` as long as it has none: for crash reports, and for interrupts that find a guest's GS.
pub fn try_current() -> Option<&'static Lp> {
    let tables = arch_x86::tables::current();
    all().find(|lp| lp.tables.get() as u64 == tables)
}

impl Lp {
    /// Makes this structure the calling LP's: descriptor tables, GS, exceptions.
    pub fn adopt(&'static self) {
        // SAFETY: runs once, on the LP itself, in flat 64-bit segments; stacks were set by `create`.
        unsafe {
            (*self.tables.get()).load();
            msr::write(msr::GS_BASE, self.this as u64);
        }
        crate::trap::load();
    }

    /// Runs `work` on this LP, the calling one, in which GS may be a guest's; it is again afterwards.
    pub fn with_gs(&self, work: impl FnOnce()) {
        // SAFETY: GS is what everything here finds the LP by; the guest's is put back before anything could miss it.
        unsafe {
            let guest = msr::read(msr::GS_BASE);
            msr::write(msr::GS_BASE, self.this as u64);
            work();
            msr::write(msr::GS_BASE, guest);
        }
    }

    /// The back end's context. Only the run loop of this LP borrows it.
    pub fn context(&self) -> core::cell::RefMut<'_, LpContext> {
        self.context.borrow_mut()
    }

    /// Adds one to a counter.
    #[inline]
    pub fn count(&self, counter: Counter) {
        if let Some(value) = self.counters.get(counter as usize) {
            // Only this LP writes it, so no locked instruction is needed.
            value.store(value.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// A counter's value by number.
    pub fn counter(&self, index: usize) -> u64 {
        let us = |ticks: u64| time::ticks_to_100ns(ticks) / 10;
        match Counter::from_index(index) {
            Some(Counter::GuestTime) => return us(self.guest_ticks.load(Ordering::Relaxed)),
            Some(Counter::IdleTime) => return us(self.idle_ticks()),
            _ => {}
        }
        self.counters.get(index).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// A wait with nothing to run begins. Own LP only, like its end.
    pub fn begin_idle(&self) {
        self.idle_since.store(cpu::rdtsc(), Ordering::Relaxed);
    }

    /// It is over.
    pub fn end_idle(&self) {
        let since = self.idle_since.swap(0, Ordering::Relaxed);
        let waited = cpu::rdtsc().wrapping_sub(since);
        let ticks = self.idle_ticks.load(Ordering::Relaxed).wrapping_add(waited);
        self.idle_ticks.store(ticks, Ordering::Relaxed);
    }

    /// Time-stamp counter ticks spent waiting up to now.
    fn idle_ticks(&self) -> u64 {
        let since = self.idle_since.load(Ordering::Relaxed);
        let present = if since == 0 { 0 } else { cpu::rdtsc().saturating_sub(since) };
        self.idle_ticks.load(Ordering::Relaxed).wrapping_add(present)
    }

    /// Whether something may have changed since the last time. Own LP only.
    #[inline]
    pub fn take_attention(&self) -> bool {
        let taken =
            self.attention.load(Ordering::Relaxed) && self.attention.swap(false, Ordering::AcqRel);
        if taken {
            self.pass();
        }
        taken
    }

    /// The LP holds no VP but the parent's, the one that it runs, and one that nobody else can find. Own LP only.
    pub fn pass(&self) {
        self.passes.store(self.passes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Number of such moments; [`Self::kick`] brings about another.
    pub fn passes(&self) -> u64 {
        self.passes.load(Ordering::Acquire)
    }

    /// Whether the scheduler has to decide anew at time-stamp counter value `now`. Own LP only.
    pub fn is_turn_over(&self, now: u64) -> bool {
        self.reschedule.load(Ordering::Relaxed) || now >= self.turn_end.get()
    }

    /// Makes the LP's scheduler decide anew.
    pub fn ask_to_reschedule(&self) {
        self.reschedule.store(true, Ordering::Relaxed);
        self.kick();
    }

    /// Makes the LP leave its guest, or its idle wait, and look at its VPs.
    pub fn kick(&self) {
        if !self.attention.swap(true, Ordering::AcqRel) && !core::ptr::eq(self, current()) {
            crate::interrupts::send_kick(self.apic_id);
        }
    }
}

/// Turns on what the hypervisor relies on in the calling LP's control registers.
pub fn init_control_registers() {
    let xsave = cpu::cpuid(1, 0).ecx & 1 << 26 != 0;
    // SAFETY: paging and protection stay; write protection only removes rights, XSAVE is supported as checked.
    unsafe {
        cpu::set_cr0(cpu::cr0() | cpu::CR0_WP);
        // For reading what a guest has in its XMM registers; the hypervisor itself uses none.
        cpu::set_cr4(cpu::cr4() | cpu::CR4_OSFXSR);
        if xsave {
            cpu::set_cr4(cpu::cr4() | cpu::CR4_OSXSAVE);
        }
    }
}
