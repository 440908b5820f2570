//! Where a disk or drive is on a VM's SCSI controllers: `LUN`, or `CONTROLLER:LUN`. The worker reads it; here it is checked,
//! so that a slip of the finger is found before anything is asked.

use std::fmt;
use std::str::FromStr;

/// Highest LUN.
const LUN_MAX: u8 = 63;
/// Highest controller.
const CONTROLLER_MAX: u8 = 3;

/// A LUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// Where something is to go: a LUN, or `-` in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot(String);

fn check(text: &str, is_open: bool) -> Result<String, String> {
    let number = |word: &str, most: u8| match word.parse::<u8>() {
        Ok(number) if number <= most => Ok(()),
        _ => Err(format!("{word:?} is no number from 0 to {most}")),
    };
    let (controller, lun) = text.split_once(':').unwrap_or(("0", text));
    number(controller, CONTROLLER_MAX)?;
    if !(is_open && lun == "-") {
        number(lun, LUN_MAX)?;
    }
    Ok(text.to_owned())
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check(text, false).map(Self)
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check(text, true).map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_lun_or_a_controller_and_a_lun() {
        for text in ["0", "63", "0:0", "3:63"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            assert!(text.parse::<Slot>().is_ok());
        }
        for text in ["-", "2:-"] {
            assert!(text.parse::<Address>().is_err());
            assert_eq!(text.parse::<Slot>().unwrap().to_string(), text);
        }
        for text in ["", "64", "4:0", "1:", ":1", "x", "-:1", "1:2:3"] {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
    }
}
