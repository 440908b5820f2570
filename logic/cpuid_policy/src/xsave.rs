//! Leaf 0xD: the XSAVE area.

use crate::HostCpuid;
use crate::words::Host;

/// First component that is not in the legacy area, and how many are looked at.
const FIRST: u32 = 2;
const COMPONENTS: usize = 17;
/// Bytes of the legacy area and the header.
const LEGACY: u32 = 576;

/// Where a component is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Component {
    size: u16,
    offset: u16,
    /// Compacted, it begins at a multiple of 64.
    aligned: bool,
}

/// The components of the processor's XSAVE area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout([Component; COMPONENTS]);

impl Layout {
    pub const EMPTY: Self = Self([Component { size: 0, offset: 0, aligned: false }; COMPONENTS]);

    pub fn of(host: &Host<impl HostCpuid>) -> Self {
        let mut layout = Self::EMPTY;
        for (component, number) in layout.0.iter_mut().zip(FIRST..) {
            let found = host.get(0xD, number);
            *component = Component {
                size: u16::try_from(found.eax).unwrap_or(0),
                offset: u16::try_from(found.ebx).unwrap_or(0),
                aligned: found.ecx & 2 != 0,
            };
        }
        layout
    }

    /// Bytes of an area in the standard format with these components.
    pub fn standard(&self, components: u64) -> u32 {
        let ends = self
            .chosen(components)
            .map(|component| u32::from(component.offset) + u32::from(component.size));
        ends.fold(LEGACY, u32::max)
    }

    /// Bytes of an area in the compacted format with these components.
    pub fn compacted(&self, components: u64) -> u32 {
        self.chosen(components).fold(LEGACY, |at, component| {
            let start = if component.aligned { at.next_multiple_of(64) } else { at };
            start + u32::from(component.size)
        })
    }

    fn chosen(&self, components: u64) -> impl Iterator<Item = &Component> {
        let numbered = self.0.iter().zip(FIRST..);
        numbered
            .filter(move |(_, number)| components & 1 << number != 0)
            .map(|(component, _)| component)
    }
}
