//! Days of the Gregorian calendar.

const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;
/// Years for which the arithmetic is exact, and the CMOS clock has digits.
const YEARS: std::ops::RangeInclusive<i64> = 0..=9999;

/// A date with its time of day, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    /// Year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Date {
    /// From seconds since 1970, which are taken into the years 0 to 9999.
    pub fn from_unix(time: i64) -> Self {
        let time = time.clamp(-62_167_219_200, 253_402_300_799);
        let (days, seconds) = (time.div_euclid(SECONDS_PER_DAY), time.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
        }
    }

    /// Seconds since 1970; `None` if there is no such date.
    pub fn to_unix(self) -> Option<i64> {
        let fits = YEARS.contains(&self.year) && (1..=12).contains(&self.month);
        if !fits || self.hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let days = self.days();
        let real = civil(days) == (self.year, self.month, self.day);
        let seconds =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        real.then_some(days * SECONDS_PER_DAY + seconds)
    }

    /// Sunday is 1.
    pub fn weekday(self) -> u8 {
        ((self.days() + 4).rem_euclid(7) + 1) as u8
    }

    /// Days since 1970. The year begins in March here, so that a leap day is its last.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let month = (i64::from(self.month) + 9) % 12;
        let in_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year
            - EPOCH
    }
}

/// Year, month and day of a day since 1970.
fn civil(days: i64) -> (i64, u8, u8) {
    let days = days + EPOCH;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let in_month = in_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month as u8, in_month as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        let epoch = Date::from_unix(0);
        assert_eq!((epoch.year, epoch.month, epoch.day, epoch.weekday()), (1970, 1, 1, 5));
        let leap = Date::from_unix(951_782_400);
        assert_eq!((leap.year, leap.month, leap.day, leap.weekday()), (2000, 2, 29, 3));
        let never = Date { year: 2100, month: 2, day: 29, hour: 0, minute: 0, second: 0 };
        assert_eq!(never.to_unix(), None);
        assert_eq!(Date { year: 0, month: 0, ..never }.to_unix(), None);
    }

    proptest! {
        #[test]
        fn every_second_has_one_date(time in -62_167_219_200i64..=253_402_300_799) {
            let date = Date::from_unix(time);
            prop_assert_eq!(date.to_unix(), Some(time));
            prop_assert!((1..=7).contains(&date.weekday()));
        }

        #[test]
        fn no_number_is_too_large(time: i64) {
            let date = Date::from_unix(time);
            prop_assert!(YEARS.contains(&date.year));
        }
    }
}
