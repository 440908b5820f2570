//! What the hypervisor must know of guest instructions and guest page tables.
//!
//! Processors without decode assists report a nested page fault with an address and nothing else. To emulate an access to
//! a device page that the hypervisor itself provides (the local APIC), or to recognise a store that rings a doorbell, it
//! has to find the instruction through the guest's own page tables ([`walk`]) and to know what moves where ([`access`]). Where
//! they do not tell the next instruction's address, it has to count the prefixes of what exited ([`prefix`]).
//!
//! What always holds: anything that is not understood is an error, never a guess; nothing here panics on any bytes.
#![no_std]
#![forbid(unsafe_code)]

pub mod access;
pub mod place;
pub mod prefix;
pub mod walk;
