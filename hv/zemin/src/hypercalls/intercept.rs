//! What a child's parent wants to see, or to answer in advance.

use super::Call;
use crate::children;
use crate::cpuid_table;
use hvdef::HvStatus;
use hvdef::VpIndex;
use hvdef::hypercall::intercept::{
    CpuidInterceptResult, CpuidLeaf, CpuidRegisters, GetVpCpuidValues, InstallIntercept,
    InterceptType, RegisterInterceptResult,
};
use hypercall::Outcome;
use zerocopy::FromBytes;

/// Kinds that can be installed. Ports and memory that the hypervisor does not serve come without asking.
const KINDS: [InterceptType; 4] = [
    InterceptType::X64_CPUID,
    InterceptType::HYPERCALL,
    InterceptType::UNKNOWN_SYNIC_CONNECTION,
    InterceptType::RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID,
];

/// INSTALL_INTERCEPT.
pub fn install(call: &Call) -> Outcome {
    Outcome::from(call.input::<InstallIntercept>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        if !KINDS.contains(&input.intercept_type) || input.access.into_bits() & !7 != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        partition.install_intercept(input.intercept_type, input.access.into_bits() != 0);
        Ok(())
    }))
}

/// REGISTER_INTERCEPT_RESULT: what CPUID is to say, on all VPs or on one.
pub fn register_result(call: &Call) -> Outcome {
    Outcome::from(call.input::<RegisterInterceptResult>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        if input.intercept_type != InterceptType::X64_CPUID {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let result = CpuidInterceptResult::read_from_bytes(&input.parameters)
            .map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)?;
        if input.vp_index == VpIndex::ANY {
            return partition.cpuid.register(&partition, &result);
        }
        let vp = partition.vp(input.vp_index.0).ok_or(HvStatus::INVALID_VP_INDEX)?;
        cpuid_table::register_for_vp(vp, &result)
    }))
}

/// GET_VP_CPUID_VALUES.
pub fn cpuid_values(call: &Call) -> Outcome {
    let found = call.input::<GetVpCpuidValues>().and_then(|input| {
        let (partition, vp) = super::vps::find(input.partition_id, input.vp_index)?;
        Ok((partition, vp, input.flags))
    });
    let (partition, vp, flags) = match found {
        Ok(found) => found,
        Err(status) => return Outcome::failed(status),
    };
    let mut view = cpuid_table::view(vp, &vp.stop());
    for rep in call.reps() {
        let done = call.rep::<CpuidLeaf>(rep).and_then(|leaf| {
            if !flags.use_vp_xfem_xss() {
                (view.xcr0, view.xss) = (leaf.xfem, leaf.xss);
            }
            let registered = flags.apply_registered_values();
            let asked = (leaf.eax, leaf.ecx);
            let answer: CpuidRegisters =
                partition.cpuid.answer_for_parent(vp, &view, asked, registered);
            call.output_rep(rep, &answer)
        });
        if let Err(status) = done {
            return Outcome::Failed { status, reps: rep };
        }
    }
    Outcome::Done { reps: call.reps().end }
}
