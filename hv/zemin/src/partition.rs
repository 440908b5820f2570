//! A partition: what its VPs share.

use crate::mem::frames::PoolFrames;
use crate::mem::{PAGE, phys};
use crate::sync::{Once, SpinLock};
use crate::vp::Vp;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use hvdef::PartitionId;
use hypercall::Privileges;
use page_table::{Table, flags};

/// The parent's partition id.
pub const ROOT_ID: PartitionId = PartitionId(1);
/// Most VPs of a partition.
pub const MAX_VPS: usize = 256;

/// State shared by the VPs of one partition.
pub struct Partition {
    /// Identifier, never reused.
    pub id: PartitionId,
    /// What its hypercalls may do.
    pub privileges: Privileges,
    /// Second-level translation.
    pub slat: Table,
    /// Held by whoever changes it.
    pub slat_lock: SpinLock<()>,
    /// The guest's own identification, MSR 0x40000000.
    pub guest_os_id: AtomicU64,
    /// The hypercall MSR, 0x40000001; the page lies where the hypervisor put it.
    pub hypercall_msr: AtomicU64,
    /// The reference TSC MSR, 0x40000021.
    pub reference_tsc_msr: AtomicU64,
    /// Crash parameters and control, MSRs 0x40000100 to 0x40000105.
    pub crash: [AtomicU64; 6],
    vps: [AtomicPtr<Vp>; MAX_VPS],
    vp_count: AtomicU32,
}

/// The parent's partition.
pub static ROOT: Once<Partition> = Once::new();

/// A range of guest memory that the caller may not touch, or that is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAccessible;

impl Partition {
    /// A partition without VPs.
    pub const fn new(id: PartitionId, privileges: Privileges, slat: Table) -> Self {
        Self {
            id,
            privileges,
            slat,
            slat_lock: SpinLock::new(()),
            guest_os_id: AtomicU64::new(0),
            hypercall_msr: AtomicU64::new(0),
            reference_tsc_msr: AtomicU64::new(0),
            crash: [const { AtomicU64::new(0) }; 6],
            vps: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_VPS],
            vp_count: AtomicU32::new(0),
        }
    }

    /// Adds the VP with the next index.
    pub fn add_vp(&self, vp: &'static Vp) {
        let index = self.vp_count.load(Ordering::Relaxed);
        if let Some(slot) = self.vps.get(index as usize) {
            slot.store(core::ptr::from_ref(vp).cast_mut(), Ordering::Release);
            self.vp_count.store(index + 1, Ordering::Release);
        }
    }

    /// Number of VPs.
    pub fn vp_count(&self) -> u32 {
        self.vp_count.load(Ordering::Acquire)
    }

    /// VP `index`, if there is one.
    #[expect(unsafe_code, reason = "VPs live as long as their partition")]
    pub fn vp(&self, index: u32) -> Option<&'static Vp> {
        let pointer = self.vps.get(index as usize)?.load(Ordering::Acquire);
        // SAFETY: null or a VP that `add_vp` got as a static reference.
        unsafe { pointer.as_ref() }
    }

    /// All VPs.
    pub fn vps(&self) -> impl Iterator<Item = &'static Vp> + '_ {
        (0..self.vp_count()).filter_map(|index| self.vp(index))
    }

    /// The VP with this APIC id.
    pub fn vp_by_apic_id(&self, apic_id: u32) -> Option<&'static Vp> {
        self.vps().find(|vp| vp.apic_id == apic_id)
    }

    /// Reads guest memory. All or nothing.
    pub fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), NotAccessible> {
        self.for_each_page(gpa, buffer.len(), flags::PRESENT, |_, _, _| Ok(()))?;
        self.for_each_page(gpa, buffer.len(), flags::PRESENT, |spa, at, len| {
            let part = buffer.get_mut(at..at + len).ok_or(NotAccessible)?;
            phys::read(spa, part).then_some(()).ok_or(NotAccessible)
        })
    }

    /// Writes guest memory. All or nothing.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<(), NotAccessible> {
        let need = flags::PRESENT | flags::WRITE;
        self.for_each_page(gpa, data.len(), need, |_, _, _| Ok(()))?;
        self.for_each_page(gpa, data.len(), need, |spa, at, len| {
            let part = data.get(at..at + len).ok_or(NotAccessible)?;
            phys::write(spa, part).then_some(()).ok_or(NotAccessible)
        })
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
            let leaf = self.slat.translate(&PoolFrames, at).ok_or(NotAccessible)?;
            if leaf.flags & need != need || !phys::is_mapped(leaf.address, part as u64) {
                return Err(NotAccessible);
            }
            action(leaf.address, done, part)?;
            done += part;
        }
        Ok(())
    }
}
