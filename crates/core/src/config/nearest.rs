//! The known name that a misspelled one probably means.

/// The candidate that is nearest to `word`, where one is near enough to be worth a suggestion.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    // Beyond this length nothing of ours can be meant, and the distance would cost more than it is worth.
    if word.len() > 64 {
        return None;
    }
    let letters = word.chars().count();
    // In a word of two letters one may be wrong; a word of one letter may mean anything.
    let tolerance = (letters / 3).clamp(usize::from(letters > 1), 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(word.len())))
        .map(|(_, candidate)| candidate)
}

/// How a message goes on after an unknown name: with the nearest known one, or not at all.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |known| format!("; did you mean '{known}'?"))
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
    fn transposed_letters_are_one_slip() {
        // Of two at the same distance the one of the same length is meant.
        assert_eq!(nearest("stauts", ["start", "stats", "status"]), Some("status"));
        assert_eq!(nearest("up", ["numprocesses", "cmd", "rm"]), None);
        assert_eq!(nearest("rn", ["rm"]), Some("rm"));
        assert_eq!(nearest("x", ["rm", "y"]), None);
    }
}
