//! Guest memory that a ring knows beforehand, as registered buffers: the kernel need not find and pin its pages for each
//! request, nor let go of them.
//!
//! Only for memory that is the guest's for good ([`GuestMemory::is_resident`]), because registering takes all of it. Other
//! memory comes into being where the guest first touches it, and the system may move it and take it back.
#![expect(unsafe_code, reason = "a registration names memory by address")]

use io_uring::{IoUring, Probe, opcode};
use libc::iovec;
use std::io;
use vmbus::memory::GuestMemory;

/// The kernel takes no larger buffer.
const BUFFER_MAX: usize = 1 << 30;

/// What a ring knows.
pub(super) struct Registered {
    /// Address and bytes of each buffer, by its number.
    buffers: Vec<(usize, usize)>,
    /// A request may name several runs of one (since Linux 6.15).
    is_vectored: bool,
    /// Keeps it mapped.
    _memory: GuestMemory,
}

impl Registered {
    /// Registers `memory` with a ring that has no buffers yet.
    ///
    /// # Errors
    ///
    /// The system's: too much locked memory, as a rule.
    pub(super) fn new(ring: &IoUring, memory: &GuestMemory) -> io::Result<Self> {
        let vectors: Vec<_> = memory.regions().flat_map(cut).collect();
        // SAFETY: the buffers are guest memory, which stays mapped as long as its clone in what is returned; that goes after
        // the ring. Nothing refers to guest memory that the kernel could change behind its back.
        unsafe { ring.submitter().register_buffers(&vectors)? };
        let mut probe = Probe::new();
        let is_vectored = ring.submitter().register_probe(&mut probe).is_ok()
            && probe.is_supported(opcode::ReadvFixed::CODE)
            && probe.is_supported(opcode::WritevFixed::CODE);
        let buffers =
            vectors.iter().map(|buffer| (buffer.iov_base.addr(), buffer.iov_len)).collect();
        Ok(Self { buffers, is_vectored, _memory: memory.clone() })
    }

    /// Number of the buffer in which all of `runs` are, if a request may name them so.
    pub(super) fn find(&self, runs: &[iovec]) -> Option<u16> {
        let first = runs.first().filter(|_| runs.len() == 1 || self.is_vectored)?;
        let holds = |&(start, size): &(usize, usize), run: &iovec| {
            let offset = run.iov_base.addr().wrapping_sub(start);
            offset <= size && run.iov_len <= size - offset
        };
        let number = self.buffers.iter().position(|buffer| holds(buffer, first))?;
        let buffer = self.buffers.get(number)?;
        runs.iter().all(|run| holds(buffer, run)).then(|| u16::try_from(number).ok())?
    }
}

/// A region in buffers as large as they may be.
fn cut(region: iovec) -> impl Iterator<Item = iovec> {
    let iovec { iov_base, iov_len } = region;
    (0..iov_len).step_by(BUFFER_MAX).map(move |at| iovec {
        iov_base: iov_base.wrapping_byte_add(at),
        iov_len: BUFFER_MAX.min(iov_len - at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{GuestAddress, GuestMemoryMmap};

    fn run(start: usize, iov_len: usize) -> iovec {
        iovec { iov_base: std::ptr::without_provenance_mut(start), iov_len }
    }

    #[test]
    fn regions_are_cut_at_the_kernels_limit() {
        let gib = 1 << 30;
        let cut = |start, size| {
            let parts = cut(run(start, size));
            parts.map(|part| (part.iov_base.addr(), part.iov_len)).collect::<Vec<_>>()
        };
        assert_eq!(cut(0x1000, 5), [(0x1000, 5)]);
        assert_eq!(cut(gib, 2 * gib + 4096), [(gib, gib), (2 * gib, gib), (3 * gib, 4096)]);
        assert_eq!(cut(0, 0), []);
    }

    #[test]
    fn runs_are_found_in_the_one_buffer_that_holds_all_of_them() {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4096)]).unwrap();
        let _memory = GuestMemory::new(&ram);
        let buffers = vec![(0x1000, 0x1000), (0x8000, 0x1000)];
        let mut registered = Registered { buffers, is_vectored: true, _memory };
        assert_eq!(registered.find(&[run(0x1000, 0x1000)]), Some(0));
        assert_eq!(registered.find(&[run(0x8FFF, 1)]), Some(1));
        assert_eq!(registered.find(&[run(0x8FFF, 2)]), None, "beyond its end");
        assert_eq!(registered.find(&[run(0x9000, 1)]), None, "behind it");
        assert_eq!(registered.find(&[run(0xFFF, 2)]), None, "before it");
        assert_eq!(registered.find(&[run(0x1000, 16), run(0x1800, 16)]), Some(0));
        assert_eq!(registered.find(&[run(0x1000, 16), run(0x8000, 16)]), None, "in two");
        assert_eq!(registered.find(&[]), None);
        registered.is_vectored = false;
        assert_eq!(registered.find(&[run(0x1000, 16), run(0x1800, 16)]), None);
        assert_eq!(registered.find(&[run(0x1000, 16)]), Some(0));
    }
}
