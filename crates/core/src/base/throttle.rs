//! Messages that a client can cause as often as it likes, told now and then.

use std::time::Duration;

use super::Mono;

/// Between two messages of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts what happens, and says when it is time to tell how often it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    count: u64,
    told: Option<Mono>,
}

impl Throttle {
    /// It happened `more` times. How often it has since it was told last, where it is to be told now.
    pub fn count(&mut self, more: u64, now: Mono) -> Option<u64> {
        self.count += more;
        let is_due = self.count > 0 && self.told.is_none_or(|told| now.since(told) >= INTERVAL);
        is_due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_is_told_at_once_and_the_others_are_counted() {
        let mut throttle = Throttle::default();
        let at = |seconds| Mono(1).after(Duration::from_secs(seconds));
        assert_eq!(throttle.count(0, at(0)), None);
        assert_eq!(throttle.count(2, at(0)), Some(2));
        assert_eq!(throttle.count(3, at(9)), None);
        assert_eq!(throttle.count(0, at(10)), Some(3));
        assert_eq!(throttle.count(0, at(30)), None);
    }
}
