//! Times and durations.

use std::fmt;
use std::ops::Add;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Invalid;

const MILLIS_PER_SECOND: u64 = 1_000;
pub(crate) const SECONDS_PER_DAY: u64 = 86_400;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// 9999-12-31T23:59:59.999, the last time that can be written with a four-digit year.
const LATEST_MILLIS: u64 = 253_402_300_799_999;

/// A point in time: milliseconds since 1970-01-01T00:00:00 UTC, without leap seconds.
///
/// On the wire it is `YYYY-MM-DDTHH:MM:SS` in UTC, rounded down and without a suffix. Legacy
/// clients parse it with Python's `datetime.fromisoformat`, and can only subtract times without a
/// time zone from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The length of the wire format, in bytes.
    pub const WIRE_LEN: usize = 19;

    /// Creates a time from milliseconds since the epoch. Times after the year 9999 become the last
    /// millisecond of that year.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > LATEST_MILLIS { LATEST_MILLIS } else { millis })
    }

    /// Creates a time from whole seconds since the epoch.
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

    /// Milliseconds from `earlier` to `self`, or 0 if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `millis` after `self`.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// The time `millis` before `self`, but not before the epoch.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// The time `millis` after `self`, or before it if `millis` is negative.
    #[must_use]
    pub const fn shifted_by_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add_signed(millis))
    }

    /// The start of the day. Times on the same day have the first eleven bytes of the wire format,
    /// `YYYY-MM-DDT`, in common.
    pub(crate) const fn midnight(self) -> Self {
        Self(self.0 - self.0 % (SECONDS_PER_DAY * MILLIS_PER_SECOND))
    }

    /// The time in the wire format.
    pub fn to_wire(self) -> [u8; Self::WIRE_LEN] {
        let since_epoch = SignedDuration::from_secs(self.as_secs().cast_signed());
        // `LATEST_MILLIS` keeps every time within the range of years that jiff supports.
        let time = EPOCH.checked_add(since_epoch).unwrap_or(EPOCH);
        let (century, year) = (time.year() / 100, time.year() % 100);
        let mut out = *b"0000-00-00T00:00:00";
        // The digits are written here because jiff's own `Display` takes twice as long, and each
        // response to a heartbeat contains two times.
        write_pairs(&mut out, [(0, century), (2, year)]);
        write_pairs(&mut out, [(5, time.month()), (8, time.day())]);
        write_pairs(&mut out, [(11, time.hour()), (14, time.minute()), (17, time.second())]);
        out
    }

    /// Parses what [`Timestamp::to_wire`] writes.
    ///
    /// # Errors
    /// [`Invalid`] if `text` is not `YYYY-MM-DDTHH:MM:SS` with a year from 1970 on.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or(Invalid::rule("must be a UTC time as YYYY-MM-DDTHH:MM:SS"))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y-%m-%dT%H:%M:%S", text).ok()?;
    let seconds = u64::try_from(time.duration_since(EPOCH).as_secs()).ok()?;
    let timestamp = Timestamp::from_secs(seconds);
    // jiff also accepts other notations. They differ from what `to_wire` writes, so the comparison
    // rejects them.
    (timestamp.to_wire() == *text.as_bytes()).then_some(timestamp)
}

/// Writes a number of seconds since midnight as a time of day, `HH:MM:SS`.
pub(crate) fn write_time_of_day(second: u64, out: &mut [u8; 8]) {
    write_pairs(out, [(0, second / 3_600), (3, second / 60 % 60), (6, second % 60)]);
}

/// Writes numbers from 0 to 99 as two digits each, at the given offsets.
fn write_pairs<const N: usize>(out: &mut [u8], pairs: [(usize, impl TryInto<u8>); N]) {
    for (at, number) in pairs {
        let number = number.try_into().unwrap_or(0);
        out[at..at + 2].copy_from_slice(&[b'0' + number / 10, b'0' + number % 10]);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_wire()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.to_wire()).map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The duration of a lease, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ttl(u32);

impl Ttl {
    /// Creates a duration of `seconds`.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The duration in seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The duration in milliseconds.
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
    fn a_time_is_written_without_a_zone_in_whole_seconds() {
        assert_eq!(Timestamp::from_millis(1_759_406_400_999).to_string(), "2025-10-02T12:00:00");
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-31T23:59:59");
    }

    #[test]
    fn every_other_time_format_is_refused() {
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
            let written = Timestamp::from_secs(seconds).to_string();
            let expected = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
                .to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            prop_assert_eq!(&written, &expected);
            prop_assert_eq!(Timestamp::parse(&written).unwrap(), Timestamp::from_secs(seconds));
        }
    }
}
