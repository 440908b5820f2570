//! The linker's build id, which names the symbols of this very binary.
#![expect(unsafe_code, reason = "reads a note that the linker placed")]

unsafe extern "C" {
    static build_id_start: u8;
    static build_id_end: u8;
}

/// Bytes of the note before the id: name size, description size, type, "GNU\0".
const HEADER: usize = 16;

/// The id; zeros if the linker made none.
pub fn build_id() -> [u8; 20] {
    let (start, end) = (&raw const build_id_start, &raw const build_id_end);
    // SAFETY: both symbols bound one section of the image.
    let note = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
    let mut id = [0; 20];
    if let Some(bytes) = note.get(HEADER..HEADER + id.len()) {
        id.copy_from_slice(bytes);
    }
    id
}

/// Prints an id as hexadecimal digits.
pub struct BuildId<'a>(pub &'a [u8; 20]);

impl core::fmt::Display for BuildId<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
