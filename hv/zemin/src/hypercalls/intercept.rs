//! What a child's parent wants to see: INSTALL_INTERCEPT.

use super::Call;
use crate::children;
use hvdef::HvStatus;
use hvdef::hypercall::intercept::{InstallIntercept, InterceptType};
use hypercall::Outcome;

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
