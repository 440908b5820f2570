use super::*;
use crate::acpi::{AcpiConfig, AcpiTables};
use crate::memory::{GuestRam, MemoryLayout};
use std::path::Path;
use vm_memory::{Bytes, GuestAddress};

const MIB: u64 = 1 << 20;

/// A directory with files to boot from.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A bzImage with one setup sector, whose protected-mode part is `body`.
fn bzimage(body: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut image = vec![0; 1024];
    image[0x1F1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020Fu16.to_le_bytes());
    image[0x211] = 1; // loaded high
    image[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
    image[0x22C..0x230].copy_from_slice(&0x7FFF_FFFFu32.to_le_bytes());
    image[0x234] = 1; // relocatable
    image[0x236] = 1; // 64-bit entry
    image[0x238..0x23C].copy_from_slice(&2047u32.to_le_bytes());
    image[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
    image[0x260..0x264].copy_from_slice(&0x20_0000u32.to_le_bytes());
    change(&mut image);
    image.extend_from_slice(body);
    image
}

struct Loaded {
    ram: GuestRam,
    entry: Entry,
}

impl Loaded {
    fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.ram.memory().read_obj(GuestAddress(at)).unwrap()
    }
}

fn load(
    kernel: &Path,
    initrd: Option<&Path>,
    cmdline: &str,
    size: u64,
) -> Result<Loaded, BootError> {
    let layout = MemoryLayout::new(size).unwrap();
    let ram = GuestRam::new(&layout, false).unwrap();
    let acpi = AcpiTables::new(&AcpiConfig { cpus: 1, layout: layout.clone() });
    let entry = BootSource::open(kernel, initrd, cmdline)?.load(&layout, &ram, &acpi)?;
    Ok(Loaded { ram, entry })
}

#[test]
fn a_bzimage_is_loaded_where_it_prefers_with_everything_in_the_zero_page() {
    let files = Files::new();
    let kernel = files.add("kernel", &bzimage(b"CODE", |_| {}));
    let initrd = files.add("initrd", &[7; 5000]);
    let loaded = load(&kernel, Some(&initrd), "console=ttyS0", 64 * MIB).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64 { entry: 0x100_0200 });
    assert_eq!(loaded.get::<[u8; 4]>(0x100_0000), *b"CODE");
    assert_eq!(loaded.get::<[u8; 14]>(COMMAND_LINE), *b"console=ttyS0\0");
    assert_eq!(loaded.get::<u64>(ZERO_PAGE + 0x70), 0xE_0000, "RSDP");
    assert_eq!(loaded.get::<u8>(ZERO_PAGE + 0x210), 0xFF, "loader");
    assert_eq!(loaded.get::<u32>(ZERO_PAGE + 0x228), COMMAND_LINE as u32);
    let start = loaded.get::<u32>(ZERO_PAGE + 0x218);
    assert_eq!(start, 64 * MIB as u32 - 0x2000);
    assert_eq!(loaded.get::<u32>(ZERO_PAGE + 0x21C), 5000);
    assert_eq!(loaded.get::<u8>(u64::from(start) + 4999), 7);
    assert_eq!(loaded.get::<u8>(ZERO_PAGE + 0x1E8), 4, "entries of the memory map");
    assert_eq!(loaded.get::<u64>(ZERO_PAGE + 0x2D0 + 8), 0x9_FC00, "the first one's size");
}

#[test]
fn long_mode_tables_map_four_gib_to_themselves() {
    let files = Files::new();
    let kernel = files.add("kernel", &bzimage(b"CODE", |_| {}));
    let loaded = load(&kernel, None, "", 64 * MIB).unwrap();
    let paging =
        x86emu::walk::Paging { cr0: 1 << 31 | 1, cr3: PAGE_TABLES, cr4: 1 << 5, efer: 0x500 };
    for address in [0u64, 0x100_0200, 0x7FFF_FFFF, 0xFEC0_0000, 0xFFFF_FFFF] {
        let read = |at, _| Some(loaded.get::<u64>(at));
        assert_eq!(x86emu::walk::translate(paging, address, read), Ok(address));
    }
    let read = |at, _| Some(loaded.get::<u64>(at));
    assert!(x86emu::walk::translate(paging, 1 << 32, read).is_err());
    assert_eq!(loaded.get::<u64>(GDT + 0x10) >> 53 & 1, 1, "64-bit code");
}

#[test]
fn a_jump_to_the_reset_vector_resets() {
    let files = Files::new();
    let kernel = files.add("kernel", &bzimage(b"CODE", |_| {}));
    let loaded = load(&kernel, None, "", 32 * MIB).unwrap();
    let code: [u8; 9] = loaded.get(0xF_FFF0);
    let mut decoder = iced_x86::Decoder::with_ip(16, &code, 0xFFF0, 0);
    let mnemonics: Vec<_> = decoder.iter().map(|instruction| instruction.mnemonic()).collect();
    use iced_x86::Mnemonic::{Hlt, Jmp, Mov, Out};
    assert_eq!(mnemonics, [Mov, Mov, Out, Hlt, Jmp]);
    assert_eq!(code[1..3], 0xCF9u16.to_le_bytes());
}

#[test]
fn what_does_not_fit_is_told_exactly() {
    let files = Files::new();
    let kernel = files.add("kernel", &bzimage(b"CODE", |_| {}));
    let initrd = files.add("initrd", &vec![7; 20 << 20]);
    let error = load(&kernel, Some(&initrd), "", 32 * MIB).err().unwrap();
    let BootError::InitrdTooLarge { size, room, .. } = error else { panic!("{error}") };
    assert_eq!((size, room), (20 * MIB, 14 * MIB));
    let large = files.add("large", &bzimage(b"", |image| image[0x263] = 0x10));
    let error = load(&large, None, "", 32 * MIB).err().unwrap();
    assert!(matches!(error, BootError::KernelTooLarge { .. }), "{error}");
    let error = load(&kernel, None, &"x".repeat(3000), 32 * MIB).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the command line has 3000 bytes, and the kernel takes at most 2047"
    );
    assert!(matches!(load(&kernel, None, "a\0b", 32 * MIB), Err(BootError::CommandLineZero)));
}

#[test]
fn what_is_no_64_bit_kernel_is_refused_by_name() {
    let files = Files::new();
    let old = files.add("old", &bzimage(b"", |image| image[0x236] = 0));
    assert!(matches!(load(&old, None, "", 32 * MIB), Err(BootError::No64BitEntry(_))));
    for text in ["", "short", &"x".repeat(4096)] {
        let file = files.add("text", text.as_bytes());
        let error = load(&file, None, "", 32 * MIB).err().unwrap();
        assert!(matches!(error, BootError::UnknownFormat(_)), "{error}");
    }
    let error = load(&files.0.path().join("missing"), None, "", 32 * MIB).err().unwrap();
    let whole = format!("{:#}", anyhow::Error::from(error));
    assert!(whole.ends_with("No such file or directory (os error 2)"), "{whole}");
}

/// An ELF file with one segment at 1 MiB and, if asked for, the note with the PVH entry.
fn elf(note: bool) -> Vec<u8> {
    let mut image = vec![0; 0x200];
    image[..8].copy_from_slice(b"\x7FELF\x02\x01\x01\0");
    image[16] = 2; // executable
    image[18] = 62; // x86-64
    image[20] = 1;
    image[24..32].copy_from_slice(&0x10_0000u64.to_le_bytes());
    image[32..40].copy_from_slice(&64u64.to_le_bytes());
    image[52..58].copy_from_slice(&[64, 0, 56, 0, 2, 0]);
    let header = |kind: u32, offset: u64, address: u64, size: u64, align: u64| {
        let words = [offset, address, address, size, size, align];
        let mut bytes = [kind.to_le_bytes(), 5u32.to_le_bytes()].concat();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    };
    image[64..120].copy_from_slice(&header(1, 0x180, 0x10_0000, 4, 0x1000));
    let kind = if note { 4 } else { 6 };
    image[120..176].copy_from_slice(&header(kind, 0x140, 0, 20, 4));
    image[0x140..0x14C].copy_from_slice(&[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]);
    image[0x14C..0x150].copy_from_slice(b"Xen\0");
    image[0x150..0x154].copy_from_slice(&0x10_0123u32.to_le_bytes());
    image[0x180..0x184].copy_from_slice(b"CODE");
    image
}

#[test]
fn an_elf_kernel_starts_by_pvh_with_its_initrd_as_module() {
    let files = Files::new();
    let kernel = files.add("vmlinux", &elf(true));
    let initrd = files.add("initrd", &[7; 10]);
    let loaded = load(&kernel, Some(&initrd), "quiet", 32 * MIB).unwrap();
    assert_eq!(loaded.entry, Entry::Pvh { entry: 0x10_0123 });
    assert_eq!(loaded.get::<[u8; 4]>(0x10_0000), *b"CODE");
    assert_eq!(loaded.get::<u32>(START_INFO), 0x336E_C578);
    assert_eq!(loaded.get::<u32>(START_INFO + 12), 1, "modules");
    let module: u64 = loaded.get(loaded.get(START_INFO + 16));
    assert_eq!((module, loaded.get::<u8>(module)), (32 * MIB - 0x1000, 7));
    assert_eq!(loaded.get::<[u8; 6]>(loaded.get(START_INFO + 24)), *b"quiet\0");
    assert_eq!(loaded.get::<u64>(START_INFO + 32), 0xE_0000, "RSDP");
    assert_eq!(loaded.get::<u32>(START_INFO + 48), 4, "entries of the memory map");
    let map: u64 = loaded.get(START_INFO + 40);
    assert_eq!(loaded.get::<u64>(map + 8), 0x9_FC00);
}

#[test]
fn an_elf_file_without_pvh_is_refused_by_name() {
    let files = Files::new();
    let kernel = files.add("vmlinux", &elf(false));
    let error = load(&kernel, None, "", 32 * MIB).err().unwrap();
    assert!(matches!(error, BootError::NoPvhEntry(_)), "{error}");
}

#[test]
fn an_initrd_is_placed_as_high_as_possible_behind_the_kernel() {
    assert_eq!(place_initrd(0x1001, 0x5000, 0x10000), Ok(Range { start: 0xE000, end: 0xF001 }));
    assert_eq!(place_initrd(0x1000, 0x5001, 0x7000), Ok(Range { start: 0x6000, end: 0x7000 }));
    assert_eq!(place_initrd(0x1001, 0x5001, 0x7000), Err(0x1000));
    assert_eq!(place_initrd(1, 0x9000, 0x7000), Err(0));
}

/// A disk with nothing but zeros on it.
struct Zeros;

impl boot_disk::ReadAt for Zeros {
    fn size(&self) -> u64 {
        MIB
    }
    fn sector(&self) -> u32 {
        512
    }
    fn read_at(&self, _: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        buffer.fill(0);
        Ok(())
    }
}

#[test]
fn a_disk_without_a_kernel_is_named() {
    let disk = BootDisk { disk: std::sync::Arc::new(Zeros), name: "/d/a.vhdx".into() };
    let error = BootSource::of_disk(disk, "").err().unwrap();
    assert!(error.to_string().starts_with("cannot boot from /d/a.vhdx"), "{error}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("ext4"));
}

/// Loads a bzImage whose kernel is kept unpacked.
fn load_kept(
    files: &Files,
    image: &[u8],
    initrd: Option<&Path>,
    cmdline: &str,
) -> Result<Loaded, BootError> {
    let kernel = files.add("packed", &kernel_image::testing::example(image));
    let cache = KernelCache::new(files.0.path().join("cache"), std::time::Duration::ZERO);
    let open = || {
        BootSource::open(&kernel, initrd, cmdline)
            .map(|source| source.with_cache(Some(cache.clone())))
    };
    let layout = MemoryLayout::new(256 * MIB).unwrap();
    let acpi = AcpiTables::new(&AcpiConfig { cpus: 1, layout: layout.clone() });
    loop {
        // The first one finds none, and has one made.
        let ram = GuestRam::new(&layout, false).unwrap();
        let entry = open()?.load(&layout, &ram, &acpi)?;
        if entry != (Entry::Linux64 { entry: 0x100_0200 }) {
            return Ok(Loaded { ram, entry });
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_kept_kernel_is_moved_with_all_it_says_of_itself() {
    let files = Files::new();
    let initrd = files.add("initrd", &vec![7; 100 << 20]);
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..16 {
        let loaded = load_kept(&files, &[0x11; 5000], Some(&initrd), "quiet").unwrap();
        let Entry::Linux64 { entry } = loaded.entry else { panic!() };
        assert!(entry >= 16 * MIB && entry.is_multiple_of(2 * MIB), "{entry:#x}");
        let start: u32 = loaded.get(ZERO_PAGE + 0x218);
        assert!(entry + 2 * MIB <= start.into(), "behind it is room, before the initrd");
        assert_eq!(loaded.get::<u8>(start.into()), 7);
        let shift = loaded.get::<u64>(entry) - 0x1111_1111_1111_1111;
        assert!(shift.is_multiple_of(2 * MIB) && shift <= (1 << 30) - 18 * MIB, "{shift:#x}");
        assert_eq!(loaded.get::<u32>(entry + 8), 0x1111_1111u32.wrapping_sub(shift as u32));
        assert_eq!(loaded.get::<u32>(entry + 12), 0x1111_1111 + shift as u32);
        assert_eq!(loaded.get::<u32>(entry + 16), 0x1111_1111);
        assert_eq!(loaded.get::<u32>(entry + 4996), 0x1111_1111);
        assert_eq!(loaded.get::<u8>(ZERO_PAGE + 0x211) & 2, 2, "it is told so");
        assert_eq!(loaded.get::<[u8; 6]>(COMMAND_LINE), *b"quiet\0");
        places.insert((entry, shift));
    }
    assert!(places.len() > 1, "{places:?}");
}

#[test]
fn a_kept_kernel_stays_where_it_is_linked_if_asked_to() {
    let files = Files::new();
    let loaded = load_kept(&files, &[0x11; 5000], None, "nokaslr").unwrap();
    assert_eq!(loaded.entry, Entry::Linux64 { entry: 16 * MIB });
    assert_eq!(loaded.get::<u64>(16 * MIB), 0x1111_1111_1111_1111);
    assert_eq!(loaded.get::<u8>(ZERO_PAGE + 0x211) & 2, 0);
}
