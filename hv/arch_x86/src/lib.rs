//! The machine under Zemin: one safe face for the instructions, tables and registers the hypervisor needs.
//!
//! Everything `unsafe` about x86 lives here or in the few marked modules of the `zemin` binary. Above this crate
//! nothing names AMD-V: a virtual processor is a [`vcpu::Vcpu`] that runs until an [`vcpu::Exit`], and
//! [`vcpu::Capabilities`] tells what the processor can do. The VT-x back end will stand beside [`svm`] behind the same
//! types.
//!
//! What always holds: no function here touches guest memory; nothing uses vector registers, so a guest's stay in the
//! processor across exits and change hands only in [`fpu`].
#![cfg_attr(target_os = "none", no_std)]

pub mod apic;
pub mod cpu;
pub mod fpu;
pub mod msr;
pub mod mtrr;
pub mod port;
pub mod svm;
pub mod tables;
pub mod vcpu;
