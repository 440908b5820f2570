//! Time: how fast the time-stamp counter and the APIC timer tick, and reference time made from the former.
#![expect(unsafe_code, reason = "reads the timer port for calibration")]

use crate::sync::Once;
use arch_x86::apic::LocalApic;
use arch_x86::{cpu, port};
use synic::reftime::RefTime;
use synic::scale::{NsClock, ratio, scaled};

/// Frequencies found at boot.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Time-stamp counter ticks per second.
    pub tsc_hz: u64,
    /// Input clock of the physical APIC timer, per second.
    pub apic_hz: u64,
    /// Reference time: 100 ns units since the hypervisor started.
    pub reference: RefTime,
    /// APIC timer ticks per time-stamp counter tick, times 2^32.
    apic_scale: u64,
    /// The scheduler's nanoseconds, a clock of its own: nobody compares them with reference time.
    pub ns: NsClock,
}

/// Set once at boot, by the first LP.
pub static CLOCKS: Once<Clocks> = Once::new();

/// A free-running counter to calibrate against.
#[derive(Clone, Copy, Debug)]
pub enum Standard {
    /// The ACPI power-management timer at this port, 24 or 32 bits wide.
    PmTimer {
        /// I/O port.
        port: u16,
    },
    /// Channel 2 of the programmable interval timer.
    Pit,
}

const PM_TIMER_HZ: u64 = 3_579_545;
const PIT_HZ: u64 = 1_193_182;
/// Length of the calibration in milliseconds. At the PM timer's resolution this is good to about 20 ppm.
const CALIBRATION_MS: u64 = 25;
/// Looks at the clocks at either end.
const SAMPLES: u32 = 16;
/// Reads of a counter that does not move before it is given up.
const PATIENCE: u32 = 10_000_000;

/// Measures both clocks. `None` if the standard does not tick.
pub fn calibrate(apic: LocalApic, standard: Standard) -> Option<Clocks> {
    apic.start_timer(u32::MAX);
    let (tsc, apic_ticks, elapsed, hz) = match standard {
        Standard::PmTimer { port } => against_pm_timer(apic, port)?,
        Standard::Pit => against_pit(apic)?,
    };
    apic.start_timer(0);
    let per_second =
        |ticks: u64| (u128::from(ticks) * u128::from(hz) / u128::from(elapsed.max(1))) as u64;
    Some(Clocks::new(per_second(tsc), per_second(apic_ticks), cpu::rdtsc()))
}

impl Clocks {
    fn new(tsc_hz: u64, apic_hz: u64, start: u64) -> Self {
        let tsc_hz = tsc_hz.max(1);
        Self {
            tsc_hz,
            apic_hz,
            reference: RefTime::new(tsc_hz, start, 0),
            apic_scale: ratio(apic_hz, tsc_hz),
            ns: NsClock::new(tsc_hz, start),
        }
    }

    /// APIC timer ticks that cover `tsc` time-stamp counter ticks: at least 1, at most what the timer can hold.
    pub fn apic_ticks(&self, tsc: u64) -> u32 {
        (scaled(tsc, self.apic_scale).saturating_add(1)).min(u64::from(u32::MAX)) as u32
    }
}

/// Reference time now; 0 before calibration.
pub fn now() -> u64 {
    CLOCKS.try_get().map_or(0, |clocks| clocks.reference.tsc_to_100ns(cpu::rdtsc()))
}

/// Ticks of the time-stamp counter and of the APIC timer, ticks of the standard meanwhile, and its frequency.
type Measured = (u64, u64, u64, u64);

/// One look at all three clocks.
#[derive(Clone, Copy)]
struct Sample {
    tsc: u64,
    apic: u32,
    standard: u64,
}

/// Looks several times and keeps the look that took least: the others were held up between the clocks.
fn sample(apic: LocalApic, read: impl Fn() -> u64) -> Sample {
    let look = |_| {
        let before = cpu::rdtsc();
        let (standard, timer) = (read(), apic.timer_remaining());
        let after = cpu::rdtsc();
        (
            after.wrapping_sub(before),
            Sample { tsc: before + (after - before) / 2, apic: timer, standard },
        )
    };
    let fallback = Sample { tsc: 0, apic: 0, standard: 0 };
    (0..SAMPLES).map(look).min_by_key(|(took, _)| *took).map_or(fallback, |(_, sample)| sample)
}

fn against_pm_timer(apic: LocalApic, timer: u16) -> Option<Measured> {
    // SAFETY: the firmware's table says that this is the power-management timer; reading has no effect.
    let read = || u64::from(unsafe { port::read_u32(timer) } & 0xFF_FFFF);
    let elapsed = |first: u64, now: u64| now.wrapping_sub(first) & 0xFF_FFFF;
    let first = sample(apic, read);
    let target = PM_TIMER_HZ * CALIBRATION_MS / 1000;
    (0..PATIENCE).any(|_| elapsed(first.standard, read()) >= target).then_some(())?;
    let last = sample(apic, read);
    let apic_ticks = first.apic.wrapping_sub(last.apic);
    Some((
        last.tsc - first.tsc,
        apic_ticks.into(),
        elapsed(first.standard, last.standard),
        PM_TIMER_HZ,
    ))
}

fn against_pit(apic: LocalApic) -> Option<Measured> {
    const GATE: u16 = 0x61;
    let count = (PIT_HZ * CALIBRATION_MS / 1000) as u16;
    let [low, high] = count.to_le_bytes();
    // SAFETY: channel 2 drives nothing but the speaker, which stays disconnected (bit 1 of the gate port).
    let done = unsafe {
        port::write_u8(GATE, port::read_u8(GATE) & !3);
        port::write_u8(0x43, 0xB0);
        port::write_u8(0x42, low);
        port::write_u8(0x42, high);
        port::write_u8(GATE, port::read_u8(GATE) & !2 | 1);
        || port::read_u8(GATE) & 0x20 != 0
    };
    let (tsc, apic_start) = (cpu::rdtsc(), apic.timer_remaining());
    (0..PATIENCE).any(|_| done()).then_some(())?;
    let (tsc, apic_ticks) = (cpu::rdtsc() - tsc, apic_start.wrapping_sub(apic.timer_remaining()));
    Some((tsc, apic_ticks.into(), count.into(), PIT_HZ))
}

/// A length of time in 100 ns units, of less than an hour, as time-stamp counter ticks.
#[inline]
pub fn ticks_of_100ns(units: u64) -> u64 {
    CLOCKS.get().ns.ticks(units * 100)
}

/// Time-stamp counter ticks as a length of time in 100 ns units.
pub fn ticks_to_100ns(ticks: u64) -> u64 {
    CLOCKS
        .try_get()
        .map_or(0, |clocks| (u128::from(ticks) * 10_000_000 / u128::from(clocks.tsc_hz)) as u64)
}
