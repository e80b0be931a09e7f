//! What was measured, of which manager.

use std::collections::BTreeMap;

use super::figure::Figure;
use super::summary::Summary;

/// Which figure, of which manager, with how many workers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) workers: usize,
    pub(crate) subject: String,
    pub(crate) figure: Figure,
}

/// Everything that was measured: of each figure, a value a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(BTreeMap<Key, Vec<f64>>);

impl Samples {
    pub(crate) fn add(&mut self, workers: usize, subject: &str, figure: Figure, value: f64) {
        self.0.entry(Key { workers, subject: subject.to_owned(), figure }).or_default().push(value);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &[f64])> {
        self.0.iter().map(|(key, values)| (key, values.as_slice()))
    }

    pub(crate) fn summary(&self, workers: usize, subject: &str, figure: Figure) -> Option<Summary> {
        Summary::of(self.0.get(&Key { workers, subject: subject.to_owned(), figure })?)
    }

    pub(crate) fn median(&self, workers: usize, subject: &str, figure: Figure) -> Option<f64> {
        Some(self.summary(workers, subject, figure)?.median)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
