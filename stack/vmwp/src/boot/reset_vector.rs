//! What a PC has at F000:FFF0, where real-mode software jumps to start the machine anew: here, a jump into the reset
//! register.
//!
//! Linux on hardware-reduced ACPI takes this way: it asks EFI first, of which there is none, then "the BIOS".

use super::BootError;
use super::source::write_error;
use crate::chipset::ports::{RESET, RESET_VALUE};
use crate::memory::layout::RESET_VECTOR;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// mov dx, RESET; mov al, RESET_VALUE; out dx, al; hlt; jmp to the hlt.
const CODE: [u8; 9] = {
    let [low, high] = RESET.to_le_bytes();
    [0xBA, low, high, 0xB0, RESET_VALUE, 0xEE, 0xF4, 0xEB, 0xFD]
};

/// Puts the code there.
pub fn write(memory: &GuestMemoryMmap) -> Result<(), BootError> {
    memory.write_slice(&CODE, GuestAddress(RESET_VECTOR)).map_err(write_error)
}
