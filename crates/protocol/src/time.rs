//! Instants and durations of the contract.

use std::fmt;
use std::io::Write;
use std::ops::Add;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Invalid;

const MILLIS_PER_SECOND: u64 = 1_000;
pub(crate) const SECONDS_PER_DAY: u64 = 86_400;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
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
        let since_epoch = SignedDuration::from_secs(self.as_secs().cast_signed());
        // `LATEST_MILLIS` keeps every instant within the years that jiff knows.
        let time = EPOCH.checked_add(since_epoch).unwrap_or(EPOCH);
        let mut out = *b"0000-00-00T00:00:00";
        let mut rest = out.as_mut_slice();
        // A time without a fraction of a second is written as nineteen bytes.
        let _ = write!(rest, "{time}");
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
    let time = DateTime::strptime("%Y-%m-%dT%H:%M:%S", text).ok()?;
    let seconds = u64::try_from(time.duration_since(EPOCH).as_secs()).ok()?;
    let timestamp = Timestamp::from_secs(seconds);
    // Writing it again rejects every other form that jiff accepts.
    (timestamp.written() == *text.as_bytes()).then_some(timestamp)
}

/// Writes the time of day, `HH:MM:SS`, of a second counted from midnight.
pub(crate) fn write_time_of_day(second: u64, out: &mut [u8; 8]) {
    for (at, number) in [(0, second / 3_600), (3, second / 60 % 60), (6, second % 60)] {
        out[at..at + 2].copy_from_slice(&[digit(number / 10), digit(number)]);
    }
}

fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
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
                .to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(Timestamp::parse(&ours).unwrap(), Timestamp::from_secs(seconds));
        }
    }
}
