//! Hypercalls from user space: the ioctl MSHV_ROOT_HVCALL on /dev/mshv.
//!
//! On this file the kernel lets two calls through, GET_PARTITION_PROPERTY and GET_PARTITION_PROPERTY_EX, and puts "self"
//! where the input names a partition (Linux `drivers/hv/mshv_root_main.c`). It copies input and output through pages of
//! its own, so the hypervisor never sees an address of ours. The published crate for this device keeps its generic call
//! to itself, hence this module.
#![expect(unsafe_code, reason = "an ioctl that takes two user buffers by address")]

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;

/// The device's path.
pub const PATH: &str = "/dev/mshv";

/// `struct mshv_root_hvcall` (Linux `include/uapi/linux/mshv.h`).
#[repr(C)]
struct RootHvcall {
    code: u16,
    reps: u16,
    in_sz: u16,
    out_sz: u16,
    status: u16,
    rsvd: [u8; 6],
    in_ptr: u64,
    out_ptr: u64,
}
const _: () = assert!(size_of::<RootHvcall>() == 32);

const MSHV_ROOT_HVCALL: Opcode = opcode::read_write::<RootHvcall>(0xB8, 0x07);
const _: () = assert!(MSHV_ROOT_HVCALL == 0xC020_B807);

/// The opened device.
///
/// Invariant: the file is the character device at [`PATH`], so that the ioctl number means what it says here.
#[derive(Debug)]
pub struct MshvDevice(File);

/// How a call failed: `status` is the hypervisor's answer, 0 if the kernel did not ask it.
#[derive(Debug)]
pub struct CallError {
    pub status: u16,
    pub error: io::Error,
}

impl MshvDevice {
    /// Opens the device.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(PATH)?;
        if !file.metadata()?.file_type().is_char_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a character device",
            ));
        }
        Ok(Self(file))
    }

    /// Issues a simple hypercall and waits for its end.
    ///
    /// `output` is overwritten in full on success; what the hypervisor did not write is undefined. Buffers are at most
    /// a page, the input at least 8 bytes, of which the first 8 are replaced by the partition.
    pub fn call(&self, code: u16, input: &[u8], output: &mut [u8]) -> Result<(), CallError> {
        let (Ok(in_sz), Ok(out_sz)) = (u16::try_from(input.len()), u16::try_from(output.len()))
        else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "buffer greater than a page");
            return Err(CallError { status: 0, error });
        };
        let (in_ptr, out_ptr) = (input.as_ptr() as u64, output.as_mut_ptr() as u64);
        let mut call =
            RootHvcall { code, reps: 0, in_sz, out_sz, status: 0, rsvd: [0; 6], in_ptr, out_ptr };
        // SAFETY: the number and the layout are the device's (checked above, and by the type's invariant). During the
        // call the kernel reads `in_sz` bytes at `in_ptr` and writes at most `out_sz` bytes at `out_ptr`; these are the
        // two slices, which outlive it, and `output` is borrowed mutably. The kernel keeps neither address.
        let result =
            unsafe { ioctl(&self.0, Updater::<MSHV_ROOT_HVCALL, RootHvcall>::new(&mut call)) };
        result.map_err(|error| CallError { status: call.status, error: error.into() })
    }
}
