//! What goes into the answers.

use crate::{Registers, Topology};
use hvdef::property::SyntheticProcessorFeatures;

/// The processor's own CPUID.
pub trait HostCpuid {
    /// Executes it.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers;
}

/// Leaf 0x40000005.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most VPs of a partition.
    pub vps: u32,
    /// Most LPs.
    pub lps: u32,
}

/// Everything that decides what a partition sees.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What the parent asked for: property SYNTHETIC_PROC_FEATURES.
    pub synthetic: SyntheticProcessorFeatures,
    /// Processor features that the hypervisor can give to a child; see [`crate::Feature::STATELESS`].
    pub supported: [u64; 2],
    /// Processor features switched off at creation.
    pub disabled: [u64; 2],
    /// XSAVE features that the hypervisor can give to a child; see [`crate::Feature::XSAVE_KNOWN`].
    pub supported_xsave: u64,
    /// XSAVE features switched off at creation.
    pub disabled_xsave: u64,
    /// Components of XCR0 that the hypervisor saves.
    pub xfem: u64,
    /// Components of IA32_XSS that the hypervisor saves.
    pub xss: u64,
    /// Bits of a GPA.
    pub address_bits: u8,
    /// The local APIC has x2APIC mode.
    pub x2apic: bool,
    /// The TSC runs at one rate for ever, and MSR TSC_INVARIANT_CONTROL is there.
    pub tsc_invariant: bool,
    /// APIC accesses by MSR are cheaper than by MMIO.
    pub recommend_apic_msrs: bool,
    /// How VPs are arranged.
    pub topology: Topology,
    /// Leaf 0x40000005.
    pub limits: Limits,
    /// Leaf 0x40000002.
    pub version: Registers,
}
