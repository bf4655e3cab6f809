//! Instants and durations of the contract.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Invalid;

const MILLIS_PER_SECOND: u64 = 1_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59.999: the last instant that four digits of year can write.
const LATEST_MILLIS: u64 = 253_402_300_799_999;

/// An instant: milliseconds since 1970-01-01T00:00:00 UTC, without leap seconds.
///
/// It is written as the seed writes times, `YYYY-MM-DDTHH:MM:SS`, UTC, rounded down, without a suffix, because today's
/// peers parse it with Python's `datetime.fromisoformat` and subtract naive times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The length of a written instant, in bytes.
    pub const WRITTEN_LEN: usize = 19;

    /// An instant from milliseconds since the epoch; what lies past the year 9999 becomes its last millisecond.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > LATEST_MILLIS { LATEST_MILLIS } else { millis })
    }

    /// An instant from whole seconds since the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(MILLIS_PER_SECOND))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / MILLIS_PER_SECOND
    }

    /// Milliseconds from `earlier` to `self`, 0 if `earlier` is the later one.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` and `millis` later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// `self` and `millis` earlier, the epoch at the earliest.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// The start of its day; instants of one day share the first eleven written bytes.
    pub(crate) const fn midnight(self) -> Self {
        Self(self.0 - self.0 % (SECONDS_PER_DAY * MILLIS_PER_SECOND))
    }

    /// The instant as the seed writes it.
    pub fn written(self) -> [u8; Self::WRITTEN_LEN] {
        let mut out = *b"0000-00-00T00:00:00";
        let (year, month, day) = civil_from_days(self.as_secs() / SECONDS_PER_DAY);
        for (at, number) in [(0, year / 100), (2, year % 100), (5, month), (8, day)] {
            two_digits(&mut out, at, usize::try_from(number).unwrap_or(0));
        }
        if let Some(second) = SecondOfDay::after(self.midnight().as_secs(), self) {
            second.write(&mut out);
        }
        out
    }

    /// Parses what [`Timestamp::written`] writes.
    ///
    /// # Errors
    /// [`Invalid`] if `text` is not `YYYY-MM-DDTHH:MM:SS` from 1970 on.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or(Invalid::rule("must be a UTC time as YYYY-MM-DDTHH:MM:SS"))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let bytes: &[u8; Timestamp::WRITTEN_LEN] = text.as_bytes().try_into().ok()?;
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0_u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = days_from_civil(year, month, day)?;
    let timestamp = Timestamp::from_secs(days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second);
    // Writing it again catches every value out of range and every wrong separator.
    (timestamp.written() == *bytes).then_some(timestamp)
}

/// A second of a day, counted from its start.
#[derive(Clone, Copy)]
pub(crate) struct SecondOfDay(u32);

impl SecondOfDay {
    /// The second of an instant on the day that begins `midnight` seconds after the epoch; `None` on other days.
    pub(crate) fn after(midnight: u64, instant: Timestamp) -> Option<Self> {
        let second = instant.as_secs().checked_sub(midnight).filter(|second| *second < SECONDS_PER_DAY)?;
        u32::try_from(second).ok().map(Self)
    }

    /// Writes the time of day over the last eight bytes of an instant, leaving the date as it is.
    pub(crate) fn write(self, out: &mut [u8; Timestamp::WRITTEN_LEN]) {
        let minute = self.0 / 60;
        for (at, number) in [(11, minute / 60), (14, minute % 60), (17, self.0 % 60)] {
            two_digits(out, at, number as usize);
        }
    }
}

fn two_digits(out: &mut [u8; Timestamp::WRITTEN_LEN], at: usize, number: usize) {
    // A page writes an instant for each peer: looking digits up is cheaper than dividing.
    if let Some(digits) = TWO_DIGITS.get(number) {
        out[at..at + 2].copy_from_slice(digits);
    }
}

const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut all = [*b"00"; 100];
    let mut number = 0;
    while number < 100 {
        all[number] = [DIGITS[number / 10], DIGITS[number % 10]];
        number += 1;
    }
    all
};
const DIGITS: &[u8; 10] = b"0123456789";

/// The Gregorian date of a day counted from 1970-01-01: eras of 400 years, years that begin in March so that the leap
/// day is the last one.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let from_march_of_0 = days + 719_468;
    let (era, day_of_era) = (from_march_of_0 / 146_097, from_march_of_0 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.written()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.written()).map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The length of a lease, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ttl(u32);

impl Ttl {
    /// A lease of `seconds`.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Its length in seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// Its length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0 as u64 * MILLIS_PER_SECOND
    }
}

impl Add<Ttl> for Timestamp {
    type Output = Self;

    fn add(self, ttl: Ttl) -> Self {
        self.plus_millis(ttl.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_naive_in_whole_seconds() {
        assert_eq!(Timestamp::from_millis(1_759_406_400_999).to_string(), "2025-10-02T12:00:00");
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-31T23:59:59");
    }

    #[test]
    fn what_is_not_the_seeds_form_is_refused() {
        for text in [
            "",
            "2025-10-02T12:00:00Z",
            "2025-10-02 12:00:00",
            "2025-02-29T00:00:00",
            "2025-13-01T00:00:00",
            "2025-10-02T24:00:00",
            "1969-12-31T23:59:59",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_agree_with_an_independent_calendar(seconds in 0..253_402_207_200_u64) {
            let ours = Timestamp::from_secs(seconds).to_string();
            let theirs = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
                .to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(Timestamp::parse(&ours).unwrap(), Timestamp::from_secs(seconds));
        }
    }
}
