//! What the VM's controllers have: disks and drives. Images are opened once, and stay open over resets of the VM.
//!
//! ```text
//!  command line ──┐                      ┌─ SCSI controllers: one is always there, others and all LUNs come and go
//!  remote ────────┴─▶ Storage ── offer ──┤
//!                                        └─ IDE controllers: one for each boot disk
//! ```
//!
//! What comes while a VM runs stays over its resets.

mod place;

use crate::boot::BootDisk;
use crate::cli::{Cli, DiskOption, OnNoSpace};
use crate::disks::{self, OpenDisk};
use anyhow::{Context, bail};
use place::LUN_MAX;
pub use place::{Address, Slot};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use storvsp::backend::FileDisk;
use storvsp::backend::raw::{RawDisk, RawOptions};
use storvsp::block::Disk;
use storvsp::controller::{Class, Config, Controller, LunError, NoSpace};
use storvsp::lun::Lun;
use storvsp::scsi::dvd;
use vmbus::bus::Bus;
use vmbus::server::DeviceId;
use vmbusdef::Guid;

/// SCSI controllers of a VM, as many as Hyper-V gives it.
const SCSI_MAX: u8 = 4;
/// A guest that has been silent for so long has let go of the disks on a controller that is to go.
const SILENCE: Duration = Duration::from_secs(2);
/// Then it goes anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which controller this is, the same in every VM and at every start: guests keep names by it.
const fn scsi_instance(number: u8) -> Guid {
    Guid::new(0x7a65_6d69, 0x6e00 + number as u16, 0x4000, 0x8000, 0x7363_7369_0000)
}

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

struct State {
    scsi: BTreeMap<u8, Scsi>,
    ide: Vec<OpenDisk>,
    /// Of the VM that runs: others after every reset.
    ide_controllers: Vec<Weak<Controller>>,
    running: Option<Running>,
}

impl Default for State {
    fn default() -> Self {
        let scsi = BTreeMap::from([(0, Scsi::default())]);
        Self { scsi, ide: Vec::new(), ide_controllers: Vec::new(), running: None }
    }
}

/// The VM that runs.
struct Running {
    bus: Weak<Bus>,
    cpus: u32,
}

/// A SCSI controller.
#[derive(Default)]
struct Scsi {
    units: BTreeMap<u8, Unit>,
    /// Of the VM that runs.
    controller: Weak<Controller>,
    device: Option<DeviceId>,
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
            storage.attach(Slot::default(), option)?;
        }
        for path in &cli.dvd {
            let path = Some(path.as_path()).filter(|path| !path.as_os_str().is_empty());
            storage.attach_dvd(Slot::default(), path)?;
        }
        Ok(storage)
    }

    /// The disk that a VM boots from which was given no kernel: the first of the IDE controllers, else of the SCSI
    /// controllers.
    pub fn boot_disk(&self) -> Option<BootDisk> {
        let state = self.lock();
        let scsi = state.scsi.values().flat_map(|scsi| scsi.units.values());
        let scsi = scsi.filter_map(|unit| match unit {
            Unit::Disk { disk, .. } => Some(disk),
            Unit::Dvd { .. } => None,
        });
        state.ide.iter().chain(scsi).next().map(OpenDisk::to_boot_from)
    }

    /// Gives a VM of `cpus` VPs, which has not started yet, its controllers.
    pub fn offer(&self, bus: &Arc<Bus>, cpus: u32) -> anyhow::Result<()> {
        let mut state = self.lock();
        for (number, scsi) in &mut state.scsi {
            // What the guest of before has taken out of its drives stays out.
            scsi.note_ejected();
            scsi.offer(bus, *number, self.config(Class::Scsi, cpus))?;
        }
        let mut ide_controllers = Vec::new();
        for (disk, target) in state.ide.iter().zip(0..) {
            let controller = Controller::new(self.config(Class::Ide, 1));
            controller.attach(0, disk.lun()).context("cannot attach an IDE disk")?;
            add(bus, &controller, ide_instance(target))?;
            ide_controllers.push(Arc::downgrade(&controller));
        }
        state.ide_controllers = ide_controllers;
        state.running = Some(Running { bus: Arc::downgrade(bus), cpus });
        Ok(())
    }

    fn config(&self, class: Class, cpus: u32) -> Config {
        let no_space = match self.no_space {
            OnNoSpace::Fail => NoSpace::Fail,
            OnNoSpace::Wait => NoSpace::Wait,
        };
        Config { no_space, ..Config::new(class, cpus) }
    }

    /// The first SCSI controller of the VM that runs.
    pub fn controller(&self) -> Option<Arc<Controller>> {
        self.lock().scsi.get(&0)?.controller.upgrade()
    }

    /// Adds a SCSI controller without disks; its number. A running guest finds it.
    pub fn attach_controller(&self) -> anyhow::Result<u8> {
        let mut state = self.lock();
        let number = (0..SCSI_MAX).find(|number| !state.scsi.contains_key(number));
        let number = number.with_context(|| format!("a VM has at most {SCSI_MAX} controllers"))?;
        let mut scsi = Scsi::default();
        if let Some(Running { bus, cpus }) = &state.running
            && let Some(bus) = bus.upgrade()
        {
            scsi.offer(&bus, number, self.config(Class::Scsi, *cpus))?;
        }
        state.scsi.insert(number, scsi);
        Ok(number)
    }

    /// Takes a SCSI controller away with all that is on it. Its files are closed when this returns. The guest has some time
    /// to let go of its disks before.
    pub fn detach_controller(&self, number: u8) -> anyhow::Result<()> {
        if number == 0 {
            bail!("controller 0 is always there");
        }
        let mut state = self.lock();
        let scsi = state.scsi.remove(&number).with_context(|| no_controller(number))?;
        let bus = state.running.as_ref().and_then(|running| running.bus.upgrade());
        if let (Some(bus), Some(device)) = (bus, scsi.device) {
            if let Some(controller) = scsi.controller.upgrade() {
                controller.retire(SILENCE, PATIENCE);
            }
            bus.remove_device(device);
        }
        Ok(())
    }

    /// Adds a disk; its address. A running guest finds it.
    pub fn attach(&self, slot: Slot, option: &DiskOption) -> anyhow::Result<Address> {
        let mut state = self.lock();
        let (scsi, address) = state.free(slot)?;
        let disk = disks::open(option)?;
        scsi.add(address.lun, Unit::Disk { path: option.path.clone(), disk })?;
        Ok(address)
    }

    /// The same with a DVD drive, empty or with a medium in it.
    pub fn attach_dvd(&self, slot: Slot, path: Option<&Path>) -> anyhow::Result<Address> {
        let mut state = self.lock();
        let (scsi, address) = state.free(slot)?;
        let medium = path.map(open_medium).transpose()?;
        scsi.add(address.lun, Unit::Dvd { id: dvd_id(address), medium })?;
        Ok(address)
    }

    /// Takes a disk or drive away. Its files are closed when this returns.
    pub fn detach(&self, Address { controller, lun }: Address) -> anyhow::Result<()> {
        let mut state = self.lock();
        let scsi = state.scsi(controller)?;
        if !scsi.units.contains_key(&lun) {
            return Err(LunError::Absent(lun).into());
        }
        if let Some(controller) = scsi.controller.upgrade() {
            controller.detach(lun)?;
        }
        scsi.units.remove(&lun);
        Ok(())
    }

    /// Puts a medium into a drive, or with `None` takes it out; by `force` even if the guest has locked it.
    pub fn change_medium(
        &self,
        Address { controller, lun }: Address,
        path: Option<&Path>,
        force: bool,
    ) -> anyhow::Result<()> {
        let mut state = self.lock();
        let new = path.map(open_medium).transpose()?;
        let scsi = state.scsi(controller)?;
        let medium = match scsi.units.get_mut(&lun) {
            Some(Unit::Dvd { medium, .. }) => medium,
            Some(Unit::Disk { .. }) => return Err(LunError::NotRemovable(lun).into()),
            None => return Err(LunError::Absent(lun).into()),
        };
        if let Some(controller) = scsi.controller.upgrade() {
            let disk = new.as_ref().map(|new| Arc::clone(&new.disk));
            controller.change_medium(lun, disk, force)?;
        }
        *medium = new;
        Ok(())
    }

    /// Commands that wait for space are tried again.
    pub fn resume(&self) {
        let state = self.lock();
        let scsi = state.scsi.values().map(|scsi| &scsi.controller);
        let all = scsi.chain(&state.ide_controllers);
        all.filter_map(Weak::upgrade).for_each(|controller| controller.resume());
    }

    /// A line for each SCSI controller: its number and how many LUNs it has.
    pub fn controllers(&self) -> Vec<String> {
        let state = self.lock();
        let line = |(number, scsi): (&u8, &Scsi)| format!("{number} {}", scsi.units.len());
        state.scsi.iter().map(line).collect()
    }

    /// A line for each LUN: address, `disk` or `dvd`, file if there is one.
    pub fn list(&self) -> Vec<String> {
        let mut state = self.lock();
        let mut lines = Vec::new();
        for (controller, scsi) in &mut state.scsi {
            scsi.note_ejected();
            for (lun, unit) in &scsi.units {
                let address = Address { controller: *controller, lun: *lun };
                lines.push(match unit {
                    Unit::Disk { path, .. } => format!("{address} disk {}", path.display()),
                    Unit::Dvd { medium: Some(Medium { path, .. }), .. } => {
                        format!("{address} dvd {}", path.display())
                    }
                    Unit::Dvd { medium: None, .. } => format!("{address} dvd"),
                });
            }
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn scsi(&mut self, number: u8) -> anyhow::Result<&mut Scsi> {
        self.scsi.get_mut(&number).with_context(|| no_controller(number))
    }

    /// The place that was asked for, or the lowest LUN that is free.
    fn free(&mut self, slot: Slot) -> anyhow::Result<(&mut Scsi, Address)> {
        let scsi = self.scsi(slot.controller)?;
        let lun = match slot.lun {
            Some(lun) if lun > LUN_MAX => return Err(LunError::NoSuchAddress(lun).into()),
            Some(lun) if scsi.units.contains_key(&lun) => return Err(LunError::Taken(lun).into()),
            Some(lun) => lun,
            None => (0..=LUN_MAX)
                .find(|lun| !scsi.units.contains_key(lun))
                .context("all LUNs are taken")?,
        };
        Ok((scsi, Address { controller: slot.controller, lun }))
    }
}

impl Scsi {
    /// Gives it to a VM.
    fn offer(&mut self, bus: &Bus, number: u8, config: Config) -> anyhow::Result<()> {
        let controller = Controller::new(config);
        for (lun, unit) in &self.units {
            controller.attach(*lun, unit.lun()).context("cannot attach the disks")?;
        }
        self.device = Some(add(bus, &controller, scsi_instance(number))?);
        self.controller = Arc::downgrade(&controller);
        Ok(())
    }

    fn add(&mut self, lun: u8, unit: Unit) -> anyhow::Result<()> {
        if let Some(controller) = self.controller.upgrade() {
            controller.attach(lun, unit.lun())?;
        }
        self.units.insert(lun, unit);
        Ok(())
    }

    /// Forgets media that the guest has ejected.
    fn note_ejected(&mut self) {
        let Some(controller) = self.controller.upgrade() else { return };
        for (lun, unit) in &mut self.units {
            if let Unit::Dvd { medium, .. } = unit
                && controller.has_medium(*lun) == Ok(false)
            {
                *medium = None;
            }
        }
    }
}

fn no_controller(number: u8) -> String {
    format!("there is no controller {number}")
}

fn add(bus: &Bus, controller: &Arc<Controller>, instance: Guid) -> anyhow::Result<DeviceId> {
    bus.add_device(controller.offer(instance), controller.device())
        .context("cannot offer a storage controller")
}

fn open_medium(path: &Path) -> anyhow::Result<Medium> {
    let options = RawOptions { read_only: true, logical_block: dvd::SECTOR, direct: false };
    let disk = RawDisk::open(path, options)
        .with_context(|| format!("cannot use {} as a DVD", path.display()))?;
    Ok(Medium { path: path.to_owned(), disk: Arc::new(FileDisk::new(disk)) })
}

/// A drive is the same whatever is in it.
fn dvd_id(address: Address) -> [u8; 16] {
    disks::id_of(Path::new(&format!("dvd {address}")))
}

#[cfg(test)]
mod tests;
