//! Partition properties: the parent's own, and Zemin's for its tools.

use super::interrupt::own_partition;
use super::{Call, memory, scheduling, tally};
use crate::children;
use crate::cpuid_table;
use crate::lp;
use crate::mem::{frames, space};
use crate::partition::{MAX_VPS, Partition, Stage};
use crate::{boot, log, time};
use arch_x86::cpu;
use core::sync::atomic::Ordering;
use hvdef::HvStatus;
use hvdef::hypercall::partition::{
    GetPartitionProperty, GetPartitionPropertyEx, GetPartitionPropertyOutput, SetPartitionProperty,
};
use hvdef::property::{PartitionProperty, ProcessorVendor};
use hypercall::Outcome;
use zemindef::counters::Counter;
use zemindef::info::{Backend, HvInfo};
use zemindef::property as zemin;
use zerocopy::IntoBytes;

/// GET_PARTITION_PROPERTY.
pub fn get(call: &Call) -> Outcome {
    Outcome::from(call.input::<GetPartitionProperty>().and_then(|input| {
        let partition = children::find(input.partition_id)?;
        let value = match input.property {
            PartitionProperty::PROCESSOR_VENDOR => ProcessorVendor::AMD.0,
            PartitionProperty::PHYSICAL_ADDRESS_WIDTH => {
                u64::from(cpu::cpuid(0x8000_0008, 0).eax & 0xFF)
            }
            PartitionProperty::PROCESSOR_FEATURES0 => effective(&partition).features[0],
            PartitionProperty::PROCESSOR_FEATURES1 => effective(&partition).features[1],
            PartitionProperty::PROCESSOR_XSAVE_FEATURES => effective(&partition).xsave,
            PartitionProperty::PROCESSOR_CL_FLUSH_SIZE => {
                u64::from(cpu::cpuid(1, 0).ebx >> 8 & 0xFF)
            }
            PartitionProperty::XSAVE_STATES => effective(&partition).xfem,
            PartitionProperty::MAX_XSAVE_DATA_SIZE => {
                partition.cpuid.max_xsave_size().unwrap_or(arch_x86::fpu::AREA_SIZE as u32).into()
            }
            PartitionProperty::PROCESSOR_CLOCK_FREQUENCY => time::CLOCKS.get().tsc_hz,
            PartitionProperty::REFERENCE_TIME => partition.clock.now(),
            PartitionProperty::TIME_FREEZE => partition.is_frozen().into(),
            PartitionProperty::PRIVILEGE_FLAGS => partition.privileges().mask().into_bits(),
            PartitionProperty::UNIMPLEMENTED_MSR_ACTION => {
                partition.ignores_unknown_msrs.load(Ordering::Relaxed).into()
            }
            PartitionProperty::GPA_PAGE_ACCESS_TRACKING => {
                partition.tracks_writes.load(Ordering::Relaxed).into()
            }
            PartitionProperty::PROCESSORS_PER_SOCKET => {
                partition.vps_per_socket.load(Ordering::Relaxed).into()
            }
            PartitionProperty::SYNTHETIC_PROC_FEATURES if !partition.is_root => {
                // What was asked for, as far as it is given.
                partition.synthetic_features.load(Ordering::Relaxed)
                    & crate::exit::ASSIGNABLE_FEATURES.into_bits()
            }
            PartitionProperty::GUEST_OS_ID => partition.guest_os_id.load(Ordering::Relaxed),
            other => scheduling::get(&partition, other).ok_or(HvStatus::UNKNOWN_PROPERTY)?,
        };
        call.output(&GetPartitionPropertyOutput { value })
    }))
}

fn effective(partition: &Partition) -> cpuid_policy::Effective {
    partition.cpuid.effective().unwrap_or_else(cpuid_table::host_features)
}

/// SET_PARTITION_PROPERTY: of children only.
pub fn set(call: &Call) -> Outcome {
    Outcome::from(call.input::<SetPartitionProperty>().and_then(|input| {
        if let Some(done) = scheduling::set(&input) {
            return done;
        }
        let partition = children::find_child(input.partition_id)?;
        match input.property {
            // What the child's CPUID will show is settled before it becomes active.
            PartitionProperty::SYNTHETIC_PROC_FEATURES if partition.stage() != Stage::Created => {
                Err(HvStatus::INVALID_PARTITION_STATE)
            }
            PartitionProperty::SYNTHETIC_PROC_FEATURES => {
                partition.synthetic_features.store(input.value, Ordering::Relaxed);
                Ok(())
            }
            PartitionProperty::UNIMPLEMENTED_MSR_ACTION if input.value <= 1 => {
                partition.ignores_unknown_msrs.store(input.value == 1, Ordering::Relaxed);
                Ok(())
            }
            PartitionProperty::TIME_FREEZE if input.value <= 1 => {
                partition.freeze(input.value == 1);
                Ok(())
            }
            PartitionProperty::GPA_PAGE_ACCESS_TRACKING if input.value <= 1 => {
                partition.tracks_writes.store(input.value == 1, Ordering::Relaxed);
                Ok(())
            }
            PartitionProperty::PROCESSORS_PER_SOCKET => {
                let count =
                    u32::try_from(input.value).ok().filter(|&count| count <= MAX_VPS as u32);
                let count = count.ok_or(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE)?;
                partition.vps_per_socket.store(count, Ordering::Relaxed);
                partition.cpuid.recompose(&partition);
                Ok(())
            }
            PartitionProperty::REFERENCE_TIME => {
                partition.set_reference_time(input.value);
                Ok(())
            }
            // They follow from the synthetic features.
            PartitionProperty::PRIVILEGE_FLAGS if partition.stage() != Stage::Created => {
                Err(HvStatus::INVALID_PARTITION_STATE)
            }
            PartitionProperty::PRIVILEGE_FLAGS => Err(HvStatus::OPERATION_DENIED),
            _ => Err(HvStatus::UNKNOWN_PROPERTY),
        }
    }))
}

/// GET_PARTITION_PROPERTY_EX: of the parent only.
pub fn get_ex(call: &Call) -> Outcome {
    Outcome::from(call.input::<GetPartitionPropertyEx>().and_then(|input| {
        own_partition(call, input.partition_id)?;
        match input.property.0 {
            _ if input.property == PartitionProperty::VMM_CAPABILITIES => call.output(&[1u64, 0]),
            _ if input.property == PartitionProperty::ASSIGNABLE_SYNTHETIC_PROC_FEATURES => {
                call.output(&[1u64, crate::exit::ASSIGNABLE_FEATURES.into_bits()])
            }
            zemin::LOG => log_chunk(call, input.argument),
            zemin::LP_COUNTERS => lp_counters(call, input.argument),
            zemin::STATUS => call.output(&info()),
            zemin::HYPERCALL_COUNTERS => hypercall_counters(call, input.argument),
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
        partition_count: crate::children::count(),
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
