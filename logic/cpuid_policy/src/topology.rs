//! How the VPs of a partition look arranged. APIC ids are VP indexes.

use crate::Registers;
use crate::entry::ZERO;

/// Sockets of equal size, numbered by APIC id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topology {
    /// VPs of a socket, at least 1: property PROCESSORS_PER_SOCKET, or all there are.
    pub vps_per_socket: u32,
    /// Two VPs are threads of one core: creation flag SMT_ENABLED_GUEST.
    pub smt: bool,
}

impl Topology {
    pub(crate) const fn threads(&self) -> u32 {
        if self.smt { 2 } else { 1 }
    }

    pub(crate) fn per_socket(&self) -> u32 {
        self.vps_per_socket.clamp(1, 1 << 15)
    }

    /// Bits of an APIC id within its socket.
    pub(crate) fn socket_shift(&self) -> u32 {
        ceil_log2(self.per_socket())
    }

    /// Leaves 0xB and 0x1F, with the APIC id missing in EDX.
    pub(crate) fn level(&self, subleaf: u32) -> Registers {
        let (shift, vps, kind) = match subleaf {
            0 => (ceil_log2(self.threads()), self.threads(), 1),
            1 => (self.socket_shift(), self.per_socket(), 2),
            _ => return beyond(subleaf),
        };
        Registers { eax: shift, ebx: vps, ecx: kind << 8 | subleaf, edx: 0 }
    }

    /// How many VPs share a cache of this level: beyond level 2, the socket's.
    pub(crate) fn sharing(&self, cache_level: u32) -> u32 {
        if cache_level > 2 { self.per_socket() } else { self.threads().min(self.per_socket()) }
    }
}

/// A level that does not exist: only the subleaf comes back.
pub(crate) const fn beyond(subleaf: u32) -> Registers {
    Registers { ecx: subleaf & 0xFF, ..ZERO }
}

const fn ceil_log2(n: u32) -> u32 {
    n.next_power_of_two().trailing_zeros()
}
