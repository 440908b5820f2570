//! A virtual processor.
//!
//! Its [`State`] belongs to the LP that runs it; everybody else goes through the atomics of [`Vp`]: a posted vector or a
//! request, then a kick. Posting is all that an interrupt handler or another LP ever does to a VP.
#![expect(unsafe_code, reason = "state owned by one LP at a time")]

mod extended;
mod mtrrs;
mod state;

use crate::exit::code::CodePages;
use crate::exit::synic::SynicView;
use crate::lp::{self, Lp};
use crate::partition::Partition;
use crate::sched;
use crate::sync::SpinLock;
use arch_x86::vcpu::Vcpu;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use extended::supported_xcr0;
use lapic::{Address, Apic, DeliveryMode};
pub use mtrrs::Mtrrs;
use vp_sched::Entity;

/// What another LP, or an interrupt handler, asks of a VP. Bits of [`Vp::requests`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Request {
    /// Take an NMI.
    Nmi = 1 << 0,
    /// Reset and wait for a startup IPI.
    Init = 1 << 1,
    /// Start, if waiting.
    Startup = 1 << 2,
    /// Drop all cached translations.
    FlushTranslations = 1 << 3,
    /// Look whether a message slot is free for which the parent waits.
    Deliverable = 1 << 4,
}

/// What a VP is doing when it is not running guest code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Runs, or would if it had an LP.
    Running,
    /// Executed HLT: wakes with the next interrupt.
    Halted,
    /// Read the guest idle MSR: wakes with the next interrupt, interrupts open or not.
    Idle,
    /// Waits for a startup IPI.
    WaitForStartup,
    /// Shut down by a triple fault or a state the processor refuses; only INIT helps.
    Dead,
}

/// A virtual processor.
pub struct Vp {
    /// Index in the partition.
    pub index: u32,
    /// Its local APIC id.
    pub apic_id: u32,
    /// The partition.
    pub partition: &'static Partition,
    /// What the scheduler knows of it, the LP it is at home on among that.
    pub entity: Entity,
    posted: [AtomicU64; 4],
    posted_level: [AtomicU64; 4],
    has_posted: AtomicBool,
    requests: AtomicU32,
    startup_page: AtomicU8,
    /// A copy of the APIC's [`Address`] for the senders of IPIs.
    address: AtomicU64,
    /// Generation of completed translation flushes, so that a caller can wait for one.
    pub flushes: AtomicU64,
    /// Number among all VPs of children; 0 for the parent's.
    pub number: u32,
    /// Why the parent holds the VP: [`EXPLICIT`], [`INTERCEPT`].
    suspend: AtomicU32,
    /// Somebody has the state: the LP that runs it, or a hypercall about it.
    owned: AtomicBool,
    /// Hypercalls that want the VP stopped.
    pins: AtomicU32,
    /// System address of the intercept message page; 0 while it is not mapped.
    pub intercept_page: AtomicU64,
    /// System address of the register page; 0 while it is not mapped.
    pub register_page: AtomicU64,
    /// System address of the page with what its VMM registered for CPUID; 0 for none.
    pub cpuid_results: AtomicU64,
    /// An interrupt of the legacy controller that its VMM asserts: bit 8 and the vector; 0 for none.
    pub ext_int: AtomicU32,
    /// What others may do to a child's SynIC while the VP runs.
    pub signals: SpinLock<SynicView>,
    /// DELIVERABILITY_NOTIFICATIONS of a child: SINTs in bits 63:48.
    pub wanted_slots: AtomicU64,
    state: UnsafeCell<State>,
}

/// Suspended because the parent said so.
pub const EXPLICIT: u32 = 1 << 0;
/// Suspended because an intercept waits for the parent.
pub const INTERCEPT: u32 = 1 << 1;
/// Suspended for ever: it is being deleted.
pub const GONE: u32 = 1 << 2;

// SAFETY: `state` is reached only through `Vp::state`, whose caller is the owning LP.
unsafe impl Sync for Vp {}

/// What only the owning LP touches.
pub struct State {
    /// Registers and the world switch.
    pub vcpu: Vcpu,
    /// The virtual local APIC.
    pub apic: Apic,
    /// See [`Activity`].
    pub activity: Activity,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// VP assist page MSR, 0x40000073.
    pub assist_msr: u64,
    /// System address of the VP assist page.
    pub assist_page: u64,
    /// The "no EOI required" bit is set in the assist page and the guest may clear it.
    pub eoi_skippable: bool,
    /// The guest's XCR0, loaded in the register while it runs.
    pub xcr0: u64,
    /// Something changed that may make an interrupt deliverable, or undeliverable.
    pub reevaluate: bool,
    /// The registers that VMRUN does not switch are in the LP, not in memory.
    pub on_lp: bool,
    /// System address of the page with floating-point and vector state while it is not on an LP.
    pub extended: u64,
    /// DR0 to DR3 while they are not on an LP.
    pub breakpoints: [u64; 4],
    /// TSC_AUX while the registers are not in an LP.
    pub tsc_aux: u64,
    /// MTRRs of a child: kept for whoever looks, without effect. Its memory types are its second-level tables'.
    pub mtrrs: Mtrrs,
    /// Vector of a level-triggered interrupt that a child has ended and its parent is to hear of; 0 for none.
    pub ended_level: u8,
    /// Where the code lies that exits.
    pub code: CodePages,
    /// Synthetic interrupt controller.
    pub synic: crate::exit::synic::VpSynic,
}

impl Vp {
    /// A VP in the power-on state: the first runs (once its registers are set), the others wait for a startup IPI.
    pub fn new(
        partition: &'static Partition,
        entity: Entity,
        index: u32,
        apic_id: u32,
        number: u32,
        state: State,
    ) -> Self {
        Self {
            index,
            apic_id,
            partition,
            entity,
            posted: [const { AtomicU64::new(0) }; 4],
            posted_level: [const { AtomicU64::new(0) }; 4],
            has_posted: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            startup_page: AtomicU8::new(0),
            address: AtomicU64::new(state.apic.address().to_bits()),
            flushes: AtomicU64::new(0),
            number,
            suspend: AtomicU32::new(if number == 0 { 0 } else { EXPLICIT }),
            owned: AtomicBool::new(false),
            pins: AtomicU32::new(0),
            intercept_page: AtomicU64::new(0),
            register_page: AtomicU64::new(0),
            cpuid_results: AtomicU64::new(0),
            ext_int: AtomicU32::new(0),
            signals: SpinLock::new(SynicView::new()),
            wanted_slots: AtomicU64::new(0),
            state: UnsafeCell::new(state),
        }
    }

    /// Posts an interrupt; the VP sees it before it next enters the guest.
    pub fn post_interrupt(&self, vector: u8, level: bool) {
        let (word, bit) = (usize::from(vector / 64), 1 << (vector % 64));
        let set = if level { &self.posted_level } else { &self.posted };
        set[word].fetch_or(bit, Ordering::Relaxed);
        self.has_posted.store(true, Ordering::SeqCst);
        self.alert();
    }

    /// The LP it is at home on: for ever for the parent's VPs, until it next waits for an LP for others.
    pub fn lp(&self) -> &'static Lp {
        lp::get(self.entity.home().0).expect("VPs are at home on LPs that exist")
    }

    /// The scheduler takes it for a VP with nothing to do. Exact on the home LP, else a hint.
    pub fn is_blocked(&self) -> bool {
        self.entity.state() == vp_sched::State::Blocked
    }

    /// Something was posted: the VP has to look at it before it next runs guest code, and soon.
    fn alert(&self) {
        if self.partition.is_root {
            self.lp().kick();
        } else if !self.is_wanted_stopped() {
            sched::wake(self);
        }
    }

    /// Makes the VP look for interrupts that wait beside its APIC.
    pub fn reconsider(&self) {
        self.has_posted.store(true, Ordering::SeqCst);
        self.alert();
    }

    /// Posts a request.
    pub fn request(&self, request: Request) {
        if request == Request::Init {
            // What came before it is lost; a startup interrupt that is served after it would start the VP.
            let lost = Request::Startup as u32 | Request::Nmi as u32;
            self.requests.fetch_and(!lost, Ordering::SeqCst);
        }
        self.requests.fetch_or(request as u32, Ordering::SeqCst);
        match request {
            // A VP that is not on an LP has time until it is.
            Request::FlushTranslations if self.number != 0 => {
                if self.is_owned() {
                    self.lp().kick();
                }
            }
            _ => self.alert(),
        }
    }

    /// What selects this VP's APIC.
    pub fn address(&self) -> Address {
        Address::from_bits(self.address.load(Ordering::Relaxed))
    }

    /// Tells the senders of IPIs what the APIC's address is now.
    pub fn publish_address(&self, address: Address) {
        self.address.store(address.to_bits(), Ordering::Relaxed);
    }

    /// Which of [`EXPLICIT`] and [`INTERCEPT`] hold.
    pub fn suspended(&self) -> u32 {
        self.suspend.load(Ordering::SeqCst)
    }

    /// Sets a reason to be suspended.
    pub fn suspend(&self, reason: u32) {
        self.suspend.fetch_or(reason, Ordering::SeqCst);
    }

    /// Takes a reason away, and lets the VP go on if there is no other.
    pub fn resume(&self, reason: u32) {
        self.suspend.fetch_and(!reason, Ordering::SeqCst);
        if self.wanted_slots.load(Ordering::Relaxed) != 0 {
            // What could not be told while the VP was stopped.
            self.requests.fetch_or(Request::Deliverable as u32, Ordering::Release);
        }
        self.alert();
    }

    /// The partition was frozen, or is no more.
    pub fn on_freeze(&self, frozen: bool) {
        if frozen {
            self.lp().kick();
        } else {
            self.alert();
        }
    }

    /// Whether the VP has to leave its LP.
    pub fn is_wanted_stopped(&self) -> bool {
        self.suspended() != 0
            || self.pins.load(Ordering::SeqCst) != 0
            || self.partition.is_at_rest()
    }

    /// Whether some LP has it, so that a request will be served before guest code runs on.
    pub fn is_owned(&self) -> bool {
        self.owned.load(Ordering::SeqCst)
    }

    /// Takes a child's VP to run it. Nobody else touches its state until the guard goes.
    pub fn try_own(&self) -> Option<Owned<'_>> {
        let free =
            self.owned.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        // Lazily: a guard that is made and not given out would free what somebody else has.
        free.then(|| Owned { vp: self, pinned: false })
    }

    /// Stops a child's VP and takes its state. It goes on when the guard goes.
    pub fn stop(&self) -> Owned<'_> {
        self.pins.fetch_add(1, Ordering::SeqCst);
        let mut kicked = None;
        loop {
            if let Some(mut owned) = self.try_own() {
                owned.pinned = true;
                return owned;
            }
            let home = self.entity.home();
            if kicked.replace(home) != Some(home) {
                self.lp().kick();
            }
            arch_x86::cpu::pause();
        }
    }

    /// Delivers an interrupt message that was addressed to this VP.
    pub fn deliver(&self, mode: DeliveryMode, vector: u8) {
        match mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                self.post_interrupt(vector, false)
            }
            DeliveryMode::Nmi => self.request(Request::Nmi),
            DeliveryMode::Init => self.request(Request::Init),
            DeliveryMode::Sipi => {
                self.startup_page.store(vector, Ordering::Relaxed);
                self.request(Request::Startup);
            }
            DeliveryMode::Smi | DeliveryMode::ExtInt => {}
        }
    }

    /// The VP's own state.
    ///
    /// # Safety
    /// The caller is the run loop of [`Self::lp`], or boot before that loop starts, and keeps one reference at a time.
    #[expect(clippy::mut_from_ref, reason = "ownership by the LP stands in for the borrow")]
    pub unsafe fn state(&self) -> &mut State {
        // SAFETY: as the caller vouches.
        unsafe { &mut *self.state.get() }
    }

    /// Takes in what others posted. Owning LP only.
    pub fn absorb(&self, state: &mut State) {
        if self.has_posted.load(Ordering::Relaxed) && self.has_posted.swap(false, Ordering::Acquire)
        {
            state.settle_skipped_eoi();
            state.apic.merge_posted(&take(&self.posted));
            for (word, mut bits) in take(&self.posted_level).into_iter().enumerate() {
                while bits != 0 {
                    state.apic.accept((word as u32 * 64 + bits.trailing_zeros()) as u8, true);
                    bits &= bits - 1;
                }
            }
            state.reevaluate = true;
        }
        if self.requests.load(Ordering::Relaxed) != 0 {
            self.serve_requests(state);
        }
    }

    fn serve_requests(&self, state: &mut State) {
        let requests = self.requests.swap(0, Ordering::AcqRel);
        let has = |request: Request| requests & request as u32 != 0;
        if has(Request::FlushTranslations) {
            state.flush_translations();
            self.flushes.fetch_add(1, Ordering::Release);
        }
        if has(Request::Init) {
            state.reset();
        }
        if has(Request::Deliverable) {
            state.notify_deliverable(self);
        }
        if has(Request::Startup) && state.activity == Activity::WaitForStartup {
            state.vcpu.start_at_page(self.startup_page.load(Ordering::Relaxed));
            state.activity = Activity::Running;
        }
        if has(Request::Nmi) && state.activity != Activity::WaitForStartup {
            state.nmi_pending = true;
            state.reevaluate = true;
        }
    }
}

/// The state of a child's VP, for whoever took it.
pub struct Owned<'a> {
    vp: &'a Vp,
    pinned: bool,
}

impl core::ops::Deref for Owned<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        // SAFETY: `owned` was free and is set until this goes.
        unsafe { &*self.vp.state.get() }
    }
}

impl core::ops::DerefMut for Owned<'_> {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: as `deref`.
        unsafe { &mut *self.vp.state.get() }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        self.vp.owned.store(false, Ordering::SeqCst);
        if self.pinned {
            self.vp.pins.fetch_sub(1, Ordering::SeqCst);
            self.vp.alert();
        }
    }
}

/// Empties a posted set and returns what it held.
fn take(set: &[AtomicU64; 4]) -> [u64; 4] {
    core::array::from_fn(|word| match set.get(word) {
        Some(bits) if bits.load(Ordering::Relaxed) != 0 => bits.swap(0, Ordering::AcqRel),
        _ => 0,
    })
}
