//! A kernel of a few instructions: prints "idle" on the first serial port and halts for good.

/// Size of the part before the kernel proper: a boot sector and one more.
const SETUP: usize = 0x400;
/// Where 64-bit boot loaders enter the kernel proper.
const ENTRY: usize = SETUP + 0x200;

/// mov dx, 0x3F8; lea rsi, [rip + 12]; mov ecx, 5; next: lodsb; out dx, al; loop next; halt: hlt; jmp halt
const CODE: [u8; 23] = [
    0x66, 0xBA, 0xF8, 0x03, 0x48, 0x8D, 0x35, 0x0C, 0, 0, 0, 0xB9, 5, 0, 0, 0, 0xAC, 0xEE, 0xE2,
    0xFC, 0xF4, 0xEB, 0xFD,
];

/// The bzImage (Documentation/arch/x86/boot.rst).
pub fn image() -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    let fields: [(usize, &[u8]); 9] = [
        (0x1F1, &[1]),                         // one sector of setup
        (0x202, b"HdrS"),                      // magic
        (0x206, &[0x0F, 0x02]),                // protocol 2.15
        (0x211, &[1]),                         // loaded high
        (0x214, &0x10_0000_u32.to_le_bytes()), // where
        (0x236, &[1]),                         // has a 64-bit entry
        (0x238, &255_u32.to_le_bytes()),       // longest command line
        (ENTRY, &CODE),
        (ENTRY + CODE.len(), b"idle\n"),
    ];
    for (offset, bytes) in fields {
        if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    image
}
