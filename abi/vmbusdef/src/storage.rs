//! The storage protocol: vstor packets between `storvsc` in the guest and a storage VSP (Linux
//! `drivers/scsi/storvsc_drv.c`).
//!
//! Every packet is 64 bytes and the payload of a ring packet without pipe framing. Data of a command travels as the one
//! range of a GPA_DIRECT packet. Answers are completions, with the same 64 bytes filled in.

use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a packet.
pub const PACKET_SIZE: usize = 64;
/// Bytes of the part that depends on the operation.
pub const BODY_SIZE: usize = 52;
/// Most bytes of a CDB.
pub const CDB_MAX: usize = 16;
/// Most bytes of sense data.
pub const SENSE_MAX: usize = 20;

open_enum! {
    /// What a packet asks for, or is.
    pub struct Operation(u32) {
        /// Every answer.
        COMPLETE_IO = 1;
        /// Host, unasked: devices are gone.
        REMOVE_DEVICE = 2;
        /// A SCSI command.
        EXECUTE_SRB = 3;
        /// Abandon the commands of a LUN.
        RESET_LUN = 4;
        /// Abandon all commands.
        RESET_ADAPTER = 5;
        /// Abandon all commands.
        RESET_BUS = 6;
        /// Set-up begins.
        BEGIN_INITIALIZATION = 7;
        /// Set-up is done.
        END_INITIALIZATION = 8;
        /// Is this version spoken?
        QUERY_PROTOCOL_VERSION = 9;
        /// What can the controller do?
        QUERY_PROPERTIES = 10;
        /// Host, unasked: look for devices again.
        ENUMERATE_BUS = 11;
        /// Names of a Fibre Channel adapter.
        FCHBA_DATA = 12;
        /// More channels, please.
        CREATE_SUB_CHANNELS = 13;
    }
}

open_enum! {
    /// NTSTATUS in an answer; everything but 0 refuses.
    pub struct Status(u32) {
        /// Done.
        SUCCESS = 0;
        /// Not in this state.
        INVALID_DEVICE_STATE = 0xC000_0184;
        /// Not such an operation.
        NOT_SUPPORTED = 0xC000_00BB;
        /// Not this version.
        REVISION_MISMATCH = 0xC000_0059;
        /// Nonsense.
        INVALID_PARAMETER = 0xC000_000D;
    }
}

open_enum! {
    /// What became of an SRB, bits 5:0; see [`SrbStatus::AUTOSENSE_VALID`].
    pub struct SrbStatus(u8) {
        /// Not yet known.
        PENDING = 0x00;
        /// Done.
        SUCCESS = 0x01;
        /// Abandoned.
        ABORTED = 0x02;
        /// Failed; the SCSI status and sense data say how.
        ERROR = 0x04;
        /// Later.
        BUSY = 0x05;
        /// Nonsense.
        INVALID_REQUEST = 0x06;
        /// No such path.
        INVALID_PATH_ID = 0x07;
        /// No such device.
        NO_DEVICE = 0x08;
        /// Too late.
        TIMEOUT = 0x09;
        /// No such target.
        SELECTION_TIMEOUT = 0x0A;
        /// Abandoned by a reset.
        BUS_RESET = 0x0E;
        /// More or less data than there was room for.
        DATA_OVERRUN = 0x12;
        /// No such target.
        INVALID_TARGET_ID = 0x21;
        /// No such LUN: Linux removes it.
        INVALID_LUN = 0x20;
        /// The host failed.
        INTERNAL_ERROR = 0x30;
    }
}

impl SrbStatus {
    /// Added when there is sense data.
    pub const AUTOSENSE_VALID: u8 = 0x80;

    /// The same, with sense data.
    pub const fn with_sense(self) -> Self {
        Self(self.0 | Self::AUTOSENSE_VALID)
    }
}

open_enum! {
    /// Which way the data of a command goes.
    pub struct Direction(u8) {
        /// To the device.
        WRITE = 0;
        /// From the device.
        READ = 1;
        /// There is none.
        NONE = 2;
    }
}

/// Features of a controller.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PropertyFlags {
    /// Sub-channels may be asked for.
    pub multi_channel: bool,
    #[bits(31)]
    __: u32,
}

wire! {
    /// A packet. The meaning of `body` depends on the operation.
    pub struct VstorPacket {
        /// What.
        pub operation: Operation,
        /// Bit 0: a completion is wanted.
        pub flags: u32,
        /// In answers.
        pub status: Status,
        /// [`Srb`], [`ProtocolVersion`], [`Properties`] or [`SubChannelCount`], zero-padded.
        pub body: [u8; BODY_SIZE],
    }

    /// EXECUTE_SRB and its answer (Linux `struct vmscsi_request`).
    pub struct Srb {
        /// 52.
        pub length: u16,
        /// Answer.
        pub srb_status: SrbStatus,
        /// Answer: SAM status byte.
        pub scsi_status: u8,
        /// Of no meaning here.
        pub port: u8,
        /// 0.
        pub path: u8,
        /// 0, but for IDE.
        pub target: u8,
        /// LUN.
        pub lun: u8,
        /// Bytes of the CDB.
        pub cdb_length: u8,
        /// Room for sense data; in the answer, bytes of it.
        pub sense_length: u8,
        /// Which way data goes.
        pub direction: Direction,
        /// 0.
        pub reserved: u8,
        /// Bytes of data; in the answer, bytes moved.
        pub data_transfer_length: u32,
        /// The command descriptor block; in the answer, sense data.
        pub cdb_or_sense: [u8; SENSE_MAX],
        /// 0.
        pub reserved_36: u16,
        /// Tag of the queue.
        pub queue_tag: u8,
        /// Kind of queueing.
        pub queue_action: u8,
        /// Hints.
        pub srb_flags: u32,
        /// Seconds.
        pub timeout: u32,
        /// Order.
        pub queue_sort_key: u32,
    }

    /// QUERY_PROTOCOL_VERSION.
    pub struct ProtocolVersion {
        /// Major number in the upper byte, minor in the lower.
        pub version: u16,
        /// Build of the client.
        pub revision: u16,
    }

    /// Answer to QUERY_PROPERTIES.
    pub struct Properties {
        /// 0.
        pub reserved: u32,
        /// Sub-channels that may be asked for.
        pub maximum_sub_channel_count: u16,
        /// 0.
        pub reserved_6: u16,
        /// Features.
        pub flags: PropertyFlags,
        /// Most bytes of one command's data.
        pub maximum_transfer_bytes: u32,
        /// 0.
        pub reserved_16: [u32; 2],
    }

    /// CREATE_SUB_CHANNELS.
    pub struct SubChannelCount {
        /// How many.
        pub count: u16,
    }

    /// Answer to FCHBA_DATA.
    pub struct FibreChannelNames {
        /// 1: the primary names count.
        pub primary_active: u8,
        /// 0.
        pub reserved: [u8; 3],
        /// Name.
        pub primary_port: [u8; 8],
        /// Name.
        pub primary_node: [u8; 8],
        /// Name.
        pub secondary_port: [u8; 8],
        /// Name.
        pub secondary_node: [u8; 8],
    }
}
layout!(VstorPacket, 64, operation @ 0, flags @ 4, status @ 8, body @ 12);
layout!(
    Srb, 52, length @ 0, srb_status @ 2, scsi_status @ 3, port @ 4, path @ 5, target @ 6, lun @ 7, cdb_length @ 8,
    sense_length @ 9, direction @ 10, data_transfer_length @ 12, cdb_or_sense @ 16, reserved_36 @ 36, queue_tag @ 38,
    queue_action @ 39, srb_flags @ 40, timeout @ 44, queue_sort_key @ 48
);
layout!(ProtocolVersion, 4, version @ 0, revision @ 2);
layout!(
    Properties, 24, maximum_sub_channel_count @ 4, flags @ 8, maximum_transfer_bytes @ 12, reserved_16 @ 16
);
layout!(SubChannelCount, 2, count @ 0);
layout!(FibreChannelNames, 36, primary_active @ 0, primary_port @ 4, secondary_node @ 28);

/// 6.2: Windows 8.1 and later.
pub const VERSION_6_2: u16 = 0x0602;
/// 6.0: Windows 8.
pub const VERSION_6_0: u16 = 0x0600;
