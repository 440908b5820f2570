//! Partition properties: the parent's own, and Zemin's for its tools.

use super::interrupt::own_partition;
use super::{Call, memory, tally};
use crate::lp;
use crate::mem::{frames, space};
use crate::{boot, log, time};
use hvdef::HvStatus;
use hypercall::Outcome;
use zemindef::counters::Counter;
use zemindef::info::{Backend, HvInfo};
use zemindef::property as zemin;
use zerocopy::IntoBytes;

/// GET_PARTITION_PROPERTY: none of the parent is known yet.
pub fn get(call: &Call) -> Outcome {
    Outcome::from(call.input::<[u64; 2]>().and_then(|[partition, _]| {
        own_partition(call, hvdef::PartitionId(partition))?;
        Err(HvStatus::UNKNOWN_PROPERTY)
    }))
}

/// SET_PARTITION_PROPERTY: nothing of the parent can be changed.
pub fn set(call: &Call) -> Outcome {
    Outcome::from(call.input::<[u64; 3]>().and_then(|[partition, ..]| {
        own_partition(call, hvdef::PartitionId(partition))?;
        Err(HvStatus::UNKNOWN_PROPERTY)
    }))
}

/// VMM capabilities: {u16 banks, 3 × u16 reserved, u64 bits}.
const VMM_CAPABILITIES: u32 = 0x0009_0007;

/// GET_PARTITION_PROPERTY_EX: {u64 partition, u32 code, u32 0, u64 argument}.
pub fn get_ex(call: &Call) -> Outcome {
    Outcome::from(call.input::<[u64; 3]>().and_then(|[partition, code, argument]| {
        own_partition(call, hvdef::PartitionId(partition))?;
        match code as u32 {
            VMM_CAPABILITIES => call.output(&[1u64, 0]),
            zemin::LOG => log_chunk(call, argument),
            zemin::LP_COUNTERS => lp_counters(call, argument),
            zemin::STATUS => call.output(&info()),
            zemin::HYPERCALL_COUNTERS => hypercall_counters(call, argument),
            _ => Err(HvStatus::UNKNOWN_PROPERTY),
        }
    }))
}

/// Bytes of records copied at a time: what fits the stack comfortably.
const CHUNK: usize = 2048;

fn log_chunk(call: &Call, position: u64) -> Result<(), HvStatus> {
    let mut records = [0; CHUNK];
    let chunk = log::read(position, &mut records);
    call.output(&chunk)?;
    call.output_bytes(
        size_of::<zemin::LogChunk>(),
        records.get(..chunk.len as usize).unwrap_or_default(),
    )
}

fn lp_counters(call: &Call, index: u64) -> Result<(), HvStatus> {
    let lp = u32::try_from(index).ok().and_then(lp::get).ok_or(HvStatus::INVALID_PARAMETER)?;
    call.output(&zemin::CountersHeader { count: Counter::COUNT as u32, lp_count: lp::count() })?;
    let values: [u64; Counter::COUNT] = core::array::from_fn(|counter| lp.counter(counter));
    call.output_bytes(size_of::<zemin::CountersHeader>(), values.as_bytes())
}

fn hypercall_counters(call: &Call, first: u64) -> Result<(), HvStatus> {
    let first = u32::try_from(first).map_err(|_| HvStatus::INVALID_PARAMETER)?;
    let mut header = zemin::HypercallsHeader { next: zemin::HypercallsHeader::END, count: 0 };
    let mut offset = size_of::<zemin::HypercallsHeader>();
    for entry in tally::entries(first) {
        if header.count as usize == zemin::HYPERCALL_ENTRIES_MAX {
            header.next = entry.code.into();
            break;
        }
        call.output_bytes(offset, entry.as_bytes())?;
        offset += size_of_val(&entry);
        header.count += 1;
    }
    call.output(&header)
}

fn info() -> HvInfo {
    let clocks = time::CLOCKS.get();
    let (pool_total, pool_free) = frames::counts();
    let (image_start, image_end) = space::image_range();
    HvInfo {
        size: size_of::<HvInfo>() as u32,
        version: crate::VERSION.0,
        build_id: boot::build_id(),
        lp_count: lp::count(),
        root_vp_count: lp::count(),
        partition_count: 1,
        backend: Backend::SVM,
        scheduler_type: hvdef::property::SchedulerType::CLASSIC.0,
        log_level: log::level(),
        reserved: 0,
        cpu_features: boot::cpu_features(),
        tsc_hz: clocks.tsc_hz,
        apic_hz: clocks.apic_hz,
        uptime_100ns: time::now(),
        pool_total_pages: pool_total as u64,
        pool_free_pages: pool_free as u64,
        root_deposited_pages: memory::root_deposited() as u64,
        image_bytes: image_end - image_start,
        log_ring_bytes: log::RING_SIZE as u64,
        log_next: log::next(),
        ram_total_bytes: boot::FACTS.get().ram_total,
    }
}
