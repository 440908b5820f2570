//! Sizes as people write them.

use std::str::FromStr;

/// Bytes, written as `40G`, `512M`, `1.5T`, `65536`. Units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: write bytes, or 512K, 64M, 40G, 1.5T");
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let bytes = whole.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))?;
        let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let scale = 10u128.checked_pow(places).ok_or_else(wrong)?;
        let fraction: u128 = fraction.parse().map_err(|_| wrong())?;
        let part = (fraction << shift) / scale;
        let total = u64::try_from(part).ok().and_then(|part| bytes.checked_add(part));
        total.map(Self).ok_or_else(|| format!("{text} is too large"))
    }
}

/// A size, or a difference to the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSize {
    To(u64),
    More(u64),
    Less(u64),
}

impl FromStr for NewSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_at_checked(1) {
            Some(("+", size)) => Ok(Self::More(size.parse::<Size>()?.0)),
            Some(("-", size)) => Ok(Self::Less(size.parse::<Size>()?.0)),
            _ => Ok(Self::To(text.parse::<Size>()?.0)),
        }
    }
}

impl NewSize {
    /// What it means for a disk of this size.
    pub fn of(self, now: u64) -> anyhow::Result<u64> {
        let size = match self {
            Self::To(size) => Some(size),
            Self::More(more) => now.checked_add(more),
            Self::Less(less) => now.checked_sub(less).filter(|size| *size > 0),
        };
        size.ok_or_else(|| anyhow::anyhow!("the disk has {now} bytes: that is no size for it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("40G"), Ok(40 << 30));
        assert_eq!(size("1.5TiB"), Ok(3 << 39));
        assert_eq!(size("64m"), Ok(64 << 20));
        for wrong in ["", "G", "4X", "-1", "1..5G", ".", "99999999999T", "1e3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_difference_is_to_the_present_size() {
        let of = |text: &str, now| text.parse::<NewSize>().unwrap().of(now).ok();
        assert_eq!(of("+1K", 1024), Some(2048));
        assert_eq!(of("-512", 1024), Some(512));
        assert_eq!(of("-1K", 1024), None);
        assert_eq!(of("3K", 1024), Some(3072));
    }
}
