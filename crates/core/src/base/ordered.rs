//! Maps and sets out of iterators.

use std::collections::{BTreeMap, BTreeSet};

/// What `collect` does for ordered maps and sets, entry by entry.
///
/// `collect` sorts its entries first, by a sort that is compiled for each type of entry: 7 KB of program for each, in
/// circusd 300 KB, which count against its memory. Its maps are small, and most are made once.
pub trait CollectOrdered: Iterator + Sized {
    /// A map of these entries. Of a repeated key the last value counts.
    fn collect_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            map.insert(key, value);
        }
        map
    }

    /// A set of these elements.
    fn collect_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        for element in self {
            set.insert(element);
        }
        set
    }
}

impl<I: Iterator> CollectOrdered for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_collect_makes() {
        let entries = [(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd')];
        assert_eq!(entries.into_iter().collect_map(), entries.into_iter().collect::<BTreeMap<_, _>>());
        let keys = || entries.into_iter().map(|(key, _)| key);
        assert_eq!(keys().collect_set(), keys().collect::<BTreeSet<_>>());
    }
}
