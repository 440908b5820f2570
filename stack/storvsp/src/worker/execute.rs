//! Commands: from an SRB to an I/O or an answer.

use super::Worker;
use crate::block::{Completed, DiskInfo, Operation as IoOperation, Submitted};
use crate::controller::Class;
use crate::lun::Kind;
use crate::scsi::dvd::{self, Drive};
use crate::scsi::inquiry::{self, DeviceType};
use crate::scsi::{Command, Io, Outcome, Reply, Sense, cdb, disk};
use crate::trace::{self, Stations};
use std::sync::atomic::Ordering;
use vmbusdef::storage::{CDB_MAX, Srb, SrbStatus};
use zerocopy::FromBytes;

/// Most parameter bytes of a command.
const PARAMETERS_MAX: usize = 8192;

/// What becomes of a command at once.
pub(super) enum Verdict {
    /// It is answered: so many bytes of data are in the guest's memory.
    Done(u32),
    /// It is answered with sense data.
    Check(Sense),
    /// It is answered with this alone.
    Status(SrbStatus),
    /// A disk is at it.
    UnderWay,
    /// The disk with this number did a request of it, at once.
    Ended(u8, Completed),
}

impl Worker {
    /// Executes the SRB in a slot.
    pub(super) fn execute(&mut self, index: u32, has_memory: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Ok(srb) = Srb::read_from_bytes(&slot.packet.body) else { return };
        // Whatever an earlier command left.
        slot.more.clear();
        slot.stations = self.controller.recorder.is_on().then(|| {
            Box::new(Stations {
                channel: self.subchannel,
                lun: srb.lun,
                opcode: srb.cdb_or_sense.first().copied().unwrap_or(0),
                length: srb.data_transfer_length,
                transaction_id: slot.transaction_id,
                received: trace::now(),
                ..Stations::default()
            })
        });
        let length = usize::from(srb.cdb_length);
        let verdict =
            match srb.cdb_or_sense.get(..length).filter(|_| length <= CDB_MAX && has_memory) {
                Some(cdb) => self.command(index, &srb, cdb),
                None => Verdict::Status(SrbStatus::INVALID_REQUEST),
            };
        self.conclude(index, verdict);
    }

    fn command(&mut self, index: u32, srb: &Srb, cdb: &[u8]) -> Verdict {
        self.reply.clear();
        let decoded = cdb::decode(cdb);
        let is_target = self.is_target(srb);
        if let Ok(Command::ReportLuns { select, room }) = decoded {
            // Targets that are not there have none. Refusing would make Linux, which looks for targets behind other
            // paths too and then forgets which path it was, remove LUN 0 of ours (`storvsc_remove_lun`).
            let numbers = self.attached.numbers().filter(|_| is_target);
            let outcome = report_luns(numbers, select, room, &mut self.reply);
            return self.settle(index, srb, outcome);
        }
        let lun = if is_target { self.attached.get_mut(srb.lun) } else { None };
        let Some(lun) = lun else { return self.absent(index, srb, decoded) };
        let attention =
            if is_informative(&decoded) { None } else { lun.lun.state.take_attention() };
        if let Some(sense) = attention {
            return Verdict::Check(sense);
        }
        match (decoded, lun.lun.kind, &lun.info) {
            (Err(sense), ..) => Verdict::Check(sense),
            (Ok(Command::Read(extent)), Kind::Disk, Some(info)) => {
                let io = disk::transfer(info, IoOperation::Read, extent);
                self.transfer(index, srb, io)
            }
            (Ok(Command::Write { extent, fua }), Kind::Disk, Some(info)) => {
                let io = disk::transfer(info, IoOperation::Write { fua }, extent);
                self.transfer(index, srb, io)
            }
            (Ok(command), Kind::Disk, Some(info)) => {
                let info = *info;
                self.disk(index, srb, &command, &info)
            }
            (Ok(command), ..) => self.drive(index, srb, &command),
        }
    }

    fn is_target(&self, srb: &Srb) -> bool {
        match self.controller.config.class {
            Class::Scsi => srb.path == 0 && srb.target == 0,
            Class::Ide => srb.path == 0,
        }
    }

    /// A LUN that is not there: INQUIRY says so in its data, everything else in its status.
    fn absent(&mut self, index: u32, srb: &Srb, command: Result<Command, Sense>) -> Verdict {
        let Ok(Command::Inquiry { room, .. }) = command else {
            return Verdict::Status(SrbStatus::INVALID_LUN);
        };
        let outcome = inquiry::standard(DeviceType::Absent, room, &mut self.reply);
        self.settle(index, srb, outcome)
    }

    fn disk(&mut self, index: u32, srb: &Srb, command: &Command, info: &DiskInfo) -> Verdict {
        let wanted = disk::parameter_length(command, info);
        if !self.read_parameters(index, srb, wanted) {
            return Verdict::Check(Sense::PARAMETER_LENGTH);
        }
        let Some(identity) = self.attached.get_mut(srb.lun).map(|lun| lun.lun.identity) else {
            return Verdict::Status(SrbStatus::INVALID_LUN);
        };
        let outcome = disk::execute(info, &identity, command, &self.parameters, &mut self.reply);
        self.settle(index, srb, outcome)
    }

    fn drive(&mut self, index: u32, srb: &Srb, command: &Command) -> Verdict {
        let Command::ModeSelect { length, .. } = command else {
            self.parameters.clear();
            return self.drive_with_parameters(index, srb, command);
        };
        if !self.read_parameters(index, srb, *length) {
            return Verdict::Check(Sense::PARAMETER_LENGTH);
        }
        self.drive_with_parameters(index, srb, command)
    }

    fn drive_with_parameters(&mut self, index: u32, srb: &Srb, command: &Command) -> Verdict {
        let Some(attached) = self.attached.get_mut(srb.lun) else {
            return Verdict::Status(SrbStatus::INVALID_LUN);
        };
        let (lun, medium) = (&attached.lun, attached.info);
        let is_locked = lun.state.is_locked.load(Ordering::Relaxed);
        let event = lun.state.media_events.load(Ordering::Relaxed) as u8;
        let drive = Drive { medium, is_locked, event };
        let outcome =
            dvd::execute(&drive, &lun.identity, command, &self.parameters, &mut self.reply);
        match outcome {
            Outcome::Lock(locked) => lun.state.is_locked.store(locked, Ordering::Relaxed),
            Outcome::EventsTaken => lun.state.media_events.store(0, Ordering::Relaxed),
            Outcome::Eject if !self.controller.eject(srb.lun) => {
                return Verdict::Check(Sense::REMOVAL_PREVENTED);
            }
            _ => {}
        }
        self.settle(index, srb, outcome)
    }

    /// The short way of nearly all commands.
    fn transfer(&mut self, index: u32, srb: &Srb, io: Result<Option<Io>, Sense>) -> Verdict {
        match io {
            Ok(Some(io)) => self.begin(index, srb, io),
            Ok(None) => Verdict::Done(0),
            Err(sense) => Verdict::Check(sense),
        }
    }

    /// Copies what came with a command; whether it was enough.
    fn read_parameters(&mut self, index: u32, srb: &Srb, wanted: usize) -> bool {
        self.parameters.clear();
        if wanted == 0 {
            return true;
        }
        let Some(slot) = self.slots.get_mut(index) else { return false };
        if wanted > PARAMETERS_MAX.min(srb.data_transfer_length as usize) {
            return false;
        }
        self.parameters.resize(wanted, 0);
        slot.buffer_mut().read_at(0, &mut self.parameters) == wanted
    }

    /// Moves the data, or begins the I/O.
    fn settle(&mut self, index: u32, srb: &Srb, outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::Check(sense) => Verdict::Check(sense),
            Outcome::Done | Outcome::EventsTaken | Outcome::Lock(_) | Outcome::Eject => {
                let Some(slot) = self.slots.get_mut(index) else { return Verdict::UnderWay };
                self.reply.limit(srb.data_transfer_length as usize);
                Verdict::Done(slot.buffer_mut().write_at(0, self.reply.as_bytes()) as u32)
            }
            Outcome::Io(io) => self.begin(index, srb, io),
            Outcome::Ios(mut ios) => {
                ios.reverse();
                let Some(first) = ios.pop() else { return Verdict::Done(0) };
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.more = ios;
                }
                self.begin(index, srb, first)
            }
        }
    }

    /// Begins an I/O of the command in a slot.
    pub(super) fn begin(&mut self, index: u32, srb: &Srb, io: Io) -> Verdict {
        let Some(slot) = self.slots.get_mut(index) else { return Verdict::UnderWay };
        let Some(lun) = self.attached.get_mut(srb.lun) else {
            return Verdict::Status(SrbStatus::INVALID_LUN);
        };
        let Io { operation, offset, length } = io;
        slot.moved = 0;
        if matches!(operation, IoOperation::Read | IoOperation::Write { .. }) {
            let buffer = slot.buffer_mut();
            let room = buffer.len().min(srb.data_transfer_length as usize) as u64;
            if length > room {
                return Verdict::Status(SrbStatus::DATA_OVERRUN);
            }
            buffer.truncate(length as usize);
            slot.moved = length as u32;
        }
        if let Some(stations) = &mut slot.stations {
            stations.submitted = trace::now();
        }
        let mut request = slot.take_request();
        request.operation = operation;
        (request.offset, request.length) = (offset, length);
        match lun.submit(request) {
            Submitted::UnderWay => Verdict::UnderWay,
            Submitted::Done(completed) => Verdict::Ended(srb.lun, completed),
            Submitted::Refused(request) => {
                slot.return_request(request);
                Verdict::Check(Sense::INTERNAL_FAILURE)
            }
        }
    }

    /// What the disks have done; whether they have done anything.
    pub(super) fn reap(&mut self) -> bool {
        let mut progress = false;
        while let Some((number, completed)) = self.attached.completed() {
            self.ended(number, completed);
            progress = true;
        }
        progress
    }
}

/// Commands that are done however much there is to be said first (SPC-4, 5.14.7; MMC-6, 4.1.6.1).
fn is_informative(command: &Result<Command, Sense>) -> bool {
    matches!(
        command,
        Ok(Command::Inquiry { .. }
            | Command::RequestSense { .. }
            | Command::GetConfiguration { .. }
            | Command::GetEventStatus { .. })
    )
}

/// LUNs of the target (SPC-4, 6.33).
fn report_luns(
    numbers: impl Iterator<Item = u8>,
    select: u8,
    room: usize,
    reply: &mut Reply,
) -> Outcome {
    if select > 2 {
        return Outcome::Check(Sense::INVALID_FIELD);
    }
    reply.zeros(8);
    // There are no well-known LUNs.
    for number in numbers.filter(|_| select != 1) {
        reply.push(&[0, number, 0, 0, 0, 0, 0, 0]);
    }
    let length = (reply.len() - 8) as u32;
    reply.patch(0, &length.to_be_bytes()).limit(room);
    Outcome::Done
}
