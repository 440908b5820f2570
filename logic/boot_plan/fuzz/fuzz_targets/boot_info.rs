//! What a loader leaves, in both Multiboot versions: mostly well-formed, with damage.
#![no_main]

use boot_plan::{BootInfo, Kind, OutOfRange, PhysRead};
use bootdef::{multiboot1, multiboot2};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const INFO: u64 = 0x100;
const SIZE: usize = 0x2_0000;

struct Ram(Vec<u8>);

impl PhysRead for Ram {
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(phys).map_err(|_| OutOfRange)?;
        let end = start.checked_add(buf.len()).ok_or(OutOfRange)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or(OutOfRange)?);
        Ok(())
    }
}

impl Ram {
    /// Writes as much of `bytes` as fits and says where it ends.
    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let end = at.saturating_add(bytes.len()).min(SIZE);
        let at = at.min(end);
        self.0[at..end].copy_from_slice(&bytes[..end - at]);
        end
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    second: bool,
    regions: Vec<(u64, u64, u8)>,
    modules: Vec<(u32, u32, Vec<u8>)>,
    line: Vec<u8>,
    name: Vec<u8>,
    /// Other tags of Multiboot 2, and flags of Multiboot 1.
    tags: Vec<(u8, Vec<u8>)>,
    flags: Option<u32>,
    /// Bytes changed at the end.
    damage: Vec<(u16, u8)>,
}

impl Input {
    fn second(&self, ram: &mut Ram) {
        let start = INFO as usize;
        let mut at = start + 8;
        let mut tag = |kind: u32, body: &[u8]| {
            let next =
                ram.put(at, &[kind.to_le_bytes(), (body.len() as u32 + 8).to_le_bytes()].concat());
            at = ram.put(next, body).next_multiple_of(8);
        };
        tag(multiboot2::tag::COMMAND_LINE, &[&self.line[..], b"\0"].concat());
        tag(multiboot2::tag::LOADER_NAME, &[&self.name[..], b"\0"].concat());
        let mut map = vec![24, 0, 0, 0, 0, 0, 0, 0];
        for (base, length, kind) in &self.regions {
            map.extend(
                [base.to_le_bytes(), length.to_le_bytes(), u64::from(*kind).to_le_bytes()].concat(),
            );
        }
        tag(multiboot2::tag::MMAP, &map);
        for (start, end, line) in &self.modules {
            tag(
                multiboot2::tag::MODULE,
                &[&start.to_le_bytes(), &end.to_le_bytes(), &line[..], b"\0"].concat(),
            );
        }
        for (kind, body) in &self.tags {
            tag((kind % 24).into(), body);
        }
        tag(multiboot2::tag::END, &[]);
        let len = (at - start) as u32;
        ram.put(start, &len.to_le_bytes());
    }

    fn first(&self, ram: &mut Ram) {
        let mut at = 0x1000;
        let mut put = |bytes: &[u8]| {
            let start = at;
            at = ram.put(at, bytes);
            start as u32
        };
        let line = put(&[&self.line[..], b"\0"].concat());
        let name = put(&[&self.name[..], b"\0"].concat());
        let mut map = Vec::new();
        for (base, length, kind) in &self.regions {
            map.extend(
                [&20_u32.to_le_bytes()[..], &base.to_le_bytes(), &length.to_le_bytes()].concat(),
            );
            map.extend(u32::from(*kind).to_le_bytes());
        }
        let map_at = put(&map);
        let mut modules = Vec::new();
        for (start, end, line) in &self.modules {
            let string = put(&[&line[..], b"\0"].concat());
            modules.extend([*start, *end, string, 0].iter().flat_map(|word| word.to_le_bytes()));
        }
        let modules_at = put(&modules);
        let flags = self.flags.unwrap_or(0x124D);
        let words = [
            flags,
            0,
            0,
            0,
            line,
            self.modules.len() as u32,
            modules_at,
            0,
            0,
            0,
            0,
            map.len() as u32,
            map_at,
        ];
        let info: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        ram.put(INFO as usize, &info);
        ram.put(INFO as usize + 64, &name.to_le_bytes());
    }
}

fuzz_target!(|input: Input| {
    let mut ram = Ram(vec![0; SIZE]);
    let magic = if input.second {
        input.second(&mut ram);
        multiboot2::LOADER_MAGIC
    } else {
        input.first(&mut ram);
        multiboot1::LOADER_MAGIC
    };
    for (at, byte) in &input.damage {
        ram.0[usize::from(*at)] = *byte;
    }
    let mut info = BootInfo::empty();
    match info.load(magic, INFO, &ram) {
        Ok(()) => assert!(info.map.total(Kind::Ram) != 0),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
    for pair in info.map.regions().windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start);
    }
    for module in &info.modules {
        assert!(!module.range.is_empty());
        assert!(module.command.arguments().len() + module.command.file().len() <= 2047);
    }
});
