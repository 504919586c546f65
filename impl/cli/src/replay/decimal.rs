//! Decimal numbers read exactly: moments of a trace, and the crash rate.
//!
//! Invariant: a number is what was written, to nine places after the point. There is no rounding:
//! what cannot be kept is refused.

use std::fmt;
use std::str::FromStr;

const PLACES: usize = 9;
const UNIT: i128 = 1_000_000_000;
/// Digits before the point: far more than any clock needs, far less than an `i128` holds.
const DIGITS: usize = 24;

/// A point in time, in the trace's own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(i128);

impl Moment {
    /// What a moment may look like.
    pub(crate) const EXPECTED: &str = "a decimal number (at most 24 digits, and 9 after the point)";

    /// Reads one; `None` when it is no such number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        billionths(text).map(Self)
    }
}

/// The probability that a call dies, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashRate {
    billionths: u32,
}

/// A text that is no crash rate: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a decimal number from 0 to 0.9, as each call must come through some time")]
pub struct CrashRateError;

impl CrashRate {
    const MOST: u32 = 900_000_000;
    /// What a certain death would be.
    pub(crate) const ONE: u64 = 1_000_000_000;

    /// As a fraction of one.
    pub(crate) fn as_f64(self) -> f64 {
        f64::from(self.billionths) / 1e9
    }

    /// In billionths.
    pub(crate) fn billionths(self) -> u64 {
        self.billionths.into()
    }
}

impl FromStr for CrashRate {
    type Err = CrashRateError;

    fn from_str(text: &str) -> Result<Self, CrashRateError> {
        let rate = billionths(text).and_then(|rate| u32::try_from(rate).ok());
        let billionths = rate.filter(|&rate| rate <= Self::MOST).ok_or(CrashRateError)?;
        Ok(Self { billionths })
    }
}

impl fmt::Display for CrashRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

/// `-12.5` is `-12_500_000_000`; `.5` is 0.5.
fn billionths(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = match digits.split_once('.') {
        Some(("", part)) => ("0", part),
        Some(parts) => parts,
        None => (digits, "0"),
    };
    let number = |digits: &str, most: usize| {
        let fits = (1..=most).contains(&digits.len());
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        (fits && all).then(|| digits.parse::<i128>().ok()).flatten()
    };
    let scale = 10_i128.pow(u32::try_from(PLACES.checked_sub(part.len())?).ok()?);
    Some(sign * (number(whole, DIGITS)? * UNIT + number(part, PLACES)? * scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_exactly_or_not_at_all() {
        assert_eq!(billionths("0"), Some(0));
        assert_eq!(billionths("-12.5"), Some(-12_500_000_000));
        assert_eq!(billionths("9007199254740993"), Some(9_007_199_254_740_993 * UNIT));
        assert_eq!(billionths("1.000000001"), Some(1_000_000_001));
        assert_eq!((billionths(".5"), billionths("-.05")), (Some(500_000_000), Some(-50_000_000)));
        assert!(billionths(&"9".repeat(24)).is_some());
        let wrong =
            ["", "-", ".", "1.", "-.", "1e3", " 1", "+1", "0x1", "1.0000000001", "--1", "1.-5"];
        for text in wrong {
            assert_eq!(billionths(text), None, "{text:?}");
        }
        assert_eq!(billionths(&"9".repeat(25)), None);
    }

    #[test]
    fn a_crash_rate_is_from_0_to_nine_tenths() {
        assert_eq!("0.02".parse::<CrashRate>().map(CrashRate::billionths), Ok(20_000_000));
        assert_eq!(".05".parse::<CrashRate>().map(CrashRate::billionths), Ok(50_000_000));
        assert_eq!("0.9".parse::<CrashRate>().map(|rate| rate.to_string()), Ok("0.9".to_owned()));
        for text in ["0.900000001", "1", "-0.1", "nan", "5%", "1000000000000"] {
            assert_eq!(text.parse::<CrashRate>(), Err(CrashRateError), "{text:?}");
        }
    }
}
