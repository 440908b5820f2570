//! A debugger's connection to the emulator (GDB's remote serial protocol), to put a machine into states that no test can
//! bring about from inside: damaged firmware tables, a hypervisor with a damaged instruction.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Machine, Running};
use serde_json::json;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

/// A connection. While it is used the machine stands still, but between [`Gdb::resume`] and the next stop.
pub struct Gdb {
    stream: UnixStream,
    _directory: TempDir,
}

/// A machine and its debugger.
pub struct Debugged {
    /// The machine.
    pub machine: Running,
    /// The debugger.
    pub gdb: Gdb,
}

impl Debugged {
    /// Powers `machine` on with a debugger that stopped it before the first instruction.
    pub fn boot(machine: Machine) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("gdb");
        let listener = UnixListener::bind(&path)?;
        let chardev = format!("socket,id=gdb,path={}", path.display());
        let machine = machine.paused(true);
        let machine = machine.extra(["-chardev", &chardev, "-gdb", "chardev:gdb"]).boot()?;
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut gdb = Gdb { stream, _directory: directory };
        gdb.ask("qSupported")?;
        gdb.ask("?")?;
        let physical = gdb.ask("Qqemu.PhyMemMode:1")?;
        ensure!(physical == "OK", "no access to physical memory: {physical}");
        Ok(Self { machine, gdb })
    }

    /// Powers `machine` on and stops it at the hypervisor's first instruction: the firmware is done, paging is off.
    pub fn boot_to_entry(machine: Machine, entry: u64) -> Result<Self> {
        let mut debugged = Self::boot(machine)?;
        debugged.gdb.run_to(entry)?;
        Ok(debugged)
    }

    /// Stops the machine wherever it is.
    pub fn stop(&mut self) -> Result<()> {
        self.gdb.stream.write_all(&[3])?;
        let answer = self.gdb.receive()?;
        ensure!(answer.starts_with('T'), "the machine did not stop: {answer}");
        Ok(())
    }

    /// Lets the machine run for good.
    pub fn release(mut self) -> Result<Running> {
        self.gdb.send("D")?;
        // It runs already, and may have ended before anything answers; should it stand still after all, this is the remedy.
        let _ = self.gdb.receive();
        let _ = self.machine.qmp().execute("cont", json!({}));
        Ok(self.machine)
    }
}

impl Gdb {
    /// Runs until the instruction at linear address `address` is next.
    pub fn run_to(&mut self, address: u64) -> Result<()> {
        ensure!(self.ask(&format!("Z1,{address:x},1"))? == "OK", "no breakpoint at {address:#x}");
        self.send("c")?;
        let stop = self.receive()?;
        ensure!(stop.starts_with("T05"), "stopped for another reason: {stop}");
        ensure!(self.ask(&format!("z1,{address:x},1"))? == "OK");
        Ok(())
    }

    /// Writes the machine's memory at a physical address.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask(&format!("M{address:x},{:x}:{digits}", bytes.len()))?;
        ensure!(answer == "OK", "writing {address:#x}: {answer}");
        Ok(())
    }

    /// Sets the stack pointer of the processor that stopped.
    pub fn set_stack(&mut self, address: u64) -> Result<()> {
        /// RSP's number in GDB's description of the processor.
        const RSP: u8 = 7;
        let digits: String =
            address.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask(&format!("P{RSP:x}={digits}"))?;
        ensure!(answer == "OK", "setting the stack pointer: {answer}");
        Ok(())
    }

    /// Reads the machine's memory at a physical address.
    pub fn read(&mut self, address: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let part = (count - bytes.len()).min(1024);
            let answer = self.ask(&format!("m{:x},{part:x}", address + bytes.len() as u64))?;
            let digits = answer.as_bytes().chunks(2);
            let part = digits.map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(anyhow::Error::from)
            });
            let part: Vec<u8> = part
                .collect::<Result<_>>()
                .with_context(|| format!("reading {address:#x}: {answer}"))?;
            bytes.extend(part);
        }
        Ok(bytes)
    }

    /// Lets it run; it is stopped with [`Debugged::stop`].
    pub fn resume(&mut self) -> Result<()> {
        self.send("c")
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        self.receive()
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes())?;
        Ok(())
    }

    /// The next packet, acknowledged. Acknowledgements of ours are skipped.
    fn receive(&mut self) -> Result<String> {
        let mut packet = Vec::new();
        while self.byte()? != b'$' {}
        loop {
            match self.byte()? {
                b'#' => break,
                byte => packet.push(byte),
            }
        }
        let (_, _) = (self.byte()?, self.byte()?);
        self.stream.write_all(b"+")?;
        match String::from_utf8(packet) {
            Ok(text) => Ok(text),
            Err(error) => bail!("a packet is no text: {error}"),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).context("the debugger's connection")?;
        Ok(byte[0])
    }
}
