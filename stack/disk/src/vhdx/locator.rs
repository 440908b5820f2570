//! The parent locator of a differencing disk: keys and values that say which file the parent is.

use super::wire::{LocatorEntry, LocatorHeader, VHDX_LOCATOR};
use crate::guid::Guid;
use zerocopy::{FromBytes, IntoBytes};

/// The keys and values, MS-VHDX 2.6.2.6.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locator(Vec<(String, String)>);

impl Locator {
    /// For a parent with this data-write GUID, at these paths.
    pub fn new(linkage: Guid, relative: Option<String>, absolute: String) -> Self {
        let mut pairs = vec![("parent_linkage".to_owned(), linkage.braced())];
        pairs.extend(relative.map(|path| ("relative_path".to_owned(), path)));
        pairs.push(("absolute_win32_path".to_owned(), absolute));
        Self(pairs)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, rest) =
            LocatorHeader::ref_from_prefix(bytes).map_err(|_| "is too short".to_owned())?;
        if header.kind != VHDX_LOCATOR {
            return Err(format!("its type is {}, which is not known", header.kind));
        }
        let count = header.count.get();
        let (entries, _) = <[LocatorEntry]>::ref_from_prefix_with_elems(rest, count.into())
            .map_err(|_| format!("{count} entries do not fit"))?;
        let text = |offset: u32, length: u16| {
            let start = offset as usize;
            let piece = bytes.get(start..start.saturating_add(length.into()));
            piece
                .and_then(utf16)
                .ok_or_else(|| format!("{length} bytes at {offset:#x} of it are not UTF-16 text"))
        };
        let pair = |entry: &LocatorEntry| {
            Ok((
                text(entry.key_offset.get(), entry.key_length.get())?,
                text(entry.value_offset.get(), entry.value_length.get())?,
            ))
        };
        let pairs: Vec<_> = entries.iter().map(pair).collect::<Result<_, String>>()?;
        Ok(Self(pairs))
    }

    pub fn encode(&self) -> Vec<u8> {
        let count = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        let header = LocatorHeader { kind: VHDX_LOCATOR, reserved: 0.into(), count: count.into() };
        let mut strings = Vec::new();
        let start = size_of::<LocatorHeader>() + self.0.len() * size_of::<LocatorEntry>();
        let mut put = |text: &str| {
            let offset = u32::try_from(start + strings.len()).unwrap_or(0);
            let before = strings.len();
            strings.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            (offset, u16::try_from(strings.len() - before).unwrap_or(0))
        };
        let mut bytes = header.as_bytes().to_vec();
        for (key, value) in &self.0 {
            let ((key_offset, key_length), (value_offset, value_length)) = (put(key), put(value));
            let entry = LocatorEntry {
                key_offset: key_offset.into(),
                value_offset: value_offset.into(),
                key_length: key_length.into(),
                value_length: value_length.into(),
            };
            bytes.extend_from_slice(entry.as_bytes());
        }
        bytes.extend_from_slice(&strings);
        bytes
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Where the parent may be, best first: as written, with the writer's kind of separators.
    pub fn paths(&self) -> Vec<String> {
        ["relative_path", "absolute_win32_path", "volume_path"]
            .iter()
            .filter_map(|key| self.get(key))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a parent with this data-write GUID is the one.
    pub fn accepts(&self, parent: Guid) -> bool {
        ["parent_linkage", "parent_linkage2"]
            .iter()
            .filter_map(|key| Guid::parse(self.get(key)?))
            .any(|linkage| linkage == parent)
    }

    /// What the parent's data-write GUID was.
    pub fn linkage(&self) -> &str {
        self.get("parent_linkage").unwrap_or("(none)")
    }
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let linkage = Guid::random();
        let locator =
            Locator::new(linkage, Some(".\\üst.vhdx".to_owned()), "/v/üst.vhdx".to_owned());
        let parsed = Locator::parse(&locator.encode()).unwrap();
        assert_eq!(parsed, locator);
        assert_eq!(parsed.paths(), [".\\üst.vhdx", "/v/üst.vhdx"]);
        assert!(parsed.accepts(linkage) && !parsed.accepts(Guid::random()));
    }

    #[test]
    fn text_outside_of_the_item_is_refused() {
        let mut bytes = Locator::new(Guid::ZERO, None, String::new()).encode();
        bytes[20..24].copy_from_slice(&0xFFFF_FFF0u32.to_le_bytes());
        assert!(Locator::parse(&bytes).unwrap_err().contains("0xfffffff0"));
    }
}
