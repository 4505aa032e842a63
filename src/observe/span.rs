//! Durations as one reads them: `350ms`, `4s`, `5m48s`, `2h30m`, `3d4h`.

use std::fmt;
use std::time::Duration;

/// The two largest units, and nothing that is zero; cut off, not rounded.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            return match self.0.subsec_millis() {
                0 => f.write_str("0s"),
                millis => write!(f, "{millis}ms"),
            };
        }
        let units = [
            ("d", seconds / 86_400),
            ("h", seconds / 3_600 % 24),
            ("m", seconds / 60 % 60),
            ("s", seconds % 60),
        ];
        let first = units.iter().position(|(_, n)| *n > 0);
        let largest = units.iter().skip(first.unwrap_or(0)).take(2);
        for (unit, n) in largest.filter(|(_, n)| *n > 0) {
            write!(f, "{n}{unit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_at_the_most_and_none_that_is_zero() {
        let told = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!(told(0), "0s");
        assert_eq!(told(350), "350ms");
        assert_eq!(told(4_999), "4s");
        assert_eq!(told(60_000), "1m");
        assert_eq!(told(348_000), "5m48s");
        assert_eq!(told(3_600_000), "1h");
        assert_eq!(told(9_045_000), "2h30m");
        assert_eq!(told(86_400_000 * 3 + 5_000), "3d");
        assert_eq!(told(86_400_000 * 3 + 4 * 3_600_000), "3d4h");
    }
}
