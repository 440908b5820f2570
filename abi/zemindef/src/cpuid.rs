//! CPUID leaves 0x40005A00 and up: how software finds out that it runs on Zemin.
//!
//! Processors and other hypervisors answer leaves they do not know with anything at all, so a reader first checks that a
//! hypervisor is present (leaf 1 ECX bit 31) and then the signature. Children see these leaves as well as the parent.

/// First leaf. EAX: highest leaf of this range; EBX, ECX, EDX: [`SIGNATURE`].
pub const LEAF_BASE: u32 = 0x4000_5A00;
/// EAX: [`Version`]; EBX: [`Features`]; ECX, EDX: 0.
pub const LEAF_VERSION: u32 = 0x4000_5A01;
/// Highest leaf this release has.
pub const LEAF_MAX: u32 = LEAF_VERSION;

/// The 12 bytes in EBX, ECX, EDX of [`LEAF_BASE`], lowest byte first.
pub const SIGNATURE: [u8; 12] = *b"ZeminZeminHv";

/// [`SIGNATURE`] as EBX, ECX, EDX.
pub const SIGNATURE_REGISTERS: [u32; 3] = [
    u32::from_le_bytes([SIGNATURE[0], SIGNATURE[1], SIGNATURE[2], SIGNATURE[3]]),
    u32::from_le_bytes([SIGNATURE[4], SIGNATURE[5], SIGNATURE[6], SIGNATURE[7]]),
    u32::from_le_bytes([SIGNATURE[8], SIGNATURE[9], SIGNATURE[10], SIGNATURE[11]]),
];

/// A release: major in bits 31:16, minor in 15:8, patch in 7:0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32);

impl Version {
    /// The release that this crate was built as part of.
    pub const CURRENT: Self = Self::new(
        decimal(env!("CARGO_PKG_VERSION_MAJOR")),
        decimal(env!("CARGO_PKG_VERSION_MINOR")) as u8,
        decimal(env!("CARGO_PKG_VERSION_PATCH")) as u8,
    );

    /// Packs the three numbers.
    pub const fn new(major: u16, minor: u8, patch: u8) -> Self {
        Self((major as u32) << 16 | (minor as u32) << 8 | patch as u32)
    }
}

/// A number in the manifest, at compile time; one that does not fit ends the build.
const fn decimal(digits: &str) -> u16 {
    match u16::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("the workspace's version is not three numbers"),
    }
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}.{}", self.0 >> 16, self.0 >> 8 & 0xFF, self.0 & 0xFF)
    }
}

/// EBX of [`LEAF_VERSION`]: which extensions there are. Open: bits a reader does not know stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features(pub u32);

impl Features {
    /// The properties of [`crate::property`], for the root.
    pub const PROPERTIES: Self = Self(1 << 0);
    /// Doorbells that stand for the connections of a child's signal hypercalls.
    pub const SIGNAL_DOORBELLS: Self = Self(1 << 1);

    /// Whether all of `other`'s bits are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The answer to `leaf` as EAX, EBX, ECX, EDX; `None` outside the range.
pub const fn answer(leaf: u32, version: Version, features: Features) -> Option<[u32; 4]> {
    match leaf {
        LEAF_BASE => {
            Some([LEAF_MAX, SIGNATURE_REGISTERS[0], SIGNATURE_REGISTERS[1], SIGNATURE_REGISTERS[2]])
        }
        LEAF_VERSION => Some([version.0, features.0, 0, 0]),
        _ => None,
    }
}

/// Whether `registers`, the answer to [`LEAF_BASE`], come from Zemin and reach [`LEAF_VERSION`].
pub fn is_zemin(registers: [u32; 4]) -> bool {
    let [highest, signature @ ..] = registers;
    signature == SIGNATURE_REGISTERS && (LEAF_VERSION..LEAF_BASE + 0x100).contains(&highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_recognised_and_carries_the_version() {
        let version = Version::new(2, 3, 4);
        let base = answer(LEAF_BASE, version, Features::PROPERTIES).unwrap();
        assert!(is_zemin(base));
        assert_eq!(base[1].to_le_bytes(), *b"Zemi");
        assert_eq!(base[3].to_le_bytes(), *b"inHv");
        assert_eq!(
            answer(LEAF_VERSION, version, Features::PROPERTIES),
            Some([0x0002_0304, 1, 0, 0])
        );
        assert_eq!(answer(LEAF_MAX + 1, version, Features::PROPERTIES), None);
        assert_eq!(std::format!("{version}"), "2.3.4");
        assert_eq!(std::format!("{}", Version::CURRENT), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn what_others_answer_is_not_recognised() {
        assert!(!is_zemin([0; 4]));
        let [_, ebx, ecx, edx] = answer(LEAF_BASE, Version(0), Features(0)).unwrap();
        assert!(!is_zemin([LEAF_BASE, ebx, ecx, edx]));
        assert!(!is_zemin([LEAF_MAX, ebx, ecx, edx ^ 1]));
    }

    extern crate std;
}
