//! Whole disks. The file systems under `data/` were made with
//! `mke2fs -t ext4 -b 1024 -O ^has_journal -U 0a5e3d1c-1111-4222-8333-444455556666 -d DIRECTORY FILE 256k` and packed by gzip.

use boot_disk::{BootFiles, Error, ReadAt, find};
use flate2::read::GzDecoder;
use gptman::{GPT, GPTPartitionEntry};
use proptest::prelude::*;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

const UUID: &str = "0a5e3d1c-1111-4222-8333-444455556666";

struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn sector(&self) -> u32 {
        512
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut image).unwrap();
    image
}

macro_rules! image {
    ($name:literal) => {
        unpacked(include_bytes!(concat!("data/", $name, ".ext4.gz")))
    };
}

fn boot(image: Vec<u8>) -> Result<BootFiles, Error> {
    let disk: Arc<dyn ReadAt> = Arc::new(Memory(image));
    find(&disk)
}

/// A disk with a partition table, and each of `systems` in a partition.
fn partitioned(systems: &[Vec<u8>]) -> Vec<u8> {
    const SECTOR: u64 = 512;
    let mut disk = Cursor::new(vec![0; 8 << 20]);
    let mut table = GPT::new_from(&mut disk, SECTOR, [7; 16]).unwrap();
    let mut start = 2048;
    for (number, system) in (1..).zip(systems) {
        let sectors = system.len() as u64 / SECTOR;
        table[number] = GPTPartitionEntry {
            partition_type_guid: [1; 16],
            unique_partition_guid: [number as u8; 16],
            starting_lba: start,
            ending_lba: start + sectors - 1,
            attribute_bits: 0,
            partition_name: "".into(),
        };
        let from = (start * SECTOR) as usize;
        disk.get_mut()[from..from + system.len()].copy_from_slice(system);
        start += sectors.next_multiple_of(2048);
    }
    GPT::write_protective_mbr_into(&mut disk, SECTOR).unwrap();
    table.write_into(&mut disk).unwrap();
    disk.into_inner()
}

#[test]
fn links_say_which_kernel_it_is() {
    let found = boot(image!("links")).unwrap();
    assert_eq!(found.kernel.bytes, b"old\n");
    assert_eq!(found.kernel.path, "/boot/vmlinuz-6.9.1");
    assert_eq!(found.initrd.unwrap().bytes, b"initrd\n");
    assert_eq!(found.root_uuid.as_deref(), Some(UUID));
}

#[test]
fn without_links_it_is_the_newest_with_its_own_initrd() {
    let found = boot(image!("newest")).unwrap();
    assert_eq!(found.kernel.bytes, b"kernel 6.12.10\n");
    assert_eq!(found.initrd.unwrap().bytes, b"initrd 6.12.10\n");
}

#[test]
fn a_file_system_for_boot_alone_is_not_the_root() {
    let found = boot(image!("boot_only")).unwrap();
    assert_eq!((found.kernel.bytes.as_slice(), found.root_uuid), (b"kernel\n".as_slice(), None));
    assert_eq!(found.initrd.unwrap().path, "/initramfs-7.3.img");
}

#[test]
fn partitions_are_looked_at_in_order() {
    let firmware = vec![0xEB; 64 << 10];
    let disk = partitioned(&[firmware, image!("nothing"), image!("newest"), image!("links")]);
    assert_eq!(boot(disk).unwrap().kernel.bytes, b"kernel 6.12.10\n");
}

#[test]
fn what_is_missing_is_said() {
    assert_eq!(boot(image!("nothing")), Err(Error::NoKernel));
    let error = boot(vec![0; 1 << 20]).unwrap_err();
    assert!(matches!(&error, Error::NoFileSystem(why) if why.contains("the disk")), "{error}");
    let error = boot(partitioned(&[vec![0; 64 << 10]])).unwrap_err();
    assert!(matches!(&error, Error::NoFileSystem(why) if why.contains("partition 1")), "{error}");
    assert!(matches!(boot(Vec::new()), Err(Error::NoFileSystem(_))));
}

#[test]
fn a_table_of_billions_of_entries_is_not_believed() {
    for (entries, size) in [(u32::MAX, 128), (128, u32::MAX), (1 << 25, 1 << 7)] {
        let mut disk = Cursor::new(partitioned(&[image!("links")]));
        let mut table = GPT::read_from(&mut disk, 512).unwrap();
        table.header.number_of_partition_entries = entries;
        table.header.size_of_partition_entry = size;
        // By hand: the library would compute the sum of all entries.
        table.header.crc32_checksum = table.header.generate_crc32_checksum();
        let header = {
            let mut bytes = disk.get_ref()[512..1024].to_vec();
            bytes[80..84].copy_from_slice(&entries.to_le_bytes());
            bytes[84..88].copy_from_slice(&size.to_le_bytes());
            bytes[16..20].copy_from_slice(&table.header.crc32_checksum.to_le_bytes());
            bytes
        };
        let image = disk.get_mut();
        image[512..1024].copy_from_slice(&header);
        let end = image.len();
        image[end - 512..].copy_from_slice(&header);
        assert!(matches!(boot(disk.into_inner()), Err(Error::NoFileSystem(_))), "{entries} {size}");
    }
}

proptest! {
    /// Whatever the guest has written: an end without a panic.
    #[test]
    fn damaged_disks_end_in_files_or_errors(
        damage in prop::collection::vec((0_usize..1 << 18, any::<u8>()), 1..64),
        parted in any::<bool>(),
    ) {
        let mut system = image!("newest");
        for (at, byte) in damage {
            // Most of what matters is at the beginning.
            let at = if at & 1 == 0 { at % (16 << 10) } else { at };
            if let Some(place) = system.get_mut(at) {
                *place = byte;
            }
        }
        let disk = if parted { partitioned(&[system]) } else { system };
        let _ = boot(disk);
    }
}
