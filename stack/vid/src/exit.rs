//! Why a VP stopped: intercept messages as plain values.
//!
//! Layouts are those of the TLFS, chapter "Intercepts". The message is a copy that nobody writes meanwhile; a payload
//! that says something no processor does becomes [`Exit::Malformed`], not a guess.

mod wire;

use hvdef::message::{Message, MessageType};
use zerocopy::FromBytes;

/// What an access was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load, or IN.
    Read,
    /// Store, or OUT.
    Write,
    /// Instruction fetch.
    Execute,
}

/// Where the VP stopped. Its RIP is that of the intercepted instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// Which VP.
    pub vp_index: u32,
    /// Bytes of the instruction; 0 if unknown.
    pub instruction_length: u8,
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// The stop came in the midst of delivering an interrupt or exception.
    pub interruption_pending: bool,
}

impl Context {
    /// The address behind the instruction.
    pub fn next_rip(&self) -> u64 {
        self.rip.wrapping_add(u64::from(self.instruction_length))
    }
}

/// Up to 16 bytes of the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InstructionBytes {
    bytes: [u8; 16],
    count: u8,
}

impl InstructionBytes {
    /// At most the first 16 of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut all = [0; 16];
        let count = bytes.len().min(16);
        all[..count].copy_from_slice(&bytes[..count]);
        Self { bytes: all, count: count as u8 }
    }

    /// The bytes that are known; maybe none.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count)]
    }
}

/// IN, OUT, INS or OUTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoPortExit {
    /// Where.
    pub context: Context,
    /// Port.
    pub port: u16,
    /// Bytes of one access: 1, 2 or 4.
    pub size: u8,
    /// The guest writes.
    pub is_write: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub rep: bool,
    /// RAX.
    pub rax: u64,
    /// The instruction, for the segment and address size of string forms.
    pub instruction: InstructionBytes,
}

/// An access to memory that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryExit {
    /// Where.
    pub context: Context,
    /// What.
    pub access: Access,
    /// The guest-physical address.
    pub gpa: u64,
    /// The linear address it was reached by, if known.
    pub gva: Option<u64>,
    /// The instruction, as far as known.
    pub instruction: InstructionBytes,
}

/// RDMSR or WRMSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsrExit {
    /// Where.
    pub context: Context,
    /// Which.
    pub msr: u32,
    /// The value for a write, none for a read.
    pub written: Option<u64>,
}

/// CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuidExit {
    /// Where.
    pub context: Context,
    /// Leaf.
    pub leaf: u32,
    /// Subleaf.
    pub subleaf: u32,
    /// What the hypervisor would have answered: EAX, EBX, ECX, EDX.
    pub default: [u32; 4],
}

/// A hypercall that the hypervisor leaves to the worker. RIP is at the VMCALL or VMMCALL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HypercallExit {
    /// Where.
    pub context: Context,
    /// From 64-bit code: the registers are as below. Otherwise the pairs of 32-bit code are in use.
    pub is_64_bit: bool,
    /// RCX: control word.
    pub control: u64,
    /// RDX: input, or the address of the input.
    pub input: u64,
    /// R8: second part of the input, or the address of the output.
    pub output: u64,
}

/// Why a VP stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Port I/O.
    IoPort(IoPortExit),
    /// A GPA without memory, or one whose memory does not allow the access.
    Memory(MemoryExit),
    /// The guest ended a level-triggered interrupt.
    ApicEoi {
        /// Its vector.
        vector: u8,
    },
    /// Triple fault.
    TripleFault(Context),
    /// An MSR whose intercept was installed.
    Msr(MsrExit),
    /// A CPUID leaf whose intercept was installed.
    Cpuid(CpuidExit),
    /// A hypercall for the worker.
    Hypercall(HypercallExit),
    /// An exception whose intercept was installed.
    Exception {
        /// Where.
        context: Context,
        /// Vector.
        vector: u16,
        /// Error code.
        error_code: u32,
    },
    /// Slots of these SINTs became free, as asked for.
    SintDeliverable {
        /// Bit n: SINT n.
        sints: u16,
    },
    /// HLT where the hypervisor does not wait itself.
    Halt(Context),
    /// The processor refuses a register's value.
    InvalidRegister {
        /// Which VP.
        vp_index: u32,
    },
    /// The guest used what the hypervisor cannot virtualize.
    UnsupportedFeature {
        /// TLFS number of the feature.
        feature: u32,
    },
    /// A signal, not the guest.
    Interrupted,
    /// A message of a type nobody here knows.
    Unknown(MessageType),
    /// A message that makes no sense.
    Malformed(MessageType),
}

impl Exit {
    /// Takes an intercept message apart.
    pub fn from_message(message: &Message) -> Self {
        let kind = message.header.message_type;
        decode(kind, &message.payload).unwrap_or(Self::Malformed(kind))
    }
}

/// `None` if the payload makes no sense.
fn decode(kind: MessageType, payload: &[u8]) -> Option<Exit> {
    Some(match kind {
        MessageType::X64_IO_PORT_INTERCEPT => Exit::IoPort(io_port(&read(payload)?)?),
        MessageType::UNMAPPED_GPA | MessageType::GPA_INTERCEPT => {
            Exit::Memory(memory(&read(payload)?)?)
        }
        MessageType::X64_APIC_EOI => {
            let eoi: wire::Pair = read(payload)?;
            Exit::ApicEoi { vector: u8::try_from(eoi.value).ok()? }
        }
        MessageType::UNRECOVERABLE_EXCEPTION => Exit::TripleFault(context(&read(payload)?)),
        MessageType::X64_MSR_INTERCEPT => Exit::Msr(msr(&read(payload)?)?),
        MessageType::X64_CPUID_INTERCEPT => Exit::Cpuid(cpuid(&read(payload)?)),
        MessageType::HYPERCALL_INTERCEPT => Exit::Hypercall(hypercall(&read(payload)?)),
        MessageType::X64_EXCEPTION_INTERCEPT => exception(&read(payload)?),
        MessageType::SYNIC_SINT_DELIVERABLE => {
            let deliverable: wire::SintDeliverable = read(payload)?;
            Exit::SintDeliverable { sints: deliverable.sints }
        }
        MessageType::X64_HALT => Exit::Halt(context(&read(payload)?)),
        MessageType::INVALID_VP_REGISTER_VALUE => {
            let pair: wire::Pair = read(payload)?;
            Exit::InvalidRegister { vp_index: pair.vp_index }
        }
        MessageType::UNSUPPORTED_FEATURE => {
            let pair: wire::Pair = read(payload)?;
            Exit::UnsupportedFeature { feature: pair.value }
        }
        other => Exit::Unknown(other),
    })
}

fn read<T: FromBytes>(payload: &[u8]) -> Option<T> {
    T::read_from_prefix(payload).ok().map(|(value, _)| value)
}

fn context(header: &wire::Header) -> Context {
    Context {
        vp_index: header.vp_index,
        instruction_length: header.instruction & 0xF,
        rip: header.rip,
        rflags: header.rflags,
        interruption_pending: header.execution_state >> 6 & 1 != 0,
    }
}

fn access(header: &wire::Header) -> Option<Access> {
    match header.access {
        0 => Some(Access::Read),
        1 => Some(Access::Write),
        2 => Some(Access::Execute),
        _ => None,
    }
}

fn bytes(bytes: &[u8; 16], count: u8) -> InstructionBytes {
    InstructionBytes::new(&bytes[..usize::from(count).min(16)])
}

fn io_port(io: &wire::IoPort) -> Option<IoPortExit> {
    let size = io.access & 7;
    let is_write = match access(&io.header)? {
        Access::Read => false,
        Access::Write => true,
        Access::Execute => return None,
    };
    matches!(size, 1 | 2 | 4).then_some(IoPortExit {
        context: context(&io.header),
        port: io.port,
        size,
        is_write,
        string: io.access & 8 != 0,
        rep: io.access & 0x10 != 0,
        rax: io.rax,
        instruction: bytes(&io.bytes, io.byte_count),
    })
}

fn memory(memory: &wire::Memory) -> Option<MemoryExit> {
    Some(MemoryExit {
        context: context(&memory.header),
        access: access(&memory.header)?,
        gpa: memory.gpa,
        // Both bits: the address is there, and it is that of this very access.
        gva: (memory.access & 3 == 3).then_some(memory.gva),
        instruction: bytes(&memory.bytes, memory.byte_count),
    })
}

fn msr(msr: &wire::Msr) -> Option<MsrExit> {
    let written = match access(&msr.header)? {
        Access::Read => None,
        Access::Write => Some(msr.rdx << 32 | msr.rax & 0xFFFF_FFFF),
        Access::Execute => return None,
    };
    Some(MsrExit { context: context(&msr.header), msr: msr.msr, written })
}

fn cpuid(cpuid: &wire::Cpuid) -> CpuidExit {
    let default = [cpuid.default_rax, cpuid.default_rbx, cpuid.default_rcx, cpuid.default_rdx];
    CpuidExit {
        context: context(&cpuid.header),
        leaf: cpuid.rax as u32,
        subleaf: cpuid.rcx as u32,
        default: default.map(|register| register as u32),
    }
}

fn hypercall(call: &wire::Hypercall) -> HypercallExit {
    const PROTECTED: u16 = 1 << 2;
    const LONG: u16 = 1 << 4;
    let long = call.header.execution_state & (PROTECTED | LONG) == PROTECTED | LONG;
    HypercallExit {
        context: context(&call.header),
        is_64_bit: long && call.header.cs.attributes.long(),
        control: call.rcx,
        input: call.rdx,
        output: call.r8,
    }
}

fn exception(exception: &wire::Exception) -> Exit {
    Exit::Exception {
        context: context(&exception.header),
        vector: exception.vector,
        error_code: exception.error_code,
    }
}

#[cfg(test)]
mod tests;
