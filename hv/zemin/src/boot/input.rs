//! What the boot loader left: memory map, modules, command lines.

use crate::log::{Level, log};
use crate::sync::{Guard, SpinLock};
use crate::{console, crash, mem::phys};
use boot_plan::command_line::{Console, LogLevel, Options, parse};
use boot_plan::{BootInfo, Kind, OutOfRange, PhysRange, PhysRead};
use core::ops::Deref;

static INFO: SpinLock<BootInfo> = SpinLock::new(BootInfo::empty());

/// The loader's information and the options in it.
pub struct Input {
    info: Guard<'static, BootInfo>,
    /// The hypervisor's options.
    pub options: Options,
}

impl Deref for Input {
    type Target = BootInfo;
    fn deref(&self) -> &BootInfo {
        &self.info
    }
}

impl Input {
    /// RAM of the machine in bytes.
    pub fn ram_total(&self) -> u64 {
        self.map.total(Kind::Ram)
    }

    /// Refuses files of which the loader put a part where no RAM is: what is there is not what the user gave.
    pub fn check_files(&self) {
        for (range, what) in self.files().into_iter().zip(["parent kernel", "initrd"]) {
            if !self.map.is_ram(range) {
                crash::refuse(format_args!(
                    "the {what} does not fit into memory: the loader put it at {range}, which is not all RAM"
                ));
            }
        }
    }

    /// Where the loader's files lie until they are moved.
    pub fn files(&self) -> [PhysRange; FILES] {
        core::array::from_fn(|index| {
            self.modules.get(index).map_or(PhysRange::EMPTY, |module| module.range)
        })
    }
}

/// Files that matter: kernel and initrd.
const FILES: usize = 2;

/// Physical memory as the planning code reads it.
pub struct Memory;

impl PhysRead for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutOfRange> {
        if phys::read(address, buffer) { Ok(()) } else { Err(OutOfRange) }
    }
}

/// Reads everything and sets up the console that the options name.
pub fn load(magic: u32, address: u64) -> Input {
    let mut info = INFO.lock();
    let loaded = info.load(magic, address, &Memory);
    let options = parse(info.command.arguments()).options;
    match options.console {
        Console::None => console::init(0, 0),
        Console::Serial { port, baud } => console::init(port, baud),
    }
    crate::log::set_level(level(options.loglevel));
    crash::configure(options.noreboot, options.exit_port.unwrap_or(0));
    if let Err(error) = loaded {
        crash::refuse(format_args!("boot information: {error}"));
    }
    Input { info, options }
}

/// Logs what the options mean, and every mistake in them. None of them stops the boot: what was right holds.
pub fn report_options(input: &Input) {
    let line = input.command.arguments();
    log!(Level::Info, "command line: \"{}\"", line.escape_ascii());
    let parsed = parse(line);
    for error in parsed.errors.iter() {
        log!(Level::Error, "command line: {error}");
    }
    if parsed.more_errors != 0 {
        log!(Level::Error, "command line: {} more mistakes", parsed.more_errors);
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}
