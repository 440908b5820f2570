//! TRANSLATE_VIRTUAL_ADDRESS: where an address of a child's VP leads.

use super::Call;
use super::vps::find;
use crate::child_frames::ChildFrames;
use crate::exit::paging;
use crate::intercepts;
use crate::partition::Partition;
use crate::vp::State;
use arch_x86::cpu::CR0_WP;
use arch_x86::vcpu::SystemReg;
use guest_map::Access;
use hvdef::hypercall::vp::{
    TranslateAttributes, TranslateControl, TranslateResultCode as Code, TranslateVirtualAddress,
    TranslateVirtualAddressOutput,
};
use hvdef::{Gpa, Gpn};
use hypercall::Outcome;
use x86emu::walk::{self, NotPresent, Translation};

/// Memory type: write-back.
const WRITE_BACK: u8 = 6;

/// TRANSLATE_VIRTUAL_ADDRESS.
pub fn translate(call: &Call) -> Outcome {
    Outcome::from(call.input::<TranslateVirtualAddress>().and_then(|input| {
        let (partition, vp) = find(input.partition_id, input.vp_index)?;
        let state = intercepts::stop(vp);
        let gva = input.gva_page << 12;
        let (result_code, gpa_page) = match look(&partition, &state, gva, input.control) {
            Ok(gpa) => (Code::SUCCESS, gpa.gpn()),
            Err(code) => (code, Gpn(0)),
        };
        let attributes = TranslateAttributes::new().with_cache_type(WRITE_BACK);
        call.output(&TranslateVirtualAddressOutput { result_code, attributes, gpa_page })
    }))
}

fn look(
    partition: &Partition,
    state: &State,
    gva: u64,
    control: TranslateControl,
) -> Result<Gpa, Code> {
    let found = walk::walk(paging(&state.vcpu), gva, |gpa, size| partition.read_entry(gpa, size));
    let found = found.map_err(|missing| match missing {
        NotPresent::Entry => Code::PAGE_NOT_PRESENT,
        NotPresent::Table => Code::GPA_UNMAPPED,
    })?;
    if !allows(&found, state, control) {
        return Err(Code::PRIVILEGE_VIOLATION);
    }
    let gpa = Gpa(found.gpa);
    let map = partition.map().ok_or(Code::GPA_UNMAPPED)?;
    let reach = |access| map.translate(&ChildFrames(partition), gpa, access);
    reach(Access::Read).map_err(|_| Code::GPA_UNMAPPED)?;
    if control.validate_write() && reach(Access::Write).is_err() {
        return Err(Code::GPA_NO_WRITE_ACCESS);
    }
    Ok(gpa)
}

/// Whether the guest's own tables allow the accesses that were asked about.
fn allows(found: &Translation, state: &State, control: TranslateControl) -> bool {
    let by_level = state.vcpu.cpl() == 3 && !control.supervisor_access();
    let user = !control.privilege_exempt() && (control.user_access() || by_level);
    let heeds_read_only = user || state.vcpu.system(SystemReg::Cr0) & CR0_WP != 0;
    (!user || found.user)
        && (!control.validate_write() || found.writable || !heeds_read_only)
        && (!control.validate_execute() || found.executable)
}
