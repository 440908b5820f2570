//! The answer to a command: SRB status, SCSI status, sense data, length.

use super::Worker;
use super::execute::Verdict;
use crate::block::{Completed, IoError, Operation, Request};
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
        let mut verdict = verdict;
        // Of a command with several requests, a store that has nothing to wait for does all of them here.
        while let Verdict::Ended(number, completed) = verdict {
            if self.is_to_wait(&completed) {
                return self.keep_waiting(number, completed.request);
            }
            verdict = self.go_on(number, completed);
        }
        let (status, length, sense) = match verdict {
            Verdict::UnderWay | Verdict::Ended(..) => return,
            Verdict::Done(length) => (SrbStatus::SUCCESS, length, None),
            Verdict::Check(sense) => (SrbStatus::ERROR, 0, Some(sense)),
            Verdict::Status(status) => (status, 0, None),
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let counters = &self.watched.counters;
        Counters::add(&counters.commands, 1);
        if status != SrbStatus::SUCCESS {
            Counters::add(&counters.failures, 1);
        }
        fill(&mut slot.packet, status, length, sense);
        self.finish(index);
    }

    /// A disk has done a request.
    pub(super) fn ended(&mut self, number: u8, completed: Completed) {
        self.conclude(completed.request.tag, Verdict::Ended(number, completed));
    }

    /// The same, of a request that is not to wait for anything any more.
    pub(super) fn complete(&mut self, number: u8, completed: Completed) {
        let index = completed.request.tag;
        let verdict = self.go_on(number, completed);
        self.conclude(index, verdict);
    }

    /// After a request comes the next one of the same command, or its answer.
    fn go_on(&mut self, number: u8, completed: Completed) -> Verdict {
        let Completed { request, result, copied } = completed;
        let index = request.tag;
        let Some(slot) = self.slots.get_mut(index) else { return Verdict::UnderWay };
        if let Some(stations) = &mut slot.stations {
            stations.completed = trace::now();
        }
        let counters = &self.watched.counters;
        if copied {
            Counters::add(&counters.copies, 1);
        }
        if let Err(error) = result {
            return self.fail(number, request, &error);
        }
        let moved = slot.moved;
        match &request.operation {
            Operation::Read => Counters::add(&counters.read, moved.into()),
            Operation::Write { .. } => Counters::add(&counters.written, moved.into()),
            _ => {}
        }
        slot.return_request(request);
        match slot.more.pop() {
            Some(io) => self.begin_next(index, io),
            None => Verdict::Done(moved),
        }
    }

    /// A disk could not do a request; what else the command would have done is not done.
    #[cold]
    fn fail(&mut self, number: u8, request: Box<Request>, error: &IoError) -> Verdict {
        if let Some(unsaid) = self.controller.quiet.ask() {
            let (operation, offset) = (&request.operation, request.offset);
            tracing::warn!(lun = number, ?operation, offset, %error, unsaid, "a disk fails");
        }
        let sense = Sense::of_error(error, &request.operation);
        if let Some(slot) = self.slots.get_mut(request.tag) {
            slot.more.clear();
            slot.return_request(request);
        }
        Verdict::Check(sense)
    }

    fn begin_next(&mut self, index: u32, io: Io) -> Verdict {
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
