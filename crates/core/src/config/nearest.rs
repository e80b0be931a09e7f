//! The known name that a misspelt one probably means.

/// The candidate that is nearest to `word`, where one is near enough to be worth a suggestion.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    // Beyond this length nothing of ours can be meant, and the distance would cost more than it tells.
    if word.len() > 64 {
        return None;
    }
    let tolerance = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How a message goes on after an unknown name: with the nearest known one, or not at all.
pub(crate) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |known| format!("; did you mean '{known}'?"))
}

/// How many letters must be inserted, removed or replaced to make one of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut last = i + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(last);
        for (b, above) in to.iter().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            last = (diagonal + usize::from(a != *b)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["cmd", "check_delay", "numprocesses", "warmup_delay"];

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("chek_delay", KEYS), Some("check_delay"));
        assert_eq!(nearest("numproceses", KEYS), Some("numprocesses"));
        assert_eq!(nearest("CMD", KEYS), Some("cmd"));
        assert_eq!(nearest(" cmd", KEYS), Some("cmd"));
    }

    #[test]
    fn what_is_far_from_everything_gets_no_suggestion() {
        assert_eq!(nearest("colour", KEYS), None);
        assert_eq!(nearest(&"x".repeat(100_000), KEYS), None);
        assert_eq!(suggestion("colour", KEYS), "");
        assert_eq!(suggestion("cmdd", KEYS), "; did you mean 'cmd'?");
    }

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "abd", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
