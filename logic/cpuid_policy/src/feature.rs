//! Processor features as partition properties number them (Linux `hv_partition_processor_features`), and the CPUID bits
//! that tell of each.

use crate::words::Word::{self, *};

/// Bank and bit of a processor feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature(pub u8);

impl Feature {
    /// F16C.
    pub(crate) const F16C: Self = Self(20);
    /// XOP.
    pub(crate) const XOP: Self = Self(6);
    /// FMA4.
    pub(crate) const FMA4: Self = Self(19);
    /// RDTSCP: needs MSR TSC_AUX to be the VP's.
    pub const RDTSCP: Self = Self(38);
    /// RDPID: as [`Self::RDTSCP`].
    pub const RDPID: Self = Self(57);
    /// Indirect branch restricted speculation: needs MSR SPEC_CTRL to be the VP's.
    pub const IBRS: Self = Self(44);
    /// Single thread indirect branch predictors: needs SPEC_CTRL.
    pub const STIBP: Self = Self(45);
    /// Indirect branch predictor barrier: needs MSR PRED_CMD.
    pub const IBPB: Self = Self(46);
    /// Speculative store bypass disable: needs SPEC_CTRL.
    pub const SSBD: Self = Self(48);
    /// Level 1 data cache flush: needs MSR FLUSH_CMD.
    pub const L1D_FLUSH: Self = Self(50);
    /// Virtualized SPEC_CTRL by MSR.
    pub const VIRT_SPEC_CTRL: Self = Self(56);
    /// Invariant TSC.
    pub const TSC_INVARIANT: Self = Self(64 + 1);
    /// Predictive store forwarding disable: needs SPEC_CTRL.
    pub const PSFD: Self = Self(64 + 7);
    /// TSC deadline mode: needs it in the virtual APIC.
    pub const TSC_DEADLINE: Self = Self(64 + 17);
    /// TSC adjust: needs MSR TSC_ADJUST.
    pub const TSC_ADJUST: Self = Self(64 + 18);

    /// Features of which nothing but registers that every VP has is switched: safe to give if the processor has them.
    pub const STATELESS: [u64; 2] = stateless();
    /// XSAVE features this crate knows: those up to AVX-512, and AVX-VNNI.
    pub const XSAVE_KNOWN: u64 = known(XSAVE_BITS)[0];

    /// Adds the feature to banks.
    #[must_use]
    pub const fn with(self, banks: [u64; 2]) -> [u64; 2] {
        let [first, second] = banks;
        if self.0 < 64 {
            [first | 1 << self.0, second]
        } else {
            [first, second | 1 << (self.0 - 64)]
        }
    }

    /// Takes the feature out of banks.
    #[must_use]
    pub const fn without(self, banks: [u64; 2]) -> [u64; 2] {
        let [first, second] = self.with([0; 2]);
        [banks[0] & !first, banks[1] & !second]
    }

    /// Whether banks have the feature.
    pub const fn is_in(self, banks: [u64; 2]) -> bool {
        let [first, second] = self.with([0; 2]);
        banks[0] & first | banks[1] & second != 0
    }
}

/// Feature, word, bit. A feature may have several.
pub(crate) type Row = (u8, Word, u8);

/// XSAVE features by their bit.
pub(crate) mod xs {
    pub const XSAVE: u64 = 1 << 0;
    pub const AVX: u64 = 1 << 2;
    pub const AVX512F: u64 = 1 << 6;
    pub const XSAVEC: u64 = 1 << 11;
    pub const XSAVES: u64 = 1 << 12;
    /// What needs AVX: AVX2, FMA, AVX-512, VAES, VPCLMULQDQ, AVX-VNNI.
    pub const NEED_AVX: u64 = 1 << 3 | 1 << 4 | AVX512F | NEED_AVX512 | 1 << 20 | 1 << 22 | 1 << 30;
    /// What needs AVX-512: its extensions.
    pub const NEED_AVX512: u64 = 0xF << 7 | 0x1F << 14 | 1 << 21 | 0x7 << 23;
}

/// Processor features. Left out, and so never given: what needs a nested hypervisor (SVM, VMX, MBEC), LA57, shadow
/// stacks, ENQCMD, UMWAIT, APERF and MPERF, and whatever promises the absence of a flaw by MSR ARCH_CAPABILITIES.
#[rustfmt::skip]
pub(crate) const FEATURE_BITS: &[Row] = &[
    (0, Basic1Ecx, 0), (1, Ext1Ecx, 0), (2, Basic1Ecx, 9), (3, Basic1Ecx, 19), (4, Basic1Ecx, 20), (5, Ext1Ecx, 6),
    (6, Ext1Ecx, 11), (7, Basic1Ecx, 23), (8, Basic1Ecx, 13), (9, Ext1Ecx, 4), (10, Ext1Ecx, 5), (11, Ext1Ecx, 7),
    (12, Ext1Edx, 22), (13, Ext1Edx, 31), (14, Ext1Edx, 30), (15, Ext1Edx, 26), (16, Basic1Ecx, 25),
    (17, Basic1Ecx, 1), (18, Basic1Ecx, 17), (19, Ext1Ecx, 16), (20, Basic1Ecx, 29), (21, Basic1Ecx, 30),
    (22, Leaf7Ebx, 0), (23, Leaf7Ebx, 7), (24, Leaf7Ebx, 9), (25, Leaf7Ebx, 3), (26, Leaf7Ebx, 8),
    (29, Basic1Ecx, 22), (31, Leaf7Ebx, 13), (32, Leaf7Ebx, 18), (33, Leaf7Ebx, 19), (34, Ext1Ecx, 8),
    (35, Leaf7Ebx, 20), (36, Leaf7Ebx, 4), (37, Leaf7Ebx, 11), (38, Ext1Edx, 27), (39, Leaf7Ebx, 23),
    (40, Leaf7Ebx, 24), (41, Leaf7Ebx, 29), (42, Ext8Ebx, 2), (43, Leaf7Ebx, 10), (44, Leaf7Edx, 26),
    (44, Ext8Ebx, 14), (45, Leaf7Edx, 27), (45, Ext8Ebx, 15), (46, Ext8Ebx, 12), (48, Leaf7Edx, 31),
    (48, Ext8Ebx, 24), (49, Leaf7Edx, 4), (50, Leaf7Edx, 28), (56, Ext8Ebx, 25), (57, Leaf7Ecx, 22),
    (58, Leaf7Ecx, 2), (60, Leaf7Edx, 10),
    (64 + 1, Ext7Edx, 8), (64 + 2, Ext8Ebx, 0), (64 + 3, Ext8Ebx, 4), (64 + 7, Ext8Ebx, 28),
    (64 + 13, Leaf7Ecx, 27), (64 + 14, Leaf7Ecx, 28), (64 + 15, Leaf7Ecx, 25), (64 + 16, Leaf7Edx, 14),
    (64 + 17, Basic1Ecx, 24), (64 + 18, Leaf7Ebx, 1), (64 + 19, Leaf7s1Eax, 10), (64 + 20, Leaf7s1Eax, 11),
    (64 + 21, Leaf7s1Eax, 12),
];

/// XSAVE features.
#[rustfmt::skip]
pub(crate) const XSAVE_BITS: &[Row] = &[
    (0, Basic1Ecx, 26), (1, XsaveEax, 0), (2, Basic1Ecx, 28), (3, Leaf7Ebx, 5), (4, Basic1Ecx, 12),
    (6, Leaf7Ebx, 16), (7, Leaf7Ebx, 17), (8, Leaf7Ebx, 28), (9, Leaf7Ebx, 30), (10, Leaf7Ebx, 31),
    (11, XsaveEax, 1), (12, XsaveEax, 3), (13, XsaveEax, 2), (14, Leaf7Ecx, 12), (15, Leaf7Ebx, 21),
    (16, Leaf7Ecx, 1), (17, Leaf7Ecx, 6), (18, Leaf7Ecx, 11), (19, Leaf7Ecx, 8), (20, Leaf7Ecx, 9),
    (21, Leaf7Ecx, 14), (22, Leaf7Ecx, 10), (23, Leaf7s1Eax, 5), (24, Leaf7Edx, 8), (25, Leaf7Edx, 23),
    (30, Leaf7s1Eax, 4),
];

/// All features of a table.
const fn known(rows: &[Row]) -> [u64; 2] {
    let mut banks = [0; 2];
    let mut rest = rows;
    while let [(feature, _, _), tail @ ..] = rest {
        banks = Feature(*feature).with(banks);
        rest = tail;
    }
    banks
}

const fn stateless() -> [u64; 2] {
    let banks = known(FEATURE_BITS);
    let banks = Feature::RDTSCP.without(Feature::RDPID.without(banks));
    let banks = Feature::IBRS.without(Feature::STIBP.without(Feature::IBPB.without(banks)));
    let banks = Feature::SSBD.without(Feature::L1D_FLUSH.without(Feature::PSFD.without(banks)));
    let banks = Feature::VIRT_SPEC_CTRL.without(banks);
    Feature::TSC_DEADLINE.without(Feature::TSC_ADJUST.without(banks))
}
