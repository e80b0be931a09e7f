//! Values of command lines that several clients take.

use std::ops::RangeInclusive;

/// A number of seconds within limits.
pub fn seconds(text: &str, limits: RangeInclusive<f64>) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if limits.contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("it is not between {} and {}", limits.start(), limits.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_within_limits() {
        assert_eq!(seconds("0.5", 0.1..=3600.0), Ok(0.5));
        for (text, reason) in [
            ("x", "it is not a number"),
            ("nan", "it is not between 0.1 and 3600"),
            ("0.05", "it is not between 0.1 and 3600"),
            ("3601", "it is not between 0.1 and 3600"),
        ] {
            assert_eq!(seconds(text, 0.1..=3600.0), Err(reason.to_owned()), "{text}");
        }
    }
}
