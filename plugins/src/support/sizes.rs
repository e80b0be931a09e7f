//! Sizes as people write them: `200M`, `1.5GiB`.

/// Bytes of a size: a number and a unit, each 1024 of the one before.
pub(crate) fn bytes(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    let power = power(unit.trim())?;
    Some(number * 1024_f64.powi(power))
}

/// `K`, `k`, `KB`, `Ki`, `KiB` and `kilo` are 1.
fn power(unit: &str) -> Option<i32> {
    const LETTERS: &str = "bkmgtpezy";
    const LONG: [&str; 9] = ["byte", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "iotta"];
    const BINARY: [&str; 9] = ["byte", "kibi", "mebi", "gibi", "tebi", "pebi", "exbi", "zebi", "yobi"];
    let unit = unit.to_ascii_lowercase();
    let spelt = LONG.iter().position(|long| *long == unit).or_else(|| BINARY.iter().position(|long| *long == unit));
    let found = spelt.or_else(|| {
        let mut rest = unit.chars();
        let at = LETTERS.find(rest.next()?)?;
        ["", "b", "i", "ib"].contains(&rest.as_str()).then_some(at)
    })?;
    i32::try_from(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, size) in [
            ("0B", Some(0.0)),
            ("1.5K", Some(1536.0)),
            ("2k", Some(2048.0)),
            (" 3 M ", Some(3.0 * 1_048_576.0)),
            ("1GiB", Some(1_073_741_824.0)),
            ("1Ti", Some(1_099_511_627_776.0)),
            ("1 kilo", Some(1024.0)),
            ("10", None),
            ("M", None),
            ("5 apples", None),
            ("-1K", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn sizes_of_circusd_are_read() {
        for size in [0, 5, 1023, 1024, 123_456_789, 1 << 40] {
            let read = bytes(&circus_core::proto::HumanSize(size).to_string()).unwrap();
            assert!((read - size as f64).abs() <= size as f64 * 0.01, "{size}");
        }
    }
}
