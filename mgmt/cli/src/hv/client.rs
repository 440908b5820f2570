//! Zemin's properties as typed values, from whatever answers them.

use super::names;
use std::io;
use zemindef::info::HvInfo;
use zemindef::log::Records;
use zemindef::property::{
    self, COUNTERS_MAX, CountersHeader, HYPERCALL_ENTRIES_MAX, HypercallEntry, HypercallsHeader,
    LogChunk, OUTPUT_MAX,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Where properties come from: the device, or a fake in tests.
pub trait PropertySource {
    /// Reads property `code` with `argument` into `out`. What the hypervisor does not write is undefined.
    fn property(&self, code: u32, argument: u64, out: &mut [u8]) -> Result<(), ReadError>;
}

/// Why something could not be read from the hypervisor.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "/dev/mshv is not there: the hypervisor or its driver is not running; `zm doctor` tells which, and why"
    )]
    NoDevice,
    #[error(
        "only root may ask the hypervisor (/dev/mshv: permission denied); run this command as root"
    )]
    NoPermission,
    #[error("cannot open /dev/mshv")]
    Open(#[source] io::Error),
    #[error("the mshv driver did not carry out the call")]
    Call(#[source] io::Error),
    #[error(
        "the hypervisor refused property {property:#x}: {}; is it Zemin, and of this release? `zm doctor` tells",
        names::status(*.status)
    )]
    Refused { property: u32, status: u16 },
    #[error(
        "the hypervisor's answer makes no sense ({0}); zm and the hypervisor may be of different releases"
    )]
    Malformed(&'static str),
    #[error("there is no logical processor {lp}: they are numbered 0 to {}", .count.saturating_sub(1))]
    NoSuchLp { lp: u32, count: u32 },
}

/// Part of the log as the hypervisor returned it.
#[derive(Debug)]
pub struct LogPart {
    /// Where it lies in the stream.
    pub chunk: LogChunk,
    bytes: Vec<u8>,
}

impl LogPart {
    /// Its records.
    pub fn records(&self) -> Records<'_> {
        Records::new(self.chunk.first, &self.bytes)
    }
}

/// A hypervisor that can be asked.
#[derive(Debug)]
pub struct Hypervisor<S>(S);

impl<S: PropertySource> Hypervisor<S> {
    /// The hypervisor behind `source`.
    pub fn new(source: S) -> Self {
        Self(source)
    }

    /// The hypervisor as a whole. Fields that an older hypervisor does not have are 0.
    pub fn info(&self) -> Result<HvInfo, ReadError> {
        let answer = self.ask(property::STATUS, 0)?;
        let mut info = HvInfo::new_zeroed();
        let (size, _) =
            u32::read_from_prefix(&answer).map_err(|_| ReadError::Malformed("no size"))?;
        let filled = (size as usize).min(size_of::<HvInfo>());
        if filled < 8 {
            return Err(ReadError::Malformed("an empty status"));
        }
        let (from, to) = (answer.get(..filled), info.as_mut_bytes().get_mut(..filled));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
        Ok(info)
    }

    /// Log records from `position` on.
    pub fn log(&self, position: u64) -> Result<LogPart, ReadError> {
        let mut answer = self.ask(property::LOG, position)?;
        let (chunk, _) = LogChunk::read_from_prefix(&answer)
            .map_err(|_| ReadError::Malformed("no log header"))?;
        let end = size_of::<LogChunk>() + chunk.len as usize;
        if end > answer.len() || chunk.first.checked_add(u64::from(chunk.len)) != Some(chunk.next) {
            return Err(ReadError::Malformed("a log chunk of impossible size"));
        }
        answer.truncate(end);
        Ok(LogPart { chunk, bytes: answer.split_off(size_of::<LogChunk>()) })
    }

    /// Counters of one LP.
    pub fn lp_counters(&self, lp: u32) -> Result<Vec<u64>, ReadError> {
        Ok(self.counters_with_header(lp)?.1)
    }

    /// Number of LPs.
    pub fn lp_count(&self) -> Result<u32, ReadError> {
        Ok(self.counters_with_header(0)?.0.lp_count)
    }

    fn counters_with_header(&self, lp: u32) -> Result<(CountersHeader, Vec<u64>), ReadError> {
        let answer = self.ask(property::LP_COUNTERS, u64::from(lp))?;
        let (header, rest) = CountersHeader::read_from_prefix(&answer)
            .map_err(|_| ReadError::Malformed("no counter header"))?;
        Ok((header, entries(rest, header.count, COUNTERS_MAX)?))
    }

    /// All hypercalls that were called so far, by code.
    pub fn hypercalls(&self) -> Result<Vec<HypercallEntry>, ReadError> {
        let (mut all, mut code) = (Vec::new(), 0);
        while code < HypercallsHeader::END {
            let answer = self.ask(property::HYPERCALL_COUNTERS, u64::from(code))?;
            let (header, rest) = HypercallsHeader::read_from_prefix(&answer)
                .map_err(|_| ReadError::Malformed("no hypercall header"))?;
            if header.next <= code {
                return Err(ReadError::Malformed("hypercall counters that do not advance"));
            }
            all.extend(entries::<HypercallEntry>(rest, header.count, HYPERCALL_ENTRIES_MAX)?);
            code = header.next;
        }
        Ok(all)
    }

    fn ask(&self, code: u32, argument: u64) -> Result<Vec<u8>, ReadError> {
        let mut answer = vec![0; OUTPUT_MAX];
        self.0.property(code, argument, &mut answer)?;
        Ok(answer)
    }
}

/// `count` values from the start of `bytes`.
fn entries<T: FromBytes + FromZeros + IntoBytes + Immutable + Clone>(
    bytes: &[u8],
    count: u32,
    max: usize,
) -> Result<Vec<T>, ReadError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let source = bytes.get(..count.saturating_mul(size_of::<T>())).filter(|_| count <= max);
    let source = source.ok_or(ReadError::Malformed("more entries than fit"))?;
    let mut values = vec![T::new_zeroed(); count];
    values.as_mut_bytes().copy_from_slice(source);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Answer, Fake};
    use super::*;

    #[test]
    fn a_short_status_of_an_older_hypervisor_is_zero_filled() {
        let mut info = HvInfo::new_zeroed();
        (info.size, info.version, info.lp_count, info.tsc_hz) = (32, 0x1_0203, 4, 99);
        let answer = Hypervisor::new(Fake::with(property::STATUS, info.as_bytes())).info().unwrap();
        assert_eq!((answer.version, answer.lp_count, answer.tsc_hz), (0x1_0203, 4, 0));
    }

    #[test]
    fn a_longer_status_of_a_newer_hypervisor_is_understood() {
        let mut info = HvInfo::new_zeroed();
        (info.size, info.ram_total_bytes) = (4000, 7);
        let answer = Hypervisor::new(Fake::with(property::STATUS, info.as_bytes())).info().unwrap();
        assert_eq!(answer.ram_total_bytes, 7);
    }

    #[test]
    fn answers_that_cannot_be_are_refused() {
        let malformed =
            |result: Result<(), ReadError>| matches!(result, Err(ReadError::Malformed(_)));
        let chunk = |first, next, len| LogChunk { first, next, len, reserved: 0 };
        for bad in [chunk(0, 4096, 4096), chunk(0, 8, 16), chunk(u64::MAX, 7, 8)] {
            assert!(malformed(
                Hypervisor::new(Fake::with(property::LOG, bad.as_bytes())).log(0).map(drop)
            ));
        }
        let counters = CountersHeader { count: 509, lp_count: 1 };
        assert!(malformed(
            Hypervisor::new(Fake::with(property::LP_COUNTERS, counters.as_bytes()))
                .lp_count()
                .map(drop)
        ));
        let hypercalls = HypercallsHeader { next: 0, count: 0 };
        let fake = Fake::with(property::HYPERCALL_COUNTERS, hypercalls.as_bytes());
        assert!(malformed(Hypervisor::new(fake).hypercalls().map(drop)));
        assert!(malformed(Hypervisor::new(Fake::with(property::STATUS, &[0; 4])).info().map(drop)));
    }

    #[test]
    fn hypercalls_are_collected_over_several_answers() {
        let part = |next, code| {
            let entry =
                HypercallEntry { code, last_error_status: 0, reserved: 0, calls: 1, errors: 0 };
            [HypercallsHeader { next, count: 1 }.as_bytes(), entry.as_bytes()].concat()
        };
        let fake = Fake(vec![
            Answer { code: property::HYPERCALL_COUNTERS, argument: Some(0), bytes: part(0x80, 2) },
            Answer {
                code: property::HYPERCALL_COUNTERS,
                argument: Some(0x80),
                bytes: part(0x1_0000, 0x8001),
            },
        ]);
        let codes: Vec<u16> =
            Hypervisor::new(fake).hypercalls().unwrap().iter().map(|entry| entry.code).collect();
        assert_eq!(codes, [2, 0x8001]);
    }

    #[test]
    fn a_refusal_names_the_status() {
        let error = Hypervisor::new(Fake(Vec::new())).info().unwrap_err();
        assert!(error.to_string().contains("UNKNOWN_PROPERTY (0x0009)"), "{error}");
    }
}
