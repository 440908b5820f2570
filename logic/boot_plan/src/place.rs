//! Where kernel, initrd and hand-over pages go.
//!
//! The loader puts the files wherever it likes, so a file may lie where something else has to go. Two rules make every
//! such case safe: a copy may overlap its own source (it is a `memmove`), and a copy never overwrites the source of a
//! later one. The second decides the order: initrd first, or kernel first, whichever finds room.

use crate::bzimage::Kernel;
use crate::handover::{Handover, IDENTITY_MAPPED};
use crate::load_plan::{Copy, LoadError, LoadRequest};
use crate::memory_map::{End, Search};
use crate::range::{PAGE, PhysRange};

/// Below is the firmware's and the parent's: BIOS data, EBDA, trampolines.
const LOW_MEMORY: u64 = 1 << 20;

/// Where everything goes.
pub(crate) struct Layout {
    /// From the load address on, all that the kernel needs.
    pub kernel: PhysRange,
    pub initrd: Option<PhysRange>,
    pub handover: Handover,
    /// Copies in their order.
    pub copies: [Option<Copy>; 2],
}

/// Where an initrd goes.
#[derive(Clone, Copy)]
enum Place {
    /// It stays where it is.
    Stay(PhysRange),
    /// It is moved, before the kernel is.
    First(PhysRange),
    /// It is moved, after the kernel is.
    Second(PhysRange),
}

pub(crate) fn place(request: &LoadRequest<'_>, kernel: &Kernel) -> Result<Layout, LoadError> {
    let mut failure = None;
    for attempt in 0..3 {
        let Some(window) = kernel_window(request, kernel, attempt) else { continue };
        match place_rest(request, kernel, window) {
            Ok(layout) => return Ok(layout),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| no_room_for_kernel(request, kernel)))
}

/// The kernel's place: the one it prefers, else one clear of the files, else any.
fn kernel_window(request: &LoadRequest<'_>, kernel: &Kernel, attempt: u32) -> Option<PhysRange> {
    let preferred = kernel.header.pref_address.get();
    if attempt == 0 || !kernel.is_relocatable() {
        let window = PhysRange::at(preferred, kernel.memory);
        let fits =
            preferred >= LOW_MEMORY && window.end <= IDENTITY_MAPPED && request.map.is_ram(window);
        return (attempt == 0 && fits).then_some(window);
    }
    let files = request.files();
    request.map.find_free(&Search {
        len: kernel.memory,
        align: kernel.header.kernel_alignment.get().into(),
        within: kernel_limits(kernel),
        avoid: if attempt == 1 { &files } else { &[] },
        from: End::Bottom,
    })
}

/// Below its preferred address a kernel would move itself there.
fn kernel_limits(kernel: &Kernel) -> PhysRange {
    PhysRange::new(kernel.header.pref_address.get().max(LOW_MEMORY), IDENTITY_MAPPED)
}

fn no_room_for_kernel(request: &LoadRequest<'_>, kernel: &Kernel) -> LoadError {
    let available = request.map.largest_free(kernel_limits(kernel), &[]);
    LoadError::NoRoomForKernel {
        need: kernel.memory,
        available,
        relocatable: kernel.is_relocatable(),
    }
}

fn place_rest(
    request: &LoadRequest<'_>,
    kernel: &Kernel,
    window: PhysRange,
) -> Result<Layout, LoadError> {
    let [kernel_file, initrd_file] = request.files();
    let handover = handover(request, &[window, kernel_file, initrd_file])?;
    let load = Copy { from: kernel.payload.start, to: window.start, len: kernel.payload.len() };
    let mut layout = Layout { kernel: window, initrd: None, handover, copies: [Some(load), None] };
    let Some(from) = request.initrd.filter(|file| !file.is_empty()) else { return Ok(layout) };
    let place = initrd(request, kernel, window, handover.range)?;
    let (Place::Stay(to) | Place::First(to) | Place::Second(to)) = place;
    let shift = Copy { from: from.start, to: to.start, len: from.len() };
    layout.initrd = Some(PhysRange::at(to.start, from.len()));
    layout.copies = match place {
        Place::Stay(_) => [Some(load), None],
        Place::First(_) => [Some(shift), Some(load)],
        Place::Second(_) => [Some(load), Some(shift)],
    };
    Ok(layout)
}

/// The hand-over pages keep off the files as well, so that it does not matter when they are written.
fn handover(request: &LoadRequest<'_>, avoid: &[PhysRange]) -> Result<Handover, LoadError> {
    let len = Handover::size(request.command_line.len() as u64);
    let within = PhysRange::new(LOW_MEMORY, IDENTITY_MAPPED);
    let found =
        request.map.find_free(&Search { len, align: PAGE, within, avoid, from: End::Bottom });
    let range = found.ok_or(LoadError::NoRoomForHandover { need: len })?;
    Ok(Handover { range })
}

/// As it is if it may stay; else as high as the kernel allows, below 4 GiB first: there is nothing it cannot reach.
fn initrd(
    request: &LoadRequest<'_>,
    kernel: &Kernel,
    window: PhysRange,
    handover: PhysRange,
) -> Result<Place, LoadError> {
    let [kernel_file, file] = request.files();
    let high = kernel.loads_above_4g();
    let limit =
        if high { IDENTITY_MAPPED } else { u64::from(kernel.header.initrd_addr_max.get()) + 1 };
    let allowed = PhysRange::new(LOW_MEMORY, if high { u64::MAX } else { limit });
    let pages = file.page_outward();
    if file.start == pages.start
        && allowed.contains(pages)
        && !pages.overlaps(window)
        && request.map.is_ram(pages)
    {
        return Ok(Place::Stay(pages));
    }
    let need = PhysRange::at(0, file.len()).page_outward().len();
    let find = |within, avoid: &[PhysRange]| {
        request.map.find_free(&Search { len: need, align: PAGE, within, avoid, from: End::Top })
    };
    // Once the kernel is copied its file may be overwritten; but it can go first only if it spares the initrd.
    let first = [window, handover, kernel_file];
    let second = if window.overlaps(file) { first } else { [window, handover, PhysRange::EMPTY] };
    for within in [PhysRange::new(LOW_MEMORY, limit), allowed] {
        if let Some(to) = find(within, &first) {
            return Ok(Place::First(to));
        }
        if let Some(to) = find(within, &second) {
            return Ok(Place::Second(to));
        }
    }
    let available = request.map.largest_free(allowed, &second);
    Err(LoadError::InitrdTooLarge { need, available })
}
