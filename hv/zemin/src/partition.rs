//! A partition: what its VPs share.

use crate::clock::Clock;
use crate::cpuid_table::CpuidTable;
use crate::deposits::PagePool;
use crate::exit::memory::ADDRESS_BITS;
use crate::log::Budget;
use crate::mem::frames::PoolFrames;
use crate::mem::{PAGE, phys};
use crate::ports::PortBook;
use crate::sync::{Once, SpinLock};
use crate::vp::Vp;
pub use crate::vp_list::MAX_VPS;
use crate::vp_list::VpList;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use cpuid_policy::{ALL_MSR_RIGHTS, msr_rights};
use guest_map::GuestMap;
use hvdef::cpuid::PartitionPrivileges;
use hvdef::hypercall::intercept::InterceptType;
use hvdef::{Gpa, PartitionId};
use hypercall::Privileges;
use page_table::{Table, flags};
use vp_sched::{Role, Share};

/// The parent's partition id.
pub const ROOT_ID: PartitionId = PartitionId(1);

/// Where a partition is in its life.
///
/// ```text
///   Created ──initialize──> Active ──finalize──> Finalized ──delete──> gone
///      └───────────────────────delete─────────────────────────────────^
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stage {
    /// Has an id and a memory pool.
    Created = 0,
    /// Has second-level tables, and may have VPs.
    Active = 1,
    /// Has only its pool left.
    Finalized = 2,
}

/// State shared by the VPs of one partition.
pub struct Partition {
    /// Identifier, never reused.
    pub id: PartitionId,
    /// Whether it is the parent.
    pub is_root: bool,
    privileges: AtomicU64,
    stage: AtomicU8,
    /// Hypercalls under way that use this structure; it goes when there is none.
    pub users: AtomicU32,
    /// Memory the parent deposited for it.
    pub pool: SpinLock<PagePool>,
    /// What its VPs are entitled to.
    pub share: Share,
    /// Synthetic processor features that the parent chose for it.
    pub synthetic_features: AtomicU64,
    /// MSRs that nobody knows read zero and ignore writes, instead of raising #GP.
    pub ignores_unknown_msrs: AtomicBool,
    /// Its VPs do not run until the parent says so.
    frozen: AtomicBool,
    /// Nor while this is set, for a moment.
    stopped: AtomicBool,
    /// Its reference time.
    pub clock: Clock,
    /// Processor features, two banks, and XSAVE features that its creator switched off.
    pub disabled: [u64; 3],
    /// It may use the APIC's x2APIC mode.
    pub x2apic: bool,
    /// Two of its VPs are threads of one core.
    pub smt: bool,
    /// VPs of a socket; 0: all of them.
    pub vps_per_socket: AtomicU32,
    /// What CPUID tells it.
    pub cpuid: CpuidTable,
    slat: Once<Table>,
    /// A child's address space, which `slat` is the table of.
    map: Once<GuestMap>,
    /// Writes to its memory are tracked.
    pub tracks_writes: AtomicBool,
    /// Held by whoever changes the second-level tables.
    pub slat_lock: SpinLock<()>,
    /// Its ports, and the connections and doorbells it has.
    pub port_book: PortBook,
    /// Kinds of events that its parent wants to see, by number of the intercept type.
    installed: AtomicU32,
    /// The guest's own identification, MSR 0x40000000.
    pub guest_os_id: AtomicU64,
    /// The hypercall MSR, 0x40000001.
    pub hypercall_msr: AtomicU64,
    /// The reference TSC MSR, 0x40000021.
    pub reference_tsc_msr: AtomicU64,
    /// Crash parameters and control, MSRs 0x40000100 to 0x40000105.
    pub crash: [AtomicU64; 6],
    /// Crash reports that may still be logged.
    pub crash_reports: Budget,
    /// Lines about accesses to nothing that may still be logged.
    pub complaints: Budget,
    /// The hypercall page of a child.
    pub hypercall_overlay: Overlay,
    /// The reference TSC page of a child.
    pub reference_overlay: Overlay,
    /// Overlay pages: address and page. They outlast what the parent maps at their addresses.
    overlays: SpinLock<[(u64, u64); OVERLAYS]>,
    vps: VpList,
}

/// One overlay page: where the guest wants it and where it is. Changes under the partition's `slat_lock`.
pub struct Overlay {
    /// The MSR that placed it.
    msr: AtomicU64,
    /// System address; 0 while it is not placed.
    page: AtomicU64,
}

impl Overlay {
    /// An overlay as an MSR's value and the page behind it say.
    pub const fn new(msr: u64, page: u64) -> Self {
        Self { msr: AtomicU64::new(msr), page: AtomicU64::new(page) }
    }

    /// Guest address.
    pub fn gpa(&self) -> u64 {
        self.msr.load(Ordering::Relaxed) & !(PAGE - 1)
    }

    /// The guest wants it.
    pub fn is_enabled(&self) -> bool {
        self.msr.load(Ordering::Relaxed) & 1 != 0
    }

    /// System address; 0 while it has no page.
    pub fn page(&self) -> u64 {
        self.page.load(Ordering::Relaxed)
    }

    /// Notes where it is now.
    pub fn set(&self, msr: u64, page: u64) {
        self.msr.store(msr, Ordering::Relaxed);
        self.page.store(page, Ordering::Relaxed);
    }
}

/// Crash reports and complaints of a partition that are logged.
const CRASH_REPORTS: u32 = 4;
const COMPLAINTS: u32 = 32;

/// Most overlay pages of a partition.
const OVERLAYS: usize = 64;

/// The parent's partition.
pub static ROOT: Once<Partition> = Once::new();

/// A range of guest memory that the caller may not touch, or that is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAccessible;

impl Partition {
    /// A partition without VPs and without memory.
    pub const fn new(id: PartitionId, is_root: bool, privileges: PartitionPrivileges) -> Self {
        Self {
            id,
            is_root,
            privileges: AtomicU64::new(privileges.into_bits()),
            stage: AtomicU8::new(Stage::Created as u8),
            users: AtomicU32::new(0),
            pool: SpinLock::new(PagePool::new()),
            share: Share::new(if is_root { Role::Parent } else { Role::Child }),
            synthetic_features: AtomicU64::new(0),
            ignores_unknown_msrs: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            clock: Clock::new(),
            disabled: [0; 3],
            x2apic: true,
            smt: false,
            vps_per_socket: AtomicU32::new(0),
            cpuid: CpuidTable::new(),
            slat: Once::new(),
            map: Once::new(),
            tracks_writes: AtomicBool::new(false),
            slat_lock: SpinLock::new(()),
            port_book: PortBook::new(),
            installed: AtomicU32::new(0),
            guest_os_id: AtomicU64::new(0),
            hypercall_msr: AtomicU64::new(0),
            reference_tsc_msr: AtomicU64::new(0),
            crash: [const { AtomicU64::new(0) }; 6],
            crash_reports: Budget::new(CRASH_REPORTS),
            complaints: Budget::new(COMPLAINTS),
            hypercall_overlay: Overlay::new(0, 0),
            reference_overlay: Overlay::new(0, 0),
            overlays: SpinLock::new([(0, 0); OVERLAYS]),
            vps: VpList::new(),
        }
    }

    /// What its hypercalls may do.
    pub fn privileges(&self) -> Privileges {
        let mask = PartitionPrivileges::from_bits(self.privileges.load(Ordering::Relaxed));
        if self.is_root { Privileges::root(mask) } else { Privileges::child(mask) }
    }

    /// Whether it has the right to a synthetic MSR.
    #[inline]
    pub fn may_access_msr(&self, index: u32) -> bool {
        let has = PartitionPrivileges::from_bits(self.privileges.load(Ordering::Relaxed));
        has.contains(ALL_MSR_RIGHTS) || has.contains(msr_rights(index))
    }

    /// Where it is in its life.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Created,
            1 => Stage::Active,
            _ => Stage::Finalized,
        }
    }

    /// Goes from `from` to `to`. `false` if it was elsewhere.
    pub fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether the parent wants to see events of this kind.
    pub fn intercepts(&self, kind: InterceptType) -> bool {
        let bit = 1u32.checked_shl(kind.0).unwrap_or(0);
        self.installed.load(Ordering::Relaxed) & bit != 0
    }

    /// The parent wants to see events of this kind, or does not any more.
    pub fn install_intercept(&self, kind: InterceptType, wanted: bool) {
        let bit = 1u32.checked_shl(kind.0).unwrap_or(0);
        if wanted {
            self.installed.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.installed.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether its parent froze it.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Whether its VPs have to wait.
    pub fn is_at_rest(&self) -> bool {
        self.is_frozen() || self.stopped.load(Ordering::SeqCst)
    }

    /// Stops all VPs and their clock, or lets them go on.
    ///
    /// The caller holds no VP, and nothing that one may wait for.
    pub fn freeze(&self, frozen: bool) {
        if frozen {
            self.frozen.store(true, Ordering::SeqCst);
            // No guest sees its clock go on after the moment at which it stopped.
            self.vps().for_each(|vp| drop(vp.stop()));
        }
        self.change_clock(|clock| {
            // Somebody else may have changed his mind meanwhile.
            clock.stop(frozen && self.is_frozen());
            if !frozen {
                self.frozen.store(false, Ordering::SeqCst);
            }
        });
        self.vps().for_each(|vp| vp.on_freeze(frozen));
    }

    /// Makes the clock show `time`.
    pub fn set_reference_time(&self, time: u64) {
        self.change_clock(|clock| clock.set(time));
        self.look_at_clock();
    }

    /// Makes the time-stamp counters of all VPs show `value`. Those that run have it after their next exit, which is soon.
    pub fn set_tsc(&self, value: u64) {
        self.change_clock(|clock| clock.set_tsc(value));
        self.look_at_clock();
    }

    /// Those that wait do so by the clock as it was.
    fn look_at_clock(&self) {
        self.vps().for_each(|vp| vp.on_freeze(self.is_frozen()));
    }

    fn change_clock(&self, change: impl FnOnce(&Clock)) {
        let _serialized = self.slat_lock.lock();
        change(&self.clock);
        if self.reference_overlay.page() != 0 {
            self.clock.fill_page(self.reference_overlay.page());
        }
    }

    /// Runs `change` while no VP of a child runs, nor will before it is over. One caller at a time, who holds nothing that
    /// a VP may wait for on its way off its LP: not `slat_lock`, and no VP.
    pub fn while_stopped<R>(&self, change: impl FnOnce() -> R) -> R {
        self.stopped.store(true, Ordering::SeqCst);
        // Each leaves its LP, and does not come back while the partition is at rest.
        self.vps().for_each(|vp| drop(vp.stop()));
        let result = change();
        self.stopped.store(false, Ordering::SeqCst);
        self.vps().for_each(|vp| vp.on_freeze(self.is_frozen()));
        result
    }

    /// Gives the partition its second-level tables.
    pub fn set_slat(&self, slat: Table) {
        self.slat.set(slat);
    }

    /// Gives a child its address space.
    pub fn set_map(&self, map: GuestMap) {
        self.map.set(map);
        self.slat.set(*map.table());
    }

    /// A child's address space, while it has one.
    pub fn map(&self) -> Option<GuestMap> {
        let mut map = *self.map.try_get().filter(|_| self.stage() == Stage::Active)?;
        map.set_tracking(self.tracks_writes.load(Ordering::Relaxed));
        Some(map)
    }

    /// Its second-level tables, while it has them.
    pub fn slat(&self) -> Option<&Table> {
        self.slat.try_get().filter(|_| self.stage() == Stage::Active)
    }

    /// Adds the VP with the next index.
    pub fn add_vp(&self, vp: &'static Vp) {
        self.vps.place(self.vp_count(), vp);
    }

    /// Number of VPs.
    pub fn vp_count(&self) -> u32 {
        self.vps.end()
    }

    /// VP `index`, if there is one.
    pub fn vp(&self, index: u32) -> Option<&'static Vp> {
        self.vps.get(index)
    }

    /// All VPs.
    pub fn vps(&self) -> impl Iterator<Item = &'static Vp> + '_ {
        (0..self.vp_count()).filter_map(|index| self.vp(index))
    }

    /// The VP with this APIC id.
    pub fn vp_by_apic_id(&self, apic_id: u32) -> Option<&'static Vp> {
        self.vps().find(|vp| vp.apic_id == apic_id)
    }

    /// Notes an overlay page at `gpa`. `false` if there are too many.
    pub fn remember_overlay(&self, gpa: u64, page: u64) -> bool {
        let mut overlays = self.overlays.lock();
        let slot = overlays.iter_mut().find(|slot| slot.1 == 0);
        slot.map(|slot| *slot = (gpa, page)).is_some()
    }

    /// Forgets the overlay page at system address `page`. Several may have one guest address, so that says nothing.
    pub fn forget_overlay(&self, page: u64) {
        let mut overlays = self.overlays.lock();
        overlays.iter_mut().filter(|slot| slot.1 == page).for_each(|slot| *slot = (0, 0));
    }

    /// Gives the overlay pages back to the pool.
    pub fn free_overlays(&self) {
        let mut overlays = self.overlays.lock();
        for slot in overlays.iter_mut().filter(|slot| slot.1 != 0) {
            self.pool.lock().put(slot.1);
            *slot = (0, 0);
        }
    }

    /// Calls `action` for every overlay page inside `[gpa, gpa + len)`.
    pub fn overlays_in(&self, gpa: u64, len: u64, mut action: impl FnMut(u64, u64)) {
        let overlays = self.overlays.lock();
        let inside = |slot: &&(u64, u64)| slot.1 != 0 && slot.0.wrapping_sub(gpa) < len;
        overlays.iter().filter(inside).for_each(|&(gpa, page)| action(gpa, page));
    }

    /// Gives the partition the privileges that its features imply.
    pub fn set_privileges(&self, privileges: PartitionPrivileges) {
        self.privileges.store(privileges.into_bits(), Ordering::Relaxed);
    }

    /// Puts a VP at `index`. `false` if there is one.
    pub fn place_vp(&self, index: u32, vp: &'static Vp) -> bool {
        self.vps.place(index, vp)
    }

    /// Takes a VP out. `false` if somebody else did.
    pub fn remove_vp(&self, vp: &'static Vp) -> bool {
        self.vps.remove(vp.index, vp)
    }

    /// Reads guest memory. All or nothing.
    pub fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), NotAccessible> {
        self.access(gpa, buffer.len(), flags::PRESENT, |spa, at, len| {
            let part = buffer.get_mut(at..at + len).ok_or(NotAccessible)?;
            phys::read(spa, part).then_some(()).ok_or(NotAccessible)
        })
    }

    /// Reads an entry of the guest's page tables, `size` bytes (4 or 8).
    pub fn read_entry(&self, gpa: u64, size: usize) -> Option<u64> {
        let mut entry = [0; 8];
        self.read(gpa, entry.get_mut(..size)?).ok()?;
        Some(u64::from_le_bytes(entry))
    }

    /// Writes guest memory. All or nothing.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<(), NotAccessible> {
        let need = flags::PRESENT | flags::WRITE;
        self.access(gpa, data.len(), need, |spa, at, len| {
            let part = data.get(at..at + len).ok_or(NotAccessible)?;
            phys::write(spa, part).then_some(()).ok_or(NotAccessible)
        })?;
        self.note_write(gpa, data.len());
        Ok(())
    }

    /// The hypervisor itself has written to guest memory: those pages count as dirty.
    fn note_write(&self, gpa: u64, len: usize) {
        if !self.tracks_writes.load(Ordering::Relaxed) {
            return;
        }
        let Some(map) = self.map() else { return };
        let first = gpa & !(PAGE - 1);
        for page in (first..gpa.saturating_add(len as u64)).step_by(PAGE as usize) {
            map.mark_dirty(&mut PoolFrames, Gpa(page));
        }
    }

    /// [`Self::for_each_page`], all or nothing: what lies in one page is so by itself.
    fn access(
        &self,
        gpa: u64,
        len: usize,
        need: u64,
        mut action: impl FnMut(u64, usize, usize) -> Result<(), NotAccessible>,
    ) -> Result<(), NotAccessible> {
        if gpa % PAGE + len as u64 > PAGE {
            self.for_each_page(gpa, len, need, |_, _, _| Ok(()))?;
            return self.for_each_page(gpa, len, need, action);
        }
        if len == 0 {
            return Ok(());
        }
        let spa = self.translate(gpa, need)?;
        if !phys::is_mapped(spa, len as u64) {
            return Err(NotAccessible);
        }
        action(spa, 0, len)
    }

    /// Calls `action` with system address, offset in the range and length for each page that `[gpa, gpa + len)` touches.
    fn for_each_page(
        &self,
        gpa: u64,
        len: usize,
        need: u64,
        mut action: impl FnMut(u64, usize, usize) -> Result<(), NotAccessible>,
    ) -> Result<(), NotAccessible> {
        let mut done = 0;
        while done < len {
            let at = gpa.checked_add(done as u64).ok_or(NotAccessible)?;
            let part = (len - done).min((PAGE - at % PAGE) as usize);
            let spa = self.translate(at, need)?;
            if !phys::is_mapped(spa, part as u64) {
                return Err(NotAccessible);
            }
            action(spa, done, part)?;
            done += part;
        }
        Ok(())
    }

    /// The system address of a guest's byte, in a page with the rights `need`.
    fn translate(&self, gpa: u64, need: u64) -> Result<u64, NotAccessible> {
        let slat = self.slat().filter(|_| gpa >> ADDRESS_BITS == 0).ok_or(NotAccessible)?;
        let leaf = slat.translate(&PoolFrames, gpa).ok_or(NotAccessible)?;
        if leaf.flags & need == need { Ok(leaf.address) } else { Err(NotAccessible) }
    }
}
