//! What the VM's controllers have: disks and drives. Images are opened once, and stay open over resets of the VM.
//!
//! ```text
//!  command line ──┐                      ┌─ SCSI controller, always there: LUNs come and go
//!  remote ────────┴─▶ Storage ── offer ──┤
//!                                        └─ IDE controllers: one for each boot disk
//! ```

use crate::cli::{Cli, DiskOption, OnNoSpace};
use crate::disks::{self, OpenDisk};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use storvsp::backend::FileDisk;
use storvsp::backend::raw::{RawDisk, RawOptions};
use storvsp::block::Disk;
use storvsp::controller::{Class, Config, Controller, LunError, NoSpace};
use storvsp::lun::Lun;
use storvsp::scsi::dvd;
use vmbus::bus::Bus;
use vmbusdef::Guid;

/// Which controller this is, the same in every VM and at every start: guests keep names by it.
const SCSI_INSTANCE: Guid = Guid::new(0x7a65_6d69, 0x6e00, 0x4000, 0x8000, 0x7363_7369_0000);

/// Highest LUN.
const LUN_MAX: u8 = 63;

/// IDE disks: two channels of two, as the machines had whose controllers these stand for.
const IDE_MAX: u16 = 4;

/// Of an IDE controller: bytes 4 and 5 are the target that its disk is.
const fn ide_instance(target: u16) -> Guid {
    Guid::new(0x7a65_6d69, target, 0x4000, 0x8000, 0x6964_6500_0000)
}

/// A VM's disks and drives.
#[derive(Default)]
pub struct Storage {
    state: Mutex<State>,
    no_space: OnNoSpace,
}

#[derive(Default)]
struct State {
    scsi: BTreeMap<u8, Unit>,
    ide: Vec<OpenDisk>,
    /// Of the VM that runs: others after every reset.
    controller: Weak<Controller>,
    ide_controllers: Vec<Weak<Controller>>,
}

/// What a LUN is.
enum Unit {
    Disk { path: PathBuf, disk: OpenDisk },
    Dvd { id: [u8; 16], medium: Option<Medium> },
}

struct Medium {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Unit {
    fn lun(&self) -> Lun {
        match self {
            Self::Disk { disk, .. } => disk.lun(),
            Self::Dvd { id, medium } => Lun::dvd(medium.as_ref().map(|m| Arc::clone(&m.disk)), *id),
        }
    }
}

impl Storage {
    /// Opens what the command line asks for.
    pub fn open(cli: &Cli) -> anyhow::Result<Self> {
        if cli.ide_disk.len() > usize::from(IDE_MAX) {
            bail!("a VM has at most {IDE_MAX} IDE disks");
        }
        let ide = cli.ide_disk.iter().map(disks::open).collect::<anyhow::Result<_>>()?;
        let state = State { ide, ..State::default() };
        let storage = Self { state: Mutex::new(state), no_space: cli.on_no_space };
        for option in &cli.disk {
            storage.attach(None, option)?;
        }
        for path in &cli.dvd {
            let path = Some(path.as_path()).filter(|path| !path.as_os_str().is_empty());
            storage.attach_dvd(None, path)?;
        }
        Ok(storage)
    }

    /// Gives a VM of `cpus` VPs, which has not started yet, its controllers.
    pub fn offer(&self, bus: &Bus, cpus: u32) -> anyhow::Result<()> {
        let mut state = self.lock();
        // What the guest of before has taken out of its drives stays out.
        state.note_ejected();
        let scsi = Controller::new(self.config(Class::Scsi, cpus));
        for (number, unit) in &state.scsi {
            scsi.attach(*number, unit.lun()).context("cannot attach the disks")?;
        }
        add(bus, &scsi, SCSI_INSTANCE)?;
        state.controller = Arc::downgrade(&scsi);
        let mut ide_controllers = Vec::new();
        for (disk, target) in state.ide.iter().zip(0..) {
            let controller = Controller::new(self.config(Class::Ide, 1));
            controller.attach(0, disk.lun()).context("cannot attach an IDE disk")?;
            add(bus, &controller, ide_instance(target))?;
            ide_controllers.push(Arc::downgrade(&controller));
        }
        state.ide_controllers = ide_controllers;
        Ok(())
    }

    fn config(&self, class: Class, cpus: u32) -> Config {
        let no_space = match self.no_space {
            OnNoSpace::Fail => NoSpace::Fail,
            OnNoSpace::Wait => NoSpace::Wait,
        };
        Config { no_space, ..Config::new(class, cpus) }
    }

    /// The SCSI controller of the VM that runs.
    pub fn controller(&self) -> Option<Arc<Controller>> {
        self.lock().controller.upgrade()
    }

    /// Adds a disk as LUN `number`, or as the lowest that is free; its number. A running guest finds it.
    pub fn attach(&self, number: Option<u8>, option: &DiskOption) -> anyhow::Result<u8> {
        let mut state = self.lock();
        let number = state.free(number)?;
        let disk = disks::open(option)?;
        state.add(number, Unit::Disk { path: option.path.clone(), disk })
    }

    /// The same with a DVD drive, empty or with a medium in it.
    pub fn attach_dvd(&self, number: Option<u8>, path: Option<&Path>) -> anyhow::Result<u8> {
        let mut state = self.lock();
        let number = state.free(number)?;
        let medium = path.map(open_medium).transpose()?;
        state.add(number, Unit::Dvd { id: dvd_id(number), medium })
    }

    /// Takes a disk or drive away. Its files are closed when this returns.
    pub fn detach(&self, number: u8) -> anyhow::Result<()> {
        let mut state = self.lock();
        if !state.scsi.contains_key(&number) {
            return Err(LunError::Absent(number).into());
        }
        if let Some(controller) = state.controller.upgrade() {
            controller.detach(number)?;
        }
        state.scsi.remove(&number);
        Ok(())
    }

    /// Puts a medium into a drive, or with `None` takes it out; by `force` even if the guest has locked it.
    pub fn change_medium(
        &self,
        number: u8,
        path: Option<&Path>,
        force: bool,
    ) -> anyhow::Result<()> {
        let mut state = self.lock();
        let new = path.map(open_medium).transpose()?;
        let controller = state.controller.upgrade();
        let medium = match state.scsi.get_mut(&number) {
            Some(Unit::Dvd { medium, .. }) => medium,
            Some(Unit::Disk { .. }) => return Err(LunError::NotRemovable(number).into()),
            None => return Err(LunError::Absent(number).into()),
        };
        if let Some(controller) = controller {
            let disk = new.as_ref().map(|new| Arc::clone(&new.disk));
            controller.change_medium(number, disk, force)?;
        }
        *medium = new;
        Ok(())
    }

    /// Commands that wait for space are tried again.
    pub fn resume(&self) {
        let state = self.lock();
        let ide = state.ide_controllers.iter().filter_map(Weak::upgrade);
        state
            .controller
            .upgrade()
            .into_iter()
            .chain(ide)
            .for_each(|controller| controller.resume());
    }

    /// A line for each LUN of the SCSI controller: number, `disk` or `dvd`, file if there is one.
    pub fn list(&self) -> Vec<String> {
        let mut state = self.lock();
        state.note_ejected();
        let line = |(number, unit): (&u8, &Unit)| match unit {
            Unit::Disk { path, .. } => format!("{number} disk {}", path.display()),
            Unit::Dvd { medium: Some(Medium { path, .. }), .. } => {
                format!("{number} dvd {}", path.display())
            }
            Unit::Dvd { medium: None, .. } => format!("{number} dvd"),
        };
        state.scsi.iter().map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number that was asked for, or the lowest that is free.
    fn free(&self, number: Option<u8>) -> anyhow::Result<u8> {
        match number {
            Some(number) if number > LUN_MAX => Err(LunError::NoSuchAddress(number).into()),
            Some(number) if self.scsi.contains_key(&number) => Err(LunError::Taken(number).into()),
            Some(number) => Ok(number),
            None => (0..=LUN_MAX)
                .find(|number| !self.scsi.contains_key(number))
                .context("all LUNs are taken"),
        }
    }

    fn add(&mut self, number: u8, unit: Unit) -> anyhow::Result<u8> {
        if let Some(controller) = self.controller.upgrade() {
            controller.attach(number, unit.lun())?;
        }
        self.scsi.insert(number, unit);
        Ok(number)
    }

    /// Forgets media that the guest has ejected.
    fn note_ejected(&mut self) {
        let Some(controller) = self.controller.upgrade() else { return };
        for (number, unit) in &mut self.scsi {
            if let Unit::Dvd { medium, .. } = unit
                && controller.has_medium(*number) == Ok(false)
            {
                *medium = None;
            }
        }
    }
}

fn add(bus: &Bus, controller: &Arc<Controller>, instance: Guid) -> anyhow::Result<()> {
    bus.add_device(controller.offer(instance), controller.device())
        .context("cannot offer a storage controller")?;
    Ok(())
}

fn open_medium(path: &Path) -> anyhow::Result<Medium> {
    let options = RawOptions { read_only: true, logical_block: dvd::SECTOR, direct: false };
    let disk = RawDisk::open(path, options)
        .with_context(|| format!("cannot use {} as a DVD", path.display()))?;
    Ok(Medium { path: path.to_owned(), disk: Arc::new(FileDisk::new(disk)) })
}

/// A drive is the same whatever is in it.
fn dvd_id(number: u8) -> [u8; 16] {
    disks::id_of(Path::new(&format!("dvd {number}")))
}

#[cfg(test)]
mod tests;
