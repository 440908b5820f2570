//! Where a disk or drive is on a VM's SCSI controllers, as people write it: `LUN`, or `CONTROLLER:LUN`.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Highest LUN.
pub const LUN_MAX: u8 = 63;

/// A LUN of a SCSI controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Which controller.
    pub controller: u8,
    /// LUN there.
    pub lun: u8,
}

/// Where something is to go. `-` in the LUN's place is the lowest that is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    /// Which controller.
    pub controller: u8,
    /// LUN there, if it matters.
    pub lun: Option<u8>,
}

/// Text that names no place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0:?} is no LUN")]
pub struct NoPlace(String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.controller {
            0 => write!(f, "{}", self.lun),
            controller => write!(f, "{controller}:{}", self.lun),
        }
    }
}

impl FromStr for Slot {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let number = |word: &str| word.parse::<u8>().map_err(|_| NoPlace(text.to_owned()));
        let (controller, lun) = text.split_once(':').unwrap_or(("0", text));
        let lun = if lun == "-" { None } else { Some(number(lun)?) };
        Ok(Self { controller: number(controller)?, lun })
    }
}

impl FromStr for Address {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let Slot { controller, lun } = text.parse()?;
        lun.map(|lun| Self { controller, lun }).ok_or_else(|| NoPlace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        for text in ["0", "63", "1:0", "3:7"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("0:5".parse(), Ok(Address { controller: 0, lun: 5 }));
        assert_eq!("-".parse(), Ok(Slot::default()));
        assert_eq!("2:-".parse(), Ok(Slot { controller: 2, lun: None }));
        for text in ["", ":", "1:", ":1", "x", "256", "1:2:3", "-1"] {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
        assert!("-".parse::<Address>().is_err());
    }
}
