//! The answer to a command: SRB status, SCSI status, sense data, length.

use super::Worker;
use super::execute::Verdict;
use crate::block::{Completed, Operation};
use crate::controller::Counters;
use crate::scsi::{Io, Sense, status};
use crate::trace;
use vmbusdef::storage::{
    Operation as VstorOperation, SENSE_MAX, Srb, SrbStatus, Status, VstorPacket,
};
use zerocopy::{FromBytes, IntoBytes};

impl Worker {
    /// Answers a command, unless a disk is at it.
    pub(super) fn conclude(&mut self, index: u32, verdict: Verdict) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let counters = &self.watched.counters;
        match verdict {
            Verdict::UnderWay => return,
            Verdict::Done(_) => {}
            Verdict::Check(_) | Verdict::Status(_) => Counters::add(&counters.failures, 1),
        }
        Counters::add(&counters.commands, 1);
        match verdict {
            Verdict::UnderWay => {}
            Verdict::Done(length) => fill(&mut slot.packet, SrbStatus::SUCCESS, length, None),
            Verdict::Check(sense) => fill(&mut slot.packet, SrbStatus::ERROR, 0, Some(sense)),
            Verdict::Status(status) => fill(&mut slot.packet, status, 0, None),
        }
        self.finish(index);
    }

    /// A disk has done a request: the next one of the same command, or its answer.
    pub(super) fn complete(&mut self, number: u8, completed: Completed) {
        let Completed { request, result, copied } = completed;
        let Some(slot) = self.slots.get_mut(request.tag) else { return };
        slot.return_buffer(request.buffer);
        if let Some(stations) = &mut slot.stations {
            stations.completed = trace::now();
        }
        let moved = slot.moved;
        let counters = &self.watched.counters;
        match (&request.operation, &result) {
            (Operation::Read, Ok(())) => Counters::add(&counters.read, moved.into()),
            (Operation::Write { .. }, Ok(())) => Counters::add(&counters.written, moved.into()),
            _ => {}
        }
        if copied {
            Counters::add(&counters.copies, 1);
        }
        let next = slot.more.pop();
        let verdict = match (result, next) {
            (Err(error), _) => {
                slot.more.clear();
                if let Some(unsaid) = self.controller.quiet.ask() {
                    let (operation, offset) = (&request.operation, request.offset);
                    tracing::warn!(lun = number, ?operation, offset, %error, unsaid, "a disk fails");
                }
                Verdict::Check(Sense::of_error(&error, &request.operation))
            }
            (Ok(()), Some(io)) => self.go_on(request.tag, io),
            (Ok(()), None) => Verdict::Done(moved),
        };
        self.conclude(request.tag, verdict);
    }

    fn go_on(&mut self, index: u32, io: Io) -> Verdict {
        let srb =
            self.slots.get_mut(index).and_then(|slot| Srb::read_from_bytes(&slot.packet.body).ok());
        match srb {
            Some(srb) => self.begin(index, &srb, io),
            None => Verdict::Check(Sense::INTERNAL_FAILURE),
        }
    }
}

/// Makes the answer out of the request.
fn fill(packet: &mut VstorPacket, srb_status: SrbStatus, length: u32, sense: Option<Sense>) {
    packet.operation = VstorOperation::COMPLETE_IO;
    packet.status = Status::SUCCESS;
    let Ok(srb) = Srb::mut_from_bytes(&mut packet.body) else { return };
    srb.srb_status = srb_status;
    srb.scsi_status = status::GOOD;
    let room = usize::from(srb.sense_length).min(SENSE_MAX);
    srb.sense_length = 0;
    if srb_status != SrbStatus::DATA_OVERRUN {
        srb.data_transfer_length = length;
    }
    if let Some(sense) = sense {
        let bytes = sense.fixed();
        let length = bytes.as_bytes().len().min(room);
        srb.scsi_status = status::CHECK_CONDITION;
        srb.cdb_or_sense = [0; SENSE_MAX];
        for (to, from) in srb.cdb_or_sense.iter_mut().zip(bytes.iter().take(length)) {
            *to = *from;
        }
        srb.sense_length = length as u8;
        if length > 0 {
            srb.srb_status = srb_status.with_sense();
        }
    }
}
