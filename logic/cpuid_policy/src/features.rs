//! What a partition really has: the processor, less what the hypervisor cannot do, less what the parent does not want.

use crate::feature::{FEATURE_BITS, Feature, Row, XSAVE_BITS, xs};
use crate::words::{Host, Word};
use crate::{Config, HostCpuid};

/// XCR0: x87 and SSE, which come together; AVX; the three of AVX-512.
const XFEM_LEGACY: u64 = 0b11;
const XFEM_AVX: u64 = 1 << 2;
const XFEM_AVX512: u64 = 0b111 << 5;

/// The features of a partition, as its properties tell them too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effective {
    /// Properties PROCESSOR_FEATURES0 and 1.
    pub features: [u64; 2],
    /// Property PROCESSOR_XSAVE_FEATURES.
    pub xsave: u64,
    /// Property XSAVE_STATES: what XCR0 can be.
    pub xfem: u64,
    /// What IA32_XSS can be.
    pub xss: u64,
}

impl Effective {
    /// Works it out. With nothing disabled: what the parent may ask for.
    pub fn of(host: &impl HostCpuid, config: &Config) -> Self {
        Self::of_host(&Host::new(host), config)
    }

    pub(crate) fn of_host(host: &Host<impl HostCpuid>, config: &Config) -> Self {
        let [first, second] = found(host, FEATURE_BITS);
        let mut features = [
            first & config.supported[0] & !config.disabled[0],
            second & config.supported[1] & !config.disabled[1],
        ];
        let components = u64::from(host.get(0xD, 0).edx) << 32 | u64::from(host.get(0xD, 0).eax);
        let found_xsave = found(host, XSAVE_BITS)[0];
        let xsave = consistent(
            found_xsave & config.supported_xsave & !config.disabled_xsave,
            config.xfem & components,
        );
        if xsave & xs::AVX == 0 {
            for feature in [Feature::F16C, Feature::XOP, Feature::FMA4] {
                features = feature.without(features);
            }
        }
        let xss = if xsave & xs::XSAVES == 0 { 0 } else { config.xss };
        Self { features, xsave, xfem: usable(xsave), xss }
    }

    /// The bits of a word that the partition may see.
    pub(crate) fn word(&self, host: &Host<impl HostCpuid>, word: Word) -> u32 {
        let in_features = |feature: u8| Feature(feature).is_in(self.features);
        let in_xsave = |feature: u8| Feature(feature).is_in([self.xsave, 0]);
        let allowed = word.always()
            | bits(FEATURE_BITS, word, in_features)
            | bits(XSAVE_BITS, word, in_xsave);
        word.of_host(host) & allowed
    }
}

/// Features of a table that the processor has.
fn found(host: &Host<impl HostCpuid>, rows: &[Row]) -> [u64; 2] {
    let present = |&&(_, word, bit): &&Row| word.of_host(host) & 1 << bit != 0;
    rows.iter().filter(present).fold([0; 2], |banks, &(feature, _, _)| Feature(feature).with(banks))
}

/// The bits that the features chosen by `has` have in a word.
fn bits(rows: &[Row], word: Word, has: impl Fn(u8) -> bool) -> u32 {
    let chosen = rows.iter().filter(|&&(feature, of, _)| of == word && has(feature));
    chosen.fold(0, |bits, &(_, _, bit)| bits | 1 << bit)
}

/// XSAVE features without those whose foundation is missing.
fn consistent(mut xsave: u64, components: u64) -> u64 {
    if xsave & xs::XSAVE == 0 || components & XFEM_LEGACY != XFEM_LEGACY {
        return 0;
    }
    if xsave & xs::AVX == 0 || components & XFEM_AVX == 0 {
        xsave &= !(xs::AVX | xs::NEED_AVX);
    }
    if xsave & xs::AVX512F == 0 || components & XFEM_AVX512 != XFEM_AVX512 {
        xsave &= !(xs::AVX512F | xs::NEED_AVX512);
    }
    if xsave & xs::XSAVEC == 0 {
        xsave &= !xs::XSAVES;
    }
    xsave
}

/// What XCR0 can be.
fn usable(xsave: u64) -> u64 {
    if xsave == 0 {
        return 0;
    }
    let avx = if xsave & xs::AVX != 0 { XFEM_AVX } else { 0 };
    let avx512 = if xsave & xs::AVX512F != 0 { XFEM_AVX512 } else { 0 };
    XFEM_LEGACY | avx | avx512
}
