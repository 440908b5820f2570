//! The CMOS clock (Motorola MC146818 and what PCs made of it): time of day, alarm registers, 114 bytes of memory.
//!
//! It keeps the difference between the guest's idea of the time and the host's, so that it runs by itself. There is
//! no interrupt: the ACPI tables announce none, and the alarm registers are only memory.

mod date;

use date::Date;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const WEEKDAY: u8 = 0x06;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0A;
const STATUS_B: u8 = 0x0B;
const STATUS_C: u8 = 0x0C;
const STATUS_D: u8 = 0x0D;
const CENTURY: u8 = 0x32;

/// Status A: 32,768 Hz base, 1,024 Hz rate. The bit that tells of an update under way is never set.
const STATUS_A_RESET: u8 = 0x26;
/// Status B: the guest is setting the time.
const SET: u8 = 1 << 7;
/// Status B: numbers are binary, not BCD.
const BINARY: u8 = 1 << 2;
/// Status B: hours from 0 to 23.
const HOURS_24: u8 = 1 << 1;
/// Hours: afternoon, in the mode with hours from 1 to 12.
const AFTERNOON: u8 = 1 << 7;
/// Status D: the battery is well.
const VALID: u8 = 1 << 7;

/// The clock. `now` is always the host's time in seconds since 1970, UTC.
pub struct Rtc {
    index: u8,
    memory: [u8; 128],
    /// Guest's time less host's time, in seconds.
    offset: i64,
}

impl Default for Rtc {
    fn default() -> Self {
        let mut memory = [0; 128];
        memory[usize::from(STATUS_A)] = STATUS_A_RESET;
        memory[usize::from(STATUS_B)] = HOURS_24;
        Self { index: 0, memory, offset: 0 }
    }
}

impl Rtc {
    /// Port 0x70.
    pub fn select(&mut self, value: u8) {
        self.index = value & 0x7F;
    }

    /// Port 0x71, read.
    pub fn read(&self, now: i64) -> u8 {
        let date = Date::from_unix(now.saturating_add(self.offset));
        match self.index {
            // While it is being set, the registers show what was set so far.
            index if is_time(index) && !self.flag(SET) => self.time_register(index, &date),
            STATUS_C => 0,
            STATUS_D => VALID,
            index => self.memory[usize::from(index)],
        }
    }

    /// Port 0x71, write.
    pub fn write(&mut self, value: u8, now: i64) {
        match self.index {
            STATUS_B => self.set_mode(value, now),
            STATUS_C | STATUS_D => {}
            index if is_time(index) => self.set_time(index, value, now),
            index => self.memory[usize::from(index)] = value,
        }
    }

    fn flag(&self, flag: u8) -> bool {
        self.memory[usize::from(STATUS_B)] & flag != 0
    }

    fn set_mode(&mut self, value: u8, now: i64) {
        let was_set = self.flag(SET);
        if value & SET != 0 && !was_set {
            self.freeze(now);
        }
        self.memory[usize::from(STATUS_B)] = value;
        if was_set && value & SET == 0 {
            self.thaw(now);
        }
    }

    fn set_time(&mut self, index: u8, value: u8, now: i64) {
        if self.flag(SET) {
            self.memory[usize::from(index)] = value;
            return;
        }
        self.freeze(now);
        self.memory[usize::from(index)] = value;
        self.thaw(now);
    }

    /// The present time into the registers.
    fn freeze(&mut self, now: i64) {
        let date = Date::from_unix(now.saturating_add(self.offset));
        for index in TIME_REGISTERS {
            self.memory[usize::from(index)] = self.time_register(index, &date);
        }
    }

    /// The time in the registers becomes the present time, if it is one.
    fn thaw(&mut self, now: i64) {
        let number = |index: u8| self.decode(self.memory[usize::from(index)]);
        let date = Date {
            year: i64::from(number(CENTURY)) * 100 + i64::from(number(YEAR)),
            month: number(MONTH),
            day: number(DAY),
            hour: self.decode_hour(self.memory[usize::from(HOURS)]),
            minute: number(MINUTES),
            second: number(SECONDS),
        };
        if let Some(time) = date.to_unix() {
            self.offset = time.saturating_sub(now);
        }
    }

    fn time_register(&self, index: u8, date: &Date) -> u8 {
        match index {
            SECONDS => self.encode(date.second),
            MINUTES => self.encode(date.minute),
            HOURS => self.encode_hour(date.hour),
            WEEKDAY => self.encode(date.weekday()),
            DAY => self.encode(date.day),
            MONTH => self.encode(date.month),
            YEAR => self.encode(date.year.rem_euclid(100) as u8),
            _ => self.encode((date.year / 100).rem_euclid(100) as u8),
        }
    }

    fn encode(&self, number: u8) -> u8 {
        if self.flag(BINARY) { number } else { number / 10 * 16 + number % 10 }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.flag(BINARY) {
            value
        } else {
            (value >> 4).wrapping_mul(10).wrapping_add(value & 0xF)
        }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.flag(HOURS_24) {
            return self.encode(hour);
        }
        let half = self.encode(if hour.is_multiple_of(12) { 12 } else { hour % 12 });
        if hour >= 12 { half | AFTERNOON } else { half }
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.flag(HOURS_24) {
            return self.decode(value);
        }
        let half = self.decode(value & !AFTERNOON) % 12;
        if value & AFTERNOON != 0 { half + 12 } else { half }
    }
}

const TIME_REGISTERS: [u8; 8] = [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY];

fn is_time(index: u8) -> bool {
    TIME_REGISTERS.contains(&index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-29 23:59:58 UTC, a Thursday.
    const LEAP: i64 = 1_709_251_198;

    fn get(rtc: &mut Rtc, index: u8, now: i64) -> u8 {
        rtc.select(index);
        rtc.read(now)
    }

    fn set(rtc: &mut Rtc, index: u8, value: u8, now: i64) {
        rtc.select(index);
        rtc.write(value, now);
    }

    #[test]
    fn it_tells_the_hosts_time_in_bcd() {
        let mut rtc = Rtc::default();
        let all = TIME_REGISTERS.map(|index| get(&mut rtc, index, LEAP));
        assert_eq!(all, [0x58, 0x59, 0x23, 0x05, 0x29, 0x02, 0x24, 0x20]);
        assert_eq!(get(&mut rtc, DAY, LEAP + 2), 0x01);
        assert_eq!(get(&mut rtc, MONTH, LEAP + 2), 0x03);
        assert_eq!(get(&mut rtc, STATUS_A, LEAP) & 0x80, 0, "no update under way");
        assert_eq!(get(&mut rtc, STATUS_D, LEAP), VALID);
    }

    #[test]
    fn binary_and_twelve_hours_are_modes() {
        let mut rtc = Rtc::default();
        set(&mut rtc, STATUS_B, BINARY, LEAP);
        assert_eq!(get(&mut rtc, SECONDS, LEAP), 58);
        assert_eq!(get(&mut rtc, HOURS, LEAP), AFTERNOON | 11);
        assert_eq!(get(&mut rtc, HOURS, LEAP + 2), 12, "midnight is twelve in the morning");
    }

    #[test]
    fn a_time_that_is_set_goes_on_from_there() {
        let mut rtc = Rtc::default();
        set(&mut rtc, STATUS_B, SET | HOURS_24, LEAP);
        set(&mut rtc, YEAR, 0x30, LEAP);
        set(&mut rtc, DAY, 0x28, LEAP + 1);
        assert_eq!(get(&mut rtc, SECONDS, LEAP + 1), 0x58, "it stands still meanwhile");
        set(&mut rtc, STATUS_B, HOURS_24, LEAP + 1);
        assert_eq!(get(&mut rtc, YEAR, LEAP + 1), 0x30);
        assert_eq!(get(&mut rtc, SECONDS, LEAP + 1), 0x58);
        assert_eq!(get(&mut rtc, DAY, LEAP + 3), 0x01, "2030 is no leap year");
    }

    #[test]
    fn nonsense_leaves_the_time_as_it_is() {
        let mut rtc = Rtc::default();
        set(&mut rtc, MONTH, 0x99, LEAP);
        assert_eq!(get(&mut rtc, MONTH, LEAP), 0x02);
        for index in 0..=255 {
            set(&mut rtc, index, 0xFF, i64::MAX);
            get(&mut rtc, index, i64::MAX);
        }
    }

    #[test]
    fn other_registers_are_memory() {
        let mut rtc = Rtc::default();
        set(&mut rtc, 0x8F, 0xA5, LEAP);
        assert_eq!(get(&mut rtc, 0x0F, LEAP), 0xA5, "bit 7 of the index is the NMI mask");
    }
}
