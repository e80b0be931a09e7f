//! Rotation and watching of a file, as the streams that write to it are configured.
//!
//! Several streams may name one file. It is watched if one of them wants that, and rolled as the one says that was
//! configured last and says anything, and so it is with what is kept and with `on_full`; when a stream goes, so does what
//! it asked for.

use std::fmt;

use circus_core::config::options::{Keeping, OnFull};
use serde::{Deserialize, Serialize};

use crate::output::sink::size_rotation::SizeRotation;
use crate::output::sink::time_rotation::TimeRotation;

/// When a file is rolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rotation {
    /// It grows for ever.
    #[default]
    Never,
    /// FileStream's `max_bytes`.
    BySize(SizeRotation),
    /// TimedRotatingFileStream.
    ByTime(TimeRotation),
}

/// What a stream asks of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RotationPolicy {
    pub(crate) rotation: Rotation,
    /// WatchedFileStream: it is opened again when it was moved or removed.
    pub(crate) watched: bool,
    /// Which rotated files are kept, and how.
    #[serde(default)]
    pub(crate) keeping: Keeping,
    /// What happens to lines that it does not take.
    #[serde(default)]
    pub(crate) on_full: Option<OnFull>,
}

impl RotationPolicy {
    /// What streams that share a file get, the one configured last coming last.
    pub(crate) fn shared(wishes: impl Iterator<Item = Self>) -> Self {
        wishes.fold(Self::default(), |before, wish| Self {
            rotation: if wish.rotation == Rotation::Never { before.rotation } else { wish.rotation },
            watched: before.watched || wish.watched,
            keeping: if wish.keeping == Keeping::default() { before.keeping } else { wish.keeping },
            on_full: wish.on_full.or(before.on_full),
        })
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(f, "never"),
            Self::BySize(SizeRotation { max_bytes, backup_count: u64::MAX }) => {
                write!(f, "at {max_bytes} bytes with any number of backups")
            }
            Self::BySize(SizeRotation { max_bytes, backup_count }) => {
                write!(f, "at {max_bytes} bytes with {backup_count} backups")
            }
            Self::ByTime(schedule) => {
                write!(f, "by time ({:?} times {}) with ", schedule.when, schedule.interval)?;
                match schedule.backup_count {
                    0 => write!(f, "any number of backups"),
                    kept => write!(f, "{kept} backups"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_size(max_bytes: u64) -> RotationPolicy {
        let rotation = Rotation::BySize(SizeRotation { max_bytes, backup_count: 1 });
        RotationPolicy { rotation, ..RotationPolicy::default() }
    }

    #[test]
    fn the_last_that_says_anything_is_followed() {
        let silent = RotationPolicy::default();
        let watched = RotationPolicy { watched: true, ..silent };
        let shared = |wishes: &[RotationPolicy]| RotationPolicy::shared(wishes.iter().copied());
        assert_eq!(shared(&[]), silent);
        assert_eq!(shared(&[by_size(5), by_size(6), silent]), by_size(6));
        assert_eq!(shared(&[by_size(5), watched, silent]), RotationPolicy { watched: true, ..by_size(5) });
        let keeping = Keeping { max_total: 9, ..Keeping::default() };
        let keeps = RotationPolicy { keeping, on_full: Some(OnFull::Drop), ..silent };
        let blocks = RotationPolicy { on_full: Some(OnFull::Block), ..silent };
        assert_eq!(shared(&[keeps, blocks]), RotationPolicy { on_full: Some(OnFull::Block), ..keeps });
    }
}
